package caclient_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// decoded is the value of an update, as it is archived.
func decoded(t *testing.T, u caclient.Update, waveform bool) any {
	t.Helper()
	event, s, err := ca.DecodeTime(nil, u.Type, u.Count, waveform, u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := schema.DecodeSample(s.Type, s.Year, event)
	if err != nil {
		t.Fatal(err)
	}
	return sample.Value
}

func ramp(n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(i) / 3
	}
	return values
}

// TestRow6And7ArraysOfEveryLength follow the length that they have now: none,
// one, some, all; beyond the standard header too.
func TestRow6And7ArraysOfEveryLength(t *testing.T) {
	const nelm = 20_000
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{{Name: "wave", Type: ca.DBRDouble, Count: nelm, Value: []float64{}}}})
	client := run(t, caclient.Options{}, ioc.Addr())
	r := newRecorder()
	client.Open("wave", r)
	if info := take(t, r.connected, "connection"); info.Count != nelm {
		t.Errorf("got %+v", info)
	}
	if v := decoded(t, take(t, r.updates, "update"), true).([]float64); len(v) != 0 {
		t.Errorf("an empty array has %d elements", len(v))
	}
	for _, n := range []int{1, 10, nelm, 0, 9_000} {
		want := ramp(n)
		if err := ioc.Put("wave", want); err != nil {
			t.Fatal(err)
		}
		u := take(t, r.updates, "update")
		if got := decoded(t, u, true).([]float64); u.Count != uint32(n) || !slices.Equal(got, want) {
			t.Errorf("%d elements: got %d", n, len(got))
		}
	}
}

// TestRow8MoreElementsThanThereAre are zeros.
func TestRow8MoreElementsThanThereAre(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{{Name: "wave", Type: ca.DBRDouble, Count: 3, Value: ramp(3)}}})
	client := run(t, caclient.Options{}, ioc.Addr())
	r := newRecorder()
	ch := client.Open("wave", r)
	take(t, r.connected, "connection")
	u, err := ch.Get(t.Context(), ca.DBRTimeDouble, 5)
	if err != nil || u.Count != 5 {
		t.Fatalf("got %+v, %v", u, err)
	}
	if v := decoded(t, u, true).([]float64); !slices.Equal(v, append(ramp(3), 0, 0)) {
		t.Errorf("got %v", v)
	}
}

// TestRow9OddNumbersArriveBitForBit.
func TestRow9OddNumbersArriveBitForBit(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{{Name: "x", Type: ca.DBRDouble, Value: 1.0}}})
	client := run(t, caclient.Options{}, ioc.Addr())
	r := newRecorder()
	client.Open("x", r)
	take(t, r.updates, "update")
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.SmallestNonzeroFloat64, math.MaxFloat64} {
		if err := ioc.Put("x", v); err != nil {
			t.Fatal(err)
		}
		if got := decoded(t, take(t, r.updates, "update"), false).(float64); math.Float64bits(got) != math.Float64bits(v) {
			t.Errorf("%v became %v", v, got)
		}
	}
}

// TestRow22TheSameNameOnTwoIOCs: one connection, one warning.
func TestRow22TheSameNameOnTwoIOCs(t *testing.T) {
	records := []simioc.Record{{Name: "x", Type: ca.DBRLong, Value: 1}}
	first, _ := startIOC(t, simioc.Options{Records: records})
	second, _ := startIOC(t, simioc.Options{Records: records})
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, first.Addr(), second.Addr())
	r := newRecorder()
	client.Open("x", r)
	take(t, r.updates, "update")
	waitFor(t, "warning", func() bool { return counted(t, reg, "duplicate_pvs_total") == 1 })
	if n := first.Stats().Clients + second.Stats().Clients; n != 1 || len(r.connected) != 1 {
		t.Errorf("%d circuits, %d connections", n, len(r.connected))
	}
}

// TestRow23TwoIOCsOnOneHost: the port of each stands in its reply.
func TestRow23TwoIOCsOnOneHost(t *testing.T) {
	var addrs []string
	for i := range 2 {
		ioc, _ := startIOC(t, simioc.Options{Prefix: fmt.Sprintf("ioc%d:", i), Records: []simioc.Record{{Name: "x", Type: ca.DBRLong, Value: i}}})
		addrs = append(addrs, ioc.Addr())
	}
	client := run(t, caclient.Options{}, addrs...)
	for i := range int32(2) {
		r := newRecorder()
		client.Open(fmt.Sprintf("ioc%d:x", i), r)
		if v := decoded(t, take(t, r.updates, "update"), false); v != i {
			t.Errorf("IOC %d gave %v", i, v)
		}
	}
}

// TestRow24NameServerAlone: names are found and served on its circuit.
func TestRow24NameServerAlone(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: simioc.Load(100, 0.01)})
	client := run(t, caclient.Options{NameServers: []string{ioc.TCPAddr()}})
	c := &counter{event: make(chan struct{}, 1)}
	for _, name := range ioc.Names() {
		client.Open(name, c)
	}
	c.wait(t, "connection", func() bool { return c.connected.Load() == 100 })
	if n := ioc.Stats().Clients; n != 1 {
		t.Errorf("%d circuits", n)
	}
}

// TestRow58TextsAndEnumsOfAnyShape: what a hostile server sends is clamped.
func TestRow58TextsAndEnumsOfAnyShape(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	client.Open("A", r)
	c := take(t, s.conns, "circuit")
	c.send(greeting())
	create := c.expect(ca.CmdCreateChan)
	c.send(claimed(create.P1, 1, ca.DBRString, 1))
	add := c.expect(ca.CmdEventAdd)
	payload := make([]byte, 56)
	for i := range payload[12:52] {
		payload[12+i] = 0xFF
	}
	c.send(ca.AppendMessage(nil, ca.Header{Command: ca.CmdEventAdd, DataType: add.DataType, Count: 1, P1: ca.StatusNormal, P2: add.P2}, payload))
	if v := decoded(t, take(t, r.updates, "update"), false).(string); len(v) < 40 {
		t.Errorf("got %q", v)
	}
}

// TestRow63ClosingTenThousandChannels leaves no client at the server.
func TestRow63ClosingTenThousandChannels(t *testing.T) {
	const n = 10_000
	ioc, _ := startIOC(t, simioc.Options{Records: simioc.Load(n, 0.01)})
	client, stop := runOnce(t, caclient.Options{}, ioc.Addr())
	c := &counter{event: make(chan struct{}, 1)}
	for _, name := range ioc.Names() {
		client.Open(name, c)
	}
	c.wait(t, "connection", func() bool { return c.connected.Load() == n })
	stop()
	waitFor(t, "end of the circuit", func() bool { return ioc.Stats().Clients == 0 })
}
