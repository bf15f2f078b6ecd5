package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

var double = caclient.Info{Native: ca.DBRDouble, Count: 1, Minor: 13, Addr: "10.0.0.1:5064"}

// startedCalls notes what is handed to the registry, and refuses it while err
// is set.
type startedCalls struct {
	mu    sync.Mutex
	err   error
	calls [][]Discovery
	at    []time.Time
}

func (s *startedCalls) started(_ context.Context, found []Discovery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.at = append(s.calls, found), append(s.at, time.Now())
	return s.err
}

func (s *startedCalls) seen() (calls [][]Discovery, at []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls), slices.Clone(s.at)
}

func (s *startedCalls) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *startedCalls) times() []time.Time { _, at := s.seen(); return at }

func (s *startedCalls) gap() time.Duration { at := s.times(); return at[1].Sub(at[0]) }

// discovering runs a test in a bubble with the goroutine that reports
// discoveries. The client is not running, so no question is answered: a channel
// of it stands for a connection.
func discovering(t *testing.T, test func(e *Engine, s *startedCalls, calls func() [][]Discovery)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &startedCalls{}
		e, _ := newTestEngine(t, func(o *Options) { o.Started = s.started })
		stop := run(t, func(ctx context.Context) error { e.discoveries.run(ctx); return nil })
		test(e, s, func() [][]Discovery { calls, _ := s.seen(); return calls })
		stop()
	})
}

func unknown(pv schema.PVName) schema.TypeInfo {
	info := scalar(schema.Monitor, 0)
	info.PV, info.DBRType = pv, schema.UnknownType
	return info
}

// connect makes c connected, as the client would.
func connect(e *Engine, c *Channel, info caclient.Info) *caclient.Channel {
	link := e.opt.Client.Open(string(c.pv), c)
	c.Connected(link, info)
	return link
}

func TestDiscoveryGoesOnWithoutMetadata(t *testing.T) {
	discovering(t, func(e *Engine, s *startedCalls, calls func() [][]Discovery) {
		c := addChannel(e, unknown("T:A"))
		connect(e, c, double)
		time.Sleep(discoveryWait - 1)
		synctest.Wait()
		if len(calls()) != 0 {
			t.Fatalf("handed in %+v before the IOC's time was over", calls())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		want := Discovery{PV: "T:A", Type: schema.ScalarDouble, Count: 1, Host: "10.0.0.1:5064"}
		if len(calls()) != 1 || fmt.Sprint(calls()[0]) != fmt.Sprint([]Discovery{want}) {
			t.Errorf("handed in %+v", calls())
		}
	})
}

func TestDiscoveryIsHandedInUntilItIsConfirmed_S33(t *testing.T) {
	discovering(t, func(e *Engine, s *startedCalls, calls func() [][]Discovery) {
		s.refuse(errors.New("the log is full"))
		c := addChannel(e, unknown("T:A"))
		connect(e, c, double)
		time.Sleep(2*discoveryWait + time.Second)
		synctest.Wait()
		if len(calls()) != 2 || s.gap() != discoveryWait {
			t.Fatalf("handed in at %v", s.times())
		}
		if n := c.history.counters(); n.TransientErrors != 2 {
			t.Errorf("counters %+v", n)
		}
		s.refuse(nil)
		time.Sleep(2 * discoveryWait) // taken, but not confirmed
		synctest.Wait()
		if len(calls()) != 4 {
			t.Errorf("handed in at %v", s.times())
		}
		info := scalar(schema.Monitor, 0)
		info.PV = "T:A"
		c.configure(&info)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(calls()) != 4 {
			t.Errorf("handed in at %v, after it was confirmed", s.times())
		}
		if st := c.state(); !st.Subscribed || st.Type != schema.ScalarDouble {
			t.Errorf("state %+v", st)
		}
		q := e.discoveries
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.ready) != 0 || len(q.asked) != 0 {
			t.Errorf("%d and %d are left in the lists", len(q.ready), len(q.asked))
		}
	})
}

func TestDiscoveryEndsWithItsConnection(t *testing.T) {
	discovering(t, func(e *Engine, s *startedCalls, calls func() [][]Discovery) {
		lost, closed := addChannel(e, unknown("T:LOST")), addChannel(e, unknown("T:CLOSED"))
		link := connect(e, lost, double)
		connect(e, closed, double)
		lost.Disconnected(link, errors.New("gone"))
		closed.close()
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(calls()) != 0 {
			t.Errorf("handed in %+v", calls())
		}
	})
}

func TestAServerThatHangsUpIsAskedNothing(t *testing.T) {
	discovering(t, func(e *Engine, s *startedCalls, calls func() [][]Discovery) {
		c := addChannel(e, unknown("T:A"))
		for range hangupsMax {
			c.Disconnected(connect(e, c, double), errors.New("reset by peer"))
		}
		connect(e, c, double)
		synctest.Wait() // at once
		if len(calls()) != 1 || calls()[0][0].Type != schema.ScalarDouble {
			t.Errorf("handed in %+v", calls())
		}
	})
}

func TestDiscoveriesTravelInBatches(t *testing.T) {
	discovering(t, func(e *Engine, s *startedCalls, calls func() [][]Discovery) {
		const n = 2*discoveryBatch + 1
		for i := range n {
			connect(e, addChannel(e, unknown(schema.PVName(fmt.Sprintf("T:%d", i)))), double)
		}
		time.Sleep(discoveryWait)
		synctest.Wait()
		seen := map[schema.PVName]bool{}
		for _, call := range calls() {
			if len(call) > discoveryBatch {
				t.Errorf("a batch of %d", len(call))
			}
			for _, d := range call {
				seen[d.PV] = true
			}
		}
		if len(seen) != n || len(calls()) != 3 {
			t.Errorf("%d PVs in %d batches", len(seen), len(calls()))
		}
	})
}

func TestAnswersBecomeMetadata(t *testing.T) {
	limits := map[string]float64{"HOPR": 1, "LOPR": 2, "HIHI": 3, "HIGH": 4, "LOW": 5, "LOLO": 6, "DRVH": 7, "DRVL": 8}
	ctrl, err := ca.AppendDBR(nil, ca.DBRCtrlDouble, ca.Properties{Metadata: ca.Metadata{Units: "mm", Precision: 4, Limits: limits}}, []float64{1})
	if err != nil {
		t.Fatal(err)
	}
	name := func(s string) []byte { return append([]byte(s), make([]byte, ca.MaxStringSize)...)[:ca.MaxStringSize] }
	describe := func(payload []byte) (d Discovery) {
		m, _ := metadataOf(caclient.Update{Type: ca.DBRCtrlDouble, Count: 1, Payload: payload})
		d.describe(m)
		return d
	}
	classify := func(payload []byte) string {
		var d Discovery
		d.classify(caclient.Update{Type: ca.DBRClassName, Count: 1, Payload: payload})
		return d.Fields["RTYP"]
	}
	if d := describe(ctrl); d.Units != "mm" || d.Precision != 4 || !maps.Equal(d.Limits, limits) {
		t.Errorf("described as %+v", d)
	}
	if d := describe(ctrl[:40]); d.Units != "" || d.Limits != nil {
		t.Errorf("a short answer described as %+v", d)
	}
	for _, tt := range []struct {
		payload []byte
		want    string
	}{
		{name("calcout"), "calcout"}, {[]byte("ai"), "ai"}, {name(""), ""}, {nil, ""},
		{name("\xff\xfe"), ""}, {name("0123456789012345678901234567890123456789and more"), "0123456789012345678901234567890123456789"},
	} {
		if got := classify(tt.payload); got != tt.want {
			t.Errorf("%q classified as %q", tt.payload, got)
		}
	}
}

// TestALateAnswerDoesNotReachWhatWasHandedIn: the registry reads that without
// the channel's lock, when an IOC takes longer than discoveryWait.
func TestALateAnswerDoesNotReachWhatWasHandedIn(t *testing.T) {
	e, _ := newTestEngine(t)
	c := addChannel(e, schema.TypeInfo{PV: "T:A", State: schema.Archiving, DBRType: schema.UnknownType})
	d := newDiscovery(c, caclient.Info{Native: ca.DBREnum, Count: 1})
	c.discovery, d.open = d, 2
	e.discoveries.answer(d, nil, func() { d.found.set("ENUM_0", "Off") })
	handed, ok := d.current()
	e.discoveries.answer(d, nil, func() { d.found.set("RTYP", "bi") })
	if !ok || len(handed.Fields) != 1 || len(d.found.Fields) != 2 {
		t.Errorf("%v: handed in %v, known now %v", ok, handed.Fields, d.found.Fields)
	}
}
