package caclient_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// find waits for a search of a name.
func (s *server) find(name string) search {
	s.t.Helper()
	for {
		if f := take(s.t, s.searches, "search of "+name); f.name == name {
			return f
		}
	}
}

// counted reads a metric of a client.
func counted(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pvlog_caclient_"+name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestSearchSurvivesAnyDatagram(t *testing.T) {
	s := newServer(t, nil)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, s.addr())
	r := newRecorder()
	client.Open("A", r)
	f := s.find("A")
	good := ca.AppendSearchReply(nil, f.cid, s.port(), ca.AddressOfSender)
	for n := range 16 {
		s.udp.WriteToUDP(good[:n], f.from)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, random.IntN(200))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		s.udp.WriteToUDP(b, f.from)
	}
	for _, b := range [][]byte{
		ca.AppendHeader(nil, ca.Header{Command: ca.CmdSearch, PayloadSize: 4096, P2: f.cid}), // beyond the datagram
		ca.AppendHeader(nil, ca.Header{Command: ca.CmdNotFound, P1: f.cid, P2: f.cid}),
		ca.AppendHeader(nil, ca.Header{Command: 99, P1: f.cid, P2: f.cid}),
		ca.AppendError(nil, f.cid, 0xFFFFFFFF, ca.Header{}, "x"),
		ca.AppendSearchReply(nil, f.cid+1, s.port(), ca.AddressOfSender), // nobody's
		ca.AppendSearchReply(nil, f.cid, 0, ca.AddressOfSender),          // port 0
		ca.AppendSearchReply(nil, f.cid, s.port(), 0xE0000001),           // multicast
	} {
		s.udp.WriteToUDP(b, f.from)
	}
	if len(s.conns) != 0 {
		t.Error("the client connected to nonsense")
	}
	// A server of minor 0 gives no port and no address that count.
	f = s.find("A")
	s.udp.WriteToUDP(good, f.from)
	s.udp.WriteToUDP(good, f.from) // duplicate
	take(t, s.conns, "circuit").accept(t, 0, r)
	s.udp.WriteToUDP(good, f.from) // late
	if len(s.conns) != 0 {
		t.Error("a duplicate reply made a second circuit")
	}
	if n := counted(t, reg, "malformed_datagrams_total"); n < 100 {
		t.Errorf("%v datagrams were counted", n)
	}
}

func TestFirstServerOfAPVWins(t *testing.T) {
	first, second := newServer(t, nil), newServer(t, nil)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, first.addr(), second.addr())
	r := newRecorder()
	client.Open("A", r)
	f, g := first.find("A"), second.find("A")
	first.udp.WriteToUDP(ca.AppendSearchReply(nil, f.cid, first.port(), ca.AddressOfSender), f.from)
	take(t, first.conns, "circuit").accept(t, 0, r)
	for range 3 {
		second.udp.WriteToUDP(ca.AppendSearchReply(nil, g.cid, second.port(), ca.AddressOfSender), g.from)
	}
	// A name that only the second has shows that it is heard.
	client.Open("B", newRecorder())
	g = second.find("B")
	second.udp.WriteToUDP(ca.AppendSearchReply(nil, g.cid, second.port(), ca.AddressOfSender), g.from)
	if create := take(t, second.conns, "circuit").expect(ca.CmdCreateChan); ca.Text(create.payload) != "B" {
		t.Errorf("claimed %q of the second server", create.payload)
	}
	if n := counted(t, reg, "duplicate_pvs_total"); n != 1 {
		t.Errorf("%v warnings of a second server", n)
	}
}

// TestReplyMayNameAnotherHost: p1 is an address, as of a name server.
func TestReplyMayNameAnotherHost(t *testing.T) {
	s := newServer(t, nil)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	client.Open("A", r)
	f := s.find("A")
	s.udp.WriteToUDP(ca.AppendSearchReply(nil, f.cid, s.port(), 0x7F000001), f.from)
	take(t, s.conns, "circuit").accept(t, 0, r)
}

func TestServerThatNeverSpeaksIsLeft(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	client := run(t, caclient.Options{ConnTimeout: 200 * time.Millisecond}, s.addr())
	client.Open("A", newRecorder())
	c := take(t, s.conns, "circuit")
	c.expect(ca.CmdCreateChan)
	c.expect(ca.CmdEcho)
	c.ended()
	take(t, s.conns, "next circuit")
}

// TestServersThatHangUpAreNotDialledInALoop covers refused connections and
// those that end after the accept.
func TestServersThatHangUpAreNotDialledInALoop(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	refused, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(refused.Addr().(*net.TCPAddr).Port)
	refused.Close()
	other := newServer(t, nil)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, s.addr(), other.addr())
	for i := range 30 { // of one server: it is the server that is left alone, not each name
		client.Open(fmt.Sprintf("A:%d", i), newRecorder()) // s accepts it and hangs up
		client.Open(fmt.Sprintf("B:%d", i), newRecorder())
	}
	begin := time.Now()
	hungUp := 0
	for time.Since(begin) < 3*time.Second {
		select {
		case c := <-s.conns:
			c.Close()
			hungUp++
		case f := <-other.searches:
			if strings.HasPrefix(f.name, "B") {
				other.udp.WriteToUDP(ca.AppendSearchReply(nil, f.cid, port, ca.AddressOfSender), f.from)
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
	if hungUp < 1 || hungUp > 15 {
		t.Errorf("%d circuits in 3 s", hungUp)
	}
	if n := counted(t, reg, "dial_failures_total"); n > 15 {
		t.Errorf("%v dials in 3 s", n)
	}
}

func TestBrokenStreamCostsOneCircuitOnly(t *testing.T) {
	t.Parallel()
	good, bad := newServer(t, only("GOOD")), newServer(t, only("BAD"))
	client := run(t, caclient.Options{}, good.addr(), bad.addr())
	g, b := newRecorder(), newRecorder()
	_, gc, _, add := connect(t, good, client, "GOOD", g)
	_, bc, _, _ := connect(t, bad, client, "BAD", b)
	bc.send(append(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEventAdd, PayloadSize: 12}), make([]byte, 12)...))
	bc.ended()
	if err := take(t, b.disconnected, "end of the circuit"); !errors.Is(err, ca.ErrMalformed) {
		t.Errorf("got %v", err)
	}
	bc = take(t, bad.conns, "next circuit")
	bc.accept(t, 0, b)
	bc.send([]byte{0, 1, 0xFF, 0xFF, 0, 20, 0, 0, 0, 0}) // half an extended header
	bc.Close()
	take(t, b.disconnected, "end of the circuit")
	take(t, bad.conns, "next circuit").accept(t, 0, b)
	gc.send(updated(add.P2, 7))
	if v := g.value(t); v != 7.0 || len(g.disconnected) != 0 {
		t.Errorf("the good server's channel suffered: %v", v)
	}
}

// TestBadUpdatesAreCountedAndTheNextIsTaken sends what matrix rows 46 to 56
// ask for on one circuit, then a good update.
func TestBadUpdatesAreCountedAndTheNextIsTaken(t *testing.T) {
	s := newServer(t, all)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, s.addr())
	r := newRecorder()
	_, c, create, add := connect(t, s, client, "A", r)
	update := func(h ca.Header, size int) []byte {
		h.Command, h.P2 = ca.CmdEventAdd, add.P2
		if h.P1 == 0 {
			h.P1 = ca.StatusNormal
		}
		return ca.AppendMessage(nil, h, make([]byte, size))
	}
	bad := [][]byte{
		update(ca.Header{DataType: 20, Count: 0xFFFFFFFF}, 64),
		update(ca.Header{DataType: 20, Count: 1}, 16),
		update(ca.Header{DataType: 18, Count: 1}, 8),
		update(ca.Header{DataType: 255, Count: 1}, 24),
		update(ca.Header{DataType: 6, Count: 1}, 8),
		ca.AppendHeader(nil, ca.Header{Command: 28}),
		ca.AppendHeader(nil, ca.Header{Command: 65535}),
		ca.AppendHeader(nil, ca.Header{Command: ca.CmdCreateChan, DataType: 6, Count: 1, P1: create.P1, P2: 9}),
		ca.AppendMessage(nil, ca.Header{Command: ca.CmdError, P1: create.P1}, make([]byte, 8)),
	}
	for _, b := range bad {
		c.send(b)
	}
	c.send(ca.AppendMessage(nil, ca.Header{Command: ca.CmdEventAdd, DataType: 20, Count: 1, P1: 1, P2: add.P2 + 1}, make([]byte, 24)))
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdServerDisconnect, P1: create.P1 + 1}))
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdAccessRights, P1: create.P1 + 1, P2: 3}))
	c.send(ca.AppendError(nil, 0xFFFFFFFF, 0xFFFFFFFF, ca.Header{Command: ca.CmdRead, PayloadSize: 1 << 30}, "too \xff much"))
	// A status is reported, its payload is not.
	c.send(update(ca.Header{DataType: 20, Count: 1, P1: ca.StatusNoReadAccess}, 24))
	if u := take(t, r.updates, "status"); u.Status != ca.StatusNoReadAccess || len(u.Payload) != 0 {
		t.Errorf("got %+v", u)
	}
	c.send(updated(add.P2, 3))
	if v := r.value(t); v != 3.0 {
		t.Errorf("got %v", v)
	}
	if n := counted(t, reg, "rejected_messages_total"); n != float64(len(bad)) {
		t.Errorf("%v messages were counted, want %d", n, len(bad))
	}
	if len(r.disconnected) != 0 {
		t.Error("the channel was lost")
	}
}

// TestMonstrousUpdateIsPassedOver: 64 MiB and 8 bytes, then a good one.
func TestMonstrousUpdateIsPassedOver(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	size := uint32(ca.MaxPayload + 8)
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEventAdd, PayloadSize: size, DataType: 20, Count: size / 8, P1: 1, P2: add.P2}))
	if u := take(t, r.updates, "status"); u.Status != ca.StatusTooLarge {
		t.Errorf("got %+v", u)
	}
	chunk := make([]byte, 1<<20)
	for left := size; left > 0; left -= min(left, uint32(len(chunk))) {
		c.send(chunk[:min(left, uint32(len(chunk)))])
	}
	c.send(updated(add.P2, 3))
	if v := r.value(t); v != 3.0 {
		t.Errorf("got %v", v)
	}
}

func TestHeaderSplitIntoBytesIsRead(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	for _, b := range updated(add.P2, 8) {
		c.send([]byte{b})
	}
	if v := r.value(t); v != 8.0 {
		t.Errorf("got %v", v)
	}
}

func TestRefusedAndEndedChannelsAreSearchedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	other, r := newRecorder(), newRecorder()
	_, c, _, _ := connect(t, s, client, "OTHER", other)
	client.Open("A", r)
	create := c.expect(ca.CmdCreateChan)
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdCreateChanFail, P1: create.P1}))
	create, _ = c.accept(t, 5, r)
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdServerDisconnect, P1: create.P1}))
	if err := take(t, r.disconnected, "disconnection"); !errors.Is(err, ca.ErrChannelEnded) {
		t.Errorf("got %v", err)
	}
	create = c.expect(ca.CmdCreateChan)
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdCreateChan, DataType: 9, Count: 1, P1: create.P1, P2: 6}))
	c.expect(ca.CmdClearChannel)
	c.accept(t, 7, r)
	if len(other.disconnected) != 0 || len(r.disconnected) != 0 || len(s.conns) != 0 {
		t.Error("others suffered")
	}
}

// TestServerThatDoesNotReadIsLeft: its window closes, the writer gives up.
func TestServerThatDoesNotReadIsLeft(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	s.deaf.Store(true)
	client := run(t, caclient.Options{ConnTimeout: time.Second}, s.addr())
	r := newRecorder()
	r.silent = true
	ch := client.Open("A", r)
	f := s.find("A")
	c := take(t, s.conns, "circuit")
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	c.send(append(greeting(), claimed(f.cid, 1, ca.DBRDouble, 1)...))
	take(t, r.connected, "connection")
	answers := make(chan error, 1_000_000)
	for range cap(answers) {
		ch.GetAsync(ca.DBRDouble, 1, func(_ caclient.Update, err error) { answers <- err })
	}
	take(t, r.disconnected, "disconnection")
	for i := range cap(answers) {
		if err := take(t, answers, "answer"); err == nil {
			t.Fatalf("get %d succeeded", i)
		}
	}
}
