package registry

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// Two servers on one log: what succeeded is exactly what stands in the log,
// and both end with the same state.
func TestTwoRegistriesRaceOnOneLog(t *testing.T) {
	log := newMemLog()
	rigs := []*rig{start(t, t.TempDir(), log), start(t, t.TempDir(), log)}
	var wins atomic.Int64
	var callers sync.WaitGroup
	for n := range 6 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 2))
			for range 40 {
				wins.Add(raceOnce(t, rigs[n%2], random))
			}
		})
	}
	callers.Wait()
	last, _ := log.Last(ctx)
	if got := uint64(wins.Load()); got != last {
		t.Errorf("%d commands succeeded, the log has %d events", got, last)
	}
	for _, r := range rigs {
		if err := r.await2(last); err != nil {
			t.Fatal(err)
		}
		r.verified()
	}
	if !maps.Equal(rigs[0].contents(), rigs[1].contents()) {
		t.Error("the two have different contents")
	}
}

// raceOnce gives a command over two PVs and counts its successes.
func raceOnce(t *testing.T, r *rig, random *rand.Rand) int64 {
	pvs := []schema.PVName{"A:1", "A:2", "A:3"}
	random.Shuffle(3, func(i, j int) { pvs[i], pvs[j] = pvs[j], pvs[i] })
	var results []Result
	switch random.IntN(4) {
	case 0:
		results = r.Archive(ctx, operator, Request{PV: pvs[0]}, Request{PV: pvs[1]})
	case 1:
		results = r.Pause(ctx, operator, pvs[:2]...)
	case 2:
		results = r.Resume(ctx, operator, pvs[:2]...)
	case 3:
		results = r.Delete(ctx, operator, false, pvs[:2]...)
	}
	var n int64
	for _, res := range results {
		switch schema.CodeOf(res.Err) {
		case "":
			n++
		case schema.Conflict, schema.NotFound:
		default:
			t.Errorf("%v", res)
		}
	}
	return n
}

// S11 to S13: of many archives of one PV at once, one succeeds.
func TestArchiveOfOnePVSucceedsOnce(t *testing.T) {
	log := newMemLog()
	rigs := []*rig{start(t, t.TempDir(), log), start(t, t.TempDir(), log)}
	var wins atomic.Int64
	var callers sync.WaitGroup
	for n := range 16 {
		callers.Go(func() {
			err := rigs[n%2].Archive(ctx, operator, Request{PV: "A:1"})[0].Err
			if err == nil {
				wins.Add(1)
			} else if schema.CodeOf(err) != schema.Conflict {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if last, _ := log.Last(ctx); wins.Load() != 1 || last != 1 {
		t.Errorf("%d succeeded, %d events", wins.Load(), last)
	}
}

// S12: while an archive of the PV (or of its path) is at work, another one is
// refused; the claim ends with it, cancellation included.
func TestArchiveInProgressIsToldApart(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	entered, leave := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	log.beforeAppend = func([]streams.Proposal) error {
		if calls.Add(1) == 1 {
			close(entered)
			<-leave
		}
		return nil
	}
	first := make(chan []Result)
	go func() { first <- r.Archive(ctx, operator, Request{PV: "A:B"}) }()
	<-entered
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "A:B"}), schema.Conflict, "operation already in progress")
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "A-B"}), schema.Conflict, "operation already in progress")
	r.archive("A:C")
	impatient, cancel := cancelled()
	cancel()
	refusedAs(t, r.Pause(impatient, operator, "A:B"), schema.Unavailable, "in progress")
	second := make(chan []Result)
	go func() { second <- r.Pause(ctx, operator, "A:B") }() // waits its turn
	close(leave)
	ok(t, <-first)
	ok(t, <-second)
	if len(r.claims.held) != 0 {
		t.Errorf("claims are left: %v", r.claims.held)
	}
}

// One PV of a batch loses its race twice; the others of the batch go.
func TestLoserDoesNotTakeItsBatchAlong(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("L:1", "L:2", "L:3")
	log.beforeAppend = func(ps []streams.Proposal) error {
		for _, p := range ps {
			if p.Event.GetPv() == "L:2" { // somebody is always quicker
				other := &logpb.RegistryEvent{Pv: "L:2", What: &logpb.RegistryEvent_Started{Started: &logpb.PVStarted{Type: 6, ElementCount: 1}}}
				if _, err := log.store(ctx, []streams.Proposal{{Event: other, Expect: p.Expect}}); err != nil && !errors.Is(err, streams.ErrConflict) {
					return err
				}
			}
		}
		return nil
	}
	results := r.Pause(ctx, operator, "L:1", "L:2", "L:3")
	ok(t, results[:1])
	ok(t, results[2:])
	refusedAs(t, results[1:2], schema.Conflict, "changed by somebody else")
	if r.state("L:1") != schema.Paused || r.state("L:2") != schema.Archiving || r.state("L:3") != schema.Paused {
		t.Error("states are not as told")
	}
	r.verified()
}

// A race that is lost once is won at the second try, against the new state.
func TestLostRaceIsTriedAgain(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("T:1", "T:2")
	var once sync.Once
	log.beforeAppend = func(ps []streams.Proposal) (err error) {
		once.Do(func() {
			other := &logpb.RegistryEvent{Pv: "T:1", What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}
			_, err = log.store(ctx, []streams.Proposal{{Event: other, Expect: ps[0].Expect}})
		})
		return err
	}
	results := r.Pause(ctx, operator, "T:1", "T:2")
	refusedAs(t, results[:1], schema.Conflict, "already paused")
	ok(t, results[1:])
	r.verified()
}

// A log that fails leaves no doubt about what was stored and what was not, and
// the rest is done when it works again.
func TestAppendFailureIsToldPerPV(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log, soon)
	calls := 0
	log.beforeAppend = func([]streams.Proposal) error {
		if calls++; calls == 3 { // the opening, a batch, this one
			return errors.New("no quorum")
		}
		return nil
	}
	requests := make([]Request, 2500)
	for i := range requests {
		requests[i].PV = schema.PVName(fmt.Sprintf("F:%d", i))
	}
	results := r.Archive(ctx, operator, requests...)
	ok(t, results[:1000])
	for i := 1000; i < 2500; i++ {
		refusedAs(t, results[i:i+1], schema.Unavailable, "no quorum")
	}
	r.closed(r.Changes(1)[0].ID)
	if n := len(r.All()); n != 2500 {
		t.Errorf("%d PVs are registered", n)
	}
	r.verified()
}

// Two servers archive A:B and A-B at the same moment: the log cannot see that,
// so the later one yields.
func TestPathRaceOfTwoRegistriesLeavesOne(t *testing.T) {
	log := newMemLog()
	a, b := start(t, t.TempDir(), log), start(t, t.TempDir(), log)
	var meet sync.WaitGroup
	meet.Add(2)
	var count atomic.Int32
	log.beforeAppend = func([]streams.Proposal) error {
		if count.Add(1) <= 2 { // both have decided before either appends
			meet.Done()
			meet.Wait()
		}
		return nil
	}
	results := make([][]Result, 2)
	var callers sync.WaitGroup
	callers.Go(func() { results[0] = a.Archive(ctx, operator, Request{PV: "A:B"}) })
	callers.Go(func() { results[1] = b.Archive(ctx, operator, Request{PV: "A-B"}) })
	callers.Wait()
	winner, loser := 0, 1
	if results[0][0].Err != nil {
		winner, loser = 1, 0
	}
	ok(t, results[winner])
	refusedAs(t, results[loser], schema.Conflict, "requested at the same time")
	last, _ := log.Last(ctx)
	for _, r := range []*rig{a, b} {
		if err := r.await2(last); err != nil {
			t.Fatal(err)
		}
		if got := r.Match("", 0); len(got) != 1 || got[0] != results[winner][0].PV {
			t.Errorf("registered are %v, the winner is %s", got, results[winner][0].PV)
		}
		r.verified()
	}
}

// 10,000 PVs in one call, and a replay of it.
func TestTenThousandPVsInOneCall(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	r := start(t, dir, log)
	requests := make([]Request, 10000)
	for i := range requests {
		requests[i].PV = schema.PVName(fmt.Sprintf("LINAC:%05d:X", i))
	}
	ok(t, r.Archive(ctx, operator, requests...))
	want := append(append([]int{1}, slices.Repeat([]int{1000}, 10)...), 1)
	if !slices.Equal(log.batches, want) {
		t.Errorf("batches of %d events, want %d", log.batches, want)
	}
	infos, cursor := r.Snapshot()
	if len(infos) != 10000 || cursor != 10002 || infos[42].PV != "LINAC:00042:X" {
		t.Errorf("%d PVs, cursor %d, %v", len(infos), cursor, infos[42])
	}
	if got := r.Match("LINAC:000?7:*", 0); len(got) != 10 || got[9] != "LINAC:00097:X" {
		t.Errorf("match %v", got)
	}
	if got := r.Match("", 3); len(got) != 3 {
		t.Errorf("limit: %v", got)
	}
	r.verified()
	r.stop()
	open(t, dir, log).verified()
}
