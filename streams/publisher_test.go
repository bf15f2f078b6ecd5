package streams

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/schema"
)

// appendAll appends samples 0 to perPV-1 of each PV, a goroutine for each of
// four groups of PVs.
func appendAll(t *testing.T, l *Log, pvs, perPV int) *sync.WaitGroup {
	t.Helper()
	var wait sync.WaitGroup
	for group := range 4 {
		wait.Go(func() {
			for n := range perPV {
				for pv := group; pv < pvs; pv += 4 {
					if err := l.Samples().Append(context.Background(), pvName(pv), sampleOf(n)); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	return &wait
}

// TestOrderSurvivesFaultsOfTheServer disturbs the log while samples flow. What
// was stored without an acknowledgement may come twice, but never late.
func TestOrderSurvivesFaultsOfTheServer(t *testing.T) {
	const pvs, perPV = 40, 400
	disturb := map[string]func(t *testing.T, l *Log){
		"the server restarts": func(t *testing.T, l *Log) { l.restart(t.Context(), always) },
		"JetStream gives up": func(t *testing.T, l *Log) {
			s, err := l.current()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.srv.DisableJetStream(); err != nil {
				t.Error(err)
			}
		},
		"the connection breaks": func(t *testing.T, l *Log) {
			s, err := l.current()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.nc.ForceReconnect(); err != nil {
				t.Error(err)
			}
		},
	}
	for name, disturb := range disturb {
		t.Run(name, func(t *testing.T) {
			l := openLog(t, Options{Linger: 2 * time.Millisecond, MessageBytes: 512})
			stop := runLog(t, l)
			wait := appendAll(t, l, pvs, perPV/2)
			disturb(t, l)
			wait.Wait()
			if err := waitStored(t, l); err != nil {
				t.Fatal(err)
			}
			disturb(t, l)
			wait = appendRange(t, l, pvs, perPV/2, perPV)
			wait.Wait()
			if err := waitStored(t, l); err != nil {
				t.Fatal(err)
			}
			stop()
			messages := fetchUntil(t, l.Archive(), pvs, perPV)
			checkOrder(t, messages, perPV, true)
		})
	}
}

func appendRange(t *testing.T, l *Log, pvs, from, to int) *sync.WaitGroup {
	t.Helper()
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := from; n < to; n++ {
			for pv := range pvs {
				if err := l.Samples().Append(context.Background(), pvName(pv), sampleOf(n)); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	return &wait
}

// waitStored waits until nothing waits to be published.
func waitStored(t *testing.T, l *Log) error {
	t.Helper()
	ctx := within(t, 60*time.Second)
	for {
		l.samples.mu.Lock()
		room, waiting := l.samples.room, l.samples.waiting
		l.samples.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("%d samples still wait: %w", waiting, ctx.Err())
		}
	}
}

// fetchUntil fetches until every PV's last sample came.
func fetchUntil(t *testing.T, c *Consumer, pvs, perPV int) []Message {
	t.Helper()
	ctx := within(t, 60*time.Second)
	done := map[schema.PVName]bool{}
	var all []Message
	for len(done) < pvs {
		messages, err := c.Fetch(ctx, time.Second)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d PVs are complete: %v", len(done), pvs, err)
		}
		for _, m := range messages {
			if len(m.Samples) > 0 && valueOf(t, m.Samples[len(m.Samples)-1]) == perPV-1 {
				done[m.PV] = true
			}
			all = append(all, kept(m))
		}
	}
	return all
}

// TestDeadBatchesAreSentAgain lets the server forget batches while they are
// sent: a batch that it no longer knows stores nothing, and says so late.
func TestDeadBatchesAreSentAgain(t *testing.T) {
	const pvs, perPV = 300, 10
	l := openLog(t, Options{Linger: -1, batchTimeout: 300 * time.Microsecond})
	runLog(t, l)
	appendAll(t, l, pvs, perPV).Wait()
	messages := fetchUntil(t, l.Archive(), pvs, perPV)
	checkOrder(t, messages, perPV, true)
}

// TestSlowPVsAreStoredOneByOne has batches die after a few idle milliseconds: a
// sample that comes alone is stored and acknowledged by itself, so that nothing
// is left to die between it and the next.
func TestSlowPVsAreStoredOneByOne(t *testing.T) {
	l := openLog(t, Options{batchTimeout: 5 * time.Millisecond})
	runLog(t, l)
	for n := range 20 {
		if err := l.Samples().Append(t.Context(), pvName(0), sampleOf(n)); err != nil {
			t.Fatal(err)
		}
		if err := waitStored(t, l); err != nil {
			t.Fatal(err)
		}
		if w := l.Samples().Waiting(); w != (Waiting{}) {
			t.Fatalf("after sample %d there still waits %+v", n, w)
		}
		for came := -1; came != n; {
			m := fetchSamples(t, l.Archive(), 1, true)[0]
			if came = valueOf(t, m.Samples[0]); came > n {
				t.Fatalf("sample %d came before %d", came, n)
			}
		}
	}
}

// TestFullLogKeepsSamplesWaiting fills the stream: samples wait, are counted,
// and go on in order when the archive has acknowledged and the log is trimmed.
func TestFullLogKeepsSamplesWaiting(t *testing.T) {
	l := openLog(t, Options{LimitBytes: 4 << 20, MaxBytes: 1 << 20, DropsMaxBytes: 1 << 20, WaitingBytes: 256 << 10, Linger: -1, MessageBytes: 4 << 10})
	runLog(t, l)
	const pvs = 8
	const perPV = 20_000 // 8 MB of envelopes: twice what fits
	wait := appendAll(t, l, pvs, perPV)
	ctx := within(t, 120*time.Second)
	for gauge(t, l.metrics.storing) == 1 { // until the stream is full
		if _, err := l.State(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if l.samples.failing(0) {
		t.Error("a full log is taken for a broken server")
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	var all []Message
	counted := map[schema.PVName]int{}
	for len(counted) < pvs || !complete(counted, perPV) {
		messages, err := l.Archive().Fetch(ctx, 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			counted[m.PV] = valueOf(t, m.Samples[len(m.Samples)-1]) + 1
			all = append(all, kept(m))
		}
		if len(messages) > 0 {
			if err := l.Archive().Ack(ctx, messages[len(messages)-1].Seq); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.trim(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	checkOrder(t, all, perPV, true)
	if gauge(t, l.metrics.blocked) == 0 {
		t.Error("no append was held back")
	}
}

func complete(counted map[schema.PVName]int, perPV int) bool {
	for _, n := range counted {
		if n < perPV {
			return false
		}
	}
	return true
}

func TestAppendIsHeldBackAndReleased_S4(t *testing.T) {
	l := openLog(t, Options{WaitingBytes: 1000})
	ctx, cancel := context.WithCancel(t.Context())
	full := func() int {
		for n := 0; ; n++ {
			if w := l.Samples().Waiting(); w.Bytes+int64(schema.SizeRawSample(sampleOf(n))) > 1000 {
				return n
			}
			if err := l.Samples().Append(ctx, pvName(0), sampleOf(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := full()
	held := make(chan error, 1)
	go func() { held <- l.Samples().Append(ctx, pvName(1), sampleOf(0)) }()
	cancel()
	if err := <-held; !errors.Is(err, context.Canceled) {
		t.Errorf("append of a cancelled caller: %v", err)
	}
	go func() { held <- l.Samples().Append(context.Background(), pvName(0), sampleOf(n)) }()
	runLog(t, l)
	if err := <-held; err != nil {
		t.Errorf("append after room was made: %v", err)
	}
	checkOrder(t, fetchSamples(t, l.Archive(), n+1, true), n+1, false)
}

func TestAppendFailsWhenTheLogIsClosed(t *testing.T) {
	l := New(Options{Dir: t.TempDir(), LimitBytes: 64 << 20, WaitingBytes: 60})
	if err := l.Samples().Append(t.Context(), pvName(0), sampleOf(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("append before Open: %v", err)
	}
	if err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Samples().Append(t.Context(), pvName(0), sampleOf(0)); err != nil {
		t.Fatal(err)
	}
	held := make(chan error, 1)
	go func() { held <- l.Samples().Append(context.Background(), pvName(0), sampleOf(1)) }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-held; !errors.Is(err, ErrClosed) {
		t.Errorf("append while closing: %v", err)
	}
}

func TestRunPublishesWhatWaitsBeforeItEnds(t *testing.T) {
	const pvs, perPV = 20, 30
	l := openLog(t, Options{Linger: time.Hour, ImmediateRate: 0.001})
	stop := runLog(t, l)
	appendAll(t, l, pvs, perPV).Wait()
	stop()
	if w := l.Samples().Waiting(); w != (Waiting{}) {
		t.Errorf("still waiting: %+v", w)
	}
	checkOrder(t, fetchSamples(t, l.Archive(), pvs*perPV, true), perPV, false)
}

// TestRunTellsWhatItCouldNotPublish ends Run while the log is gone.
func TestRunTellsWhatItCouldNotPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{Dir: "/nowhere"})
		l.samples.open()
		if err := l.Samples().Append(t.Context(), pvName(0), sampleOf(0)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		err := l.samples.run(ctx)
		if !errors.Is(err, ErrClosed) || time.Since(start) != drainTime {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestLongNamesAreRefused(t *testing.T) {
	l := openLog(t, Options{})
	long := make([]byte, maxSubjectBytes)
	for i := range long {
		long[i] = 'x'
	}
	if err := l.Samples().Append(t.Context(), schema.PVName(long), sampleOf(0)); schema.CodeOf(err) != schema.Invalid {
		t.Errorf("a name of %d bytes: %v", len(long), err)
	}
}

func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	p := pace{rate: 2000, linger: 500 * time.Millisecond}
	for i := range 1000 { // 1,000 messages a second
		if d := p.sent(1, start.Add(time.Duration(i)*time.Millisecond)); d != 0 {
			t.Fatalf("message %d of a slow stream waits %v", i, d)
		}
	}
	if d := p.sent(2000, start.Add(time.Second)); d != 500*time.Millisecond {
		t.Errorf("after 2,000 messages at once the pause is %v, want linger", d)
	}
	p = pace{rate: 2000, linger: 500 * time.Millisecond}
	if d := p.sent(300, start); d != 100*time.Millisecond {
		t.Errorf("after 300 messages at once, 100 free, the pause is %v, want 100 ms", d)
	}
	if d := p.sent(1, start.Add(time.Hour)); d != 0 {
		t.Errorf("after an hour the pause is %v", d)
	}
	p = pace{rate: 2000}
	if d := p.sent(100000, start); d != 0 {
		t.Errorf("without linger the pause is %v", d)
	}
}

// TestRoundsAreFair has one PV with a long queue beside others: it gets one
// message a round, not more.
func TestRoundsAreFair(t *testing.T) {
	l := New(Options{Dir: "unused", MessageBytes: 200})
	s := l.samples
	s.open()
	for n := range 100 {
		if err := s.Append(t.Context(), pvName(0), sampleOf(n)); err != nil {
			t.Fatal(err)
		}
	}
	for pv := 1; pv < 4; pv++ {
		if err := s.Append(t.Context(), pvName(pv), sampleOf(0)); err != nil {
			t.Fatal(err)
		}
	}
	batch, served := s.take(nil, s.readyPVs())
	if served != 4 || len(batch) != 4 {
		t.Fatalf("the round served %d PVs with %d messages", served, len(batch))
	}
	for i, m := range batch {
		if m.subject != Subject(SamplesPrefix, pvName(i)) {
			t.Errorf("message %d is of %s", i, m.subject)
		}
	}
	if again, _ := s.take(nil, s.readyPVs()); len(again) != 1 || again[0].subject != batch[0].subject {
		t.Errorf("the next round holds %d messages", len(again))
	}
}
