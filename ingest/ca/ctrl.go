package ca

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Metadata is what a CTRL payload says beside the value.
type Metadata struct {
	Units       string             // at most 8 bytes on the wire
	Precision   int                // digits after the point, only from FLOAT and DOUBLE; -128 to 127
	Limits      map[string]float64 // by field: HOPR, LOPR, HIHI, HIGH, LOW, LOLO, and from CTRL DRVH, DRVL; may be NaN
	EnumStrings []string           // labels of an ENUM, at most 16
}

// limitNames are the fields behind the limits in the order of the wire:
// display, alarm, warning, warning, alarm, control. What CA calls control
// limits are DRVH and DRVL for outputs, and HOPR and LOPR again for inputs.
var limitNames = [8]string{"HOPR", "LOPR", "HIHI", "HIGH", "LOW", "LOLO", "DRVH", "DRVL"}

func limitCount(d DBR) int {
	if d.Class() == CTRL {
		return len(limitNames)
	}
	return len(limitNames) - 2
}

type limitLayout struct {
	precision     bool // i16 at 4
	units, limits int
}

var limitLayouts = map[DBR]limitLayout{
	DBRShort:  {units: 4, limits: 12},
	DBRChar:   {units: 4, limits: 12},
	DBRLong:   {units: 4, limits: 12},
	DBRFloat:  {precision: true, units: 8, limits: 16},
	DBRDouble: {precision: true, units: 8, limits: 16},
}

// maxPrecision bounds what a broken server can make a display print.
const maxPrecision = 127

// DecodeCtrl reads the properties of a GR or CTRL payload. Strings have none.
// Odd numbers are clamped, not refused; an error is a payload too short for
// its type and count, or a type without properties.
func DecodeCtrl(d DBR, count uint32, payload []byte) (Metadata, error) {
	if c := d.Class(); c != GR && c != CTRL {
		return Metadata{}, fmt.Errorf("%w: %v holds no properties", ErrMalformed, d)
	}
	if err := checkSize(d, count, payload); err != nil {
		return Metadata{}, err
	}
	switch d.Native() {
	case DBRString:
		return Metadata{}, nil
	case DBREnum:
		return Metadata{EnumStrings: enumStrings(payload)}, nil
	}
	layout := limitLayouts[d.Native()]
	m := Metadata{Units: decodeText(payload[layout.units : layout.units+unitsSize])}
	if layout.precision {
		p := int(int16(binary.BigEndian.Uint16(payload[4:])))
		m.Precision = min(max(p, -maxPrecision-1), maxPrecision)
	}
	names := limitNames[:limitCount(d)]
	m.Limits = make(map[string]float64, len(names))
	for i, name := range names {
		m.Limits[name] = limit(payload[layout.limits+i*d.ElementSize():], d.Native())
	}
	return m, nil
}

func limit(b []byte, native DBR) float64 {
	switch native {
	case DBRShort:
		return float64(int16(binary.BigEndian.Uint16(b)))
	case DBRChar:
		return float64(b[0])
	case DBRLong:
		return float64(int32(binary.BigEndian.Uint32(b)))
	case DBRFloat:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b))
}

func enumStrings(payload []byte) []string {
	n := int(int16(binary.BigEndian.Uint16(payload[4:])))
	n = min(max(n, 0), MaxEnumStates)
	labels := make([]string, n)
	for i := range labels {
		at := enumStringsStart + i*EnumStringSize
		labels[i] = decodeText(payload[at : at+EnumStringSize])
	}
	return labels
}

// checkSize refuses payloads that end before their last element; more than
// needed is allowed. The product cannot overflow: 64 bit.
func checkSize(d DBR, count uint32, payload []byte) error {
	if need := d.Size(count); int64(len(payload)) < need {
		return fmt.Errorf("%w: %v with %d elements needs %d bytes, the payload has %d",
			ErrMalformed, d, count, need, len(payload))
	}
	return nil
}

// cutNUL gives b up to its first NUL: what follows is garbage of the server.
func cutNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// decodeText reads a string of a fixed field: up to its first NUL, as UTF-8 if
// it is that, else as Latin-1, which is what a degree sign of an IOC mostly is.
func decodeText(b []byte) string {
	b = cutNUL(b)
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
