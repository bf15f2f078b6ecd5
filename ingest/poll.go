package ingest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// SCAN_GET reads a PV's value once a period and stamps it with pvlog's own
// clock (S46). The first read of a connection, and that after a change of the
// method, is made at once, like the first update of a monitor; where the seed
// waits 5 s for a connection and then skips a period (S45), a read that found
// none is made as soon as there is one. All others come in the PV's own phase
// of the period, so that thousands of PVs of one period do not fire together.

// readPatience is how long an IOC may take to answer a read. Not each moment at
// which it is over is looked at: caclient gives up a read as well, a little
// later.
const readPatience = 5 * time.Second

var errSlowRead = errors.New("the IOC has not answered the read of the value in time")

// reading is the state of a channel's periodic read, of which one at most is on
// its way. Guarded by Channel.mu.
type reading struct {
	ticket uint32    // of the entry in the timetable that counts
	queued bool      // there is one
	next   time.Time // when to read again
	round  uint32    // of the read that is on its way; the answer to another one comes too late
	asked  time.Time // when it was sent; zero: none is on its way
	slow   bool      // it has been counted as a transient error
}

// pace is the time until a PV's next read: a whole period in the long run, in
// a phase that its name gives. A timer that fires a little early must not read
// twice.
func pace(pv schema.PVName, period time.Duration, now time.Time) time.Duration {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(pv))
	sum := hash.Sum64()
	sum ^= sum >> 33 // FNV-1a leaves names that differ in their last letters close together
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	phase := int64(sum % uint64(period))
	wait := period - time.Duration((now.UnixNano()-phase)%int64(period))
	if wait < period/20 {
		wait += period
	}
	return wait
}

// beginReading reads once a period from now on, and now as well if need be.
func (c *Channel) beginReading(now time.Time, atOnce bool) {
	c.mu.Lock()
	if c.reading == nil {
		c.reading = &reading{}
	}
	r := c.reading
	next := now.Add(pace(c.pv, c.settings.Load().period, now))
	if r.queued && next.Before(r.next) { // the period is shorter now
		r.queued = false
		r.ticket++
	}
	queue := !r.queued
	r.queued, r.next = true, next
	ticket := r.ticket
	send, look := func() {}, next
	if atOnce {
		send, look = c.claimRead(now), earlier(next, now.Add(readPatience))
	}
	c.mu.Unlock()
	if queue {
		c.engine.reads.add(c, ticket, look)
	}
	send()
}

// read is the channel's turn in the timetable: it reads if it is time, gives up
// a read that is not answered, and tells when to look again; zero: not before
// the channel asks for it.
func (c *Channel) read(ticket uint32, now time.Time) time.Time {
	send, slow, again := c.turn(ticket, now)
	if slow {
		c.slowRead()
	}
	send()
	return again
}

// turn decides what read does.
func (c *Channel) turn(ticket uint32, now time.Time) (send func(), slow bool, again time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	send = func() {}
	r, set := c.reading, c.settings.Load()
	if r == nil || r.ticket != ticket {
		return send, false, time.Time{}
	}
	if c.closed.Load() || set.method != schema.ScanGet || c.online == nil || !c.subscribed {
		r.queued = false
		return send, false, time.Time{}
	}
	tick := !now.Before(r.next)
	if !r.asked.IsZero() && (tick || now.Sub(r.asked) >= readPatience) {
		slow, r.slow = !r.slow, true
	}
	if now.Sub(r.asked) >= readPatience {
		r.asked = time.Time{}
	}
	if tick {
		r.next = now.Add(pace(c.pv, set.period, now))
		if r.asked.IsZero() {
			send = c.claimRead(now)
		}
	}
	again = r.next
	if !r.asked.IsZero() {
		again = earlier(again, r.asked.Add(readPatience))
	}
	return send, slow, again
}

func earlier(t, u time.Time) time.Time {
	if t.Before(u) {
		return t
	}
	return u
}

// claimRead notes that a read is on its way; what it gives sends it, without
// locks. c.mu is held.
func (c *Channel) claimRead(now time.Time) (send func()) {
	r, link := c.reading, c.online
	if link == nil || c.closed.Load() {
		return func() {}
	}
	r.round++
	r.asked, r.slow = now, false
	round, t := r.round, c.info.Native.Time()
	return func() {
		c.engine.get(link, t, 0, func(u caclient.Update, err error) { c.got(round, u, err) })
	}
}

// got takes the answer to a read, unless it was given up.
func (c *Channel) got(round uint32, u caclient.Update, err error) {
	if !c.answersRead(round) {
		return
	}
	c.sampling.Lock()
	defer c.sampling.Unlock()
	set := c.settings.Load()
	if c.closed.Load() || set.method != schema.ScanGet {
		return
	}
	if err != nil {
		c.transient(fmt.Errorf("read the value: %w", err))
		return
	}
	c.receive(&u, set, true, false)
}

func (c *Channel) answersRead(round uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.reading
	if r == nil || r.round != round || r.asked.IsZero() {
		return false
	}
	r.asked = time.Time{}
	return true
}

// slowRead counts a read without an answer. It waits for nobody: a channel
// whose sample waits for the log must not delay the reads of others.
func (c *Channel) slowRead() {
	if c.sampling.TryLock() {
		defer c.sampling.Unlock()
		c.transient(errSlowRead)
		return
	}
	c.history.transientErrors.Add(1)
	c.engine.metrics.transientErrors.Inc()
}

// subscribe asks the IOC for what the sampling method needs; properties first,
// so that they ride on the first sample. It is called whenever a connection
// begins or the method changes, and goes by what is then wanted.
func (c *Channel) subscribe(link *caclient.Channel) {
	c.mu.Lock()
	if c.online != link || c.closed.Load() {
		c.mu.Unlock()
		return
	}
	set := c.settings.Load()
	if !c.engine.opt.NoProperties {
		link.WatchProperties()
	}
	if set.method == schema.ScanGet {
		link.Unsubscribe()
	} else {
		link.Subscribe(c.engine.opt.Mask)
	}
	if c.subscribed {
		c.connectFields(link)
	}
	c.mu.Unlock()
	if set.method == schema.ScanGet {
		c.beginReading(time.Now(), true)
	}
	c.engine.log.Debug("channel subscribed", slog.String("pv", string(c.pv)))
}

// resample takes a change of method or period into account while the channel
// is sampled. c.mu is held; what it gives is called without it.
func (c *Channel) resample(old, set *settings) (then func()) {
	link := c.online
	switch {
	case link == nil || !c.subscribed:
		return func() {}
	case (old.method == schema.ScanGet) != (set.method == schema.ScanGet):
		if old.method == schema.ScanGet {
			if c.reading != nil { // else it is about to subscribe
				c.reading.asked = time.Time{}
			}
			// The first update tells again what was read, with an older time.
			c.repeats.Store(true)
			c.answered.Store(false)
			c.asked, c.patience = time.Now(), silenceMin
		}
		return func() { c.subscribe(link) }
	case set.method == schema.ScanGet && old.period != set.period:
		return func() { c.beginReading(time.Now(), false) }
	}
	return func() {}
}

// decode makes the event of an update, or of a read value with the time at
// which it came. An array of one element at most that is empty now is empty: no
// scalar can say so. As the waveform that it is, the archive drops it by its
// type.
func (c *Channel) decode(buffer []byte, u *caclient.Update, read bool) (event []byte, stamp ca.Stamp, empty bool, err error) {
	for waveform := c.waveform; ; waveform = true {
		if read {
			event, stamp, err = ca.DecodeTimeAt(buffer, u.Type, u.Count, waveform, u.Payload, u.Received)
		} else {
			event, stamp, err = ca.DecodeTime(buffer, u.Type, u.Count, waveform, u.Payload)
		}
		if empty || !errors.Is(err, ca.ErrNoValue) {
			return event, stamp, empty, err
		}
		empty = true
	}
}
