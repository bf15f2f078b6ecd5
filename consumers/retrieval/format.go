package retrieval

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"pvlog/schema"
)

// Meta is what an answer says of its PV beside the samples.
type Meta struct {
	PV           schema.PVName
	Type         schema.DBRType // as registered; stands in a raw answer without samples
	ElementCount int
	Fields       []schema.FieldValue // EGU, PREC, limits, ENUM_n: the same on every chunk
}

// Format is a way to write an answer.
type Format struct {
	ContentType string // exactly what the Appliance sends: clients compare it
	encode      func(*encoder) error
}

// Formats are the formats by the extension of getData.
var Formats = map[string]Format{
	"raw":  {ContentType: "application/x-protobuf", encode: (*encoder).raw},
	"json": {ContentType: "application/json", encode: (*encoder).json},
	"csv":  {ContentType: "text/csv", encode: (*encoder).csv},
}

// WriteError says that the receiver could not be written to.
type WriteError struct{ Err error }

// Error tells that the answer's receiver failed.
func (e *WriteError) Error() string { return "write answer: " + e.Err.Error() }

// Unwrap gives the receiver's error.
func (e *WriteError) Unwrap() error { return e.Err }

// answerBuffer is how much of an answer is gathered before it is written.
const answerBuffer = 64 << 10

// Write writes all samples of s and gives their number. After an error the
// answer is incomplete and must not be ended as if it were whole; the error is
// a [WriteError] if the receiver caused it.
func (f Format) Write(w io.Writer, s *Stream, m Meta) (int, error) {
	e := &encoder{w: bufio.NewWriterSize(receiver{w}, answerBuffer), stream: s, meta: m}
	if err := f.encode(e); err != nil {
		return e.samples, err
	}
	return e.samples, e.w.Flush()
}

// receiver marks the errors of the writer below it.
type receiver struct{ io.Writer }

func (r receiver) Write(b []byte) (int, error) {
	n, err := r.Writer.Write(b)
	if err != nil {
		return n, &WriteError{Err: err}
	}
	return n, nil
}

// encoder writes one answer. Write errors stick to its bufio.Writer, so only
// the write that ends a sample is checked.
type encoder struct {
	w       *bufio.Writer
	stream  *Stream
	meta    Meta
	samples int
	buf     []byte // of one sample, reused
}

// each calls write for every sample; write appends to the emptied buffer and
// fails if the event's bytes are not what its type says: then the sample is
// skipped and counted like a line that does not parse.
func (e *encoder) each(write func(b []byte, s Sample) ([]byte, error)) error {
	for {
		s, err := e.stream.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := write(e.buf[:0], s)
		e.buf = b[:0]
		if err != nil {
			e.stream.skipped.add(skippedLine, fault{"", fmt.Errorf("sample of %s at %v: %w", e.meta.PV, s.Time, err)})
			continue
		}
		if _, err := e.w.Write(b); err != nil {
			return err
		}
		e.samples++
	}
}
