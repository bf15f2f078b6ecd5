package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"pvlog/schema"
)

// RawFilter chooses messages of SAMPLES.
type RawFilter struct {
	PV           schema.PVName
	Since, Until time.Time // at which the log stored them; zero: no bound
	UpTo         uint64    // newest sequence; 0: no bound
}

// errRawEnd ends the reading at the newest message that was asked for.
var errRawEnd = errors.New("end")

// Read calls each with every message of a PV that the filter chooses and the log
// still holds, oldest first, until it fails. Parts of a large sample are joined;
// one whose parts are not all there is passed over. What cannot be decoded has
// its Err set. Nothing of the archive's place in the log changes.
func (s *SampleLog) Read(ctx context.Context, f RawFilter, each func(Message) error) error {
	session, err := s.log.current()
	if err != nil {
		return err
	}
	start := jetstreamext.GetBatchSeq(1)
	if !f.Since.IsZero() {
		start = jetstreamext.GetBatchStartTime(f.Since)
	}
	r := rawReader{filter: f, each: each}
	for {
		within, cancel := context.WithTimeout(ctx, apiTimeout)
		next, err := r.batch(within, session, start)
		cancel()
		if errors.Is(err, errRawEnd) {
			return nil
		}
		if err != nil || next == 0 {
			return err
		}
		start = jetstreamext.GetBatchSeq(next)
	}
}

// rawReader is one call of Read.
type rawReader struct {
	filter RawFilter
	each   func(Message) error
	set    partSet
}

// batch reads some messages and gives the sequence to go on from, 0 at the end.
func (r *rawReader) batch(ctx context.Context, s *session, start jetstreamext.GetBatchOpt) (uint64, error) {
	batch, err := jetstreamext.GetBatch(ctx, s.js, SamplesStream, followBatch, start,
		jetstreamext.GetBatchSubject(Subject(SamplesPrefix, r.filter.PV)), jetstreamext.GetBatchMaxBytes(2*maxPayload))
	if err != nil {
		return 0, fmt.Errorf("read the raw log of %s: %w", r.filter.PV, err)
	}
	next := uint64(0)
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return 0, nil
		}
		if err != nil {
			return 0, fmt.Errorf("read the raw log of %s: %w", r.filter.PV, err)
		}
		next = m.Sequence + 1
		if err := r.take(m); err != nil {
			return 0, err
		}
	}
	return next, nil
}

func (r *rawReader) take(raw *jetstream.RawStreamMsg) error {
	f := r.filter
	if f.UpTo != 0 && raw.Sequence > f.UpTo || !f.Until.IsZero() && raw.Time.After(f.Until) {
		return errRawEnd
	}
	m := Message{PV: f.PV, First: raw.Sequence, Seq: raw.Sequence, Time: raw.Time, Raw: raw.Data}
	samples, part, err := schema.DecodeSampleMessage(raw.Data, nil)
	if part != nil && err == nil {
		if part.GetNumber() == 0 {
			r.set.reset()
		}
		done, err := r.set.add(f.PV, raw.Sequence, part)
		if err != nil {
			r.set.reset()
			return nil //nolint:nilerr // its beginning lies before what was asked for, or is gone
		}
		if !done {
			return nil
		}
		m.First, m.Raw = r.set.first, r.set.data
		r.set = partSet{}
		samples, _, m.Err = schema.DecodeSampleMessage(m.Raw, nil)
	} else {
		r.set.reset()
		m.Err = err
	}
	m.Samples = samples
	return r.each(m)
}
