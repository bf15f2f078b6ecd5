package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

func TestLiveValue_S23(t *testing.T) {
	r := newRig(t, []simioc.Record{
		{Name: "A", Type: ca.DBRDouble, Value: 1.5, Units: "mm"}, {Name: "W", Type: ca.DBRLong, Count: 3, Value: []int32{1, 2}},
		{Name: "S", Type: ca.DBRString, Value: "text"}, {Name: "OFF", Type: ca.DBRDouble, Value: 0.0},
	})
	for _, pv := range []string{"A", "W", "S", "GONE", "HELD"} {
		r.registry.add(requestEvent(pv))
	}
	r.control(t, "HELD", "OFF")
	r.gateIs(t, "HELD", true, false)
	r.sampled(t, "W", 1)
	r.sampled(t, "S", 1)
	was := r.sampled(t, "A", 1)[0].decode(t)
	get := func(pv schema.PVName, timeout time.Duration) (schema.Sample, error) {
		return r.engine.Get(t.Context(), pv, timeout)
	}
	for pv, want := range map[schema.PVName]any{"A": 1.5, "W": []int32{1, 2}, "S": "text"} {
		if got, err := get(pv, time.Minute); err != nil || fmt.Sprint(got.Value) != fmt.Sprint(want) || len(got.Fields) != 0 {
			t.Errorf("%s: %+v, %v", pv, got, err)
		}
	}
	if got, _ := get("A", time.Minute); got.Time != was.Time {
		t.Errorf("the value is of %v, the IOC says %v", got.Time, was.Time)
	}
	for pv, want := range map[schema.PVName]struct {
		code schema.Code
		is   error
	}{
		"NONE": {schema.NotFound, nil}, "HELD": {schema.NotFound, nil}, "GONE": {schema.Unavailable, ErrNotConnected},
	} {
		_, err := get(pv, 10*time.Millisecond)
		if schema.CodeOf(err) != want.code || want.is != nil && !errors.Is(err, want.is) || !strings.Contains(err.Error(), string(pv)) {
			t.Errorf("%s: %v", pv, err)
		}
	}
	if err := r.ioc.SetAccess("A", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := get("A", time.Minute); !errors.Is(err, ErrGetFailed) || schema.CodeOf(err) != schema.Unavailable {
		t.Errorf("without read access: %v", err)
	}
	// One that waits for the connection gets it.
	answer := make(chan error, 1)
	go func() {
		_, err := get("GONE", time.Minute)
		answer <- err
	}()
	if err := r.ioc.AddRecord(simioc.Record{Name: "GONE", Type: ca.DBRDouble, Value: 1.0}); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("after it connected: %v", err)
	}
	go func() {
		r.ioc.Wedge(true)
		_, err := get("S", 50*time.Millisecond)
		r.ioc.Wedge(false)
		answer <- err
	}()
	if err := <-answer; !errors.Is(err, ErrGetTimeout) || schema.CodeOf(err) != schema.Unavailable {
		t.Errorf("of a server that does not answer: %v", err)
	}
}

func TestLiveValueOfAChannelThatEnds_S23(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := newTestEngine(t)
		c := addChannel(e, scalar(schema.Monitor, 0))
		answer := make(chan error, 2)
		get := func(ctx context.Context) {
			_, err := e.Get(ctx, "T:AI", time.Hour)
			answer <- err
		}
		ctx, cancel := context.WithCancel(t.Context())
		go get(ctx)
		synctest.Wait()
		cancel()
		if err := <-answer; !errors.Is(err, ErrNotConnected) {
			t.Errorf("cancelled: %v", err)
		}
		go get(t.Context())
		synctest.Wait()
		c.close()
		if err := <-answer; schema.CodeOf(err) != schema.NotFound {
			t.Errorf("paused meanwhile: %v", err)
		}
	})
}

func TestListsOfWhatIsNotConnected_S22(t *testing.T) {
	e, _ := newTestEngine(t)
	var channels []*Channel
	for _, pv := range []schema.PVName{"D", "C", "B", "A"} {
		info := scalar(schema.Monitor, 0)
		info.PV = pv
		channels = append(channels, addChannel(e, info))
	}
	connect := func(c *Channel) {
		c.link = e.opt.Client.Open(string(c.pv), c)
		c.Connected(c.link, caclient.Info{Native: ca.DBRDouble, Count: 1})
	}
	names := func(states []ChannelState) string {
		var list []string
		for _, s := range states {
			list = append(list, string(s.PV))
		}
		return strings.Join(list, " ")
	}
	if got := names(e.NeverConnected()); got != "A B C D" {
		t.Errorf("never connected: %s", got)
	}
	connect(channels[0])
	connect(channels[1])
	channels[1].Disconnected(channels[1].link, errors.New("lost"))
	if got := names(e.NeverConnected()) + "; " + names(e.Disconnected()); got != "A B; A B C" {
		t.Errorf("never connected; disconnected: %s", got)
	}
	// A PV that connected before a pause, or a restart, is none that never did.
	channels[2].history.sawEvent(time.Now())
	if got := names(e.NeverConnected()) + "; " + names(e.Disconnected()); got != "A; A B C" {
		t.Errorf("never connected; disconnected: %s", got)
	}
}

func BenchmarkDisconnected(b *testing.B) {
	e, _ := newTestEngine(b)
	for i := range 100_000 {
		info := scalar(schema.Monitor, 0)
		info.PV = schema.PVName(fmt.Sprint("PV", i))
		c := addChannel(e, info)
		if i%100 != 0 {
			c.connection = Connected
		}
	}
	for b.Loop() {
		if n := len(e.Disconnected()); n != 1000 {
			b.Fatal(n)
		}
	}
}
