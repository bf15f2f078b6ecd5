package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema/logpb"
)

// How many events are read at once: the server spends four times as much CPU on
// each of a batch of direct gets as on a consumer's delivery (37 µs and 9 µs
// were measured), and a consumer costs a millisecond. One that nobody asks for
// so long is forgotten by the server.
const (
	manyEvents    = 1000
	readerMaxIdle = time.Minute
)

// eventReader is a consumer of REGISTRY for one reading, without state that
// outlives it. It belongs to one goroutine.
type eventReader struct {
	session  *session
	name     string // of the consumer
	sub      *nats.Subscription
	requests int
	count    uint64 // deliveries that were looked at
	raw      []*nats.Msg
}

// newEventReader makes a reader of the events from a sequence on.
func newEventReader(ctx context.Context, s *session, from uint64) (*eventReader, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	consumer, err := s.js.CreateConsumer(ctx, RegistryStream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, InactiveThreshold: readerMaxIdle, Description: "reads the registry's events",
	})
	if err != nil {
		return nil, fmt.Errorf("make a consumer of %s: %w", RegistryStream, err)
	}
	r := &eventReader{session: s, name: consumer.CachedInfo().Name}
	if r.sub, err = s.nc.SubscribeSync(s.nc.NewInbox() + ".*"); err == nil {
		err = r.sub.SetPendingLimits(-1, -1) // a request bounds both
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("listen for events: %w", err)
	}
	return r, nil
}

// close ends the consumer. One that the server cannot be told of, it forgets by
// itself.
func (r *eventReader) close() {
	if r.sub != nil {
		_ = r.sub.Unsubscribe()
	}
	ctx, cancel := context.WithTimeout(context.Background(), apiTimeout)
	defer cancel()
	_ = r.session.js.DeleteConsumer(ctx, RegistryStream, r.name)
}

// next gives at most n further messages, none if there are no more. They are
// good until the next call.
func (r *eventReader) next(ctx context.Context, n int) ([]*nats.Msg, error) {
	body, err := json.Marshal(pullRequest{Batch: n, MaxBytes: followBytes, NoWait: true})
	if err != nil {
		return nil, err
	}
	r.requests++
	reply := strings.TrimSuffix(r.sub.Subject, "*") + strconv.Itoa(r.requests)
	if err := r.session.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+RegistryStream+"."+r.name, reply, body); err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	r.raw = r.raw[:0]
	for len(r.raw) < n {
		m, err := r.sub.NextMsgWithContext(within)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil, errors.New("the server did not answer")
		case err != nil:
			return nil, err
		case m.Subject == reply: // a status: nothing more comes of this request
			return r.raw, endOf(m)
		case m.Reply != "": // else a status of an earlier request
			r.raw = append(r.raw, m)
		}
	}
	return r.raw, nil
}

// sequence is a message's place in the stream. Deliveries are counted: after a
// gap nothing can be believed.
func (r *eventReader) sequence(m *nats.Msg) (uint64, error) {
	at, err := parseReply(m.Reply)
	if err != nil {
		return 0, err
	}
	if r.count++; at.consumer != r.count {
		return 0, fmt.Errorf("delivery %d came in the place of %d", at.consumer, r.count)
	}
	return at.stream, nil
}

// readMany hands out the events up to last and moves next behind each.
func (e *EventLog) readMany(ctx context.Context, s *session, next *uint64, last uint64, apply func(uint64, *logpb.RegistryEvent, bool) error) error {
	r, err := newEventReader(ctx, s, *next)
	if err != nil {
		return err
	}
	defer r.close()
	for *next <= last {
		messages, err := r.next(ctx, int(min(last-*next+1, fetchMessages)))
		if err == nil && len(messages) == 0 {
			err = fmt.Errorf("none comes from %d on, the newest is %d", *next, last)
		}
		if err != nil {
			return fmt.Errorf("read registry events: %w", err)
		}
		for _, m := range messages {
			seq, err := r.sequence(m)
			if err != nil {
				return fmt.Errorf("read registry events: %w", err)
			}
			if err := apply(seq, e.decode(seq, m.Subject, m.Data), seq >= last); err != nil {
				return applyError{err}
			}
			*next = seq + 1
		}
	}
	return nil
}
