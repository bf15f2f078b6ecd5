package ca

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"time"
)

// How long the silence of a monitor is its own.
const (
	habitFactor  = 20   // times its mean gap, at least
	habitGaps    = 4    // gaps that make a habit
	habitMemory  = 16   // gaps that the mean remembers
	maxVerifying = 32   // verifying reads of a circuit on their way
	habitGrace   = 12   // part of the least silence that an update may lag behind a read: 5 s
	habitLook    = 0.25 // of the least silence: how often the monitors are looked at
)

// habit is how a monitor updates, and what it brought last. Times are the
// circuit's, since it began.
type habit struct {
	last    time.Duration // of the newest update, or the subscription
	due     time.Duration // not suspected before
	mean    time.Duration // of the gaps
	stamp   uint64        // of the newest update: seconds and nanoseconds
	value   float64       // of a scalar number
	step    float64       // largest change from one update to the next
	print   uint64        // of a value that is no scalar number
	alarm   uint32        // status and severity
	gaps    uint16        // as far as habitGaps and habitMemory need
	updates uint16        // since the subscription, as far as 2
	reading bool          // a verifying read is on its way
	missed  time.Duration // that read was newer: an update must have come until then; 0: it was not
	renewed bool          // once, for being stale
}

// suspicion is the silence after which a monitor is verified, if it has none
// behind it that was found to be right.
func (h *habit) suspicion(o *CircuitOptions) time.Duration {
	if h.gaps < habitGaps {
		return o.LongSilence
	}
	return max(o.Silence, habitFactor*h.mean)
}

// updated takes a good update. A value that is the first of a subscription is
// no step: it was not posted.
func (h *habit) updated(at time.Duration, o *CircuitOptions, t DBR, count uint32, payload []byte) {
	value, print := reading(t, count, payload)
	if h.updates > 0 {
		n := time.Duration(min(h.gaps+1, habitMemory))
		h.mean += (at - h.last - h.mean) / n
		h.gaps = uint16(n)
		if d := math.Abs(value - h.value); d > h.step {
			h.step = d
		}
		h.renewed = false // it brings more than its first value
	}
	h.updates = min(h.updates+1, 2)
	h.last, h.due, h.missed = at, at+h.suspicion(o), 0
	h.value, h.print = value, print
	h.alarm, h.stamp = binary.BigEndian.Uint32(payload), binary.BigEndian.Uint64(payload[4:])
}

// alive takes an update without a value: a failure is a sign of life.
func (h *habit) alive(at time.Duration, o *CircuitOptions) {
	h.last, h.due, h.missed = at, at+h.suspicion(o), 0
}

// stale says whether a value that was read should have come as an update. A
// record's stamp moves whenever it processes, but it posts only what moved by
// more than its deadband. All steps so far were larger than that, so a change
// as large as the largest of them was to be posted; and so was an equal value
// by a record that has posted nothing else, a change of alarm, and any change
// of what has no deadband.
func (h *habit) stale(t DBR, count uint32, payload []byte) bool {
	if h.updates == 0 {
		return true // the first value comes at once
	}
	stamp := binary.BigEndian.Uint64(payload[4:])
	if stamp <= h.stamp {
		return false
	}
	if binary.BigEndian.Uint32(payload) != h.alarm {
		return true
	}
	value, print := reading(t, count, payload)
	switch change := math.Abs(value - h.value); {
	case print != h.print:
		return true
	case change > 0:
		return change >= h.step
	}
	return hasDeadband(t, count) && h.step == 0 && h.gaps >= habitGaps
}

// hasDeadband says whether a type is posted by MDEL and ADEL.
func hasDeadband(t DBR, count uint32) bool {
	return count == 1 && t.Native() != DBRString && t.Native() != DBREnum
}

var printSeed = maphash.MakeSeed()

// printed bounds what is looked at of a large array, since every update is.
const printed = 256

// reading is what a TIME payload says: a number that has a deadband, or a
// print of anything else.
func reading(t DBR, count uint32, payload []byte) (value float64, print uint64) {
	v := payload[t.ValueOffset():t.Size(count)]
	if !hasDeadband(t, count) {
		if t.Native() == DBRString && count == 1 {
			v = cutNUL(v) // what follows is garbage
		}
		return 0, maphash.Bytes(printSeed, v[:min(len(v), printed)]) ^ uint64(count)
	}
	switch t.Native() {
	case DBRShort:
		value = float64(int16(binary.BigEndian.Uint16(v)))
	case DBRFloat:
		value = float64(math.Float32frombits(binary.BigEndian.Uint32(v)))
	case DBRChar:
		value = float64(v[0])
	case DBRLong:
		value = float64(int32(binary.BigEndian.Uint32(v)))
	default:
		value = math.Float64frombits(binary.BigEndian.Uint64(v))
	}
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, math.Float64bits(value) // any change from or to it is one
	}
	return value, 0
}

// verify looks for monitors that are silent for far longer than their habit,
// reads their values once, and renews those that have missed something. For a
// renewed one that misses something again it asks for a new circuit.
func (c *Circuit) verify(now time.Time, events []Event) []Event {
	if c.options.Silence < 0 || now.Before(c.look) {
		return events
	}
	c.look = now.Add(time.Duration(habitLook * float64(c.options.Silence)))
	if c.watch.state != CircuitQuiet {
		return events
	}
	at := now.Sub(c.began)
	for _, sub := range c.subs {
		h := sub.habit
		if sub.channel == nil || h == nil || at < h.due && h.missed == 0 {
			continue
		}
		switch {
		case h.reading:
		case h.missed > 0 && at >= h.missed:
			if !h.renewed {
				events = append(events, c.renew(sub, at))
				break
			}
			h.renewed, h.missed, h.due = false, 0, at+c.options.LongSilence
			events = append(events, Event{Kind: EventStale, Owner: sub.channel.owner, Err: ErrStale})
		case h.missed == 0 && c.verifying < maxVerifying && sub.channel.rights&AccessRead != 0:
			events = append(events, c.readAgain(now, sub))
		}
	}
	return events
}

// readAgain asks for the value of a silent monitor.
func (c *Circuit) readAgain(now time.Time, sub *subscription) Event {
	g := &get{id: c.newID(), dbr: sub.dbr, verifies: sub, deadline: now.Add(c.options.GetTimeout)}
	c.gets[g.id] = g
	c.oldest = append(c.oldest, g)
	c.verifying++
	sub.habit.reading = true
	c.out = AppendReadNotify(c.out, sub.channel.sid, g.id, sub.dbr, sub.count)
	return Event{Kind: EventVerify, Owner: sub.channel.owner}
}

// verified takes the answer, or the failure, of a verifying read.
func (c *Circuit) verified(g *get, e Event) {
	c.verifying--
	h, at := g.verifies.habit, c.at
	h.reading = false
	// What is right needs no look for as long again as it was silent, up to
	// the long period; nor does a server that fails to answer get more reads.
	h.due = at + max(h.suspicion(&c.options), min(at-h.last, c.options.LongSilence))
	if g.verifies.channel == nil || e.Err != nil || e.Status != StatusNormal {
		return
	}
	if h.stale(e.Type, e.Count, e.Payload) {
		// Its update may be on the way: a read may overtake it.
		h.missed = at + c.options.Silence/habitGrace
	}
}

// renew cancels a monitor and adds it again.
func (c *Circuit) renew(sub *subscription, at time.Duration) Event {
	ch, h := sub.channel, sub.habit
	c.cancel(&ch.sub)
	c.subscribe(ch)
	// Without even a first value it is looked at soon.
	h.updates, h.renewed, h.missed, h.last, h.due = 0, true, 0, at, at+c.options.Silence
	ch.sub.habit = h
	return Event{Kind: EventRenewed, Owner: ch.owner}
}
