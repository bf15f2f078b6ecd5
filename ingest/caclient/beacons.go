package caclient

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"pvlog/ingest/ca"
)

// Registration with the repeater of this host.
const (
	registerRetry = time.Second // while no repeater has confirmed
	registerTries = 50          // of those; then as rarely as when all is well
)

// boostSpread is over how long all searched names are spread when something in
// the network came back.
const boostSpread = 5 * time.Second

// registerAgain is the time until a confirmed registration is renewed: a
// repeater that was restarted has forgotten its clients.
func registerAgain() time.Duration { return 30*time.Second + rand.N(30*time.Second) }

// follow keeps the client registered with a repeater, and is one when the host
// has none. Beacons are a help, not a need: nothing here is an error.
func (c *Client) follow(ctx context.Context) error {
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(c.options.RepeaterPort))
	register := ca.AppendRepeaterRegister(nil)
	var own repeater
	defer own.wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for tries := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-c.confirmed:
			tries = 0
			timer.Reset(registerAgain())
			continue
		case <-timer.C:
		}
		if c.options.Repeater == nil || *c.options.Repeater {
			own.start(ctx, c.options.RepeaterPort, c.log, c.metrics.repeated)
		}
		_, _ = c.socket.WriteToUDPAddrPort(register, to)
		if tries++; tries > registerTries {
			timer.Reset(registerAgain())
		} else {
			timer.Reset(registerRetry)
		}
	}
}

// registered notes that a repeater has accepted this client.
func (c *Client) registered() {
	select {
	case c.confirmed <- struct{}{}:
	default:
	}
}

// hear takes the beacons of a datagram. Repeaters run on this host: what comes
// from elsewhere, or does not say of which server it is, is made up.
func (c *Client) hear(beacons []ca.Beacon, from netip.Addr) {
	if !from.IsLoopback() {
		c.metrics.malformed.Inc()
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range beacons {
		addr := netip.AddrPortFrom(ipv4(b.Address), b.Port)
		if b.Address == 0 || !c.allowed(addr.Addr()) {
			continue
		}
		c.metrics.beacons.Inc()
		before := c.beacons.Anomaly(b.Address, b.Port)
		verdict := c.beacons.Heard(now, b)
		if verdict == ca.BeaconIgnored {
			continue
		}
		for _, priority := range c.ranks {
			if circ, ok := c.circuits[server{addr, priority}]; ok {
				circ.beacon(now, verdict)
			}
		}
		if verdict == ca.BeaconAnomaly {
			c.metrics.anomalies.Inc()
			c.anomaly(now, addr, now.Sub(before) > anomalyEvery)
		}
	}
}

// anomalyEvery bounds how often one server's beacons have its names searched.
const anomalyEvery = time.Second

// anomaly searches the server's own names at once, and all others spread over
// seconds: they may be with it, or behind the network that is back. After a power cut hundreds of servers come back together, and anyone
// on the host can make beacons up, so the second happens only now and then.
// mu is held.
func (c *Client) anomaly(now time.Time, addr netip.AddrPort, own bool) {
	if own {
		for _, priority := range c.ranks {
			delete(c.useless, server{addr, priority})
		}
		c.boostServer(now, addr)
	}
	if now.Sub(c.spread) > max(boostEvery, 2*c.schedule.Pass()) {
		c.spread = now
		c.metrics.boosts.Inc()
		c.schedule.BoostAll(now, boostSpread)
	}
	c.wakeSearch()
}

// boostServer searches the names of a server that is back. If none are known
// at its port they may have been at another one: of several IOCs on a host all
// but the first have the port that was free when they started. mu is held.
func (c *Client) boostServer(now time.Time, addr netip.AddrPort) {
	group := groupOf(addr)
	if c.schedule.Searches(group) {
		c.schedule.Boost(now, group)
		return
	}
	host := addr.Addr()
	if host == c.host && now.Sub(c.hosted) < anomalyEvery {
		return // they are due within that time; a host may have hundreds of IOCs
	}
	c.host, c.hosted = host, now
	c.schedule.BoostSome(now, func(group uint64) bool { return ipv4(uint32(group)) == host })
}

// recentAnomaly is how long after one a lost circuit is taken for the end of a
// server that is already back.
const recentAnomaly = 30 * time.Second

// back says whether a server has just shown that it restarted. mu is held.
func (c *Client) back(addr netip.AddrPort) bool {
	ip := addr.Addr().As4()
	at := c.beacons.Anomaly(binary.BigEndian.Uint32(ip[:]), addr.Port())
	return !at.IsZero() && time.Since(at) < recentAnomaly
}

// beacon lets the circuit know of its server's beacon; an anomaly has it
// probed at once.
func (c *circuit) beacon(now time.Time, v ca.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.conn == nil {
		return
	}
	c.core.Beacon(c.now(now), v)
	if v == ca.BeaconAnomaly {
		// The read goroutine looks at its clock now, not after its tick.
		_ = c.conn.SetReadDeadline(now)
	}
}

// isLocal says whether an address is one of this host, from which alone a
// repeater takes registrations.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if ipnet, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(ipnet.IP); ok && own.Unmap() == ip {
				return true
			}
		}
	}
	return false
}
