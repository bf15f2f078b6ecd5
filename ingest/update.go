package ingest

import (
	"fmt"
	"log/slog"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// overflowWait is how long an append may take before it counts as one that had
// to wait for room.
const overflowWait = 10 * time.Millisecond

// epoch makes the monotonic clock readable at half the price of time.Now.
var epoch = time.Now()

// Update takes one update of the subscription, which may wait for room in the
// log: the circuit is then read more slowly (S41).
func (c *Channel) Update(_ *caclient.Channel, u caclient.Update) {
	c.sampling.Lock()
	defer c.sampling.Unlock()
	if c.closed.Load() {
		return
	}
	set := c.settings.Load()
	if set.method == schema.ScanGet {
		return // it was on its way when the method was changed
	}
	repeats := false
	if !c.answered.Load() {
		c.answered.Store(true)
		repeats = c.repeats.Swap(false)
	}
	c.receive(&u, set, false, repeats)
}

// receive samples what the IOC told: an update, or a value that was read and
// takes the time at which it came. One that may repeat what was read before is
// no sample if it is not newer. c.sampling is held.
func (c *Channel) receive(u *caclient.Update, set *settings, read, repeats bool) {
	if u.Status != ca.StatusNormal {
		c.transient(fmt.Errorf("the IOC sent %s in place of a value", ca.StatusName(u.Status)))
		return
	}
	buffer := c.engine.buffers.Get().(*[]byte)
	defer c.engine.buffers.Put(buffer)
	event, stamp, empty, err := c.decode((*buffer)[:0], u, read)
	if err != nil {
		c.transient(fmt.Errorf("decode update: %w", err))
		return
	}
	c.paused(u)
	s := c.sample(stamp, u.Received, set)
	if repeats && !c.history.seen.later(stamp.Time) {
		return
	}
	if set.deadband == 0 {
		c.band = nil
	} else if c.suppressed(u, stamp, s, set.deadband) {
		return
	}
	s.Event = event
	first := c.first
	*buffer = c.take(s, stamp.Time, set.least)
	if empty {
		c.first = first // the next is the connection's first that can be kept
	} else if s.Type != s.Registered {
		c.sawOtherType(s.Type, s.Registered)
	}
}

// sample is the envelope of an update (D1), its event still missing.
func (c *Channel) sample(stamp ca.Stamp, now time.Time, set *settings) schema.RawSample {
	c.lastEvent.Store(now.UnixNano())
	c.history.sawEvent(now)
	c.engine.metrics.received.Inc()
	return schema.RawSample{
		Type:        stamp.Type,
		Year:        stamp.Year,
		Received:    now,
		First:       c.first,
		Registered:  set.registered,
		DriftPast:   set.driftPast,
		DriftFuture: set.driftFuture,
		Generation:  set.generation,
	}
}

// sawOtherType notes an update of a type that is not the registered one. It
// goes into the log as it is: the archive drops it with its reason (S73).
func (c *Channel) sawOtherType(observed, registered schema.DBRType) {
	if old := c.history.observed.Swap(int32(observed)); old != int32(observed) {
		c.engine.log.Warn("the PV's type has changed; its samples go to the drop log until its registered type is changed",
			slog.String("pv", string(c.pv)), slog.String("registered", registered.String()), slog.String("observed", observed.String()))
	}
}

// take applies the sampling method. It gives back the event's buffer, which
// may have grown. c.sampling is held.
func (c *Channel) take(s schema.RawSample, at schema.Time, least time.Duration) []byte {
	if least == 0 || s.First {
		c.releaseHeld(at) // the last value before a silence is kept
	}
	turn := record
	if least > 0 {
		turn = c.scanned.turn(at, s.First, least)
	}
	switch turn {
	case record:
		event := c.append(s, at)
		if c.straggler != nil {
			c.straggler.held = false
		}
		return event
	case hold:
		c.hold(s, at, least)
	}
	c.first = false
	return s.Event
}

// append hands a sample to the log, with the connection's markers if they may
// ride on it (D12). Only a sample that the log took changes what is pending.
// It gives back the event. c.sampling is held.
func (c *Channel) append(s schema.RawSample, at schema.Time) []byte {
	c.guard(&s)
	fit := fits(s, at)
	later := fit && c.history.seen.later(at)
	marked := later && c.markers.pending
	if marked {
		s.Event = c.markers.appendTo(s.Event)
	}
	if later {
		s.Event = c.ride(s.Event, at)
	}
	began := time.Since(epoch)
	err := c.engine.opt.Append(c.ctx, c.pv, s)
	if time.Since(epoch)-began >= overflowWait {
		c.history.overflowWaits.Add(1)
		c.engine.metrics.overflowWaits.Inc()
	}
	if err != nil {
		c.lost(err)
		return s.Event
	}
	c.history.appended.Add(1)
	c.history.bytes.Add(uint64(len(s.Event)))
	c.engine.metrics.appended.Inc()
	if s.First {
		c.first = false
	}
	c.scanned = scanned{last: at, has: true}
	if marked {
		c.markers.took()
	}
	if later {
		c.rode()
		c.history.seen = newest{at: at, has: true}
	}
	return s.Event
}

// lost counts a sample that the log did not take before the channel ended or
// the log was closed.
func (c *Channel) lost(err error) {
	c.history.overflowDrops.Add(1)
	c.engine.metrics.overflowDrops.Inc()
	if c.warned {
		return
	}
	c.warned = true
	c.engine.log.Error("sample lost: the log did not take it", slog.String("pv", string(c.pv)), slog.Any("err", err))
}

// hold keeps an update that came too soon, and sees that it is looked at when
// its period is over.
func (c *Channel) hold(s schema.RawSample, at schema.Time, least time.Duration) {
	if c.straggler == nil {
		c.straggler = &straggler{}
	}
	c.straggler.hold(s, at)
	if !c.queued {
		c.queued = true
		c.engine.stragglers.add(c, 0, s.Received.Add(least))
	}
}

// releaseHeld records a held update before one at the given time.
func (c *Channel) releaseHeld(before schema.Time) {
	if g := c.straggler; g != nil && g.held {
		g.held = false
		if before.After(g.at) {
			c.appendHeld(g)
		}
	}
}

// appendHeld hands the held update to the log. One that came before the
// present connection says nothing of it and carries no markers.
func (c *Channel) appendHeld(g *straggler) {
	g.held = false
	pending := c.markers.pending
	c.markers.pending = pending && !g.earlier
	g.sample.Event = c.append(g.sample, g.at)
	if g.earlier {
		c.markers.pending = pending
	}
}

// release records the held update if it has waited for a period, and tells
// when to look again; zero: nothing is held.
func (c *Channel) release(_ uint32, now time.Time) time.Time {
	c.sampling.Lock()
	defer c.sampling.Unlock()
	g := c.straggler
	if c.closed.Load() || g == nil || !g.held {
		c.queued = false
		return time.Time{}
	}
	if due := g.sample.Received.Add(c.settings.Load().least); due.After(now) {
		return due
	}
	c.queued = false
	c.appendHeld(g)
	return time.Time{}
}
