package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"pvlog/schema"
)

// walker goes through all lines of a file, good and bad, for Examine and
// Repair, which must see the same.
type walker struct {
	p       *partitionFile
	problem func(Problem)
	sample  func(readable) error // every sample that can be read, in the order of the file

	number  int    // of the last line, 1 is the header
	other   string // what a second header says that is not like the first
	escaped []byte // memory for escapedAsWritten
}

// readable is a sample that can be read. Its slices are good until the walk goes on.
type readable struct {
	line   Line
	event  schema.Event
	number int
	end    int64 // offset behind the line, its LF included
}

// walk goes from where the file stands to its end.
func (w *walker) walk() error {
	healed := false
	for {
		offset := w.p.scan.offset()
		raw, err := w.p.scan.next()
		if errors.Is(err, io.EOF) {
			return w.torn(offset)
		}
		if err != nil && !errors.Is(err, errLong) {
			return fmt.Errorf("read partition %s at byte %d: %w", w.p.path, offset, err)
		}
		w.number++
		if healed && err == nil && len(raw) == 0 {
			healed = false // the empty rest of the line before
			continue
		}
		if err != nil {
			healed = false
			w.report(BadLine, offset, "%v", err)
			continue
		}
		if healed, err = w.line(raw, offset); err != nil {
			return err
		}
	}
}

func (w *walker) report(kind Kind, offset int64, format string, args ...any) {
	w.problem(Problem{Kind: kind, Line: w.number, Offset: offset, Text: fmt.Sprintf(format, args...)})
}

// line takes one line apart.
func (w *walker) line(raw []byte, offset int64) (healed bool, err error) {
	line, healed, err := w.p.parser.parse(raw, offset)
	if err != nil {
		skip := leadingZeros(raw)
		if skip == 0 || skip == len(raw) {
			kind, text := w.classify(raw, err)
			w.report(kind, offset, "%s", text)
			return false, nil
		}
		if line, healed, err = w.p.parser.parse(raw[skip:], offset+int64(skip)); err != nil {
			w.report(Zeros, offset, "%d zero bytes and %d that are no sample", skip, len(raw)-skip)
			return false, nil
		}
		w.report(Zeros, offset, "%d zero bytes before a sample of %v, which %s", skip, line.Time, passedBy)
	} else if healed {
		w.report(LostLF, offset, "the sample of %v ends in a number 10 that was written as a bare LF", line.Time)
	} else if !w.escapedAsWritten(raw, line.Event) {
		w.report(BadEscape, offset, "the sample of %v is not escaped as a writer escapes it", line.Time)
	}
	w.judge(line)
	return healed, w.sample(readable{line: line, event: w.p.parser.last, number: w.number, end: w.p.scan.offset()})
}

// judge reports what readers let pass.
func (w *walker) judge(line Line) {
	if !line.Time.Legal() {
		w.report(BadTime, line.Offset, "%d nanoseconds", line.Time.Nsec)
	}
	if err := decodes(w.p.header, w.p.parser.last, line.Event); err != nil {
		w.report(BadValue, line.Offset, "the sample of %v: %v", line.Time, err)
	}
}

// classify names what a line is that does not parse.
func (w *walker) classify(raw []byte, err error) (Kind, string) {
	if n := leadingZeros(raw); n > 0 {
		return Zeros, fmt.Sprintf("%d zero bytes", n)
	}
	if h, bad := ParseHeader(raw); bad == nil {
		text := "a second header, which says the same: two files were joined"
		if !sameHeader(h, w.p.header) {
			text = fmt.Sprintf("a second header, of %s, %v, %d: two files were joined, or it is an answer of getData.raw", h.PV, h.Type, h.Year)
			w.other = fmt.Sprintf("line %d begins another partition, of %s, %v, %d: take them apart", w.number, h.PV, h.Type, h.Year)
		}
		return Joined, text
	}
	if errors.Is(err, errOtherType) {
		return WrongType, err.Error()
	}
	if len(raw) == 0 {
		return BadLine, "an empty line"
	}
	if n := longestZeros(raw); n >= 16 {
		return Zeros, fmt.Sprintf("%d bytes with a block of %d zeros: %v", len(raw), n, err)
	}
	return BadLine, err.Error()
}

// torn looks at what stands behind the last LF.
func (w *walker) torn(offset int64) error {
	size, err := w.p.size()
	if err != nil || size <= offset {
		return err
	}
	w.number++
	head := make([]byte, min(size-offset, 4096))
	n, err := w.p.file.ReadAt(head, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read partition %s at byte %d: %w", w.p.path, offset, err)
	}
	if zeros := leadingZeros(head[:n]); n > 0 && zeros == n {
		w.report(Zeros, offset, "%d bytes behind the last line, zeros at least at their begin", size-offset)
		return nil
	}
	w.report(Torn, offset, "%d bytes behind the last LF: a write that was cut off", size-offset)
	return nil
}

// passedBy ends the text about a sample behind zeros.
const passedBy = "readers pass by"

// sameHeader reports whether lines below one header mean the same below another.
func sameHeader(a, b Header) bool { return a.PV == b.PV && a.Type == b.Type && a.Year == b.Year }

func leadingZeros(b []byte) int {
	for i, c := range b {
		if c != 0 {
			return i
		}
	}
	return len(b)
}

// longestZeros is the length of the longest run of zero bytes.
func longestZeros(b []byte) (longest int) {
	for i := bytes.IndexByte(b, 0); i >= 0; {
		n := leadingZeros(b[i:])
		longest = max(longest, n)
		b = b[i+n:]
		i = bytes.IndexByte(b, 0)
	}
	return longest
}

// escapedAsWritten reports whether a line stands as AppendLine writes it.
func (w *walker) escapedAsWritten(raw, event []byte) bool {
	if bytes.IndexByte(raw, escape) < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return true
	}
	w.escaped = appendEscaped(w.escaped[:0], event)
	return bytes.Equal(raw, w.escaped)
}

// decodes gives the error of a message that is framed well and does not decode.
// Values of a fixed number of bytes and strings cannot fail; for the others, and
// for field values, the message is decoded.
func decodes(h Header, e schema.Event, event []byte) error {
	plain := len(e.Fields) == 0
	switch h.Type {
	case schema.WaveformShort, schema.WaveformEnum, schema.WaveformInt, schema.WaveformFloat, schema.WaveformDouble:
		plain = plain && len(e.Val) == 0
	}
	if plain {
		return nil
	}
	_, err := schema.DecodeSample(h.Type, h.Year, event)
	return err
}
