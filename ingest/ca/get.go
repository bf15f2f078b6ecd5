package ca

import (
	"fmt"
	"time"
)

// get is a READ_NOTIFY, or a put, on its way.
type get struct {
	id       uint32
	dbr      DBR
	owner    any
	verifies *subscription // nil: it was asked for from outside
	deadline time.Time
	done     bool
	put      putKind
	cid      uint32 // of a put's channel
}

// Get asks for a value once; its answer, failure or time-out comes as an event
// of kind [EventGet] with this owner. Count 0 is the current length.
func (c *Circuit) Get(now time.Time, cid uint32, t DBR, count uint32, owner any) error {
	ch, ok := c.channels[cid]
	if !ok || !ch.open() {
		return ErrNotConnected
	}
	if !t.Valid() || t == DBRPutAckT || t == DBRPutAckS {
		// The server would close the circuit.
		return fmt.Errorf("get %v: no such type can be read", t)
	}
	g := &get{id: c.newID(), dbr: t, owner: owner, deadline: now.Add(c.options.GetTimeout)}
	c.gets[g.id] = g
	c.oldest = append(c.oldest, g)
	c.out = AppendReadNotify(c.out, ch.sid, g.id, t, c.wireCount(count, t, ch))
	return nil
}

// Gets ends all gets on their way and gives their owners: the circuit is lost.
func (c *Circuit) Gets() []any {
	var owners []any
	for _, g := range c.oldest {
		if !g.done && g.verifies == nil {
			owners = append(owners, g.owner)
		}
	}
	c.gets = map[uint32]*get{}
	c.oldest = nil
	return owners
}

// expireGets gives the gets whose time is up.
func (c *Circuit) expireGets(now time.Time, events []Event) []Event {
	for len(c.oldest) > 0 && (c.oldest[0].done || !now.Before(c.oldest[0].deadline)) {
		if g := c.oldest[0]; !g.done {
			delete(c.gets, g.id)
			e := Event{Kind: EventGet, Owner: g.owner, Type: g.dbr, Err: ErrGetTimeout}
			if g.verifies != nil {
				c.verified(g, e)
			} else {
				events = append(events, e)
			}
		}
		c.oldest[0] = nil
		c.oldest = c.oldest[1:]
	}
	return events
}

// endGet takes a get off the books.
func (c *Circuit) endGet(g *get) {
	g.done = true
	delete(c.gets, g.id)
	for len(c.oldest) > 0 && c.oldest[0].done {
		c.oldest[0] = nil
		c.oldest = c.oldest[1:]
	}
}
