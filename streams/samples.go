package streams

import (
	"context"
	"fmt"
	"sync"
	"time"

	"pvlog/schema"
)

// Position is where a sample stands in the log. Sequence numbers may be used
// again after a power cut, so Time belongs to the identity.
type Position struct {
	Seq   uint64    // stream sequence of its message
	Index int       // index within the message
	Time  time.Time // of the message
}

// Waiting is what has been appended and not yet acknowledged by the log. It is
// what kill -9 can cost.
type Waiting struct {
	Samples int64
	Bytes   int64
	Oldest  time.Duration // 0 if nothing waits
}

// SampleLog takes samples for the log. Append may be called from any number of
// goroutines; samples of one PV are stored in the order of its calls.
type SampleLog struct {
	// Set by New, read-only.
	log     *Log
	metrics *metrics
	wake    chan struct{} // something waits; capacity 1

	mu                        sync.Mutex // guards what follows
	closed                    bool
	queues                    map[schema.PVName]*queue
	ready                     []*queue      // PVs with something waiting, in the order they got it
	waiting                   int64         // samples not yet acknowledged
	bytes                     int64         // their encoded bytes
	flight                    time.Time     // when the oldest of the batch in flight began to wait
	room                      chan struct{} // closed and replaced when bytes fall
	spare                     [][]byte      // buffers for reuse
	fault                     fault
	sentSamples, sentMessages uint64 // acknowledged by the log
	late                      bool   // the oldest has waited longer than MaxWait
}

// queue is one PV's samples, encoded as the messages they will travel in.
type queue struct {
	pv       schema.PVName
	subject  string
	messages []message // all but the last are full
	ready    bool      // it stands in the ready list
}

// message is a message in the making, or on its way.
type message struct {
	subject string
	data    []byte // header and samples, and when sealed the checksum
	sealed  bool
	samples int
	size    int64     // encoded bytes of the samples
	since   time.Time // when its first sample was appended
}

func newSampleLog(l *Log) *SampleLog {
	return &SampleLog{
		log: l, metrics: l.metrics, wake: make(chan struct{}, 1), closed: true,
		queues: map[schema.PVName]*queue{}, room: make(chan struct{}),
	}
}

func (s *SampleLog) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
}

func (s *SampleLog) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.room)
		s.room = make(chan struct{})
	}
}

// Append queues a sample under its PV and copies its bytes. While WaitingBytes
// wait it blocks, so that circuits are read more slowly and nothing is lost.
// It fails only when ctx ends, the log is closed, or the PV's name is too long
// for a subject.
func (s *SampleLog) Append(ctx context.Context, pv schema.PVName, sample schema.RawSample) error {
	size := schema.SizeRawSample(sample)
	s.mu.Lock()
	if err := s.waitForRoom(ctx, int64(size)); err != nil {
		s.mu.Unlock()
		return fmt.Errorf("append sample of %s: %w", pv, err)
	}
	q := s.queues[pv]
	if q == nil {
		q = &queue{pv: pv, subject: Subject(SamplesPrefix, pv)}
		if err := checkSubject(q.subject, pv); err != nil {
			s.mu.Unlock()
			return err
		}
		s.queues[pv] = q
	}
	s.add(q, sample, size)
	wake := len(s.ready) == 1 || s.bytes > s.log.opt.WaitingBytes/2
	s.mu.Unlock()
	if wake {
		s.signal()
	}
	return nil
}

// waitForRoom returns with mu held, as it was called. One sample larger than
// the bound may wait alone.
func (s *SampleLog) waitForRoom(ctx context.Context, size int64) error {
	for first := true; ; first = false {
		switch {
		case s.closed:
			return ErrClosed
		case s.bytes == 0 || s.bytes+size <= s.log.opt.WaitingBytes:
			return nil
		}
		if first {
			s.metrics.blocked.Inc()
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
			s.mu.Lock()
		case <-ctx.Done():
			s.mu.Lock()
			return ctx.Err()
		}
	}
}

// add encodes the sample into the PV's newest message, or a new one if that is
// full.
func (s *SampleLog) add(q *queue, sample schema.RawSample, size int) {
	last := len(q.messages) - 1
	if last < 0 || len(q.messages[last].data)+size > s.log.opt.MessageBytes {
		q.messages = append(q.messages, message{subject: q.subject, data: s.buffer(), since: time.Now()})
		last++
	}
	m := &q.messages[last]
	m.data = schema.AppendRawSample(m.data, sample)
	m.samples++
	m.size += int64(size)
	s.waiting++
	s.bytes += int64(size)
	s.metrics.appended.Inc()
	if !q.ready {
		q.ready = true
		s.ready = append(s.ready, q)
	}
}

// buffer gives a message with its header.
func (s *SampleLog) buffer() []byte {
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return schema.AppendSampleHeader(b[:0])
	}
	return schema.AppendSampleHeader(make([]byte, 0, 128))
}

func (s *SampleLog) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Waiting tells what waits, for health and the console.
func (s *SampleLog) Waiting() Waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := Waiting{Samples: s.waiting, Bytes: s.bytes}
	oldest := s.flight
	if oldest.IsZero() && len(s.ready) > 0 {
		oldest = s.ready[0].messages[0].since
	}
	if !oldest.IsZero() {
		w.Oldest = max(0, time.Since(oldest))
	}
	return w
}

// watchAge keeps the metrics of what waits and tells, once per episode, that
// the oldest sample waits longer than MaxWait.
func (s *SampleLog) watchAge(time.Time) {
	w := s.Waiting()
	s.metrics.waitingSamples.Set(float64(w.Samples))
	s.metrics.waitingBytes.Set(float64(w.Bytes))
	s.metrics.waitingAge.Set(w.Oldest.Seconds())
	s.mu.Lock()
	was := s.late
	s.late = w.Oldest > s.log.opt.MaxWait
	late := s.late
	s.mu.Unlock()
	switch {
	case late && !was:
		s.log.log.Warn("samples wait too long for the log", "oldest", w.Oldest, "samples", w.Samples, "bytes", w.Bytes, "max_wait", s.log.opt.MaxWait)
	case was && !late:
		s.log.log.Info("samples no longer wait for the log")
	}
}
