package caclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"pvlog/ingest/ca"
)

// gathering is how long the search loop waits after a name was added, so that
// names that are opened together share datagrams.
const gathering = 3 * time.Millisecond

// search sends datagrams as the schedule says.
func (c *Client) search(ctx context.Context) error {
	buf := make([]byte, 0, ca.MaxDatagram)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(c.sendDue(buf))
		case <-c.wake:
			timer.Reset(gathering)
		}
	}
}

// sendDue sends what may leave now and gives the time until the next is due.
func (c *Client) sendDue(buf []byte) time.Duration {
	for {
		now := time.Now()
		c.mu.Lock()
		if c.places.empty() {
			c.mu.Unlock()
			return 100 * time.Millisecond
		}
		datagram, ok := c.schedule.Next(now, buf)
		wait := c.schedule.Wait(now, time.Second)
		places := c.places
		if ok {
			c.searchByTCP(datagram)
		}
		c.mu.Unlock()
		if !ok {
			return max(wait, gathering)
		}
		for _, to := range places.udp {
			c.metrics.datagrams.Inc()
			if _, err := c.socket.WriteToUDPAddrPort(datagram, to); err != nil && !errors.Is(err, net.ErrClosed) {
				c.odd.warn("search not sent", "addr", to, "err", err)
			}
		}
	}
}

// receive takes search replies and beacons.
func (c *Client) receive(ctx context.Context) error {
	buf := make([]byte, 64<<10)
	var d ca.Datagram
	for {
		n, from, err := c.socket.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("receive search replies: %w", err)
		}
		if err != nil {
			c.odd.warn("search reply not received", "err", err)
			// Whatever it is must not become a busy loop.
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if err := d.Parse(buf[:n], uint16(c.options.ServerPort)); err != nil {
			c.metrics.malformed.Inc()
			c.odd.warn("datagram passed over", "addr", from, "err", err)
		}
		if len(d.Replies) > 0 {
			c.found(d.Replies, from.Addr())
		}
		if len(d.Beacons) > 0 {
			c.hear(d.Beacons, from.Addr())
		}
		if d.Confirmed && from.Addr().IsLoopback() {
			c.registered()
		}
	}
}

// found claims the names of a datagram of replies.
func (c *Client) found(replies []ca.Reply, from netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range replies {
		addr := netip.AddrPortFrom(from, r.Port)
		if r.Address != ca.AddressOfSender && r.Address != 0 {
			addr = netip.AddrPortFrom(ipv4(r.Address), r.Port)
		}
		c.claim(r, addr)
	}
}

// foundByTCP claims a name that a name server told.
func (c *Client) foundByTCP(r ca.Reply, by *circuit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr := by.addr
	if r.Address != ca.AddressOfSender && r.Address != 0 {
		addr = netip.AddrPortFrom(ipv4(r.Address), r.Port)
	}
	c.claim(r, addr)
}

func ipv4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// claim takes one reply: the first one wins. mu is held.
func (c *Client) claim(r ca.Reply, addr netip.AddrPort) {
	ch, ok := c.channels[r.CID]
	if !ok {
		c.metrics.strays.Inc()
		return
	}
	if ch.circuit != nil {
		c.duplicate(ch, addr)
		return
	}
	if ip := addr.Addr(); addr.Port() == 0 || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		c.metrics.malformed.Inc()
		c.odd.warn("search reply with an impossible address", "pv", ch.name, "addr", addr)
		return
	}
	if !c.allowed(addr.Addr()) {
		c.metrics.forbidden.Inc()
		c.odd.warn("search reply of a server that is not allowed", "pv", ch.name, "addr", addr)
		return
	}
	if !c.schedule.Answered(ch.cid) {
		return
	}
	c.metrics.replies.Inc()
	to := server{addr, ch.priority}
	if before := ch.found; before.IsValid() && before != addr {
		c.moved(before)
	}
	if wait := c.notBefore(to); wait > 0 {
		c.searchLater(ch, addr, wait)
		return
	}
	circ := c.circuit(to, r)
	if circ.create(ch, r) {
		ch.circuit = circ
		ch.enter(Claimed)
		return
	}
	c.searchLater(ch, addr, ch.again(false)) // the circuit ends at this moment
}

// moved searches the names of a server at once: one of them has turned up
// elsewhere, most likely with all others. An IOC that shares its host gets
// another port with each start. Once a second for a server, since they are due
// within that time. mu is held.
func (c *Client) moved(from netip.AddrPort) {
	now := time.Now()
	if from == c.mover && now.Sub(c.movedAt) < time.Second {
		return
	}
	c.mover, c.movedAt = from, now
	c.schedule.Boost(now, groupOf(from))
}

// searchLater searches a channel again that a server answered for in vain. mu
// is held.
func (c *Client) searchLater(ch *Channel, addr netip.AddrPort, delay time.Duration) {
	if err := c.schedule.Add(time.Now(), ch.cid, ch.name, groupOf(addr), delay); err != nil {
		c.log.Error("a channel can never connect", "pv", ch.name, "err", err)
	}
}

// duplicate warns, once for a channel, that a second server has its name. mu
// is held.
func (c *Client) duplicate(ch *Channel, addr netip.AddrPort) {
	if ch.circuit.addr == addr || ch.warned {
		return
	}
	ch.warned = true
	c.metrics.duplicates.Inc()
	c.odd.warn("two servers have this PV: the first one is kept", "pv", ch.name, "addr", ch.circuit.addr, "second", addr)
}

// searchByTCP hands a datagram to the name servers. mu is held.
func (c *Client) searchByTCP(datagram []byte) {
	for _, addr := range c.places.tcp {
		circ, ok := c.circuits[server{addr, c.options.Priority}]
		if !ok {
			continue
		}
		circ.do(func(core *ca.Circuit) {
			if core.Greeted() && core.Minor() >= minNameServer && core.Output() < maxWaiting {
				core.Send(datagram)
				c.metrics.datagrams.Inc()
			}
		})
	}
}

// minNameServer is the first minor version that is searched over TCP.
const minNameServer = 12

// redialEvery bounds how often a name server that is down is dialled. libca
// waits EPICS_CA_CONN_TMO; but a channel that only it can find waits with it.
const redialEvery = 5 * time.Second

// dialNameServers keeps a circuit to each name server.
func (c *Client) dialNameServers(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, addr := range c.places.tcp {
		to := server{addr, c.options.Priority}
		if c.circuits[to] == nil && now.Before(c.redial[addr]) {
			continue
		}
		circ := c.circuit(to, ca.Reply{})
		circ.mu.Lock()
		circ.permanent = true
		circ.mu.Unlock()
		c.redial[addr] = now.Add(min(c.options.ConnTimeout, redialEvery))
	}
}
