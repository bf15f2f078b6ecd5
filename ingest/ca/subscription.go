package ca

import "time"

// subscription is an EVENT_ADD: of a value, or of properties.
type subscription struct {
	id      uint32
	channel *circuitChannel // nil once cancelled
	dbr     DBR
	count   uint32
	paused  time.Duration // of the circuit's pauses, as far as its updates have told
	habit   *habit        // nil: of properties, which may be silent for ever
}

// Subscribe wants a DBR_TIME_<native> monitor with an event mask; it begins at
// once or when the channel is connected, and replaces one with another mask.
func (c *Circuit) Subscribe(cid uint32, mask uint16) {
	ch, ok := c.channels[cid]
	if !ok || (ch.mask == mask && (ch.sub != nil || !ch.open())) {
		return
	}
	c.cancel(&ch.sub)
	ch.mask = mask
	if ch.open() {
		c.subscribe(ch)
	}
}

// Unsubscribe ends the monitor; updates that are on their way are ignored.
func (c *Circuit) Unsubscribe(cid uint32) {
	if ch, ok := c.channels[cid]; ok {
		c.cancel(&ch.sub)
		ch.mask = 0
	}
}

// subscribe begins the wanted monitor of an open channel.
func (c *Circuit) subscribe(ch *circuitChannel) {
	if ch.mask == 0 {
		return
	}
	ch.sub = c.install(ch, ch.native.Time(), c.wireCount(0, ch.native.Time(), ch), ch.mask)
	ch.sub.habit = &habit{last: c.at, due: c.at + c.options.LongSilence}
}

// install asks for a subscription.
func (c *Circuit) install(ch *circuitChannel, t DBR, count uint32, mask uint16) *subscription {
	sub := &subscription{id: c.newID(), channel: ch, dbr: t, count: count, paused: c.flow.paused}
	c.subs[sub.id] = sub
	c.out = AppendEventAdd(c.out, ch.sid, sub.id, t, count, mask)
	return sub
}

// cancel ends a subscription, if there is one. Its id stays taken until the
// server acknowledges: what it sent before has the same id.
func (c *Circuit) cancel(of **subscription) {
	sub := *of
	if sub == nil {
		return
	}
	c.out = AppendEventCancel(c.out, sub.channel.sid, sub.id, sub.dbr, sub.count)
	sub.channel = nil
	*of = nil
}

// wireCount is the count that a request for a type names: of an old peer the
// native count where the current length is wanted, and of a peer that has no
// large arrays what it can send.
func (c *Circuit) wireCount(count uint32, t DBR, ch *circuitChannel) uint32 {
	if count == 0 && c.minor < MinDynamicCount {
		count = ch.count
	}
	if c.minor < minorLargeArrays {
		count = min(count, uint32((smallPayload-t.ValueOffset())/t.ElementSize()))
	}
	return count
}
