package caclient

import (
	"context"
	"fmt"
	"time"

	"pvlog/ingest/ca"
)

// PutValues writes values ([]string, []int16, []float32, []uint16, []byte,
// []int32 or []float64), which the server converts to the channel's type, and
// waits: with complete until the record and what it drives have been
// processed, else until the server has taken them. What the server refuses is
// a [StatusError]. After the end of ctx or [Options].GetTimeout nobody knows
// whether the value was written. Like Get it must not be called by a handler
// of the same circuit. It is there for command lines: an archiver never writes.
func (ch *Channel) PutValues(ctx context.Context, values any, complete bool) error {
	done := make(chan error, 1)
	circ := ch.on()
	if circ == nil {
		return fmt.Errorf("put %s: %w", ch.name, ca.ErrNotConnected)
	}
	if err := circ.put(ch, values, complete, func(_ Update, err error) { done <- err }); err != nil {
		return fmt.Errorf("put %s: %w", ch.name, err)
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("put %s: %w", ch.name, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("put %s: %w", ch.name, ctx.Err())
	}
}

func (c *circuit) put(ch *Channel, values any, complete bool, done func(Update, error)) error {
	return c.request(func(now time.Time) error { return c.core.Put(now, ch.cid, values, complete, &question{ch, done}) })
}
