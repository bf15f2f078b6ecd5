package caclient

import (
	"net/netip"
	"time"

	"pvlog/ingest/ca"
)

// Trace is how a channel fares, for whoever asks why no data comes. What does
// not apply to its state is zero.
type Trace struct {
	State    State
	Search   ca.SearchState   // while it is searched
	UDP, TCP []netip.AddrPort // where names are searched
	Found    netip.AddrPort   // server that had it last
	Failures int              // claims that failed in a row

	Server  netip.AddrPort  // of its circuit
	Circuit ca.CircuitState // of that
	Dialled bool            // the circuit's connection stands
	Heard   time.Time       // bytes last came on the circuit
	BackOff time.Duration   // for which the server that was found last is left alone

	Info      Info // while it is connected
	Connected bool
	Mask      uint16 // of the monitor that is wanted, 0: none
}

// Trace looks at the channel. It asks nobody.
func (ch *Channel) Trace() Trace {
	c := ch.client
	c.mu.Lock()
	t := Trace{
		State: ch.state, UDP: c.places.udp, TCP: c.places.tcp, Found: ch.found, Failures: int(ch.failures), Mask: ch.mask,
	}
	t.Search, _ = c.schedule.State(ch.cid)
	if t.Found.IsValid() {
		t.BackOff = c.notBefore(server{t.Found, ch.priority})
	}
	circ := ch.circuit
	c.mu.Unlock()
	if circ != nil {
		t.Server = circ.addr
		t.Circuit, t.Dialled, t.Heard = circ.look()
		t.Info, t.Connected = ch.Info()
	}
	return t
}

// look tells how the circuit stands.
func (c *circuit) look() (state ca.CircuitState, dialled bool, heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.State(), c.conn != nil, c.core.LastHeard()
}
