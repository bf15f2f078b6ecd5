package ca

import (
	"encoding/binary"
	"math"
)

// Number is the first value of a payload of a native, STS or TIME type as a
// float64; false if it has none, or if it is text. An enum's is its index.
func Number(d DBR, count uint32, payload []byte) (float64, bool) {
	if count == 0 || d.Class() > TIME || d.Native() == DBRString || checkSize(d, count, payload) != nil {
		return 0, false
	}
	v := payload[d.ValueOffset():]
	switch d.Native() {
	case DBRShort:
		return float64(int16(binary.BigEndian.Uint16(v))), true
	case DBRFloat:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v))), true
	case DBREnum:
		return float64(binary.BigEndian.Uint16(v)), true
	case DBRChar:
		return float64(v[0]), true
	case DBRLong:
		return float64(int32(binary.BigEndian.Uint32(v))), true
	}
	return math.Float64frombits(binary.BigEndian.Uint64(v)), true
}

// TextValue is the first value of a payload of a string type, up to its first
// NUL; false if it has none, or if it is no text.
func TextValue(d DBR, count uint32, payload []byte) (string, bool) {
	if count == 0 || d.Class() > TIME || d.Native() != DBRString || checkSize(d, count, payload) != nil {
		return "", false
	}
	v := payload[d.ValueOffset():]
	return string(cutNUL(v[:MaxStringSize])), true
}
