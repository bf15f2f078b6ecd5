package caclient

import (
	"fmt"
	"runtime/debug"
)

// A panic is an error of this program. An archiver goes on with what it does
// not concern: one of a handler costs its channel that call, one of the
// protocol's core its circuit, which is dialled anew.

// calm is deferred around the call of a channel's handler.
func (c *circuit) calm(ch *Channel) {
	if p := recover(); p != nil {
		c.panicked(ch, p)
	}
}

// panicked tells and counts the panic of a channel's handler.
func (c *circuit) panicked(ch *Channel, p any) {
	c.client.metrics.panics.Inc()
	c.client.odd.warn("a panic was caught, please report it: what a channel was told is lost", "pv", ch.name, "addr", c.addr,
		"err", fmt.Errorf("panic: %v", p), "stack", string(debug.Stack()))
}

// broken tells and counts any other panic, and gives the reason with which the
// circuit ends.
func (c *circuit) broken(p any) error {
	c.client.metrics.panics.Inc()
	err := fmt.Errorf("panic: %v", p)
	c.client.odd.warn("a panic was caught, please report it: the circuit ends", "addr", c.addr, "err", err, "stack", string(debug.Stack()))
	return err
}

// disconnected tells a handler that its channel is lost.
func (c *circuit) disconnected(ch *Channel, cause error) {
	c.client.metrics.disconnects.Inc()
	defer c.calm(ch)
	ch.handler.Disconnected(ch, cause)
}
