package caclient_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

// described is a recorder that wants properties.
type described struct {
	*recorder
	properties chan ca.Metadata
}

func (d *described) Connected(ch *caclient.Channel, info caclient.Info) {
	ch.WatchProperties()
	d.recorder.Connected(ch, info)
}

func (d *described) Properties(_ *caclient.Channel, m ca.Metadata) { d.properties <- m }

// TestRow21PropertiesComeOnConnectAndChange, and again with each connection.
func TestRow21PropertiesComeOnConnectAndChange(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{
		{Name: "ai", Type: ca.DBRDouble, Units: "mm", Precision: 2, Value: 1.5},
		{Name: "state", Type: ca.DBREnum, Labels: []string{"Off", "On"}, Value: uint16(1)},
	}})
	client := run(t, caclient.Options{}, ioc.Addr())
	ai := &described{newRecorder(), make(chan ca.Metadata, 100)}
	channel := client.Open("ai", ai)
	if m := take(t, ai.properties, "properties"); m.Units != "mm" || m.Precision != 2 {
		t.Errorf("got %+v", m)
	}
	state := &described{newRecorder(), make(chan ca.Metadata, 100)}
	client.Open("state", state)
	if m := take(t, state.properties, "labels"); len(m.EnumStrings) != 2 || m.EnumStrings[1] != "On" {
		t.Errorf("got %+v", m)
	}
	r := newRecorder()
	r.silent = true
	egu, err := channel.Sibling("ai.EGU", r)
	if err != nil {
		t.Fatal(err)
	}
	take(t, r.connected, "connection")
	if err := egu.PutValues(t.Context(), []string{"um"}, true); err != nil {
		t.Fatal(err)
	}
	if m := take(t, ai.properties, "change"); m.Units != "um" || m.Precision != 2 {
		t.Errorf("got %+v", m)
	}
	ioc.DisconnectAll()
	if m := take(t, ai.properties, "properties of the new connection"); m.Units != "um" {
		t.Errorf("got %+v", m)
	}
}

// TestPrioritiesHaveCircuitsOfTheirOwn to one server, and tell it.
func TestPrioritiesHaveCircuitsOfTheirOwn(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{Priority: 7}, s.addr())
	client.Open("A", newRecorder())
	first := take(t, s.conns, "circuit")
	if m := take(t, first.messages, "greeting"); m.Command != ca.CmdVersion || m.DataType != 7 {
		t.Errorf("got %+v", m.Header)
	}
	client.OpenPriority("B", 200, newRecorder())
	second := take(t, s.conns, "circuit of another priority")
	if m := take(t, second.messages, "greeting"); m.Command != ca.CmdVersion || m.DataType != ca.MaxPriority {
		t.Errorf("got %+v: a server closes a circuit above 99", m.Header)
	}
	if m := second.expect(ca.CmdCreateChan); ca.Text(m.payload) != "B" {
		t.Errorf("claimed %q", ca.Text(m.payload))
	}
	client.Open("C", newRecorder())
	first.expect(ca.CmdCreateChan)
	if m := first.expect(ca.CmdCreateChan); ca.Text(m.payload) != "C" {
		t.Errorf("claimed %q", ca.Text(m.payload))
	}
}

// TestRow29FlowControlPausesAndGoesOn when the reader is slower than the
// server, marks the first update after the pause, and never stays off.
func TestRow29FlowControlPausesAndGoesOn(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newServer(t, all)
	client := run(t, caclient.Options{FlowControl: true, Registerer: reg}, s.addr())
	r := newRecorder()
	r.updates = make(chan caclient.Update, 1<<20)
	client.Open("A", r)
	c := take(t, s.conns, "circuit")
	create := c.expect(ca.CmdCreateChan)
	c.send(claimed(create.P1, 0, ca.DBRDouble, 1))
	add := c.expect(ca.CmdEventAdd)
	var chunk []byte
	for range 20_000 {
		chunk = append(chunk, updated(add.P2, 1)...)
	}
	off := make(chan struct{})
	go func() { // floods until it is told to pause, as a server does
		for {
			select {
			case <-off:
				return
			default:
				c.send(chunk)
			}
		}
	}()
	c.expect(ca.CmdEventsOff)
	close(off)
	c.expect(ca.CmdEventsOn)
	c.send(updated(add.P2, 2))
	marked := 0
	for {
		u := take(t, r.updates, "update")
		if u.Paused > 0 {
			marked++
		}
		if binary.BigEndian.Uint64(u.Payload[16:]) == binary.BigEndian.Uint64(updated(0, 2)[32:]) {
			break
		}
	}
	if pauses := counted(t, reg, "pauses_total"); marked == 0 || float64(marked) > pauses || counted(t, reg, "paused_seconds_total") <= 0 {
		t.Errorf("%d updates are marked, of %v pauses of %v s", marked, pauses, counted(t, reg, "paused_seconds_total"))
	}
}

// TestOldServersAreClaimedByTheirIDs: a server of minor 3 gives the channel with
// the search reply, one of minor 0 does not even answer the claim.
func TestOldServersAreClaimedByTheirIDs(t *testing.T) {
	for _, minor := range []uint16{0, 3} {
		s := newServer(t, nil)
		client := run(t, caclient.Options{ServerPort: int(s.port())}, s.addr())
		r := newRecorder()
		client.Open("A", r)
		asked := take(t, s.searches, "search")
		payload := []byte{0, byte(minor), 0, 0, 0, 0, 0, 0}
		if minor == 0 {
			payload = nil
		}
		reply := ca.AppendMessage(nil, ca.Header{Command: ca.CmdSearch, DataType: uint16(ca.DBRDouble), Count: 1, P1: 99, P2: asked.cid}, payload)
		if _, err := s.udp.WriteToUDP(reply, asked.from); err != nil {
			t.Fatal(err)
		}
		c := take(t, s.conns, "circuit")
		if m := c.expect(ca.CmdCreateChan); m.P1 != 99 || len(m.payload) > 0 {
			t.Errorf("minor %d: claimed by %+v", minor, m)
		}
		if minor > 0 {
			b := ca.AppendHeader(nil, ca.Header{Command: ca.CmdAccessRights, P1: asked.cid, P2: ca.AccessRead})
			c.send(ca.AppendHeader(b, ca.Header{Command: ca.CmdCreateChan, DataType: uint16(ca.DBRDouble), Count: 1, P1: asked.cid}))
		}
		if info := take(t, r.connected, "connection"); info.Minor != minor || info.Native != ca.DBRDouble || !info.Readable {
			t.Errorf("minor %d: got %+v", minor, info)
		}
		add := c.expect(ca.CmdEventAdd)
		if add.P1 != 99 || add.Count != 1 {
			t.Errorf("minor %d: subscribed by %+v", minor, add.Header)
		}
		c.send(updated(add.P2, 8.25))
		if v := r.value(t); v != 8.25 {
			t.Errorf("minor %d: got %v", minor, v)
		}
	}
}

// TestStatesOfAChannel follows one through all of them.
func TestStatesOfAChannel(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := newServer(t, nil)
	client := run(t, caclient.Options{Registerer: reg, ConnTimeout: 200 * time.Millisecond}, s.addr())
	r := newRecorder()
	ch := client.Open("A", r)
	expect := func(want caclient.State) {
		t.Helper()
		if got := ch.State(); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	asked := take(t, s.searches, "search")
	expect(caclient.Searched)
	if _, err := s.udp.WriteToUDP(ca.AppendSearchReply(nil, asked.cid, s.port(), ca.AddressOfSender), asked.from); err != nil {
		t.Fatal(err)
	}
	c := take(t, s.conns, "circuit")
	create := c.expect(ca.CmdCreateChan)
	expect(caclient.Claimed)
	c.send(append(greeting(), claimed(create.P1, 1, ca.DBRDouble, 1)...))
	take(t, r.connected, "connection")
	expect(caclient.Connected)
	take(t, r.disconnected, "disconnection of a silent server")
	expect(caclient.Suspended)
	c.send(ca.AppendEcho(nil, 13))
	take(t, r.connected, "connection")
	expect(caclient.Connected)
	c.Close()
	take(t, r.disconnected, "disconnection")
	ch.Close()
	expect(caclient.Closed)
	if n := counted(t, reg, "illegal_moves_total"); n != 0 {
		t.Errorf("%v illegal moves", n)
	}
}

// TestServersThatCannotStandPropertiesAreNotAskedAgain: one that ends its
// circuit at the mask PROPERTY gives values with the third one.
func TestServersThatCannotStandPropertiesAreNotAskedAgain(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := &described{newRecorder(), make(chan ca.Metadata, 1)}
	client.Open("A", r)
	for i := range 3 {
		c := take(t, s.conns, "circuit")
		create := c.expect(ca.CmdCreateChan)
		c.send(claimed(create.P1, uint32(i), ca.DBRDouble, 1))
		add := c.expect(ca.CmdEventAdd)
		if i < 2 {
			if add.DataType != uint16(ca.DBRCtrlDouble) {
				t.Errorf("circuit %d: asked for type %d first", i, add.DataType)
			}
			c.Close()
			take(t, r.disconnected, "disconnection")
			continue
		}
		if add.DataType != uint16(ca.DBRTimeDouble) {
			t.Fatalf("circuit %d: asked for type %d", i, add.DataType)
		}
		c.send(updated(add.P2, 3))
	}
	if v := r.value(t); v != 3.0 {
		t.Errorf("got %v", v)
	}
}
