package ingest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

func TestConnectionStates_S5_S6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newTestEngine(t)
		c := addChannel(e, scalar(schema.Monitor, 0))
		check := func(what string, want Connection, disconnects uint64, since, restored, lastEvent bool) {
			t.Helper()
			s := c.state()
			if s.Connection != want || s.Disconnects != disconnects || s.Since.IsZero() == since ||
				s.Restored.IsZero() == restored || s.LastEvent.IsZero() == lastEvent {
				t.Errorf("%s: %+v", what, s)
			}
		}
		check("made", Idle, 0, false, false, false)
		c.open()
		check("opened", Connecting, 0, false, false, false)
		c.Disconnected(c.link, errors.New("claim refused"))
		check("refused before it connected", Connecting, 0, false, false, false)
		c.Connected(c.link, double)
		check("connected", Connected, 0, true, false, false)
		c.Update(c.link, update(t, schema.TimeOf(time.Now()), 1))
		check("sampled", Connected, 0, true, false, true)
		time.Sleep(time.Second)
		c.Disconnected(c.link, errors.New("gone"))
		check("lost", Disconnected, 1, true, false, false)
		c.Disconnected(c.link, errors.New("gone"))
		check("lost twice", Disconnected, 1, true, false, false)
		time.Sleep(time.Second)
		c.Connected(c.link, double)
		check("restored", Connected, 1, true, true, false)
		s := c.state()
		if s.Restored.Sub(s.Since) != 2*time.Second || !s.LastDisconnect.Equal(s.Since.Add(time.Second)) || !s.First.Equal(s.Since) {
			t.Errorf("times %+v", s)
		}
		c.close()
		c.Disconnected(c.link, errors.New("gone"))
		if n := c.history.counters(); n.Disconnects != 1 {
			t.Errorf("a closed channel counts: %+v", n)
		}
	})
}

func TestASilentSubscriptionIsAskedAgain_S1_S33(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newTestEngine(t)
		stop := run(t, func(ctx context.Context) error { e.watchSilence(ctx); return nil })
		silent, denied := addChannel(e, scalar(schema.Monitor, 0)), addChannel(e, schema.TypeInfo{PV: "T:DENIED", DBRType: schema.ScalarDouble})
		connect(e, silent, double)
		connect(e, denied, double)
		denied.Update(nil, caclient.Update{Type: ca.DBRTimeDouble, Status: ca.StatusNoReadAccess}) // an answer too
		after := func(wait time.Duration, want uint64) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if n := silent.history.counters().TransientErrors; n != want {
				t.Errorf("asked again %d times, want %d", n, want)
			}
		}
		after(silenceMin-time.Second, 0)
		after(2*time.Second, 1)
		after(2*silenceMin-2*time.Second, 1)
		after(2*time.Second, 2)
		after(4*silenceMin, 3)
		silent.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
		after(24*time.Hour, 3)
		if n := denied.history.counters().TransientErrors; n != 1 {
			t.Errorf("%d transient errors of a channel that was answered", n)
		}
		stop()
	})
}

func TestNewChecksItsOptions(t *testing.T) {
	e, _ := newTestEngine(t)
	if o := e.opt; o.DriftPast != DefaultDrift || o.DriftFuture != DefaultDrift || o.Mask != 6 || o.Drain != DefaultDrain {
		t.Errorf("defaults %+v", o)
	}
	reg := prometheus.NewRegistry()
	for name, change := range map[string]func(*Options){
		"no client":         func(o *Options) { o.Client = nil },
		"no log":            func(o *Options) { o.Append = nil },
		"no registry":       func(o *Options) { o.Follow = nil },
		"no state":          func(o *Options) { o.Initial = nil },
		"nobody to tell":    func(o *Options) { o.Started = nil },
		"negative window":   func(o *Options) { o.DriftPast = -time.Second },
		"half a second":     func(o *Options) { o.DriftFuture = time.Second / 2 },
		"mask of 9 bits":    func(o *Options) { o.Mask = 256 },
		"registered before": func(o *Options) { o.Registerer = reg },
	} {
		opt := e.opt
		if name == "registered before" {
			opt.Registerer = reg
			if _, err := New(opt); err != nil {
				t.Error(err)
			}
		}
		change(&opt)
		if _, err := New(opt); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
