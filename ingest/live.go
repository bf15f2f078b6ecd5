package ingest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// What [Engine.Get] fails with, beside a [schema.NotFound] for a PV that is
// not archived. All are of code [schema.Unavailable].
var (
	ErrNotConnected = errors.New("not connected")
	ErrGetFailed    = errors.New("get failed")
	ErrGetTimeout   = errors.New("timed out")
)

// Get reads the present value of a PV over the channel that archives it (S23),
// with the IOC's time, as a sample without fields. It waits up to timeout for
// a connection, and up to timeout for the answer. A PV that is not registered,
// paused, stopped, or held by its controlling PV is not archived.
func (e *Engine) Get(ctx context.Context, pv schema.PVName, timeout time.Duration) (schema.Sample, error) {
	e.mu.RLock()
	c, gated := e.channels[pv], e.gated[pv]
	e.mu.RUnlock()
	switch {
	case gated != nil:
		return schema.Sample{}, schema.Errorf(schema.NotFound, "PV %s is not archived now: its controlling PV %s is 0", pv, gated.ControllingPV)
	case c == nil:
		return schema.Sample{}, schema.Errorf(schema.NotFound, "PV %s is not archived", pv)
	}
	link, info, err := c.await(ctx, timeout)
	if err != nil {
		return schema.Sample{}, err
	}
	return c.present(ctx, link, info, timeout)
}

// await gives the connection, or why there is none in time.
func (c *Channel) await(ctx context.Context, timeout time.Duration) (*caclient.Channel, caclient.Info, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		link, info, arrival := c.connectionOr()
		if link != nil {
			return link, info, nil
		}
		select {
		case <-arrival:
		case <-timer.C:
			return nil, info, schema.Errorf(schema.Unavailable, "PV %s is %w within %v", c.pv, ErrNotConnected, timeout)
		case <-c.ctx.Done():
			return nil, info, schema.Errorf(schema.NotFound, "PV %s is not archived any more", c.pv)
		case <-ctx.Done():
			return nil, info, schema.Errorf(schema.Unavailable, "PV %s is %w: %v", c.pv, ErrNotConnected, ctx.Err())
		}
	}
}

// connectionOr gives the connection, or what is closed when there is one.
func (c *Channel) connectionOr() (*caclient.Channel, caclient.Info, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.online == nil && c.arrival == nil {
		c.arrival = make(chan struct{})
	}
	return c.online, c.info, c.arrival
}

// present reads and decodes the value.
func (c *Channel) present(ctx context.Context, link *caclient.Channel, info caclient.Info, timeout time.Duration) (schema.Sample, error) {
	patience, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	u, err := link.Get(patience, info.Native.Time(), 0)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ca.ErrGetTimeout):
		return schema.Sample{}, schema.Errorf(schema.Unavailable, "get of PV %s %w after %v", c.pv, ErrGetTimeout, timeout)
	case err != nil:
		return schema.Sample{}, schema.Errorf(schema.Unavailable, "%w: %v", ErrGetFailed, err)
	}
	event, stamp, err := ca.DecodeTime(nil, u.Type, u.Count, info.Count != 1, u.Payload)
	if err != nil {
		return schema.Sample{}, schema.Errorf(schema.Unavailable, "%w: PV %s: %v", ErrGetFailed, c.pv, err)
	}
	sample, err := schema.DecodeSample(stamp.Type, stamp.Year, event)
	if err != nil {
		return schema.Sample{}, schema.Errorf(schema.Unavailable, "%w: PV %s: %v", ErrGetFailed, c.pv, err)
	}
	return sample, nil
}

// NeverConnected are the states of the PVs whose channel is open and which
// never connected since they were registered (S22), by name.
func (e *Engine) NeverConnected() []ChannelState { return e.statesOf((*Channel).never) }

// Disconnected are the states of the PVs whose channel is open and not
// connected, those that never were included (S22), by name.
func (e *Engine) Disconnected() []ChannelState {
	return e.statesOf(func(c *Channel) bool { return c.connectionNow() != Connected })
}

// statesOf makes the states of the channels that are chosen, and of no other.
func (e *Engine) statesOf(choose func(*Channel) bool) []ChannelState {
	channels := slices.DeleteFunc(e.running(), func(c *Channel) bool { return !choose(c) })
	states := make([]ChannelState, len(channels))
	for i, c := range channels {
		states[i] = c.state()
	}
	slices.SortFunc(states, func(a, b ChannelState) int { return cmp.Compare(a.PV, b.PV) })
	return states
}

// never reports whether the PV has not connected since it was registered, by
// this channel or an earlier one.
func (c *Channel) never() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since.IsZero() && c.history.first.Load() == 0 && c.history.disconnects.Load() == 0
}
