package ca

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Causes that a put is refused with.
var (
	ErrReadOnly = errors.New("the server grants no write access")
	ErrPutsWait = errors.New("too many puts wait for an earlier one of the channel")
)

// putKind says what a get stands for.
type putKind uint8

const (
	noPut    putKind = iota // it is a get
	putSent                 // a READ_NOTIFY behind a WRITE: rsrv answers in order, so its answer says that the WRITE was taken
	putAwait                // a WRITE_NOTIFY
)

// minorLargeArrays is the first minor version that takes the extended header.
const minorLargeArrays = 9

// smallPayload is the largest payload that an older server takes.
const smallPayload = 16 << 10

// Put writes values, a slice as [AppendTime] takes; a server converts them to
// the channel's type. The end comes as an event of kind [EventGet] with this
// owner: its Status is what the server says, and there is no payload. With
// complete it comes when the record and what it drives have been processed
// (WRITE_NOTIFY), else when the server has taken the values. While the server
// has not answered a WRITE_NOTIFY of the channel, not even after its time-out
// here, later Puts with complete wait, and all Puts behind them, because rsrv
// reads nothing more of the circuit when a second one comes. [ErrPutsWait]
// bounds how many.
func (c *Circuit) Put(now time.Time, cid uint32, values any, complete bool, owner any) error {
	ch, ok := c.channels[cid]
	if !ok || !ch.open() {
		return ErrNotConnected
	}
	if ch.rights&AccessWrite == 0 {
		return ErrReadOnly
	}
	t, ok := nativeOf(values)
	if !ok {
		return fmt.Errorf("put %T: no DBR type holds it", values)
	}
	payload, err := AppendDBR(nil, t, Properties{}, values)
	if err != nil {
		return err
	}
	count := uint32(len(payload) / t.ElementSize())
	switch {
	case count == 0 || count > ch.count:
		return fmt.Errorf("put %d elements: the channel takes 1 to %d", count, ch.count)
	case len(payload) > MaxPayload, c.minor < minorLargeArrays && len(payload) > smallPayload:
		return fmt.Errorf("put %d elements: %d bytes are more than the server takes", count, len(payload))
	}
	g := &get{id: c.newID(), dbr: t, owner: owner, deadline: now.Add(c.options.GetTimeout), put: putSent, cid: cid}
	if complete {
		g.put = putAwait
	}
	p := heldPut{get: g, count: count, payload: payload}
	if len(ch.held) > 0 || complete && ch.writing != 0 {
		if err := c.hold(ch, p); err != nil {
			return err
		}
	} else {
		c.send(ch, p)
	}
	c.gets[g.id] = g
	c.oldest = append(c.oldest, g)
	return nil
}

// heldPut is a put that is to be sent.
type heldPut struct {
	get     *get
	count   uint32
	payload []byte
}

// What may wait for one channel's WRITE_NOTIFY.
const (
	maxHeldPuts  = 100
	maxHeldBytes = 1 << 20 // beyond the first
)

// hold keeps a put until the channel's WRITE_NOTIFY is answered. Those that
// have timed out give their place back.
func (c *Circuit) hold(ch *circuitChannel, p heldPut) error {
	ch.held = slices.DeleteFunc(ch.held, func(h heldPut) bool { return c.gets[h.get.id] != h.get })
	bytes := 0
	for _, h := range ch.held {
		bytes += len(h.payload)
	}
	if len(ch.held) >= maxHeldPuts || bytes > 0 && bytes+len(p.payload) > maxHeldBytes {
		return ErrPutsWait
	}
	ch.held = append(ch.held, p)
	return nil
}

// send puts the messages of a put into the output.
func (c *Circuit) send(ch *circuitChannel, p heldPut) {
	h := Header{Command: CmdWriteNotify, DataType: uint16(p.get.dbr), Count: p.count, P1: ch.sid, P2: p.get.id}
	if p.get.put == putAwait {
		ch.writing = p.get.id
		c.writes[p.get.id] = ch
		c.out = AppendMessage(c.out, h, p.payload)
		return
	}
	h.Command, h.P2 = CmdWrite, ch.cid
	c.out = AppendMessage(c.out, h, p.payload)
	c.out = AppendReadNotify(c.out, ch.sid, p.get.id, ch.native, 1)
}

// release sends what waited for a WRITE_NOTIFY that is answered now, up to and
// with the next one. What has timed out meanwhile is not sent: its owner was
// told that it failed.
func (c *Circuit) release(ioid uint32) {
	ch, ok := c.writes[ioid]
	if !ok {
		return
	}
	delete(c.writes, ioid)
	ch.writing = 0
	for len(ch.held) > 0 && ch.writing == 0 {
		p := ch.held[0]
		ch.held = ch.held[1:]
		if c.gets[p.get.id] == p.get {
			c.send(ch, p)
		}
	}
	if len(ch.held) == 0 {
		ch.held = nil
	}
}

// written takes WRITE_NOTIFY.
func (c *Circuit) written(h Header) Event {
	c.release(h.P2)
	g, ok := c.gets[h.P2]
	if !ok {
		return Event{} // late: it has timed out
	}
	if g.put != putAwait {
		return rejected("WRITE_NOTIFY answers a %s", CommandName(CmdReadNotify))
	}
	c.endGet(g)
	return g.putDone(h.P1, "")
}

// failedPut gives the put whose request an ERROR names, nil if it is another.
// WRITE is named by its channel: the oldest put of that channel, since a
// server takes them in order. A READ_NOTIFY that fails behind a WRITE says,
// too, that the WRITE was taken.
func (c *Circuit) failedPut(request Header) *get {
	switch request.Command {
	case CmdWriteNotify:
		c.release(request.P2)
		if g, ok := c.gets[request.P2]; ok && g.put == putAwait {
			return g
		}
	case CmdWrite:
		for _, g := range c.oldest {
			if !g.done && g.put == putSent && g.cid == request.P2 {
				return g
			}
		}
	}
	return nil
}

func (g *get) putDone(status uint32, text string) Event {
	return Event{Kind: EventGet, Owner: g.owner, Type: g.dbr, Status: status, Text: text}
}
