package caclient_test

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// gateway answers for the names of an IOC with its own address and passes
// circuits on, as the CA gateway does. It can say of a channel that it is
// gone, and its IOC goes on sending meanwhile.
type gateway struct {
	*server
	ioc *simioc.IOC

	mu   sync.Mutex
	down map[string]bool   // is not answered for
	cids map[string]uint32 // of the client's newest claims
	to   *conn             // the client, once it is there
}

// newGateway answers for all names but some.
func newGateway(t *testing.T, ioc *simioc.IOC, down ...string) *gateway {
	t.Helper()
	g := &gateway{ioc: ioc, down: map[string]bool{}, cids: map[string]uint32{}}
	for _, name := range down {
		g.down[name] = true
	}
	g.server = newServer(t, func(name string) bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return !g.down[name]
	})
	return g
}

// relay passes a client's circuit on until either end closes it.
func (g *gateway) relay(c *conn) {
	g.t.Helper()
	upstream, err := net.Dial("tcp4", g.ioc.TCPAddr())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { upstream.Close() })
	g.mu.Lock()
	g.to = c
	g.mu.Unlock()
	g.wg.Go(func() {
		defer upstream.Close()
		for m := range c.messages {
			if m.Command == ca.CmdCreateChan {
				g.mu.Lock()
				g.cids[ca.Text(m.payload)] = m.P1
				g.mu.Unlock()
			}
			if _, err := upstream.Write(ca.AppendMessage(nil, m.Header, m.payload)); err != nil {
				return
			}
		}
	})
	g.wg.Go(func() {
		defer c.Close()
		var s ca.Splitter
		for {
			n, err := upstream.Read(s.Buffer())
			s.Filled(n)
			for {
				h, payload, _, ok, _ := s.Next()
				if !ok {
					break
				}
				c.send(ca.AppendMessage(nil, h, payload))
			}
			if err != nil {
				return
			}
		}
	})
}

// lose tells the client that channels are gone, and answers for their names no
// more; regain answers again.
func (g *gateway) lose(names ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		g.down[name] = true
		g.to.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdServerDisconnect, P1: g.cids[name]}))
	}
}

func (g *gateway) regain(names ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range names {
		delete(g.down, name)
	}
}

// TestGatewayLosesAndRegainsItsIOC: channels end one by one and come back on
// the same circuit, without what the gateway still sends for the old ones, and
// with the stamps that it has.
func TestGatewayLosesAndRegainsItsIOC(t *testing.T) {
	stale := schema.Time{Sec: schema.EPICSEpoch + 1000}
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{
		{Name: "A", Type: ca.DBRLong, Value: 1}, {Name: "B", Type: ca.DBRLong, Value: 1},
	}})
	g := newGateway(t, ioc)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, g.addr())
	a, b := newRecorder(), newRecorder()
	client.Open("A", a)
	client.Open("B", b)
	g.relay(take(t, g.conns, "circuit"))
	for _, r := range []*recorder{a, b} {
		if v := r.value(t); v != int32(1) {
			t.Errorf("got %v", v)
		}
	}
	for round := range int32(3) {
		g.lose("A")
		if err := take(t, a.disconnected, "end of the channel"); !errors.Is(err, ca.ErrChannelEnded) {
			t.Errorf("ended with %v", err)
		}
		g.find("A")
		// the IOC still has the old channel: its updates are nobody's now
		for _, name := range []string{"A", "B"} {
			if err := ioc.Put(name, 10+round, simioc.WithTime(stale)); err != nil {
				t.Fatal(err)
			}
		}
		u := take(t, b.updates, "update of the other channel")
		if v := decoded(t, u, false); v != 10+round || len(a.updates) != 0 {
			t.Errorf("the other channel has %v; %d updates of the one that ended", v, len(a.updates))
		}
		g.regain("A")
		u = take(t, a.updates, "update")
		_, s, err := ca.DecodeTime(nil, u.Type, u.Count, false, u.Payload)
		if v := decoded(t, u, false); err != nil || v != 10+round || s.Time != stale {
			t.Errorf("got %v of %v (%v)", v, s.Time, err)
		}
	}
	if len(b.disconnected) != 0 || len(g.conns) != 0 || counted(t, reg, "circuits_lost_total") != 0 {
		t.Error("the circuit was given up for one channel")
	}
}

// TestGatewayBesideItsIOC: who answers first has the name; the other is told
// of once and not connected to.
func TestGatewayBesideItsIOC(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: []simioc.Record{{Name: "A", Type: ca.DBRLong, Value: 1}}})
	g := newGateway(t, ioc, "A")
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, ioc.Addr(), g.addr())
	a := newRecorder()
	client.Open("A", a)
	take(t, a.updates, "update")
	f := g.find("A")
	for range 2 {
		g.udp.WriteToUDP(ca.AppendSearchReply(nil, f.cid, g.port(), ca.AddressOfSender), f.from)
	}
	waitFor(t, "warning", func() bool { return counted(t, reg, "duplicate_pvs_total") == 1 })
	if len(g.conns) != 0 || len(a.disconnected) != 0 {
		t.Error("the gateway was connected to as well")
	}
}
