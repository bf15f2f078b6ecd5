package simioc

import "pvlog/ingest/ca"

// read answers READ_NOTIFY and the old READ.
func (c *client) read(ch *channel, h ca.Header) error {
	d, notify := ca.DBR(h.DataType), h.Command == ca.CmdReadNotify
	if !d.Valid() {
		if notify {
			return errRefused // base says nothing here
		}
		return c.refuse(h, ca.StatusBadType, ch.variable.name)
	}
	if ch.variable.rights()&ca.AccessRead == 0 {
		c.denyRead(ch, h, d)
		return nil
	}
	state := ch.variable.snapshot()
	n := h.Count
	if notify && c.ioc.opts.Minor >= minDynamic { // else, as to READ, 0 is not "the current length"
		n = state.elementsFor(d, n)
	}
	switch size := d.Size(n); {
	case size > maxPayload:
		c.fail(ch.cid, h, ca.StatusTooLarge, ch.variable.name)
	case c.minor < minExtended && tooLong(size, n):
		c.fail(ch.cid, h, ca.Status16KArrayClient, ch.variable.name)
	case notify:
		c.reply(func(b []byte) []byte { return appendRead(b, h, d, c.ioc.opts.Minor, &state) })
	default:
		c.reply(func(b []byte) []byte { return appendOldRead(b, ch, h, d, n, &state) })
	}
	return nil
}

func appendRead(b []byte, h ca.Header, d ca.DBR, minor uint16, state *snapshot) []byte {
	answer := ca.Header{Command: ca.CmdReadNotify, P1: ca.StatusNormal, P2: h.P2}
	b, err := state.appendFor(b, answer, d, h.Count, minor)
	if err != nil {
		answer.P1 = ca.StatusGetFail
		b = appendZeroed(b, answer, d, h.Count)
	}
	return b
}

// appendOldRead answers READ: with the client's id where READ_NOTIFY has a
// status, and one string cut behind its NUL.
func appendOldRead(b []byte, ch *channel, h ca.Header, d ca.DBR, n uint32, state *snapshot) []byte {
	answer := ca.Header{Command: ca.CmdRead, P1: ch.cid, P2: h.P2, DataType: h.DataType, Count: n}
	if d == ca.DBRString && n == 1 {
		text, err := state.appendPayload(nil, d, n)
		if err != nil {
			return ca.AppendError(b, ch.cid, ca.StatusGetFail, h, ch.variable.name)
		}
		return ca.AppendMessage(b, answer, append([]byte(cString(text)), 0))
	}
	b, err := state.appendMessage(b, answer, d, n)
	if err != nil {
		return ca.AppendError(b, ch.cid, ca.StatusGetFail, h, ch.variable.name)
	}
	return b
}
