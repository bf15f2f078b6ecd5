package ca

// Update takes a message that is a good value of a living monitor, which
// nearly all are, and gives the owner of its channel. Anything else leaves the
// circuit as it was, gives ok false and is for [Circuit.Handle], which would
// do the same with this one: an [Event] has room for everything, and to fill
// and copy it for each value takes a quarter of the time of the way from the
// socket to the handler.
func (c *Circuit) Update(h Header, payload []byte, tooLarge bool) (owner any, ok bool) {
	if h.Command != CmdEventAdd || h.P1 != StatusNormal || h.PayloadSize == 0 || tooLarge {
		return nil, false
	}
	sub := c.subs[h.P2]
	if sub == nil || sub.channel == nil || sub.habit == nil || sub.paused != c.flow.paused || sub.dbr != DBR(h.DataType) || int64(len(payload)) < sub.dbr.Size(h.Count) {
		return nil, false
	}
	sub.habit.updated(c.at, &c.options, sub.dbr, h.Count, payload)
	return sub.channel.owner, true
}
