package simioc

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pvlog/ingest/ca"
)

// record finds a record by its full name or an alias.
func (ioc *IOC) record(verb, name string) (*record, error) {
	ioc.mu.RLock()
	defer ioc.mu.RUnlock()
	if r := ioc.names[name]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("%s %q: there is no such record", verb, name)
}

// eachChannel calls do for every channel of a record, with the requests of its
// circuit held up.
func (ioc *IOC) eachChannel(r *record, do func(c *client, ch *channel)) {
	ioc.mu.RLock()
	clients := slices.Collect(maps.Keys(ioc.clients))
	ioc.mu.RUnlock()
	for _, c := range clients {
		c.requests.Lock()
		for _, ch := range c.channels {
			if ch.variable.record == r && !ch.ended {
				do(c, ch)
			}
		}
		c.requests.Unlock()
		c.signal()
	}
}

// SetAccess changes what clients may do with a record and its fields:
// ca.AccessRead, ca.AccessWrite, both or none. As from a real IOC, each channel
// gets ACCESS_RIGHTS; a subscription that may no longer read gets one update of
// status NORDACCESS, and one with the value when it may again.
func (ioc *IOC) SetAccess(name string, rights uint32) error {
	r, err := ioc.record("set access", name)
	if err != nil {
		return err
	}
	r.rights.Store(rights & (ca.AccessRead | ca.AccessWrite))
	ioc.eachChannel(r, func(c *client, ch *channel) {
		now := ch.variable.rights()
		if now == ch.rights {
			return
		}
		ch.rights = now
		c.push(ca.AppendHeader(nil, ca.Header{Command: ca.CmdAccessRights, P1: ch.cid, P2: now}))
		for _, s := range ch.subs {
			c.admitReader(s, now&ca.AccessRead != 0)
		}
	})
	return nil
}

// admitReader gives or takes a subscription's read access.
func (c *client) admitReader(s *subscription, may bool) {
	v := s.channel.variable
	v.mu.Lock()
	defer v.mu.Unlock()
	if !may {
		c.deny(s)
		return
	}
	c.mu.Lock()
	changed := s.denied
	s.denied = false
	c.mu.Unlock()
	if changed {
		var w wakes
		c.offer(s, &v.cur, &w)
		w.flush()
	}
}

// deny tells a subscription that it may not read any more, after what is on
// its way or in the place of an update that it holds.
func (c *client) deny(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.denied {
		return
	}
	s.denied = true
	switch {
	case c.dead || c.ending || s.held != nil:
	case c.paused || len(c.out) >= c.ioc.opts.QueueBytes:
		s.held = &snapshot{}
		c.held = append(c.held, s)
	default:
		c.out = appendDenied(c.out, s)
	}
}

// appendDenied is the update of a subscription without read access.
func appendDenied(b []byte, s *subscription) []byte {
	return appendZeroed(b, ca.Header{Command: ca.CmdEventAdd, P1: ca.StatusNoReadAccess, P2: s.id}, s.dbr, s.count)
}

// denyRead answers a READ or READ_NOTIFY without read access.
func (c *client) denyRead(ch *channel, h ca.Header, d ca.DBR) {
	if h.Command == ca.CmdRead {
		c.fail(ch.cid, h, ca.StatusNoReadAccess, ch.variable.name)
		return
	}
	answer := ca.Header{Command: ca.CmdReadNotify, P1: ca.StatusNoReadAccess, P2: h.P2}
	c.reply(func(b []byte) []byte { return appendZeroed(b, answer, d, h.Count) })
}

// SetClock changes how the stamps of a record go from its next update on.
func (ioc *IOC) SetClock(name string, clock Clock) error {
	r, err := ioc.record("set clock of", name)
	if err != nil {
		return err
	}
	if err := clock.check(); err != nil {
		return fmt.Errorf("set clock of %q: %w", name, err)
	}
	r.main.mu.Lock()
	r.main.clock = clock
	r.main.mu.Unlock()
	return nil
}

// SetAlarm states the alarm of a record, whatever its value, until ClearAlarm.
func (ioc *IOC) SetAlarm(name string, severity, status int16) error {
	return ioc.force("set alarm of", name, &alarm{severity, status})
}

// ClearAlarm lets the alarm follow from the value again.
func (ioc *IOC) ClearAlarm(name string) error { return ioc.force("clear alarm of", name, nil) }

func (ioc *IOC) force(verb, name string, a *alarm) error {
	r, err := ioc.record(verb, name)
	if err != nil {
		return err
	}
	r.main.mu.Lock()
	r.main.forced = a
	r.main.mu.Unlock()
	var w wakes
	r.post(&posting{keep: true, clock: time.Now().UnixNano()}, &w)
	w.flush()
	return nil
}

// Mute makes the record's present subscriptions zombies: their channels stay
// connected and readable, but no update comes. A later subscription is served;
// with later = true it gets its first update and no more.
func (ioc *IOC) Mute(name string, later bool) error { return ioc.mute(name, true, later) }

// Unmute lets updates flow again, from the next on.
func (ioc *IOC) Unmute(name string) error { return ioc.mute(name, false, false) }

func (ioc *IOC) mute(name string, on, later bool) error {
	r, err := ioc.record("mute", name)
	if err != nil {
		return err
	}
	r.main.mu.Lock()
	r.main.muted = later
	r.main.mu.Unlock()
	ioc.eachChannel(r, func(c *client, ch *channel) {
		for _, s := range ch.subs {
			c.mu.Lock()
			s.muted = on
			c.mu.Unlock()
			if on {
				c.drop(s)
			}
		}
	})
	return nil
}

// DisconnectRecord ends all channels of a record with SERVER_DISCONN, as a
// gateway does. Their clients may come back at once.
func (ioc *IOC) DisconnectRecord(name string) error {
	r, err := ioc.record("disconnect", name)
	if err != nil {
		return err
	}
	ioc.disconnect(r)
	return nil
}

func (ioc *IOC) disconnect(r *record) {
	ioc.eachChannel(r, func(c *client, ch *channel) {
		if c.minor < minServerEnd {
			c.kill()
			return
		}
		for _, s := range ch.subs {
			c.cancel(s)
		}
		ch.abandonPut()
		ch.subs, ch.ended = nil, true
		c.push(ca.AppendHeader(nil, ca.Header{Command: ca.CmdServerDisconnect, P1: ch.cid}))
	})
}
