package ca

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"pvlog/schema"
)

// ErrNoValue says that a channel with one element at most sent none: a
// waveform of NELM 1 that is empty does so, and no scalar sample can say it.
var ErrNoValue = fmt.Errorf("%w: a scalar without a value", ErrMalformed)

// Stamp is what a TIME payload says beside its value.
type Stamp struct {
	Time     schema.Time    // as sent: nanoseconds may be illegal, 1990-01-01 is a record that never processed
	Year     int            // UTC year of Time, from which the event counts its seconds
	Severity int32          // 0 to 3, others as sent
	Status   int32          // 0 to 21, others as sent
	Type     schema.DBRType // scalar or waveform type of the value
}

// SampleType is the type that samples of a native type have: a waveform if
// the channel's maximal element count is not 1.
func SampleType(native DBR, waveform bool) schema.DBRType {
	t := schema.DBRType(native.Native()) // schema numbers the scalars like the native types
	if waveform {
		t += schema.WaveformString - schema.ScalarString
	}
	return t
}

// DecodeTime turns a DBR_TIME_<native> payload of count elements into an
// EPICSEvent message without fields, which it appends to dst. Whether the
// value is a waveform is the caller's knowledge from CREATE_CHAN and never
// follows this update's count: a waveform of no or one element stays one. A
// scalar takes the first element; none is the empty string (a long string
// record without text), and [ErrNoValue] for a number.
//
// Strings end at their first NUL or after 40 bytes. On error, which is
// [ErrMalformed], dst is returned as it was. With room in dst, scalars and
// numeric arrays take no allocation.
func DecodeTime(dst []byte, d DBR, count uint32, waveform bool, payload []byte) (event []byte, s Stamp, err error) {
	if err := checkTime(d, count, waveform, payload); err != nil {
		return dst, Stamp{}, err
	}
	event, s = decodeTime(dst, d, count, waveform, payload, binary.BigEndian.Uint32(payload[4:]), binary.BigEndian.Uint32(payload[8:]))
	return event, s, nil
}

// DecodeTimeAt is [DecodeTime] with another time in the place of the server's:
// that of a sample which was read and not sent. It lies between 1990 and 2126.
func DecodeTimeAt(dst []byte, d DBR, count uint32, waveform bool, payload []byte, at time.Time) (event []byte, s Stamp, err error) {
	if err := checkTime(d, count, waveform, payload); err != nil {
		return dst, Stamp{}, err
	}
	seconds := at.Unix() - schema.EPICSEpoch
	if seconds < 0 || seconds > math.MaxUint32 {
		return dst, Stamp{}, fmt.Errorf("%w: the time %v is none of Channel Access", ErrMalformed, at)
	}
	event, s = decodeTime(dst, d, count, waveform, payload, uint32(seconds), uint32(at.Nanosecond()))
	return event, s, nil
}

// checkTime refuses what decodeTime cannot take.
func checkTime(d DBR, count uint32, waveform bool, payload []byte) error {
	if d.Class() != TIME {
		return fmt.Errorf("%w: %v has no time stamp", ErrMalformed, d)
	}
	if err := checkSize(d, count, payload); err != nil {
		return err
	}
	if count == 0 && !waveform && d.Native() != DBRString {
		return fmt.Errorf("%v: %w", d, ErrNoValue)
	}
	return nil
}

func decodeTime(dst []byte, d DBR, count uint32, waveform bool, payload []byte, seconds, nanoseconds uint32) (event []byte, s Stamp) {
	year, start := yearOf(seconds)
	s = Stamp{
		Time:     schema.Time{Sec: schema.EPICSEpoch + int64(seconds), Nsec: nanoseconds},
		Year:     year,
		Severity: int32(int16(binary.BigEndian.Uint16(payload[2:]))),
		Status:   int32(int16(binary.BigEndian.Uint16(payload))),
		Type:     SampleType(d.Native(), waveform),
	}
	event = schema.AppendHeadIn(dst, s.Time, start)
	values := payload[d.ValueOffset():d.Size(count)]
	switch {
	case waveform:
		event = appendWaveform(event, d.Native(), values)
	case count == 0:
		event = schema.AppendString(event, nil)
	default:
		event = appendScalar(event, d.Native(), values)
	}
	return schema.AppendAlarm(event, s.Severity, s.Status), s
}

func appendScalar(b []byte, native DBR, v []byte) []byte {
	switch native {
	case DBRString:
		return schema.AppendString(b, cutNUL(v[:MaxStringSize]))
	case DBRShort:
		return schema.AppendSint(b, int32(int16(binary.BigEndian.Uint16(v))))
	case DBRFloat:
		return schema.AppendFloat(b, math.Float32frombits(binary.BigEndian.Uint32(v)))
	case DBREnum:
		return schema.AppendSint(b, int32(binary.BigEndian.Uint16(v)))
	case DBRChar:
		return schema.AppendBytes(b, v[:1])
	case DBRLong:
		return schema.AppendInt(b, int32(binary.BigEndian.Uint32(v)))
	}
	return schema.AppendDouble(b, math.Float64frombits(binary.BigEndian.Uint64(v)))
}

// appendWaveform grows b once: v is already checked to be there, so the growth
// is bounded by what the peer really sent.
func appendWaveform(b []byte, native DBR, v []byte) []byte {
	b = slices.Grow(b, len(v)+32)
	switch native {
	case DBRString:
		for s := range slices.Chunk(v, MaxStringSize) {
			b = schema.AppendString(b, cutNUL(s))
		}
		return b
	case DBRShort:
		return schema.AppendNetwork16(b, v, true)
	case DBREnum:
		return schema.AppendNetwork16(b, v, false)
	case DBRChar:
		return schema.AppendBytes(b, v)
	case DBRFloat, DBRLong:
		return schema.AppendNetwork32(b, v)
	}
	return schema.AppendNetwork64(b, v)
}

// firstYear and lastYear are what 32 bits of seconds since 1990 reach.
const (
	firstYear = 1990
	lastYear  = 2126
	meanYear  = 31_556_952 // seconds in a Gregorian year
)

// yearStarts spares the hot path the calendar.
var yearStarts = func() (starts [lastYear - firstYear + 2]int64) {
	for i := range starts {
		starts[i] = schema.YearStart(firstYear + i)
	}
	return starts
}()

// yearOf gives the UTC year of a CA second and the year's first Unix second.
func yearOf(seconds uint32) (year int, start int64) {
	sec := schema.EPICSEpoch + int64(seconds)
	i := int(seconds / meanYear) // at most one off either way
	switch {
	case sec < yearStarts[i]:
		i--
	case sec >= yearStarts[i+1]:
		i++
	}
	return firstYear + i, yearStarts[i]
}
