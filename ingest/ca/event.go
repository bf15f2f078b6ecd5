package ca

import (
	"fmt"
	"time"
)

// EventKind says what an [Event] of a circuit is.
type EventKind uint8

// The kinds of events.
const (
	EventNone         EventKind = iota // nothing that anyone needs to know
	EventUpdate                        // a monitor's value, or its failure in Status
	EventGet                           // a get's answer, or Err
	EventConnected                     // a channel answered its claim: Info
	EventEnded                         // a claim was refused, or the server ended the channel: Err
	EventReply                         // a name server's answer: Reply
	EventRejected                      // a message that cannot be right was passed over: Err
	EventFailure                       // the server reports a failure: Status and Text
	EventProbe                         // an ECHO was sent
	EventUnresponsive                  // the server stopped to answer; the connection is kept
	EventLost                          // the circuit is to be closed
	EventVerify                        // a monitor was silent for long: its value is read
	EventRenewed                       // that value had not come as an update: the monitor was added anew
	EventStale                         // it has missed something again: a new circuit may help
	EventAccess                        // the access rights of a connected channel changed: Info
	EventProperties                    // units, limits or labels, at the beginning and when they change: a CTRL payload
)

// Event is what one message, or time, does to a circuit.
type Event struct {
	Kind      EventKind
	Owner     any  // of the channel or get
	Connected bool // EventEnded: the channel had been connected
	Type      DBR
	Count     uint32
	Status    uint32        // ECA
	Payload   []byte        // valid as long as Handle's
	Paused    time.Duration // EventUpdate: flow control had the server paused for so long since the update before
	Info      Info
	Reply     Reply
	Text      string
	Err       error
}

// Handle takes one message of the server. Whatever is odd becomes an event of
// kind [EventRejected] and costs nobody else anything; only a stream that
// cannot be cut into messages ends a circuit, which [Splitter.Next] tells.
func (c *Circuit) Handle(h Header, payload []byte, tooLarge bool) Event {
	switch h.Command {
	case CmdEventAdd:
		return c.update(h, payload, tooLarge)
	case CmdReadNotify:
		return c.answer(h, payload, tooLarge)
	case CmdWriteNotify:
		return c.written(h)
	case CmdVersion:
		// A server of minor 0 does not exist any more: it left the field empty.
		if m := uint16(min(h.Count, MinorVersion)); m > 0 {
			c.minor, c.greeted = m, true
		}
	case CmdAccessRights:
		return c.granted(h)
	case CmdCreateChan:
		return c.created(h)
	case CmdCreateChanFail:
		return c.ended(h.P1, ErrNoChannel)
	case CmdServerDisconnect:
		return c.ended(h.P1, ErrChannelEnded)
	case CmdError:
		return c.failure(h, payload)
	case CmdSearch:
		return Event{Kind: EventReply, Reply: Reply{CID: h.P2, Port: h.DataType, Address: h.P1, Minor: c.minor}}
	case CmdEcho, CmdReadSync, CmdClearChannel, CmdNotFound:
	default:
		return rejected("%s is nothing that a server sends", CommandName(h.Command))
	}
	return Event{}
}

// granted takes ACCESS_RIGHTS, which may come at any time. Bits that have no
// meaning are ignored.
func (c *Circuit) granted(h Header) Event {
	ch, ok := c.channels[h.P1]
	if !ok {
		return Event{}
	}
	changed := ch.rights != h.P2&(AccessRead|AccessWrite)
	ch.rights = h.P2 & (AccessRead | AccessWrite)
	if !changed || !ch.open() {
		return Event{}
	}
	return Event{Kind: EventAccess, Owner: ch.owner, Info: c.info(ch)}
}

func rejected(format string, args ...any) Event {
	return Event{Kind: EventRejected, Err: fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)}
}

// update takes EVENT_ADD: a value, or the acknowledgement of a cancel, which
// has the same command and no payload. A TIME payload is never empty, so the
// two cannot be confused.
func (c *Circuit) update(h Header, payload []byte, tooLarge bool) Event {
	sub, ok := c.subs[h.P2]
	if !ok {
		return Event{}
	}
	if h.PayloadSize == 0 {
		if sub.channel == nil {
			delete(c.subs, h.P2)
			return Event{}
		}
		return rejected("an update without payload")
	}
	if sub.channel == nil {
		return Event{}
	}
	e := Event{Kind: EventUpdate, Owner: sub.channel.owner, Type: DBR(h.DataType), Count: h.Count, Status: c.status(h)}
	if e.Type != sub.dbr {
		bad := rejected("an update of %v for a subscription of %v", e.Type, sub.dbr)
		bad.Owner = e.Owner
		return bad
	}
	switch {
	case tooLarge:
		e.Status = StatusTooLarge
	case e.Status == StatusNormal:
		if err := checkSize(e.Type, e.Count, payload); err != nil {
			return Event{Kind: EventRejected, Owner: e.Owner, Err: err}
		}
		e.Payload = payload
		if sub.habit == nil {
			e.Kind = EventProperties
			return e
		}
		e.Paused = c.flow.since(sub)
		sub.habit.updated(c.at, &c.options, e.Type, e.Count, payload)
		return e
	}
	if sub.habit == nil {
		return Event{} // its monitor tells that reading is denied
	}
	sub.habit.alive(c.at, &c.options)
	return e
}

// answer takes READ_NOTIFY.
func (c *Circuit) answer(h Header, payload []byte, tooLarge bool) Event {
	g, ok := c.gets[h.P2]
	if !ok {
		return Event{} // late: it has timed out
	}
	c.endGet(g)
	if g.put != noPut {
		return g.putDone(StatusNormal, "")
	}
	e := Event{Kind: EventGet, Owner: g.owner, Type: DBR(h.DataType), Count: h.Count, Status: c.status(h)}
	switch {
	case tooLarge:
		e.Status = StatusTooLarge
	case e.Status != StatusNormal:
	case e.Type != g.dbr:
		e.Err = fmt.Errorf("%w: %v was answered by %v", ErrMalformed, g.dbr, e.Type)
	default:
		if e.Err = checkSize(e.Type, e.Count, payload); e.Err == nil {
			e.Payload = payload
		}
	}
	if g.verifies != nil {
		c.verified(g, e)
		return Event{}
	}
	return e
}

// maxProvoked is how many bytes may wait for a server that makes this end
// answer and reads none of it.
const maxProvoked = 16 << 20

// created takes the answer to a claim. One that nobody waits for any more is
// cleared, or the server would keep the channel for the life of the circuit.
func (c *Circuit) created(h Header) Event {
	ch, ok := c.channels[h.P1]
	if !ok {
		if len(c.out) > maxProvoked {
			return Event{Kind: EventLost, Err: ErrNotReading}
		}
		if c.minor >= minorClaimName {
			c.out = AppendClearChannel(c.out, h.P2, h.P1)
		}
		return Event{}
	}
	if ch.open() {
		return rejected("CREATE_CHAN for a channel that is connected")
	}
	if h.DataType > uint16(DBRDouble) {
		c.out = AppendClearChannel(c.out, ch.sidOf(h), h.P1)
		c.forget(ch)
		return Event{Kind: EventEnded, Owner: ch.owner, Err: fmt.Errorf("%w: %d", ErrNativeType, h.DataType)}
	}
	return c.opened(ch, ch.sidOf(h), DBR(h.DataType), h.Count)
}

// opened begins what is wanted of a channel that the server has.
func (c *Circuit) opened(ch *circuitChannel, sid uint32, native DBR, count uint32) Event {
	ch.state, ch.sid, ch.native, ch.count = channelOpen, sid, native, count
	if c.minor < minorRights {
		ch.rights = AccessRead | AccessWrite
	}
	c.watchProperties(ch) // first: they describe the values
	c.subscribe(ch)
	return Event{Kind: EventConnected, Owner: ch.owner, Info: c.info(ch)}
}

// ended takes CREATE_CH_FAIL and SERVER_DISCONN.
func (c *Circuit) ended(cid uint32, cause error) Event {
	ch, ok := c.channels[cid]
	if !ok {
		return Event{}
	}
	connected := ch.open()
	c.forget(ch)
	return Event{Kind: EventEnded, Owner: ch.owner, Connected: connected, Err: cause}
}

// failure takes ERROR. What failed stands in the header of the request that
// the payload begins with.
func (c *Circuit) failure(h Header, payload []byte) Event {
	request, n, _ := ParseHeader(payload)
	if n == 0 {
		return rejected("an ERROR of %d bytes", len(payload))
	}
	text := decodeText(payload[n:])
	if g := c.failedPut(request); g != nil {
		c.endGet(g)
		return g.putDone(h.P2, text)
	}
	if request.Command == CmdReadNotify {
		if g, ok := c.gets[request.P2]; ok {
			c.endGet(g)
			e := Event{Kind: EventGet, Owner: g.owner, Type: g.dbr, Status: h.P2, Text: text}
			if g.verifies == nil {
				return e
			}
			e.Err = ErrMalformed // no value in any case
			c.verified(g, e)
		}
	}
	e := Event{Kind: EventFailure, Status: h.P2, Text: CommandName(request.Command) + ": " + text}
	if ch, ok := c.channels[h.P1]; ok {
		e.Owner = ch.owner
	}
	return e
}
