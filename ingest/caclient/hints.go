package caclient

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"pvlog/ingest/ca"
)

// A hint is the address where a channel was found last, maybe in an earlier
// run. It is asked first, by CREATE_CHAN on a circuit to it, which costs the
// network nothing; a refusal, or silence, leads to the search.
const (
	hintPatience  = 4 * time.Second // of silence; looked at every second, so 5 s at most
	minHinted     = 11              // servers since this minor version tell it on the circuit, older ones only in a search reply
	rememberEvery = time.Minute
	maxSpareHints = 100_000 // hints kept for names that are not open
)

// asked is a claim at a hint that may stay unanswered.
type asked struct {
	ch    *Channel
	circ  *circuit
	until time.Time
}

// recall reads the hints and asks them for what is already open.
func (c *Client) recall() {
	if c.options.AddressFile == "" {
		return
	}
	hints, err := readAddresses(c.options.AddressFile)
	if err != nil {
		c.log.Warn("addresses of the last run are not known: all PVs are searched", "file", c.options.AddressFile, "err", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, addr := range hints {
		c.hints[name] = addr
	}
	for _, ch := range c.channels {
		if c.ask(ch) {
			c.schedule.Remove(ch.cid)
		}
	}
}

// ask claims a channel where it was found last, if that is known. mu is held.
func (c *Client) ask(ch *Channel) bool {
	addr, ok := c.hints[ch.name]
	if !ok || c.ctx == nil || c.stopped || !c.allowed(addr.Addr()) {
		return false
	}
	to := server{addr, ch.priority}
	circ, ok := c.circuits[to]
	if !ok {
		circ = c.dial(to, ca.Reply{})
	}
	now := time.Now()
	if !circ.create(ch, ca.Reply{}) {
		return false
	}
	delete(c.hints, ch.name)
	c.await(ch, circ, now)
	return true
}

// reclaim asks a server that is back, or new, for all names that were found
// there last: one name has answered a search, the others need none. After a
// power cut a site of 100,000 names on 500 servers so takes some 500 searches.
// mu is held.
func (c *Client) reclaim(circ *circuit) {
	now := time.Now()
	for _, cid := range c.schedule.Group(groupOf(circ.addr)) {
		ch := c.channels[cid]
		if ch == nil || ch.found != circ.addr || ch.priority != circ.priority || !circ.create(ch, ca.Reply{}) {
			continue
		}
		c.schedule.Remove(cid)
		c.await(ch, circ, now)
	}
}

// await notes that a channel is claimed at its hint. mu is held.
func (c *Client) await(ch *Channel, circ *circuit, now time.Time) {
	c.metrics.hints.Inc()
	ch.circuit, ch.found = circ, circ.addr
	ch.enter(Asked)
	c.asked = append(c.asked, asked{ch, circ, now.Add(hintPatience)})
}

// giveUpHints searches the channels whose hints were not answered in time. A
// server that answers the claims of others is only busy.
func (c *Client) giveUpHints(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.asked) > 0 && !now.Before(c.asked[0].until) {
		a := c.asked[0]
		c.asked[0] = asked{}
		c.asked = c.asked[1:]
		ch := a.ch
		if ch.closed.Load() || ch.circuit != a.circ || ch.state != Asked {
			continue
		}
		if a.circ.claiming(now) {
			a.until = now.Add(hintPatience)
			c.asked = append(c.asked, a)
			continue
		}
		if !a.circ.giveUp(ch.cid) {
			continue
		}
		c.searchInstead(now, ch, 0)
	}
	c.wakeSearch()
}

// searchInstead searches, after a delay, a channel that is not, or not known to
// be, where it was. mu is held.
func (c *Client) searchInstead(now time.Time, ch *Channel, delay time.Duration) {
	c.metrics.wrongHints.Inc()
	ch.circuit = nil
	ch.enter(Searched)
	group := uint64(0) // anywhere
	if ch.found.IsValid() {
		group = groupOf(ch.found)
	}
	if err := c.schedule.Add(now, ch.cid, ch.name, group, delay); err != nil {
		c.log.Error("a channel can never connect", "pv", ch.name, "err", err)
	}
}

// claiming says whether the server answered a claim in the last seconds.
func (c *circuit) claiming(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.claimed) < hintPatience
}

// giveUp takes back a claim that is unanswered: a late answer is cleared. It
// does nothing to a channel that is connected.
func (c *circuit) giveUp(cid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, connected := c.core.Info(cid); connected {
		return false
	}
	c.core.Clear(cid)
	return true
}

// foundAt notes that and where a channel is connected.
func (c *circuit) foundAt(ch *Channel, info ca.Info) {
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	c.mu.Lock()
	c.claimed = time.Now()
	if ch.properties {
		c.sentQuestion(info)
	}
	c.mu.Unlock()
	if ch.closed.Load() {
		return
	}
	ch.enter(Connected)
	if info.Minor < minHinted {
		ch.found = netip.AddrPort{}
	} else if ch.found != c.addr {
		ch.found = c.addr
		c.client.learnt = true
	}
}

// refused forgets a hint that the server denied, and tells when to search: at
// once, but a server that hangs up again and again is not run after.
// client.mu is held.
func (ch *Channel) refused(cause error) (delay time.Duration) {
	if errors.Is(cause, ca.ErrNoChannel) {
		ch.found = netip.AddrPort{}
		ch.client.learnt = true
		return 0
	}
	first := ch.failures == 0
	if delay = ch.again(false); first {
		return 0
	}
	return delay
}

// spare keeps where a channel that closes was found, should it be opened
// again. mu is held.
func (c *Client) spare(ch *Channel) {
	if c.options.AddressFile != "" && ch.found.IsValid() && !ch.sibling && len(c.hints) < maxSpareHints {
		c.hints[ch.name] = ch.found
	}
}

// remember writes the addresses now and then.
func (c *Client) remember(ctx context.Context) error {
	ticker := time.NewTicker(rememberEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			c.saveAddresses()
		}
	}
}

// saveAddresses writes the addresses if any has changed.
func (c *Client) saveAddresses() {
	if c.options.AddressFile == "" {
		return
	}
	c.mu.Lock()
	if !c.learnt {
		c.mu.Unlock()
		return
	}
	found := make(map[string]netip.AddrPort, len(c.channels)+len(c.hints))
	for name, addr := range c.hints {
		found[name] = addr
	}
	for _, ch := range c.channels {
		if ch.found.IsValid() && !ch.sibling {
			found[ch.name] = ch.found
		}
	}
	c.learnt = false
	c.mu.Unlock()
	if err := writeAddresses(c.options.AddressFile, found); err != nil {
		c.log.Warn("addresses not remembered: the next start searches more", "file", c.options.AddressFile, "err", err)
	}
}
