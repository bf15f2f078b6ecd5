package streams

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pvlog/schema/logpb"
)

// openOn opens a log on a file system of a terabyte whose free space the test
// sets.
func openOn(t *testing.T, opt Options, free *atomic.Int64) *Log {
	t.Helper()
	opt.Dir, opt.LimitBytes, opt.DropsMaxBytes = t.TempDir(), 64<<20, 8<<20
	l := New(opt)
	l.space = func(string) (int64, int64, error) { return 1 << 40, free.Load(), nil }
	if err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func othersAreStored(t *testing.T, l *Log) {
	t.Helper()
	ctx := within(t, time.Minute)
	last, err := l.Events().Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	event := &logpb.RegistryEvent{Pv: "TEST:E", What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}
	if _, err := l.Events().Append(ctx, Proposal{Event: event, Expect: last}); err != nil {
		t.Errorf("an event is refused: %v", err)
	}
	s := sampleOf(1)
	if err := l.Drops().Append(ctx, []Drop{{Reason: "order", PV: "TEST:D", Position: Position{Seq: last + 1, Time: time.Now()}, Sample: &s}}); err != nil {
		t.Errorf("a drop is refused: %v", err)
	}
}

func awaitFault(t *testing.T, l *Log, want bool) {
	t.Helper()
	for ctx := within(t, time.Minute); ; time.Sleep(time.Millisecond) { // until the publisher has tried
		if since, err := l.Fault(); (err != nil) == want {
			if want && (since.IsZero() || !isFull(err)) {
				t.Errorf("%v since %v", err, since)
			}
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the log has no fault %v", want)
		}
	}
}

// TestSamplesLeaveRoomForEventsAndDrops fills the disk up to the reserve.
func TestSamplesLeaveRoomForEventsAndDrops(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 39)
	l := openOn(t, Options{}, &free)
	runLog(t, l)
	store(t, l, 0, 10)
	free.Store(reserveBytes - 1)
	for i := 10; i < 20; i++ {
		if err := l.Samples().Append(within(t, time.Minute), pvName(0), sampleOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	awaitFault(t, l, true)
	if _, err := l.Fault(); !errors.Is(err, errNearlyFull) {
		t.Errorf("the fault is %v", err)
	}
	othersAreStored(t, l)
	free.Store(1 << 39)
	awaitFault(t, l, false)
	checkOrder(t, fetchSamples(t, l.Archive(), 20, true), 20, false)
}

// TestAFullLogPushesBackAndForgetsNothing reaches the limit of SAMPLES while the
// archive is away.
func TestAFullLogPushesBackAndForgetsNothing(t *testing.T) {
	l := openLog(t, Options{LimitBytes: minStore, DropsMaxBytes: 1 << 20, WaitingBytes: 1 << 20, Keep: time.Nanosecond})
	runLog(t, l)
	large := func(i int) []byte { return append(sampleOf(i).Event, make([]byte, 64<<10)...) }
	n := 0
	for ; ; n++ {
		s := sampleOf(n)
		s.Event = large(n)
		within, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := l.Samples().Append(within, pvName(0), s)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n > 1000 {
			t.Fatal("nobody is pushed back")
		}
	}
	awaitFault(t, l, true)
	if gauge(t, l.metrics.blocked) == 0 {
		t.Error("nobody was counted as pushed back")
	}
	othersAreStored(t, l)
	state, err := l.State(t.Context())
	if err != nil || state.Samples.First != 1 {
		t.Errorf("SAMPLES begins with %d, %v", state.Samples.First, err)
	}
	l.lookAhead(t.Context(), time.Now())
	if o := l.Outlook(); o.Messages != state.Samples.Messages || o.Oldest.IsZero() || o.Bytes < 3<<20 || o.Room > 1<<20 {
		t.Errorf("outlook %s", o)
	}
	var all []Message
	for got := 0; got < n; {
		for _, m := range fetchSamples(t, l.Archive(), 1, true) {
			got += len(m.Samples)
			all = append(all, m)
		}
		if err := l.trim(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	awaitFault(t, l, false)
	for i := range all {
		for j := range all[i].Samples {
			s := &all[i].Samples[j]
			s.Event = s.Event[:len(s.Event)-64<<10]
		}
	}
	checkOrder(t, all, n, false)
}

func TestOutlook(t *testing.T) {
	now := time.Unix(1000, 0)
	state := State{Samples: StreamState{First: 1, Last: 1000, Messages: 1000, Bytes: 100_000}, Lag: 500}
	for name, c := range map[string]struct {
		before Outlook
		last   uint64
		rate   float64
	}{
		"first look":               {Outlook{}, 0, 0},
		"first rate":               {Outlook{At: now.Add(-time.Second)}, 900, 10_000},
		"steady":                   {Outlook{At: now.Add(-time.Second), Rate: 10_000}, 900, 10_000},
		"full: the rate is kept":   {Outlook{At: now.Add(-time.Second), Rate: 10_000}, 1000, 10_000},
		"after a restart it began": {Outlook{At: now.Add(-time.Second), Rate: 10_000}, 2000, 10_000},
	} {
		o := outlook(state, 3, c.before, now, c.last)
		if o.Rate != c.rate || o.Messages != 500 || o.Samples != 1500 || o.Bytes != 50_000 {
			t.Errorf("%s: %+v", name, o)
		}
	}
	o := Outlook{Room: 3600_000, Rate: 1000}
	if d, ok := o.Holds(); !ok || d != time.Hour {
		t.Errorf("holds %v, %v", d, ok)
	}
	if _, ok := (Outlook{Room: 1}).Holds(); ok {
		t.Error("it ends although nothing comes")
	}
}

// TestALogOpensOnAFullDisk gives up its reserve; what is stored can be read and
// nothing is lost.
func TestALogOpensOnAFullDisk(t *testing.T) {
	dir := os.Getenv("PVLOG_LOG_TMPFS")
	if dir == "" {
		inTmpfs(t, "^TestALogOpensOnAFullDisk$")
		return
	}
	opt := Options{Dir: filepath.Join(dir, "log"), DropsMaxBytes: 1 << 20, LimitBytes: 16 << 20}
	l := openLog(t, opt)
	stop := runLog(t, l)
	store(t, l, 0, 20)
	if err := l.keepReserve(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.reservePath()); err != nil {
		t.Fatal(err)
	}
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := ballast.Write(make([]byte, size)); err != nil {
			size /= 4
		}
	}
	if err := ballast.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := l.Close(); err != nil {
		t.Logf("closed on a full disk: %v", err)
	}
	l = openLog(t, opt)
	runLog(t, l)
	if p := l.Problems(); len(p) != 0 {
		t.Errorf("problems: %q", p)
	}
	checkOrder(t, fetchSamples(t, l.Archive(), 20, true), 20, false)
	if err := l.Samples().Append(within(t, time.Minute), pvName(0), sampleOf(20)); err != nil {
		t.Fatal(err)
	}
	awaitFault(t, l, true)
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	awaitFault(t, l, false)
	fetchSamples(t, l.Archive(), 1, true)
}
