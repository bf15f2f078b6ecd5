package ingest

import (
	"context"

	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// Trace is how the CA channel of an archived PV fares; false if it has none.
func (e *Engine) Trace(pv schema.PVName) (caclient.Trace, bool) {
	e.mu.RLock()
	c := e.channels[pv]
	e.mu.RUnlock()
	if c == nil {
		return caclient.Trace{}, false
	}
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	if link == nil {
		return caclient.Trace{}, false
	}
	return link.Trace(), true
}

// Probe searches a PV that need not be archived, until it is connected or ctx
// ends, and tells how far it came. Nothing is subscribed.
func (e *Engine) Probe(ctx context.Context, pv schema.PVName) caclient.Trace {
	p := prober{connected: make(chan struct{}, 1)}
	channel := e.opt.Client.Open(string(pv), p)
	defer channel.Close()
	select {
	case <-p.connected:
	case <-ctx.Done():
	}
	return channel.Trace()
}

// prober is a handler that waits for a connection.
type prober struct{ connected chan struct{} }

// Connected ends the wait.
func (p prober) Connected(*caclient.Channel, caclient.Info) { signal(p.connected) }

// Disconnected changes nothing: the channel is searched again.
func (prober) Disconnected(*caclient.Channel, error) {}

// Update never comes.
func (prober) Update(*caclient.Channel, caclient.Update) {}
