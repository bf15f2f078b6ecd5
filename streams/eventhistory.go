package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// History calls visit with every event of a PV from a sequence on (0: from the
// first), oldest first, up to the newest that is stored now; it ends with
// visit's first error. A PV without events is no error.
func (e *EventLog) History(ctx context.Context, pv schema.PVName, from uint64, visit func(seq uint64, e *logpb.RegistryEvent) error) error {
	subject := Subject(RegistryPrefix, pv)
	if err := checkSubject(subject, pv); err != nil {
		return err
	}
	for next, more := max(from, 1), true; more; {
		var err error
		if next, more, err = e.readHistory(ctx, subject, next, visit); err != nil {
			return err
		}
	}
	return nil
}

// readHistory hands out one request's events; more says that others follow.
func (e *EventLog) readHistory(ctx context.Context, subject string, from uint64, visit func(uint64, *logpb.RegistryEvent) error) (next uint64, more bool, err error) {
	return e.readSubject(ctx, subject, from, func(seq uint64, data []byte) error { return visit(seq, e.decode(seq, subject, data)) })
}

// readSubject hands out one request's messages of a subject as they are.
func (e *EventLog) readSubject(ctx context.Context, subject string, from uint64, visit func(seq uint64, data []byte) error) (next uint64, more bool, err error) {
	s, err := e.log.current()
	if err != nil {
		return from, false, err
	}
	within, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	batch, err := jetstreamext.GetBatch(within, s.js, RegistryStream, followBatch,
		jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchMaxBytes(followBytes))
	if err != nil {
		return from, false, fmt.Errorf("read registry events: %w", err)
	}
	next = from
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return next, false, nil
		}
		if err != nil {
			return next, false, fmt.Errorf("read registry events: %w", err)
		}
		if err := visit(m.Sequence, m.Data); err != nil {
			return next, false, err
		}
		next, more = m.Sequence+1, pending(m.Header)
	}
	return next, more, ctx.Err()
}

// pending reports whether the server has more of what was asked for.
func pending(h nats.Header) bool { return h.Get("Nats-Num-Pending") != "0" }

// Since is the sequence of the first event that was stored at or after a time;
// one behind the newest if there is none.
func (e *EventLog) Since(ctx context.Context, t time.Time) (uint64, error) {
	last, err := e.Last(ctx)
	if err != nil {
		return 0, err
	}
	s, err := e.log.current()
	if err != nil {
		return 0, err
	}
	within, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	batch, err := jetstreamext.GetBatch(within, s.js, RegistryStream, 1, jetstreamext.GetBatchStartTime(t))
	if err != nil {
		return 0, fmt.Errorf("find registry events since %v: %w", t, err)
	}
	var first *jetstream.RawStreamMsg
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return last + 1, nil
		}
		if err != nil {
			return 0, fmt.Errorf("find registry events since %v: %w", t, err)
		}
		first = m
	}
	if first == nil {
		return last + 1, ctx.Err()
	}
	return first.Sequence, nil
}
