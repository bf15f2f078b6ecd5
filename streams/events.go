package streams

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Proposal is an event and what it was decided on: Expect is the sequence of
// the newest event of that PV, 0 if there is none.
type Proposal struct {
	Event  *logpb.RegistryEvent
	Expect uint64
}

// ErrConflict says that another event of the PV came first.
var ErrConflict = errors.New("another change of the PV came first")

// atomicMessages is the server's bound of an atomic batch.
const atomicMessages = 1000

// codeWrongSequence is the server's error of a lost race.
const codeWrongSequence jetstream.ErrorCode = 10071

// EventLog is the registry's log, REGISTRY. It may be used from any goroutine.
type EventLog struct {
	log *Log // set by New

	mu     sync.Mutex
	grown  chan struct{} // closed when events were appended; nil: nobody waits
	recent recent        // guarded by mu
}

// Append adds events. Up to 1,000 are stored together or not at all; more go in
// consecutive groups of that size, and on an error seqs holds those of the
// groups before. They are durable when it returns. A lost race is
// [ErrConflict], and the error names the PV; messages on its subject that are
// no events of it win none. One call may not hold two events of one PV within a
// group: the second has no sequence to expect.
func (e *EventLog) Append(ctx context.Context, proposals ...Proposal) (seqs []uint64, err error) {
	for len(proposals) > 0 && err == nil {
		group := proposals[:min(len(proposals), atomicMessages)]
		proposals = proposals[len(group):]
		var stored []uint64
		stored, err = e.appendGroup(ctx, group)
		seqs = append(seqs, stored...)
	}
	if len(seqs) == 0 {
		return nil, err
	}
	e.log.metrics.events.Add(float64(len(seqs)))
	e.announce() // who follows works while the disk does
	return seqs, errors.Join(err, bounded(apiTimeout, "make the events durable", e.log.Sync))
}

// appendGroup stores a group. What was refused for messages that are no events
// is tried again behind them.
func (e *EventLog) appendGroup(ctx context.Context, group []Proposal) ([]uint64, error) {
	s, err := e.log.current()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	for tries := 0; ; tries++ {
		seqs, err := e.tryGroup(ctx, s, group)
		if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != codeWrongSequence {
			return seqs, err
		}
		newest := newestOf(ctx, s, group)
		behind, ok := e.behindForeign(ctx, group, newest)
		if !ok || tries == foreignTries {
			e.log.metrics.conflicts.Inc()
			return nil, conflict(group, newest)
		}
		group = behind
	}
}

func (e *EventLog) tryGroup(ctx context.Context, s *session, group []Proposal) ([]uint64, error) {
	var err error
	messages := make([]*nats.Msg, len(group))
	for i, p := range group {
		if messages[i], err = eventMessage(p); err != nil {
			return nil, err
		}
	}
	last, err := publishEvents(ctx, s, messages)
	if err != nil {
		return nil, fmt.Errorf("append %d registry events: %w", len(group), err)
	}
	first := last - uint64(len(group)-1)
	seqs := make([]uint64, len(group))
	for i := range seqs {
		seqs[i] = first + uint64(i)
	}
	e.remember(first, messages)
	return seqs, nil
}

func eventMessage(p Proposal) (*nats.Msg, error) {
	pv := schema.PVName(p.Event.GetPv())
	subject := Subject(RegistryPrefix, pv)
	if err := checkSubject(subject, pv); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(p.Event)
	if err != nil {
		return nil, fmt.Errorf("encode event of %s: %w", pv, err)
	}
	if len(data) > singleBytes {
		return nil, schema.Errorf(schema.Invalid, "PV %s: its event has %d bytes, %d are allowed", pv, len(data), singleBytes)
	}
	m := nats.NewMsg(subject)
	m.Data = data
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, fmt.Sprint(p.Expect))
	return m, nil
}

// publishEvents gives the sequence of the last message.
func publishEvents(ctx context.Context, s *session, messages []*nats.Msg) (uint64, error) {
	if len(messages) == 1 {
		// Sent once: a retry after a lost answer would conflict with itself.
		ack, err := s.js.PublishMsg(ctx, messages[0], jetstream.WithRetryAttempts(0))
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, s.js, messages)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// newestOf gives the newest sequence on the subject of each PV of a group,
// nothing if the server does not tell.
func newestOf(ctx context.Context, s *session, group []Proposal) map[string]uint64 {
	subjects := make([]string, len(group))
	for i, p := range group {
		subjects[i] = Subject(RegistryPrefix, schema.PVName(p.Event.GetPv()))
	}
	found, err := jetstreamext.GetLastMsgsFor(ctx, s.js, RegistryStream, subjects)
	if err != nil {
		return nil
	}
	newest := make(map[string]uint64, len(group))
	for m, err := range found { // none at all is an error, too
		if err == nil {
			newest[m.Subject] = m.Sequence
		}
	}
	return newest
}

// conflict names a PV whose newest event is not the expected one.
func conflict(group []Proposal, newest map[string]uint64) error {
	if newest == nil {
		return ErrConflict
	}
	for _, p := range group {
		if last := newest[Subject(RegistryPrefix, schema.PVName(p.Event.GetPv()))]; last != p.Expect {
			return fmt.Errorf("PV %s: %w: its newest event is %d, the command knew %d", p.Event.GetPv(), ErrConflict, last, p.Expect)
		}
	}
	return ErrConflict
}

// Last is the sequence of the newest event, 0 for an empty log.
func (e *EventLog) Last(ctx context.Context) (uint64, error) {
	s, err := e.log.current()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, RegistryStream)
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", RegistryStream, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// How Follow reads: followBatch events a request, and again at least every
// followPoll in case another process appended.
const (
	followBatch = 500
	followBytes = 4 << 20
	followPoll  = time.Second
)

// Follow calls apply with every event from sequence from on (0 and 1: from the
// first), in order, until ctx ends or apply fails, and gives that error.
// caughtUp says that none was stored behind the event. A message that is no
// event comes as an empty one, so that every sequence is seen. While the server
// restarts it waits.
func (e *EventLog) Follow(ctx context.Context, from uint64, apply func(seq uint64, e *logpb.RegistryEvent, caughtUp bool) error) error {
	next := max(from, 1)
	for {
		grown := e.waiter()
		more, err := e.read(ctx, &next, apply)
		if failed, ok := errors.AsType[applyError](err); ok {
			return failed.error
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err == nil && more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		case <-time.After(followPoll):
		}
	}
}

// applyError marks an error of the caller's function.
type applyError struct{ error }

// read hands out one request's events and moves next behind them.
func (e *EventLog) read(ctx context.Context, next *uint64, apply func(uint64, *logpb.RegistryEvent, bool) error) (more bool, err error) {
	if known := e.remembered(*next); len(known) > 0 {
		return true, e.handOut(known, next, apply)
	}
	last, err := e.Last(ctx)
	if err != nil || last < *next {
		return false, err
	}
	s, err := e.log.current()
	if err != nil {
		return false, err
	}
	if last-*next >= manyEvents {
		return true, e.readMany(ctx, s, next, last, apply)
	}
	within, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	batch, err := jetstreamext.GetBatch(within, s.js, RegistryStream, followBatch,
		jetstreamext.GetBatchSeq(*next), jetstreamext.GetBatchMaxBytes(followBytes))
	if err != nil {
		return false, fmt.Errorf("read registry events: %w", err)
	}
	for m, err := range batch {
		if err != nil {
			return false, fmt.Errorf("read registry events: %w", err)
		}
		if err := apply(m.Sequence, e.decode(m.Sequence, m.Subject, m.Data), m.Sequence >= last); err != nil {
			return false, applyError{err}
		}
		*next = m.Sequence + 1
	}
	return *next <= last, nil
}

// decode gives the event, or an empty one for a message that is none, which is
// counted and told.
func (e *EventLog) decode(seq uint64, subject string, data []byte) *logpb.RegistryEvent {
	event, err := eventOn(subject, data)
	if err == nil {
		return event
	}
	e.log.metrics.damaged.Inc()
	e.log.log.Error("a message of REGISTRY is no event of its PV and is passed over", "seq", seq, "subject", subject, "err", err)
	return &logpb.RegistryEvent{}
}

// eventOn reads an event of the PV whose subject it stands on.
func eventOn(subject string, data []byte) (*logpb.RegistryEvent, error) {
	event := &logpb.RegistryEvent{}
	if err := proto.Unmarshal(data, event); err != nil {
		return nil, err
	}
	if Subject(RegistryPrefix, schema.PVName(event.GetPv())) != subject {
		return nil, fmt.Errorf("it is of PV %q", event.GetPv())
	}
	return event, nil
}

// waiter gives a channel that is closed when the log grows.
func (e *EventLog) waiter() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.grown == nil {
		e.grown = make(chan struct{})
	}
	return e.grown
}

func (e *EventLog) announce() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.grown != nil {
		close(e.grown)
		e.grown = nil
	}
}
