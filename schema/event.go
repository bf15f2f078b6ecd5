package schema

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrEvent says that bytes are not an EPICSEvent message.
var ErrEvent = errors.New("not an EPICSEvent message")

// Event is an EPICSEvent message taken apart without decoding its value. Its
// slices point into the scanned bytes.
type Event struct {
	SecondsIntoYear uint32
	Nano            uint32
	Severity        int32
	Status          int32
	Val             []byte // the raw records (tag and content) of field 3, from first to last
	Fields          []byte // the raw records of field 7, from first to last
	Changed         bool   // its fields are changes, not a periodic dump
}

// ScanEvent takes an EPICSEvent message apart. It checks the framing of every
// record and that seconds and nanoseconds are there, not the value's type.
func ScanEvent(b []byte) (Event, error) {
	var e Event
	var seen uint8
	for rest := b; len(rest) > 0; {
		num, wire, n := protowire.ConsumeField(rest)
		if n < 0 {
			return Event{}, fmt.Errorf("%w: byte %d: %v", ErrEvent, len(b)-len(rest), protowire.ParseError(n))
		}
		record := rest[:n]
		if err := e.take(num, wire, record, &seen); err != nil {
			return Event{}, fmt.Errorf("%w: byte %d: %v", ErrEvent, len(b)-len(rest), err)
		}
		rest = rest[n:]
	}
	if seen != 3 {
		return Event{}, fmt.Errorf("%w: seconds or nanoseconds are missing", ErrEvent)
	}
	return e, nil
}

// take files one record. Runs of field 3 and field 7 stand together in what
// the Appliance and pvlog write, so a run is one slice from first to last.
func (e *Event) take(num protowire.Number, wire protowire.Type, record []byte, seen *uint8) error {
	switch num {
	case fieldVal:
		e.Val = extend(e.Val, record)
		return nil
	case fieldValues:
		e.Fields = extend(e.Fields, record)
		return nil
	case fieldSeconds, fieldNano, fieldSeverity, fieldStatus:
	case fieldChange:
		if wire != protowire.VarintType {
			return nil
		}
	default:
		return nil
	}
	_, _, n := protowire.ConsumeTag(record)
	v, m := protowire.ConsumeVarint(record[n:])
	if wire != protowire.VarintType || m < 0 {
		return fmt.Errorf("field %d is not a number", num)
	}
	switch num {
	case fieldSeconds:
		e.SecondsIntoYear, *seen = uint32(v), *seen|1
	case fieldNano:
		e.Nano, *seen = uint32(v), *seen|2
	case fieldSeverity:
		e.Severity = int32(v)
	case fieldStatus:
		e.Status = int32(v)
	case fieldChange:
		e.Changed = v != 0
	}
	return nil
}

// extend grows a run by the record that follows it directly; a record that
// stands apart is joined by a copy.
func extend(run, record []byte) []byte {
	if run == nil {
		return record
	}
	if cap(run) >= len(run)+len(record) && &run[:len(run)+1][len(run)] == &record[0] {
		return run[:len(run)+len(record)]
	}
	return append(bytes.Clone(run), record...)
}

// Time is the event's instant in the given UTC year.
func (e Event) Time(year int) Time { return TimeFromYear(year, e.SecondsIntoYear, e.Nano) }

// Same reports whether two events of one instant say the same: value, severity
// and status. Field values are not compared: design D12.
func (e Event) Same(f Event) bool {
	return e.Severity == f.Severity && e.Status == f.Status && bytes.Equal(e.Val, f.Val)
}

// latin1 gives v as UTF-8 decoded from Latin-1 if it is not UTF-8 already.
func latin1(v []byte) (string, bool) {
	if utf8.Valid(v) {
		return "", false
	}
	runes := make([]rune, len(v))
	for i, c := range v {
		runes[i] = rune(c)
	}
	return string(runes), true
}
