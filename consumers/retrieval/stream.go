package retrieval

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"pvlog/schema"
)

// maxMoves is how often a stream begins anew without having given a sample in
// between, because files keep moving under it.
const maxMoves = 8

// Stream gives the samples of a query in order of time. It is not safe for
// concurrent use.
type Stream struct {
	// set by Open, read-only
	retrieval *Retrieval
	query     Query
	from, to  schema.Time

	// owned by the caller's goroutine
	sources []source
	taken   source      // source of the sample given last, still to be advanced
	last    schema.Time // time of the sample given last
	given   int         // samples given
	held    *Sample     // newest sample at or before from, while it is looked for
	started bool        // the sample at or before from was decided on
	moves   int         // times it began anew since the last sample
	skipped Skipped
	err     error // what Next failed with, for ever
	closed  bool
}

// source is a sorted run of samples: the files of one store, or the tail.
type source interface {
	start(from schema.Time) error // to the newest sample at or before from, else the first after
	head() *Sample                // nil at the end; valid until advance
	advance() error
	close()
}

// Query is what the stream answers.
func (s *Stream) Query() Query { return s.query }

// Skipped tells what could not be served so far.
func (s *Stream) Skipped() Skipped { return s.skipped }

// begin opens the sources at the start, or at the last sample given. The tail
// is taken before the files are listed: a sample that leaves the buffer in
// between is then seen twice, which is undone, and never missed.
func (s *Stream) begin() error {
	for ; ; s.moves++ {
		err := s.open()
		if !errors.Is(err, errMoved) {
			return err
		}
		if s.moves == maxMoves {
			return schema.Errorf(schema.Unavailable, "the partitions of %s keep moving: %w", s.query.PV, err)
		}
	}
}

func (s *Stream) open() error {
	s.closeSources()
	s.taken, s.held = nil, nil
	from := s.from
	if s.given > 0 {
		from = s.last
	}
	s.sources = append(s.sources, newTailSource(s))
	for _, store := range s.retrieval.stores {
		if s.query.Unwritten {
			break
		}
		s.sources = append(s.sources, &storeSource{stream: s, store: store})
	}
	for _, src := range s.sources {
		if err := src.start(from); err != nil {
			return err
		}
	}
	return nil
}

// Next gives the next sample, or io.EOF. Any other error means that the answer
// is incomplete.
func (s *Stream) Next() (Sample, error) {
	for {
		sample, err := s.step()
		if err != nil || s.query.Field == "" {
			return sample, err
		}
		made, err := fieldSample(sample, s.query.Field)
		if err == nil {
			return made, nil
		}
		if !errors.Is(err, errNoField) {
			s.skipped.add(skippedLine, fault{"", fmt.Errorf("%s of %s at %v: %w", s.query.Field, s.query.PV, sample.Time, err)})
		}
	}
}

// step gives the next sample of the PV.
func (s *Stream) step() (Sample, error) {
	for s.err == nil {
		sample, err := s.next()
		if errors.Is(err, errMoved) {
			s.moves++
			s.retrieval.metrics.moves.Inc()
			if err = s.begin(); err == nil {
				continue
			}
		}
		if err == nil {
			s.last, s.moves = sample.Time, 0
			s.given++
			return sample, nil
		}
		s.err = err
		if !errors.Is(err, io.EOF) {
			s.err = fmt.Errorf("read %s: %w", s.query.PV, err)
		}
	}
	return Sample{}, s.err
}

// next is Next without the beginning anew.
func (s *Stream) next() (Sample, error) {
	if !s.started {
		return s.first()
	}
	src, err := s.pick()
	if err != nil {
		return Sample{}, err
	}
	if src == nil || src.head().Time.After(s.to) {
		return Sample{}, io.EOF
	}
	s.taken = src
	return *src.head(), nil
}

// first finds the newest sample at or before from over all sources. Each
// source begins with its own, so few are passed over; what comes after the
// chosen one stays at the head of its source.
func (s *Stream) first() (Sample, error) {
	for {
		src, err := s.pick()
		if err != nil {
			return Sample{}, err
		}
		if src == nil || src.head().Time.After(s.from) {
			break
		}
		s.held = src.head().clone()
		s.last = s.held.Time // what follows must be later
		s.taken = src
	}
	s.started = true
	if s.held == nil {
		return s.next()
	}
	held := *s.held
	s.held = nil
	return held, nil
}

// pick gives the source with the earliest head that is later than what was
// given or held, nil at the end. Heads that are not later are passed over: the
// same sample in two places, or what was given before beginning anew.
func (s *Stream) pick() (source, error) {
	if s.taken != nil {
		src := s.taken
		s.taken = nil
		if err := src.advance(); err != nil {
			return nil, err
		}
	}
	var first source
	for _, src := range s.sources {
		for src.head() != nil && s.passed(src.head().Time) {
			if err := src.advance(); err != nil {
				return nil, err
			}
		}
		if h := src.head(); h != nil && (first == nil || first.head().Time.After(h.Time)) {
			first = src
		}
	}
	return first, nil
}

// passed reports whether t is not later than the newest sample given or held.
func (s *Stream) passed(t schema.Time) bool {
	return (s.given > 0 || s.held != nil) && !t.After(s.last)
}

// Close gives the files back and reports what was skipped.
func (s *Stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.closeSources()
	s.retrieval.metrics.done(s)
	if s.skipped.Total() > 0 {
		s.skipped.log(s.retrieval.logger, s.query)
	}
	return nil
}

func (s *Stream) closeSources() {
	for _, src := range s.sources {
		src.close()
	}
	s.sources = nil
}

// clone copies a sample out of its source's buffers.
func (s *Sample) clone() *Sample {
	c := *s
	c.Event, c.Line = bytes.Clone(s.Event), bytes.Clone(s.Line)
	return &c
}
