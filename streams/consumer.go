package streams

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"pvlog/schema"
)

// Message is what the archive gets of one message of SAMPLES, or of the parts
// of a large sample.
type Message struct {
	PV          schema.PVName
	First, Seq  uint64    // first and last stream sequence that it occupies
	Time        time.Time // when the log stored it
	Redelivered bool      // Seq was in the stream when Reset ran: it may have been seen before
	Samples     []schema.RawSample
	Raw         []byte // the message as it was stored
	Err         error  // why there are no Samples, e.g. [schema.ErrDamaged]
}

// A fetch is bounded by both.
const (
	fetchMessages = 5000
	fetchBytes    = 2 * maxPayload
)

// Consumer is the durable consumer "archive" of SAMPLES (design D4): in order,
// one fetch at a time, acknowledged up to a sequence. Its methods belong to one
// goroutine, except Floor and Lag.
type Consumer struct {
	log *Log // set by New

	// Owned by the caller's goroutine.
	session    *session
	sub        *nats.Subscription
	reconnects int64
	requests   int
	mustReset  bool
	expect     bool   // the next message must be the one after the floor
	begun      bool   // a message came since Reset
	seen       uint64 // last sequence of the stream when Reset ran
	last       uint64 // newest sequence delivered
	deliveries deliveries
	set        partSet
	raw        []*nats.Msg        // of the last fetch
	messages   []Message          // of the last fetch
	samples    []schema.RawSample // of its messages

	mu    sync.Mutex
	floor uint64 // acknowledged up to here
}

// Reset goes back to the acknowledged floor: what was delivered and not
// acknowledged is delivered again, in order, before anything newer. It must
// run before the first Fetch; Fetch runs it by itself after a reconnect, a
// restart of the server, or a fetch that failed midway.
func (c *Consumer) Reset(ctx context.Context) error {
	s, err := c.log.current()
	if err != nil {
		return err
	}
	if err := c.subscribe(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, SamplesStream)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", SamplesStream, err)
	}
	answer, err := s.js.ResetConsumer(ctx, SamplesStream, ArchiveName)
	if err != nil {
		return fmt.Errorf("reset consumer %s: %w", ArchiveName, err)
	}
	c.log.metrics.resets.Inc()
	c.mustReset, c.expect, c.begun = false, true, false
	c.seen = stream.CachedInfo().State.LastSeq
	c.last = max(answer.ResetSeq, 1) - 1
	c.deliveries.reset()
	c.set.reset()
	c.setFloor(c.last)
	return nil
}

// apiTimeout bounds requests that the server answers from memory.
const apiTimeout = 10 * time.Second

// subscribe listens for deliveries of the session, on a fresh inbox so that
// nothing of an earlier request arrives.
func (c *Consumer) subscribe(s *session) error {
	if c.sub != nil {
		_ = c.sub.Unsubscribe()
	}
	c.session, c.reconnects = s, c.log.reconnects.Load()
	sub, err := s.nc.SubscribeSync(s.nc.NewInbox() + ".*")
	if err != nil {
		return fmt.Errorf("listen for deliveries: %w", err)
	}
	c.sub = sub
	return sub.SetPendingLimits(-1, -1) // a request bounds both
}

// Fetch gives the next messages in order, at most 5,000 or 16 MiB, as soon as
// there are any, and none after wait. Samples point into Raw. The messages and
// their Samples are reused by the next Fetch; Raw, and what points into it, is
// not. Messages must be acknowledged with Ack, in the order of their sequences.
func (c *Consumer) Fetch(ctx context.Context, wait time.Duration) ([]Message, error) {
	c.recycle()
	s, err := c.log.current()
	if err != nil {
		return nil, c.pauseAfter(ctx, wait, err)
	}
	if c.sub == nil || c.mustReset || c.session != s || c.reconnects != c.log.reconnects.Load() {
		if err := c.Reset(ctx); err != nil {
			return nil, c.pauseAfter(ctx, wait, err)
		}
	}
	raw, err := c.request(ctx, wait)
	if err != nil {
		// Some messages may be on their way to nobody: they must come again.
		c.mustReset = true
		return nil, fmt.Errorf("fetch samples: %w", err)
	}
	if err := c.checkStart(ctx, raw); err != nil {
		c.mustReset = true
		return nil, err
	}
	return c.decode(raw)
}

// pauseAfter keeps a caller that fetches in a loop from spinning while the
// server restarts.
func (c *Consumer) pauseAfter(ctx context.Context, wait time.Duration, err error) error {
	t := time.NewTimer(min(wait, time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return err
	}
}

// Ack acknowledges everything up to and including seq, which the caller has
// made durable. It returns when the server has taken it. A sequence that was
// not delivered acknowledges the newest delivered one below it.
func (c *Consumer) Ack(ctx context.Context, seq uint64) error {
	reply, newest, ok := c.deliveries.upTo(seq)
	if !ok {
		return nil
	}
	if c.session == nil || c.mustReset {
		return errors.New("acknowledge samples: the consumer was reset; they come again")
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if _, err := c.session.nc.RequestWithContext(ctx, reply, []byte("+ACK")); err != nil {
		return fmt.Errorf("acknowledge samples up to %d: %w", newest, err)
	}
	c.deliveries.forget(newest)
	c.setFloor(max(newest, c.Floor()))
	return nil
}

func (c *Consumer) setFloor(seq uint64) {
	c.mu.Lock()
	c.floor = seq
	c.mu.Unlock()
	c.log.metrics.ackFloor.Set(float64(seq))
}

// Floor is the stream sequence up to which everything is acknowledged, 0 before
// the first Reset.
func (c *Consumer) Floor() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floor
}

// Lag is how many messages of SAMPLES are not acknowledged yet.
func (c *Consumer) Lag(ctx context.Context) (uint64, error) {
	state, err := c.log.State(ctx)
	return state.Lag, err
}
