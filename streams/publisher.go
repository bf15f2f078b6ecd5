package streams

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// drainTime is how long the end of Run may publish what waits.
const drainTime = 10 * time.Second

// shortestRound spares a round trip to the server for each sample when several
// come within it, unless Linger is off. A sample that comes alone goes at once.
const shortestRound = 2 * time.Millisecond

// Pauses between attempts while the log cannot store.
const (
	retryFirst = 50 * time.Millisecond
	retryLast  = time.Second
)

// partBytes is the size of the parts of a sample that no message can hold.
const partBytes = 4 << 20

// fault is an episode in which the log cannot store.
type fault struct {
	begun time.Time // zero: none
	since time.Time // when anything was stored last, or begun
	err   error
}

// publisher is the goroutine of SampleLog.run; nothing of it is shared.
type publisher struct {
	s        *SampleLog
	pace     pace
	batch    []message
	wire     []outgoing
	batcher  *batcher
	attempts int64 // reconnects of the connection when batcher was made
}

// run publishes in rounds until ctx ends, then what is left.
func (s *SampleLog) run(ctx context.Context) error {
	p := &publisher{s: s, pace: pace{rate: s.log.opt.ImmediateRate, linger: s.log.opt.Linger}}
	defer p.close()
	// A batch on its way is waited for even when ctx ends, or its samples would
	// be sent again.
	grace, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })()
	for {
		select {
		case <-ctx.Done():
			return p.drain(grace)
		case <-s.wake:
		}
		for s.readyPVs() > 0 {
			start := time.Now()
			sent, err := p.round(grace)
			if err != nil {
				return p.left(err)
			}
			p.pause(ctx, start, sent)
		}
	}
}

// round publishes what waits of every PV that has something waiting at its
// start. It ends early, with what it took still in p.batch, only with ctx.
func (p *publisher) round(ctx context.Context) (int, error) {
	sent := 0
	for left := p.s.readyPVs(); left > 0; {
		var served int
		p.batch, served = p.s.take(p.batch[:0], left)
		left -= served
		sent += len(p.batch)
		if err := p.publish(ctx); err != nil {
			return sent, err
		}
		if served == 0 {
			break
		}
	}
	return sent, nil
}

// pause waits before the next round, the longer the more messages there were.
func (p *publisher) pause(ctx context.Context, start time.Time, sent int) {
	now := time.Now()
	d := p.pace.sent(sent, now)
	if p.pace.linger > 0 {
		d = max(d, shortestRound)
	}
	if d -= now.Sub(start); d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	for !p.s.pressed() {
		select {
		case <-t.C:
			return
		case <-ctx.Done():
			return
		case <-p.s.wake: // perhaps because too much waits
		}
	}
}

// publish stores p.batch, in order, however long that takes. Whatever has been
// stored is let go of; on an error, which is that of ctx, the rest stays.
func (p *publisher) publish(ctx context.Context) error {
	pause := retryFirst
	for len(p.batch) > 0 {
		stored, err := p.attempt(ctx)
		p.s.done(p.batch[:stored])
		p.batch = p.batch[:copy(p.batch, p.batch[stored:])]
		if err == nil {
			p.s.recovered()
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.s.failed(err, len(p.batch), stored > 0)
		if stored > 0 {
			pause = retryFirst
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, retryLast)
	}
	return nil
}

// attempt sends p.batch once and gives how many of its messages are stored.
func (p *publisher) attempt(ctx context.Context) (int, error) {
	if err := p.s.log.roomForSamples(); err != nil {
		return 0, err
	}
	b, err := p.connect()
	if err != nil {
		return 0, err
	}
	p.wire = p.wire[:0]
	for i := range p.batch {
		if p.wire, err = p.batch[i].appendWire(p.wire); err != nil {
			return 0, err
		}
	}
	stored, err := b.send(ctx, p.wire)
	whole := p.whole(stored)
	if whole > 0 {
		p.s.metrics.messages.Add(float64(stored))
	}
	clear(p.wire)
	return whole, err
}

// whole is how many messages of p.batch are complete in the first stored of
// p.wire. A set of parts begins again if it is not: its parts must follow each
// other.
func (p *publisher) whole(stored int) int {
	n := 0
	for i := range p.batch {
		n += p.batch[i].parts()
		if n > stored {
			return i
		}
	}
	return len(p.batch)
}

// connect gives the batcher of the present session and connection.
func (p *publisher) connect() (*batcher, error) {
	s, err := p.s.log.current()
	if err != nil {
		return nil, err
	}
	reconnects := p.s.log.reconnects.Load()
	if p.batcher != nil && p.batcher.s == s && p.attempts == reconnects {
		return p.batcher, nil
	}
	p.close()
	b, err := newBatcher(s, fmt.Sprintf("samples%d", reconnects))
	if err != nil {
		return nil, err
	}
	p.batcher, p.attempts = b, reconnects
	return b, nil
}

func (p *publisher) close() {
	if p.batcher != nil {
		p.batcher.close()
		p.batcher = nil
	}
}

// drain publishes what waits, without pauses.
func (p *publisher) drain(ctx context.Context) error {
	for p.s.readyPVs() > 0 {
		if _, err := p.round(ctx); err != nil {
			return p.left(err)
		}
	}
	return nil
}

// left is the error of a Run that had to end with samples unpublished.
func (p *publisher) left(err error) error {
	p.s.mu.Lock()
	cause := p.s.fault.err
	p.s.mu.Unlock()
	return fmt.Errorf("publish what waits: %d samples are left after %v and lost: %w", p.s.Waiting().Samples, drainTime, errors.Join(err, cause))
}

// seal ends the message with its checksum.
func (m *message) seal() {
	if !m.sealed {
		m.data = schema.AppendChecksum(m.data, 0)
		m.sealed = true
	}
}

// parts is how many messages of the wire a sealed message takes.
func (m *message) parts() int {
	if len(m.data) <= singleBytes {
		return 1
	}
	return (len(m.data) + partBytes - 1) / partBytes
}

// appendWire adds the message as it is sent: itself, or its parts.
func (m *message) appendWire(wire []outgoing) ([]outgoing, error) {
	m.seal()
	count := m.parts()
	if count == 1 {
		return append(wire, outgoing{subject: m.subject, data: m.data}), nil
	}
	id := rand.Uint64()
	for i := range count {
		data := m.data[i*partBytes : min((i+1)*partBytes, len(m.data))]
		part, err := proto.Marshal(&logpb.SampleMessage{Version: schema.MessageVersion, Part: &logpb.Part{
			Id: id, Number: uint32(i), Count: uint32(count), Total: uint64(len(m.data)), Data: data,
		}})
		if err != nil {
			return wire, fmt.Errorf("encode part %d of a sample on %s: %w", i, m.subject, err)
		}
		wire = append(wire, outgoing{subject: m.subject, data: schema.AppendChecksum(part, 0)})
	}
	return wire, nil
}

// failed notes that a batch was not stored in full; an episode is told once, and
// is young as long as anything is stored.
func (s *SampleLog) failed(err error, messages int, progress bool) {
	s.metrics.publishErrors.Inc()
	s.metrics.resends.Add(float64(messages))
	s.mu.Lock()
	first := s.fault.begun.IsZero()
	if first || progress {
		s.fault.since = time.Now()
	}
	if first {
		s.fault.begun = s.fault.since
	}
	s.fault.err = err
	s.mu.Unlock()
	if !first {
		return
	}
	s.metrics.storing.Set(0)
	_, free, _ := space(s.log.opt.Dir)
	if session, none := s.log.current(); none == nil {
		err = errors.Join(err, session.fault())
	}
	s.log.log.Error("the log cannot store samples; they wait in memory and are sent again", "err", err, "full", isFull(err), "free", free,
		"outlook", s.log.Outlook().String())
}

// perMessage is how many samples a message has held so far, on average.
func (s *SampleLog) perMessage() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sentMessages == 0 {
		return 1
	}
	return float64(s.sentSamples) / float64(s.sentMessages)
}

func (s *SampleLog) recovered() {
	s.mu.Lock()
	since := s.fault.begun
	s.fault = fault{}
	s.mu.Unlock()
	if !since.IsZero() {
		s.metrics.storing.Set(1)
		s.log.log.Info("the log stores samples again", "after", time.Since(since).Round(time.Millisecond))
	}
}

// failing reports whether the log could not store for at least d for another
// reason than being full.
func (s *SampleLog) failing(d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.fault.since.IsZero() && time.Since(s.fault.since) >= d && !isFull(s.fault.err)
}
