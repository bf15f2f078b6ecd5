package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// streamLine bounds a line of a raw stream.
const streamLine = 256 << 20

// MergeStream merges a raw stream, as the Appliance and pvlog answer
// getData.raw, into the files of a PV, as [Archive.Merge] does: chunks of a
// header and lines, with an empty line between. What was merged before an error
// stays, and the same stream again changes nothing of it. A stream that is none,
// and one that ends within a line, are [schema.Invalid].
func (a *Archive) MergeStream(ctx context.Context, pv schema.PVName, stream io.Reader) (Moved, error) {
	s := newRawStream(stream, func(late []Late, moved *Moved) error {
		done, err := a.Merge(ctx, pv, late)
		if err == nil {
			moved.add(done)
		}
		return err
	})
	err := s.read(ctx)
	return s.moved, err
}

// rawStream is a raw stream that is being read.
type rawStream struct {
	reader *bufio.Reader
	merge  func([]Late, *Moved) error
	moved  Moved

	header *partition.Header // nil: a header comes next
	line   []byte
	number int
	late   []Late
	size   int
}

func newRawStream(r io.Reader, merge func([]Late, *Moved) error) *rawStream {
	return &rawStream{reader: bufio.NewReaderSize(r, 1<<16), merge: merge}
}

// read reads the stream to its end.
func (s *rawStream) read(ctx context.Context) error {
	for {
		err := s.next()
		if errors.Is(err, io.EOF) && len(s.line) == 0 {
			return s.flush()
		}
		switch {
		case errors.Is(err, io.EOF):
			return schema.Errorf(schema.Invalid, "the raw stream ends within line %d: it was cut short", s.number)
		case err != nil:
			return fmt.Errorf("read the raw stream: %w", err)
		}
		if err := s.take(); err != nil {
			return err
		}
		if s.size >= mergeBytes || len(s.late) >= mergeSamples {
			if err := s.flush(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// next reads a line without its LF.
func (s *rawStream) next() error {
	s.line = s.line[:0]
	s.number++
	for {
		part, err := s.reader.ReadSlice('\n')
		s.line = append(s.line, part...)
		if err == nil {
			s.line = bytes.TrimSuffix(s.line, []byte("\n"))
			return nil
		}
		if len(s.line) > streamLine {
			return schema.Errorf(schema.Invalid, "line %d of the raw stream is longer than %d MiB", s.number, streamLine>>20)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// take files a line: a header, a sample, or the end of a chunk.
func (s *rawStream) take() error {
	if len(s.line) == 0 {
		s.header = nil
		return nil
	}
	if s.header == nil {
		h, err := partition.ParseHeader(s.line)
		if err != nil {
			return schema.Errorf(schema.Invalid, "line %d is no header of a raw stream: %w", s.number, err)
		}
		s.header = &h
		return nil
	}
	event, err := partition.AppendUnescaped(nil, s.line)
	var e schema.Event
	if err == nil {
		e, err = schema.ScanEvent(event)
	}
	at := e.Time(s.header.Year)
	if err == nil && at.Year() != s.header.Year {
		err = fmt.Errorf("%d seconds are more than the year %d has", e.SecondsIntoYear, s.header.Year)
	}
	if err == nil {
		_, err = schema.DecodeSample(s.header.Type, s.header.Year, event)
	}
	if err != nil {
		return schema.Errorf(schema.Invalid, "line %d of the raw stream is no sample: %w", s.number, err)
	}
	s.late, s.size = append(s.late, Late{Type: s.header.Type, Time: at, Event: event}), s.size+len(event)
	return nil
}

// flush merges what was read.
func (s *rawStream) flush() error {
	if len(s.late) == 0 {
		return nil
	}
	late := s.late
	s.late, s.size = nil, 0
	return s.merge(late, &s.moved)
}
