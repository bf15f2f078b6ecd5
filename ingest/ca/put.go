package ca

import (
	"errors"
	"fmt"
	"time"
)

// ErrReadOnly says that access security grants no write access.
var ErrReadOnly = errors.New("the server grants no write access")

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
// (WRITE_NOTIFY), else when the server has taken the values. An earlier Put
// with complete must have ended: a server blocks the circuit for a second one
// on the same channel.
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
		c.out = AppendMessage(c.out, Header{Command: CmdWriteNotify, DataType: uint16(t), Count: count, P1: ch.sid, P2: g.id}, payload)
	} else {
		c.out = AppendMessage(c.out, Header{Command: CmdWrite, DataType: uint16(t), Count: count, P1: ch.sid, P2: cid}, payload)
		c.out = AppendReadNotify(c.out, ch.sid, g.id, ch.native, 1)
	}
	c.gets[g.id] = g
	c.oldest = append(c.oldest, g)
	return nil
}

// written takes WRITE_NOTIFY.
func (c *Circuit) written(h Header) Event {
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
