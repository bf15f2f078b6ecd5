package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

func event(pv schema.PVName, actor string) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{Version: 1, Pv: string(pv), Actor: actor, What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}
}

func TestOneOfTwoRacingCommandsWins(t *testing.T) {
	l := openLog(t, Options{})
	e := l.Events()
	seqs, err := e.Append(t.Context(), Proposal{Event: event("A:B", "first")})
	if err != nil || len(seqs) != 1 {
		t.Fatalf("%v, %v", seqs, err)
	}
	for name, proposals := range map[string][]Proposal{
		"one":        {{Event: event("A:B", "late"), Expect: 0}},
		"in a batch": {{Event: event("X:Y", "ok")}, {Event: event("A:B", "late"), Expect: 7}, {Event: event("Z", "ok")}},
	} {
		seqs, err := e.Append(t.Context(), proposals...)
		if !errors.Is(err, ErrConflict) || len(seqs) != 0 || !strings.Contains(err.Error(), "A:B") {
			t.Errorf("%s: %v, %v", name, seqs, err)
		}
	}
	if last, err := e.Last(t.Context()); last != 1 || err != nil {
		t.Errorf("a refused batch left something: last is %d, %v", last, err)
	}
	if seqs, err := e.Append(t.Context(), Proposal{Event: event("A:B", "second"), Expect: 1}); err != nil || seqs[0] != 2 {
		t.Errorf("%v, %v", seqs, err)
	}
}

// TestManyEventsGoInBatches appends more than one atomic batch can hold and
// follows them, with others coming while it follows.
func TestManyEventsGoInBatches(t *testing.T) {
	const n = 2500
	l := openLog(t, Options{})
	var proposals []Proposal
	for i := range n {
		proposals = append(proposals, Proposal{Event: event(pvName(i), "bulk")})
	}
	seqs, err := l.Events().Append(t.Context(), proposals...)
	if err != nil || len(seqs) != n {
		t.Fatalf("%d sequences, %v", len(seqs), err)
	}
	for i, seq := range seqs {
		if seq != uint64(i+1) {
			t.Fatalf("event %d has sequence %d", i, seq)
		}
	}
	end := errors.New("end")
	next := uint64(1)
	caught := 0
	err = l.Events().Follow(t.Context(), 0, func(seq uint64, e *logpb.RegistryEvent, caughtUp bool) error {
		if seq != next {
			return fmt.Errorf("sequence %d came, %d was to come", seq, next)
		}
		if want := string(pvName(int(seq - 1))); seq <= n && e.GetPv() != want {
			return fmt.Errorf("event %d is of %s", seq, e.GetPv())
		}
		if caughtUp != (seq >= n) {
			return fmt.Errorf("event %d: caught up %v", seq, caughtUp)
		}
		next++
		if caughtUp {
			caught++
		}
		if seq == n+2 {
			return end
		}
		if seq >= n {
			if _, err := l.Events().Append(t.Context(), Proposal{Event: event("late", "x"), Expect: (seq - n) * seq}); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, end) || caught != 3 {
		t.Errorf("followed to %d, caught up %d times: %v", next-1, caught, err)
	}
}

func TestAGroupThatFailsKeepsThoseBeforeIt(t *testing.T) {
	l := openLog(t, Options{})
	var proposals []Proposal
	for i := range atomicMessages + 10 {
		proposals = append(proposals, Proposal{Event: event(pvName(i), "bulk")})
	}
	proposals[atomicMessages+5].Expect = 99
	seqs, err := l.Events().Append(t.Context(), proposals...)
	if !errors.Is(err, ErrConflict) || len(seqs) != atomicMessages {
		t.Errorf("%d sequences, %v", len(seqs), err)
	}
	if last, _ := l.Events().Last(t.Context()); last != atomicMessages {
		t.Errorf("last is %d", last)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	l := openLog(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	seen := make(chan uint64, 1)
	go func() {
		done <- l.Events().Follow(ctx, 2, func(seq uint64, _ *logpb.RegistryEvent, _ bool) error {
			seen <- seq
			return nil
		})
	}()
	for i := range 2 {
		if _, err := l.Events().Append(t.Context(), Proposal{Event: event(pvName(i), "x")}); err != nil {
			t.Fatal(err)
		}
	}
	if seq := <-seen; seq != 2 {
		t.Errorf("followed %d first, asked for 2", seq)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("follow ended with %v", err)
	}
}

// TestFollowSurvivesARestartOfTheServer goes on where it was.
func TestFollowSurvivesARestartOfTheServer(t *testing.T) {
	l := openLog(t, Options{})
	end := errors.New("end")
	seen := make(chan uint64, 10)
	done := make(chan error, 1)
	go func() {
		done <- l.Events().Follow(context.Background(), 1, func(seq uint64, _ *logpb.RegistryEvent, _ bool) error {
			seen <- seq
			if seq == 3 {
				return end
			}
			return nil
		})
	}()
	for i := range 3 {
		if _, err := l.Events().Append(t.Context(), Proposal{Event: event(pvName(i), "x")}); err != nil {
			t.Fatal(err)
		}
		if seq := <-seen; seq != uint64(i+1) {
			t.Fatalf("followed %d, want %d", seq, i+1)
		}
		if i < 2 {
			l.restart(t.Context(), always)
		}
	}
	if err := <-done; !errors.Is(err, end) {
		t.Error(err)
	}
}

// TestForeignMessagesOfTheRegistryArePassedOver: every sequence is seen, and
// what is no event of its PV changes nothing.
func TestForeignMessagesOfTheRegistryArePassedOver(t *testing.T) {
	l := openLog(t, Options{})
	publish(t, l, outgoing{subject: "registry.A", data: []byte("\xff\xffgarbage")})
	if _, err := l.Events().Append(t.Context(), Proposal{Event: event("A", "x"), Expect: 1}); err != nil {
		t.Fatal(err)
	}
	end := errors.New("end")
	var pvs []string
	err := l.Events().Follow(t.Context(), 1, func(seq uint64, e *logpb.RegistryEvent, caughtUp bool) error {
		pvs = append(pvs, e.GetPv())
		if caughtUp {
			return end
		}
		return nil
	})
	if !errors.Is(err, end) || len(pvs) != 2 || pvs[0] != "" || pvs[1] != "A" {
		t.Errorf("%q, %v", pvs, err)
	}
}

func TestTheRegistryCannotBePurged(t *testing.T) {
	l := openLog(t, Options{})
	if _, err := l.Events().Append(t.Context(), Proposal{Event: event("A", "x")}); err != nil {
		t.Fatal(err)
	}
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), RegistryStream)
	if err != nil {
		t.Fatal(err)
	}
	if stream.Purge(t.Context()) == nil || stream.DeleteMsg(t.Context(), 1) == nil {
		t.Error("the registry's history could be removed")
	}
}

// TestHistoryIsThatOfOnePV reads a PV's events among many others', in more
// requests than one, and where the log stands at a time.
func TestHistoryIsThatOfOnePV(t *testing.T) {
	const n = followBatch + 20
	l := openLog(t, Options{})
	e := l.Events()
	for i := range n {
		expect := uint64(0)
		if i > 0 {
			expect = uint64(2*i) - 1
		}
		if _, err := e.Append(t.Context(), Proposal{Event: event("A:B", "x"), Expect: expect}, Proposal{Event: event(pvName(i), "y")}); err != nil {
			t.Fatal(err)
		}
	}
	for from, want := range map[uint64]uint64{0: n, 1: n, 2: n - 1, 2*n - 1: 1, 2 * n: 0, 3 * n: 0} {
		var seen uint64
		err := e.History(t.Context(), "A:B", from, func(seq uint64, e *logpb.RegistryEvent) error {
			if seq < from || seq%2 != 1 || e.GetPv() != "A:B" {
				return fmt.Errorf("from %d: event %d of %q", from, seq, e.GetPv())
			}
			seen++
			return nil
		})
		if err != nil || seen != want {
			t.Errorf("from %d: %d events, want %d, %v", from, seen, want, err)
		}
	}
	if err := e.History(t.Context(), "none", 0, func(uint64, *logpb.RegistryEvent) error { return errors.New("there is none") }); err != nil {
		t.Error(err)
	}
	end := errors.New("end")
	if err := e.History(t.Context(), "A:B", 0, func(uint64, *logpb.RegistryEvent) error { return end }); !errors.Is(err, end) {
		t.Error(err)
	}
	for at, want := range map[time.Time]uint64{time.Now().Add(-time.Hour): 1, time.Now().Add(time.Hour): 2*n + 1} {
		if seq, err := e.Since(t.Context(), at); seq != want || err != nil {
			t.Errorf("since %v: %d, want %d, %v", at, seq, want, err)
		}
	}
}

// TestRecentEventsAreThoseOfTheLog: who follows closely sees what a late
// reader sees, also when somebody else appends in between.
func TestRecentEventsAreThoseOfTheLog(t *testing.T) {
	l := openLog(t, Options{})
	e := l.Events()
	end := errors.New("end")
	read := func(e *EventLog) (seen []string) {
		err := e.Follow(t.Context(), 2, func(seq uint64, event *logpb.RegistryEvent, caughtUp bool) error {
			seen = append(seen, fmt.Sprint(seq, event.GetPv(), event.GetActor()))
			if caughtUp && seq == 8 {
				return end
			}
			return nil
		})
		if !errors.Is(err, end) {
			t.Fatal(err)
		}
		return seen
	}
	other := &EventLog{log: l}
	for i, from := range []*EventLog{e, e, other, e, other, e, e, e} {
		if _, err := from.Append(t.Context(), Proposal{Event: event(pvName(i), fmt.Sprint("actor", i))}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(e.remembered(6)); got != 3 || e.remembered(5) != nil || e.remembered(9) != nil {
		t.Errorf("%d events are remembered from 6 on", got)
	}
	if got, want := read(e), read(&EventLog{log: l}); !slices.Equal(got, want) || len(got) != 7 {
		t.Errorf("%q\n%q", got, want)
	}
	big := event("big", strings.Repeat("x", recentBytes))
	if _, err := e.Append(t.Context(), Proposal{Event: big}); err != nil {
		t.Fatal(err)
	}
	if e.remembered(9) != nil || e.recent.bytes > recentBytes {
		t.Errorf("%d bytes are remembered", e.recent.bytes)
	}
}

// TestManyEventsAreReadByOneConsumer that is gone afterwards, while the server
// restarts midway and others come in; every event comes once.
func TestManyEventsAreReadByOneConsumer(t *testing.T) {
	const n = 7 * manyEvents
	l := openLog(t, Options{})
	e := l.Events()
	proposals := make([]Proposal, n)
	for i := range proposals {
		proposals[i].Event = event(pvName(i), "bulk")
	}
	if _, err := e.Append(t.Context(), proposals...); err != nil {
		t.Fatal(err)
	}
	e.recent = recent{} // as after a start
	next, end := uint64(2), errors.New("end")
	err := e.Follow(t.Context(), next, func(seq uint64, got *logpb.RegistryEvent, caughtUp bool) error {
		if want := string(pvName(int(seq - 1))); seq != next || got.GetPv() != want || caughtUp != (seq == n || seq == n+1) {
			return fmt.Errorf("event %d of %s came (caught up: %v), %d of %s was to come", seq, got.GetPv(), caughtUp, next, want)
		}
		next++
		switch seq {
		case n / 2:
			l.restart(t.Context(), always)
		case n - 1:
			if _, err := e.Append(t.Context(), Proposal{Event: event(pvName(n), "late")}); err != nil {
				return err
			}
		case n + 1:
			return end
		}
		return nil
	})
	if !errors.Is(err, end) {
		t.Fatal(err)
	}
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), RegistryStream)
	if err != nil || stream.CachedInfo().State.Consumers != 0 {
		t.Errorf("consumers are left: %+v, %v", stream.CachedInfo().State, err)
	}
}
