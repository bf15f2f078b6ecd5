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

// TestRow20OnlyOnePutIsOnItsWay: a server that is asked for a second one on a
// channel stops reading the circuit.
func TestRow20OnlyOnePutIsOnItsWay(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	r.silent = true
	ch := client.Open("A", r)
	c := take(t, s.conns, "circuit")
	c.send(greeting())
	c.accept(t, 1, r)
	ends := make(chan error, 5)
	for v := range 5 {
		go func() { ends <- ch.PutValues(t.Context(), []float64{float64(v)}, true) }()
	}
	for range 5 {
		write := c.expect(ca.CmdWriteNotify)
		// whatever else would come before the answer to the read
		go func() { _, err := ch.Get(t.Context(), ca.DBRDouble, 1); ends <- err }()
		read := c.expect(ca.CmdReadNotify)
		c.send(ca.AppendMessage(nil, ca.Header{Command: ca.CmdReadNotify, DataType: read.DataType, Count: 1, P1: ca.StatusNormal, P2: read.P2}, make([]byte, 8)))
		if err := take(t, ends, "read"); err != nil {
			t.Fatal(err)
		}
		c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdWriteNotify, DataType: write.DataType, Count: 1, P1: ca.StatusNormal, P2: write.P2}))
		if err := take(t, ends, "end of a put"); err != nil {
			t.Fatal(err)
		}
	}
}
