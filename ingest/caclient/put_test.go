package caclient_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

func TestPutValuesIsThereForTheNextGet(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{
		{Name: "d", Type: ca.DBRDouble, Value: 1.0, Precision: 2},
		{Name: "e", Type: ca.DBREnum, Value: 0, Labels: []string{"Off", "On"}},
	}})
	client := run(t, caclient.Options{}, ioc.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, c := range []struct {
		pv       string
		values   any
		complete bool
		status   uint32 // of the refusal
		want     string
	}{
		{"d", []string{"2.5"}, false, 0, "2.50"},
		{"d", []float64{3}, true, 0, "3.00"},
		{"d", []string{"no number"}, false, ca.StatusPutFail, "3.00"},
		{"d", []string{"no number"}, true, ca.StatusPutFail, "3.00"},
		{"e", []string{"On"}, true, 0, "On"},
		{"e", []float64{0}, false, 0, "Off"},
	} {
		r := newRecorder()
		ch := client.Open(c.pv, r)
		take(t, r.connected, c.pv+" connected")
		err := ch.PutValues(ctx, c.values, c.complete)
		if c.status == 0 && err != nil {
			t.Errorf("put %v to %s: %v", c.values, c.pv, err)
		}
		if refused, ok := errors.AsType[*caclient.StatusError](err); c.status != 0 && (!ok || refused.Status != c.status) {
			t.Errorf("put %v to %s: %v, want %s", c.values, c.pv, err, ca.StatusName(c.status))
		}
		u, err := ch.Get(ctx, ca.DBRString, 1)
		if err != nil || ca.Text(u.Payload) != c.want {
			t.Errorf("%s is %q after %v, want %q: %v", c.pv, ca.Text(u.Payload), c.values, c.want, err)
		}
		ch.Close()
	}
}

func TestPutValuesFailsWithoutWriteAccessAndConnection(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{{Name: "ro", Type: ca.DBRDouble, Value: 1.0, ReadOnly: true}}})
	client := run(t, caclient.Options{}, ioc.Addr())
	r := newRecorder()
	ch := client.Open("ro", r)
	take(t, r.connected, "ro connected")
	if err := ch.PutValues(t.Context(), []float64{2}, false); err == nil {
		t.Error("a read-only record took a value")
	}
	if err := client.Open("none", newRecorder()).PutValues(t.Context(), []float64{2}, false); !errors.Is(err, ca.ErrNotConnected) {
		t.Errorf("got %v", err)
	}
}
