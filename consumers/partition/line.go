package partition

import (
	"bytes"
	"fmt"

	"pvlog/schema"
)

// Line is one sample of a file. Its slices are good until the reader's next
// call or Close.
type Line struct {
	Time   schema.Time
	Event  []byte // EPICSEvent message
	Raw    []byte // the same, escaped, without LF
	Offset int64  // of the line in its file
}

// parser turns the lines of one file into samples. The buffers are reused.
type parser struct {
	typ       schema.DBRType
	yearStart int64
	event     []byte
	raw       []byte
	last      schema.Event // the line that parsed last, taken apart
}

// errOtherType says that a line is an EPICSEvent, and not of the header's type.
var errOtherType = fmt.Errorf("%w: its value has another type", ErrLine)

func newParser(h Header) parser {
	return parser{typ: h.Type, yearStart: schema.YearStart(h.Year)}
}

// parse reads a line without its LF. healed says that the line had lost the
// byte 0x0A and the LF that stood for it: the empty line that follows belongs
// to it. The error is [ErrLine].
func (p *parser) parse(raw []byte, offset int64) (line Line, healed bool, err error) {
	event, err := p.unescape(raw)
	if err != nil {
		return Line{}, false, err
	}
	e, err := p.scan(event)
	if err != nil && lostLF(event) {
		event = append(p.event[:0], event...)
		event = append(event, newline)
		p.event = event
		if e, err = p.scan(event); err == nil {
			healed = true
			p.raw = appendEscaped(p.raw[:0], event)
			raw = p.raw
		}
	}
	if err != nil {
		return Line{}, false, err
	}
	p.last = e
	at := schema.Time{Sec: p.yearStart + int64(e.SecondsIntoYear), Nsec: e.Nano}
	return Line{Time: at, Event: event, Raw: raw, Offset: offset}, healed, nil
}

// unescape gives the message; without escapes it is the line itself.
func (p *parser) unescape(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, escape) < 0 {
		return raw, nil
	}
	event, err := AppendUnescaped(p.event[:0], raw)
	p.event = event
	return event, err
}

// scan checks that a message is a sample of the file's type: framing, time, and
// the wire type of its value, which garbage and lines of another type miss.
func (p *parser) scan(event []byte) (schema.Event, error) {
	e, err := schema.ScanEvent(event)
	switch {
	case err != nil:
		return e, fmt.Errorf("%w: %w", ErrLine, err)
	case len(e.Val) == 0 && !p.typ.Waveform():
		return e, fmt.Errorf("%w: it has no value", ErrLine)
	case len(e.Val) > 0 && !valueTag(p.typ, e.Val[0]):
		return e, fmt.Errorf("%w than %v", errOtherType, p.typ)
	}
	return e, nil
}

// First bytes that field 3 can have: its number and a wire type.
const (
	tagVarint  = 3 << 3
	tagFixed64 = 3<<3 | 1
	tagBytes   = 3<<3 | 2
	tagFixed32 = 3<<3 | 5
)

// valueTag reports whether a value of the type may begin with a tag. Arrays of
// numbers are packed; a decoder must take them unpacked as well.
func valueTag(t schema.DBRType, tag byte) bool {
	switch t {
	case schema.ScalarShort, schema.ScalarEnum:
		return tag == tagVarint
	case schema.ScalarInt, schema.ScalarFloat:
		return tag == tagFixed32
	case schema.ScalarDouble:
		return tag == tagFixed64
	case schema.WaveformShort, schema.WaveformEnum:
		return tag == tagBytes || tag == tagVarint
	case schema.WaveformInt, schema.WaveformFloat:
		return tag == tagBytes || tag == tagFixed32
	case schema.WaveformDouble:
		return tag == tagBytes || tag == tagFixed64
	}
	return tag == tagBytes
}

// lostLF reports whether a message that does not parse may have ended in an
// unescaped byte 0x0A, the number 10, which older writers left as it was: its
// last byte is then the tag of a number (Appliance: PBEventRecovery).
func lostLF(event []byte) bool {
	if len(event) == 0 {
		return false
	}
	last := event[len(event)-1]
	return last != 0 && last&7 == 0
}
