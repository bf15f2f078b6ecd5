package ca

// WatchProperties wants the units, limits and labels of a channel: once when it
// is connected and whenever they change (DBE_PROPERTY, a subscription of its
// own: in the value's it would bring samples without a new stamp). They come as
// [EventProperties] for [DecodeCtrl]. A server that knows no such events sends
// the first ones alone. Strings have none.
func (c *Circuit) WatchProperties(cid uint32) {
	ch, ok := c.channels[cid]
	if !ok || ch.properties {
		return
	}
	ch.properties = true
	if ch.open() {
		c.watchProperties(ch)
	}
}

// IgnoreProperties ends that.
func (c *Circuit) IgnoreProperties(cid uint32) {
	if ch, ok := c.channels[cid]; ok {
		ch.properties = false
		c.cancel(&ch.props)
	}
}

// watchProperties begins the wanted subscription of an open channel. One
// element is enough: what is wanted stands before it.
func (c *Circuit) watchProperties(ch *circuitChannel) {
	if ch.properties && ch.native != DBRString {
		ch.props = c.install(ch, ch.native.Ctrl(), 1, MaskProperty)
	}
}
