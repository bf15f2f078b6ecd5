package ca

import (
	"encoding/binary"
	"fmt"
	"math"

	"pvlog/schema"
)

// Properties is what may surround a value in a payload; each class takes its
// part of it.
type Properties struct {
	Status   int16 // alarm status
	Severity int16 // alarm severity
	Time     schema.Time
	Metadata
}

// AppendTime adds the DBR_TIME_<native> payload (without padding to 8) that a
// server sends for values: []string, []int16 (SHORT), []float32, []uint16
// (ENUM), []byte (CHAR), []int32 (LONG) or []float64. d must be the TIME type
// of that native type. Stamps before 1990 are sent as 0.
func AppendTime(b []byte, d DBR, severity, status int16, t schema.Time, values any) ([]byte, error) {
	if d.Class() != TIME {
		return b, fmt.Errorf("encode %v: it is no TIME type", d)
	}
	return AppendDBR(b, d, Properties{Status: status, Severity: severity, Time: t}, values)
}

// AppendDBR adds the payload of any type 0 to 34, 37 or 38 (without padding
// to 8). values are of d's native type, as for [AppendTime].
func AppendDBR(b []byte, d DBR, p Properties, values any) ([]byte, error) {
	if !d.Valid() || d == DBRPutAckT || d == DBRPutAckS {
		return b, fmt.Errorf("encode %v: no server sends it", d)
	}
	native, ok := nativeOf(values)
	if !ok || native != d.Native() {
		return b, fmt.Errorf("encode %v: it does not hold %T", d, values)
	}
	start := len(b)
	b = append(b, make([]byte, d.ValueOffset())...)
	putProperties(b[start:], d, p)
	return appendValues(b, values), nil
}

func nativeOf(values any) (DBR, bool) {
	switch values.(type) {
	case []string:
		return DBRString, true
	case []int16:
		return DBRShort, true
	case []float32:
		return DBRFloat, true
	case []uint16:
		return DBREnum, true
	case []byte:
		return DBRChar, true
	case []int32:
		return DBRLong, true
	case []float64:
		return DBRDouble, true
	}
	return 0, false
}

func appendValues(b []byte, values any) []byte {
	switch values := values.(type) {
	case []string:
		for _, s := range values {
			// A NUL always ends what a real IOC sends.
			s = clip(s, MaxStringSize-1)
			b = append(b, s...)
			b = append(b, make([]byte, MaxStringSize-len(s))...)
		}
	case []int16:
		for _, v := range values {
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		}
	case []float32:
		for _, v := range values {
			b = binary.BigEndian.AppendUint32(b, math.Float32bits(v))
		}
	case []uint16:
		for _, v := range values {
			b = binary.BigEndian.AppendUint16(b, v)
		}
	case []byte:
		b = append(b, values...)
	case []int32:
		for _, v := range values {
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		}
	case []float64:
		for _, v := range values {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	return b
}

// putProperties fills b, the zeroed bytes before the first value.
func putProperties(b []byte, d DBR, p Properties) {
	if d == DBRClassName || d.Class() == Plain {
		return
	}
	binary.BigEndian.PutUint16(b, uint16(p.Status))
	binary.BigEndian.PutUint16(b[2:], uint16(p.Severity))
	switch d.Class() {
	case TIME:
		if seconds := p.Time.Sec - schema.EPICSEpoch; seconds >= 0 && seconds <= math.MaxUint32 {
			binary.BigEndian.PutUint32(b[4:], uint32(seconds))
			binary.BigEndian.PutUint32(b[8:], p.Time.Nsec)
		}
	case GR, CTRL:
		putMetadata(b, d, p.Metadata)
	}
}

// putMetadata is the inverse of [DecodeCtrl].
func putMetadata(b []byte, d DBR, m Metadata) {
	switch d.Native() {
	case DBRString:
		return
	case DBREnum:
		n := min(len(m.EnumStrings), MaxEnumStates)
		binary.BigEndian.PutUint16(b[4:], uint16(n))
		for i, s := range m.EnumStrings[:n] {
			copy(b[enumStringsStart+i*EnumStringSize:], clip(s, EnumStringSize-1))
		}
		return
	}
	layout := limitLayouts[d.Native()]
	if layout.precision {
		binary.BigEndian.PutUint16(b[4:], uint16(int16(m.Precision)))
	}
	copy(b[layout.units:layout.units+unitsSize], clip(m.Units, unitsSize-1))
	for i, name := range limitNames[:limitCount(d)] {
		putLimit(b[layout.limits+i*d.ElementSize():], d.Native(), m.Limits[name])
	}
}

func putLimit(b []byte, native DBR, v float64) {
	switch native {
	case DBRShort:
		binary.BigEndian.PutUint16(b, uint16(int16(v)))
	case DBRChar:
		b[0] = uint8(int64(v))
	case DBRLong:
		binary.BigEndian.PutUint32(b, uint32(int32(v)))
	case DBRFloat:
		binary.BigEndian.PutUint32(b, math.Float32bits(float32(v)))
	case DBRDouble:
		binary.BigEndian.PutUint64(b, math.Float64bits(v))
	}
}
