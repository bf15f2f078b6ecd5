package simioc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"

	"pvlog/ingest/ca"
)

// maxRequest is the largest payload taken from a client; the body of a larger
// request is skipped and answered TOLARGE.
const maxRequest = maxValueBytes + maxHeadBytes

// noChannel stands in an ERROR that is about no channel.
const noChannel uint32 = 0xFFFFFFFF

// errRefused ends a circuit after a request that no client should send; the
// reader has queued the ERROR that goes with it, if one does.
var errRefused = errors.New("request refused")

// requests reads a client's messages.
type requests struct {
	r     *bufio.Reader
	plain bool   // extended headers are not understood
	body  []byte // of the present request
}

// next gives the next request. The payload is valid until the next call.
// tooLarge: the payload was skipped. An error that wraps ca.ErrMalformed comes
// with the header that caused it.
func (q *requests) next() (h ca.Header, payload []byte, tooLarge bool, err error) {
	b, err := q.r.Peek(ca.HeaderSize)
	if err != nil {
		return h, nil, false, err
	}
	h, n, err := ca.ParseHeader(b)
	if err == nil && n == 0 && q.plain {
		return h, nil, false, ca.ErrMalformed
	}
	if err == nil && n == 0 {
		if b, err = q.r.Peek(ca.ExtendedHeaderSize); err != nil {
			return h, nil, false, err
		}
		h, n, err = ca.ParseHeader(b)
	}
	if err != nil {
		return h, nil, false, err
	}
	q.r.Discard(n)
	if h.PayloadSize > maxRequest {
		_, err = io.CopyN(io.Discard, q.r, int64(h.PayloadSize))
		return h, nil, true, err
	}
	payload, err = q.read(int(h.PayloadSize))
	return h, payload, false, err
}

// read takes n bytes, and memory only as they arrive: the header may lie.
func (q *requests) read(n int) ([]byte, error) {
	if cap(q.body) > keptBuffer {
		q.body = nil
	}
	q.body = q.body[:0]
	for len(q.body) < n {
		have := len(q.body)
		q.body = append(q.body, zeros[:min(len(zeros), n-have)]...)
		if _, err := io.ReadFull(q.r, q.body[have:]); err != nil {
			return nil, err
		}
	}
	return q.body, nil
}

// readLoop answers requests until the client goes or misbehaves.
func (c *client) readLoop() error {
	defer c.forget()
	q := requests{r: bufio.NewReaderSize(c.conn, 64<<10), plain: c.ioc.opts.Minor < minExtended}
	var w wakes
	for {
		if q.r.Buffered() == 0 {
			w.flush()
			c.signal()
		}
		if !c.waitRoom() || !c.ioc.traffic.pass(c.gone, 0) {
			return nil
		}
		h, payload, tooLarge, err := q.next()
		// What came while the circuit was wedged waits, too.
		if !c.ioc.traffic.pass(c.gone, 0) || err != nil && !errors.Is(err, ca.ErrMalformed) {
			return nil // gone
		}
		if err := c.answer(h, payload, tooLarge, err, &w); err != nil {
			return err
		}
	}
}

// answer takes one request, or what is wrong with it.
func (c *client) answer(h ca.Header, payload []byte, tooLarge bool, malformed error, w *wakes) error {
	c.requests.Lock()
	defer c.requests.Unlock()
	switch {
	case malformed != nil:
		return c.refuse(h, ca.StatusInternal, "the payload size is not a multiple of 8")
	case tooLarge:
		c.fail(noChannel, h, ca.StatusTooLarge, "the payload is too large")
		return nil
	}
	return c.handle(h, payload, w)
}

// handle answers one request as EPICS base does. An error closes the circuit.
func (c *client) handle(h ca.Header, payload []byte, w *wakes) error {
	switch h.Command {
	case ca.CmdVersion:
		return c.version(h)
	case ca.CmdClientName, ca.CmdHostName:
		if c.named {
			c.fail(noChannel, h, ca.StatusInternal, "client and host name come before the first channel")
		}
		return nil
	case ca.CmdSearch:
		if c.ioc.opts.Minor < minTCPSearch {
			return c.refuse(h, ca.StatusInternal, "a server does not take "+ca.CommandName(h.Command))
		}
		c.search(h, payload)
		return nil
	case ca.CmdCreateChan:
		c.create(h, payload)
		return nil
	case ca.CmdEcho, ca.CmdReadSync:
		c.reply(func(b []byte) []byte { return ca.AppendMessage(b, h, payload) })
		return nil
	case ca.CmdEventsOff, ca.CmdEventsOn:
		c.pause(h.Command == ca.CmdEventsOff)
		return nil
	}
	return c.handleChannel(h, payload, w)
}

// handleChannel answers the requests that name a channel.
func (c *client) handleChannel(h ca.Header, payload []byte, w *wakes) error {
	ch := c.channels[h.P1]
	switch h.Command {
	case ca.CmdRead, ca.CmdReadNotify, ca.CmdWrite, ca.CmdWriteNotify, ca.CmdEventAdd, ca.CmdEventCancel, ca.CmdClearChannel:
		if ch == nil {
			return c.refuse(h, ca.StatusInternal, "no such channel")
		}
		if ch.ended && h.Command != ca.CmdClearChannel {
			return nil
		}
	default:
		return c.refuse(h, ca.StatusInternal, "a server does not take "+ca.CommandName(h.Command))
	}
	switch h.Command {
	case ca.CmdRead, ca.CmdReadNotify:
		return c.read(ch, h)
	case ca.CmdWrite, ca.CmdWriteNotify:
		return c.write(ch, h, payload, w)
	case ca.CmdEventAdd:
		return c.eventAdd(ch, h, payload, w)
	case ca.CmdEventCancel:
		return c.eventCancel(ch, h)
	}
	c.clear(ch, h)
	return nil
}

// version notes the client's minor version. Priorities end at 99, and servers
// since base 3.16 take no client below minor 4.
func (c *client) version(h ca.Header) error {
	if h.DataType > 99 || h.Count < minMinor {
		return errRefused
	}
	c.minor = min(uint16(min(h.Count, 0xFFFF)), c.ioc.opts.Minor)
	return nil
}

// fail queues an ERROR about a request.
func (c *client) fail(cid uint32, h ca.Header, status uint32, text string) {
	c.reply(func(b []byte) []byte { return ca.AppendError(b, cid, status, h, text) })
}

// refuse queues an ERROR and ends the circuit.
func (c *client) refuse(h ca.Header, status uint32, text string) error {
	cid := noChannel
	if ch := c.channels[h.P1]; ch != nil {
		cid = ch.cid
	}
	c.fail(cid, h, status, text)
	return errRefused
}

// search answers a SEARCH that came over the circuit.
func (c *client) search(h ca.Header, payload []byte) {
	if c.ioc.find(nameOf(payload)) != nil {
		c.reply(func(b []byte) []byte {
			return ca.AppendHeader(b, ca.Header{Command: ca.CmdSearch, DataType: c.ioc.tcpPort, P1: ca.AddressOfSender, P2: h.P2})
		})
	} else if h.DataType == ca.DoReply {
		h.Command, h.PayloadSize = ca.CmdNotFound, 0
		c.reply(func(b []byte) []byte { return ca.AppendHeader(b, h) })
	}
}

// nameOf reads a channel name. Base overwrites the last byte with a NUL: a
// name without room for its own loses its end, here as there.
func nameOf(payload []byte) string {
	if len(payload) == 0 {
		return ""
	}
	return ca.Text(payload[:len(payload)-1])
}

// create answers CREATE_CHAN: rights first, then the channel.
func (c *client) create(h ca.Header, payload []byte) {
	if h.P2 < minMinor {
		c.fail(h.P1, h, ca.StatusDefunct, "clients below CA 4.4 are not served")
		return
	}
	c.minor, c.named = min(uint16(min(h.P2, 0xFFFF)), c.ioc.opts.Minor), true
	v := c.ioc.find(nameOf(payload))
	if v == nil || len(c.channels) >= maxChannels {
		if c.minor >= minCreateFail {
			c.reply(func(b []byte) []byte {
				return ca.AppendHeader(b, ca.Header{Command: ca.CmdCreateChanFail, P1: h.P1})
			})
		}
		return
	}
	ch := &channel{sid: c.ioc.nextSID.Add(1) - 1, cid: h.P1, variable: v, rights: v.rights()}
	c.channels[ch.sid] = ch
	count := uint32(v.max)
	if c.minor < minExtended {
		count = min(count, maxPlainCount)
	}
	c.reply(func(b []byte) []byte {
		b = ca.AppendHeader(b, ca.Header{Command: ca.CmdAccessRights, P1: ch.cid, P2: ch.rights})
		return ca.AppendHeader(b, ca.Header{Command: ca.CmdCreateChan, DataType: uint16(v.native), Count: count, P1: ch.cid, P2: ch.sid})
	})
}

// write answers WRITE, which says nothing unless it fails, and WRITE_NOTIFY.
func (c *client) write(ch *channel, h ca.Header, payload []byte, w *wakes) error {
	d, status := ca.DBR(h.DataType), ca.StatusNormal
	switch {
	case !d.Valid():
		status = ca.StatusBadType
	case ch.variable.rights()&ca.AccessWrite == 0:
		status = ca.StatusNoWriteAccess
	case ch.takesTime(d):
		var waiting bool
		if waiting, status = c.writeSlowly(ch, h, payload, w); waiting {
			return nil
		}
	case ch.variable.write(d, int(min(h.Count, uint32(ch.variable.max))), payload, w) != nil:
		status = ca.StatusPutFail
	}
	if h.Command == ca.CmdWriteNotify {
		answer := ca.Header{Command: ca.CmdWriteNotify, DataType: h.DataType, Count: h.Count, P1: status, P2: h.P2}
		c.reply(func(b []byte) []byte { return ca.AppendHeader(b, answer) })
	} else if status != ca.StatusNormal {
		h.P2 = ch.cid
		c.fail(ch.cid, h, status, ch.variable.name)
	}
	if status == ca.StatusBadType {
		return errRefused
	}
	return nil
}

// eventAdd subscribes; the present state is the first update.
func (c *client) eventAdd(ch *channel, h ca.Header, payload []byte, w *wakes) error {
	d := ca.DBR(h.DataType)
	if !d.Valid() {
		return errRefused
	}
	var mask uint16
	if len(payload) >= 16 {
		mask = binary.BigEndian.Uint16(payload[12:])
	}
	if mask == 0 || mask > 0xFF || c.nsubs >= maxSubscriptions {
		return c.refuse(h, ca.StatusAllocMem, "subscription install for "+ch.variable.name)
	}
	if d.Size(h.Count) > maxPayload {
		c.fail(ch.cid, h, ca.StatusTooLarge, ch.variable.name)
		return nil
	}
	if c.minor < minExtended && tooLong(d.Size(h.Count), h.Count) {
		c.fail(ch.cid, h, ca.Status16KArrayClient, ch.variable.name)
		return nil
	}
	s := &subscription{client: c, channel: ch, id: h.P2, dbr: d, count: h.Count, mask: mask}
	ch.subs = append(ch.subs, s)
	c.nsubs++
	if ch.variable.rights()&ca.AccessRead == 0 {
		s.denied = true
		c.reply(func(b []byte) []byte { return appendDenied(b, s) })
	}
	ch.variable.subscribe(s, w)
	return nil
}

// eventCancel unsubscribes. The acknowledgement is an EVENT_ADD without data.
func (c *client) eventCancel(ch *channel, h ca.Header) error {
	for i, s := range ch.subs {
		if s.id != h.P2 {
			continue
		}
		c.cancel(s)
		ch.subs = append(ch.subs[:i], ch.subs[i+1:]...)
		ack := ca.Header{Command: ca.CmdEventAdd, DataType: uint16(s.dbr), Count: s.count, P1: ch.sid, P2: s.id}
		c.reply(func(b []byte) []byte { return ca.AppendHeader(b, ack) })
		return nil
	}
	return c.refuse(h, ca.StatusBadMonitorID, ch.variable.name)
}

func (c *client) cancel(s *subscription) {
	s.channel.variable.unsubscribe(s)
	c.drop(s)
	c.nsubs--
}

// clear deletes a channel with its subscriptions.
func (c *client) clear(ch *channel, h ca.Header) {
	for _, s := range ch.subs {
		c.cancel(s)
	}
	ch.abandonPut()
	delete(c.channels, ch.sid)
	h.PayloadSize = 0
	c.reply(func(b []byte) []byte { return ca.AppendHeader(b, h) })
}

// forget ends all subscriptions of a client that is gone.
func (c *client) forget() {
	c.requests.Lock()
	defer c.requests.Unlock()
	for _, ch := range c.channels {
		ch.abandonPut()
		for _, s := range ch.subs {
			s.channel.variable.unsubscribe(s)
		}
	}
	c.channels = nil
}
