package ingest

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

func TestUpdateStampsWhatTheFiltersNeed_S34(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEngine(t, func(o *Options) { o.DriftPast, o.DriftFuture = time.Minute, time.Hour })
		c := addChannel(e, scalar(schema.Monitor, 0))
		regain(c)
		at := schema.Time{Sec: schema.YearStart(2000) - 1, Nsec: 999_999_999}
		c.Update(nil, update(t, at, 1))
		c.Update(nil, update(t, schema.Time{Sec: at.Sec + 1}, 2))
		all := log.all()
		if len(all) != 2 {
			t.Fatalf("%d samples", len(all))
		}
		for i, want := range []schema.RawSample{
			{Year: 1999, First: true}, {Year: 2000},
		} {
			want.Type, want.Registered, want.Generation = schema.ScalarDouble, schema.ScalarDouble, 7
			want.DriftPast, want.DriftFuture, want.Received = time.Minute, time.Hour, time.Now()
			got := all[i].RawSample
			if got.Event = nil; !got.Received.Equal(want.Received) {
				t.Errorf("sample %d received %v", i, got.Received)
			}
			got.Received = want.Received
			if got.Type != want.Type || got.Year != want.Year || got.First != want.First || got.Registered != want.Registered ||
				got.Generation != want.Generation || got.DriftPast != want.DriftPast || got.DriftFuture != want.DriftFuture {
				t.Errorf("sample %d: %+v, want %+v", i, got, want)
			}
		}
		if got := all[0].decode(t).Time; got != at {
			t.Errorf("the IOC's time %v became %v", at, got)
		}
	})
}

func TestUpdateWithoutAValueIsCountedAndNotDecoded_S39(t *testing.T) {
	var lines bytes.Buffer
	e, log := newTestEngine(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&lines, nil)) })
	c := addChannel(e, scalar(schema.Monitor, 0))
	regain(c)
	good := update(t, schema.TimeOf(time.Now()), 1)
	bad := map[string]caclient.Update{
		"no read access": {Type: good.Type, Count: 1, Status: ca.StatusNoReadAccess, Payload: good.Payload},
		"short":          {Type: good.Type, Count: 1, Status: ca.StatusNormal, Payload: good.Payload[:23]},
		"huge count":     {Type: good.Type, Count: 1 << 31, Status: ca.StatusNormal, Payload: good.Payload},
		"no element":     {Type: good.Type, Count: 0, Status: ca.StatusNormal, Payload: good.Payload},
		"no time":        {Type: ca.DBRDouble, Count: 1, Status: ca.StatusNormal, Payload: good.Payload},
		"no type":        {Type: 999, Count: 1, Status: ca.StatusNormal, Payload: good.Payload},
		"nothing":        {},
	}
	for _, u := range bad {
		c.Update(nil, u)
	}
	c.Update(nil, good)
	// The empty one is a legal update: the log takes it as the waveform it is.
	if n := c.history.counters(); n.TransientErrors != uint64(len(bad)-1) || n.Received != 2 || n.Appended != 2 || n.Observed != schema.UnknownType {
		t.Errorf("counters %+v", n)
	}
	all := log.all()
	if len(all) != 2 || all[0].Type != schema.WaveformDouble || all[1].Type != schema.ScalarDouble || !all[1].First {
		t.Errorf("appended %+v; what held no value is not the first sample", all)
	}
	if n := strings.Count(lines.String(), "T:AI"); n != 1 {
		t.Errorf("%d log lines for one connection:\n%s", n, &lines)
	}
}

func TestUpdateOfAnotherTypeGoesToTheLog_S73(t *testing.T) {
	var lines bytes.Buffer
	e, log := newTestEngine(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&lines, nil)) })
	info := scalar(schema.Monitor, 0)
	info.DBRType = schema.ScalarInt
	c := addChannel(e, info)
	regain(c)
	if n := c.history.counters(); n.Observed != schema.UnknownType {
		t.Errorf("observed %v before any update", n.Observed)
	}
	for range 3 {
		c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
	}
	all := log.all()
	if len(all) != 3 || all[0].Type != schema.ScalarDouble || all[0].Registered != schema.ScalarInt {
		t.Fatalf("appended %+v", all)
	}
	if n := c.history.counters(); n.Observed != schema.ScalarDouble {
		t.Errorf("observed %v", n.Observed)
	}
	if n := strings.Count(lines.String(), "DBR_SCALAR_DOUBLE"); n != 1 {
		t.Errorf("%d log lines:\n%s", n, &lines)
	}
	regain(c)
	c.waveform = true
	c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
	if n := c.history.counters(); n.Observed != schema.WaveformDouble {
		t.Errorf("observed %v: a waveform of one element is a waveform", n.Observed)
	}
}

func TestUpdateWaitsWhileTheLogIsFull_S41(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEngine(t)
		c := addChannel(e, scalar(schema.Monitor, 0))
		regain(c)
		room := log.fill()
		go c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
		<-log.waits
		if s := c.state(); s.Received != 1 || s.Appended != 0 {
			t.Errorf("the state is readable meanwhile: %+v", s)
		}
		time.Sleep(time.Minute)
		room()
		synctest.Wait()
		if n := c.history.counters(); n.Appended != 1 || n.OverflowWaits != 1 || n.OverflowDrops != 0 {
			t.Errorf("counters %+v", n)
		}
		c.Update(nil, update(t, schema.TimeOf(time.Now()), 2))
		if n := c.history.counters(); n.Appended != 2 || n.OverflowWaits != 1 {
			t.Errorf("counters %+v", n)
		}
	})
}

func TestCloseDuringBackPressureAppendsNothing_S42(t *testing.T) {
	e, log := newTestEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 2)
	go func() { e.stragglers.run(ctx); ended <- struct{}{} }()
	c := addChannel(e, scalar(schema.Scan, time.Millisecond))
	regain(c)
	now := schema.TimeOf(time.Now())
	c.Update(nil, update(t, now, 1))
	room := log.fill()
	now.Nsec++
	c.Update(nil, update(t, now, 2)) // held, and soon due
	<-log.waits
	go func() { c.Update(nil, update(t, now, 3)); ended <- struct{}{} }() // behind it
	c.close()
	room()
	c.Update(nil, update(t, now, 4))
	cancel()
	<-ended
	<-ended
	if got := values(t, log.all()); got != "1" {
		t.Errorf("appended %s", got)
	}
	if n := c.history.counters(); n.Appended != 1 || n.OverflowDrops != 1 {
		t.Errorf("counters %+v: what the log did not take is counted", n)
	}
}

func TestEndWaitsForWhatWasReceivedAndThenGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name              string
		drain             time.Duration
		room              bool
		appended, dropped uint64
	}{
		{"the log finds room", time.Hour, true, 1, 0},
		{"the log stays full", time.Millisecond, false, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, log := newTestEngine(t, func(o *Options) { o.Drain = tt.drain })
			c := addChannel(e, scalar(schema.Monitor, 0))
			regain(c)
			room := log.fill()
			go c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
			<-log.waits
			hard, giveUp := context.WithCancel(context.Background())
			defer giveUp()
			stop := context.AfterFunc(hard, c.cancel)
			defer stop()
			ended := make(chan struct{})
			go func() { e.closeAll(giveUp); close(ended) }()
			if tt.room {
				for !c.closed.Load() {
					runtime.Gosched()
				}
				room()
			}
			<-ended
			if n := c.history.counters(); n.Appended != tt.appended || n.OverflowDrops != tt.dropped {
				t.Errorf("counters %+v", n)
			}
			c.Update(nil, update(t, schema.TimeOf(time.Now()), 2))
			if got := len(log.all()); got != int(tt.appended) {
				t.Errorf("%d samples appended after the end", got-int(tt.appended))
			}
		})
	}
}

func BenchmarkChannelUpdate(b *testing.B) {
	e, _ := newTestEngine(b, func(o *Options) {
		o.Append = func(context.Context, schema.PVName, schema.RawSample) error { return nil }
	})
	c := addChannel(e, scalar(schema.Monitor, 0))
	regain(c)
	u := update(b, schema.TimeOf(time.Now()), 3.14)
	c.Update(nil, u)
	b.ReportAllocs()
	for b.Loop() {
		c.Update(nil, u)
	}
}

func TestUpdateTakesNoAllocation(t *testing.T) {
	e, _ := newTestEngine(t, func(o *Options) {
		o.Append = func(context.Context, schema.PVName, schema.RawSample) error { return nil }
	})
	for _, method := range []schema.SamplingMethod{schema.Monitor, schema.Scan} {
		info := scalar(method, time.Hour)
		info.ArchiveFields = []string{"DESC"}
		c := addChannel(e, info)
		c.told("DESC", "it rides on the first")
		regain(c)
		at := schema.TimeOf(time.Now())
		u, next := update(t, at, 3.14), update(t, schema.Time{Sec: at.Sec + 1}, 4)
		c.Update(nil, u)
		c.Update(nil, next)
		// Under the race detector a sync.Pool forgets at random.
		if n := testing.AllocsPerRun(1000, func() { c.Update(nil, next) }); n >= 1 {
			t.Errorf("%s: %v allocations for an update", method, n)
		}
	}
}
