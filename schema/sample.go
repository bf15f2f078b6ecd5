package schema

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"pvlog/schema/epicspb"
)

// RawSample is a sample as it travels through the log: the encoded event and
// what its verdict depends on (design D1), so that any replay judges alike.
type RawSample struct {
	Type        DBRType       // type of Event
	Year        int           // UTC year that Event counts its seconds from
	Received    time.Time     // when pvlog received it
	First       bool          // first since the channel (re)connected
	Registered  DBRType       // type the registry had for the PV
	DriftPast   time.Duration // how far before Received it may lie, whole seconds
	DriftFuture time.Duration // how far after Received it may lie, whole seconds
	Generation  uint64        // registry sequence that created or retyped the PV
	RateEvents  uint32        // events/s that the PV may have, if this sample is one too many; else 0
	RateBytes   uint64        // bytes/s, likewise
	Event       []byte        // EPICSEvent message
}

// FieldValue is a metadata field or connection marker beside a sample.
type FieldValue struct {
	Name string
	Val  string
}

// Sample is a decoded sample, for people and JSON. Value is one of string,
// int32 (short, int, enum), float32, float64, []byte (byte of length 1,
// byte waveform, V4 bytes), []string, []int32, []float32, []float64.
type Sample struct {
	Time          Time
	Value         any
	Severity      int32
	Status        int32
	Fields        []FieldValue
	FieldsChanged bool
}

// message is what all EPICSEvent messages share.
type message interface {
	proto.Message
	GetSecondsintoyear() uint32
	GetNano() uint32
	GetSeverity() int32
	GetStatus() int32
	GetFieldvalues() []*epicspb.FieldValue
	GetFieldactualchange() bool
}

// DecodeSample decodes the EPICSEvent message of a type and year.
func DecodeSample(t DBRType, year int, b []byte) (Sample, error) {
	m, value := newMessage(t)
	if m == nil {
		return Sample{}, fmt.Errorf("%w: there is no type %d", ErrEvent, t)
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return Sample{}, fmt.Errorf("%w of type %v: %w", ErrEvent, t, err)
	}
	s := Sample{
		Time:          TimeFromYear(year, m.GetSecondsintoyear(), m.GetNano()),
		Value:         value(),
		Severity:      m.GetSeverity(),
		Status:        m.GetStatus(),
		FieldsChanged: m.GetFieldactualchange(),
	}
	for _, f := range m.GetFieldvalues() {
		s.Fields = append(s.Fields, FieldValue{Name: f.GetName(), Val: f.GetVal()})
	}
	return s, nil
}

// newMessage gives an empty message of a type and how to read its value.
func newMessage(t DBRType) (message, func() any) {
	switch t {
	case ScalarString:
		m := &epicspb.ScalarString{}
		return m, func() any { return m.GetVal() }
	case ScalarShort:
		m := &epicspb.ScalarShort{}
		return m, func() any { return m.GetVal() }
	case ScalarFloat:
		m := &epicspb.ScalarFloat{}
		return m, func() any { return m.GetVal() }
	case ScalarEnum:
		m := &epicspb.ScalarEnum{}
		return m, func() any { return m.GetVal() }
	case ScalarByte:
		m := &epicspb.ScalarByte{}
		return m, func() any { return m.GetVal() }
	case ScalarInt:
		m := &epicspb.ScalarInt{}
		return m, func() any { return m.GetVal() }
	case ScalarDouble:
		m := &epicspb.ScalarDouble{}
		return m, func() any { return m.GetVal() }
	}
	return newVector(t)
}

func newVector(t DBRType) (message, func() any) {
	switch t {
	case WaveformString:
		m := &epicspb.VectorString{}
		return m, func() any { return m.GetVal() }
	case WaveformShort:
		m := &epicspb.VectorShort{}
		return m, func() any { return m.GetVal() }
	case WaveformFloat:
		m := &epicspb.VectorFloat{}
		return m, func() any { return m.GetVal() }
	case WaveformEnum:
		m := &epicspb.VectorEnum{}
		return m, func() any { return m.GetVal() }
	case WaveformByte:
		m := &epicspb.VectorChar{}
		return m, func() any { return m.GetVal() }
	case WaveformInt:
		m := &epicspb.VectorInt{}
		return m, func() any { return m.GetVal() }
	case WaveformDouble:
		m := &epicspb.VectorDouble{}
		return m, func() any { return m.GetVal() }
	case V4GenericBytes:
		m := &epicspb.V4GenericBytes{}
		return m, func() any { return m.GetVal() }
	}
	return nil, nil
}
