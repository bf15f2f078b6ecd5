package ingest

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

func TestAPanicOfOneChannelHarmsNoOther_S54(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "BAD", Type: ca.DBRDouble, Value: 0.0}, {Name: "GOOD", Type: ca.DBRDouble, Value: 0.0}},
		func(o *Options) {
			take := o.Append
			o.Append = func(ctx context.Context, pv schema.PVName, s schema.RawSample) error {
				if pv == "BAD" {
					panic("injected")
				}
				return take(ctx, pv, s)
			}
		})
	r.registry.add(requestEvent("BAD"), requestEvent("GOOD"))
	for i := range 10 {
		r.set(t, "BAD", float64(i))
		r.set(t, "GOOD", float64(i))
		r.until(t, "the good one's value", func() bool {
			all := r.log.of("GOOD")
			return len(all) > 0 && all[len(all)-1].decode(t).Value == float64(i)
		})
	}
	bad, _ := r.engine.State("BAD")
	good, _ := r.engine.State("GOOD")
	if bad.Disconnects != 0 || good.Disconnects != 0 || bad.Connection != Connected || bad.Received < 2 || bad.Appended != 0 {
		t.Errorf("the bad one %+v, the good one %+v", bad, good)
	}
	r.applied(t, r.registry.add(pauseEvent("BAD"))) // it can still be closed
	if _, ok := r.engine.State("BAD"); ok {
		t.Error("the bad one was not closed")
	}
}

func TestAPanicOnASharedGoroutineHarmsNoOther_S54(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		e, log := newTestEngine(t, func(o *Options) {
			take := o.Append
			o.Logger = slog.New(slog.NewTextHandler(&lines, nil))
			o.Append = func(ctx context.Context, pv schema.PVName, s schema.RawSample) error {
				if pv == "BAD" && !s.First {
					panic("injected")
				}
				return take(ctx, pv, s)
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { e.stragglers.run(ctx); close(ended) }()
		for _, pv := range []schema.PVName{"BAD", "GOOD"} {
			info := scalar(schema.Scan, time.Second)
			info.PV = pv
			c := addChannel(e, info)
			regain(c)
			c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
			c.Update(nil, update(t, schema.TimeOf(time.Now().Add(time.Millisecond)), 2)) // held
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		cancel()
		<-ended
		if bad, good := values(t, log.of("BAD")), values(t, log.of("GOOD")); bad != "1" || good != "1 2" {
			t.Errorf("the bad one has %s, the good one %s", bad, good)
		}
		if got := lines.String(); !strings.Contains(got, "injected") || !strings.Contains(got, "pv=BAD") {
			t.Errorf("the panic was not told: %s", got)
		}
	})
}
