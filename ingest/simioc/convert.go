package simioc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"pvlog/ingest/ca"
)

// errConvert says that a value has no form in the type asked for: a string
// that is not a number, a label that an enum does not have.
var errConvert = errors.New("no conversion")

// number is an element of any numeric type.
type number struct {
	i     int64
	f     float64
	float bool // f holds the value, else i
}

func (n number) float64() float64 {
	if n.float {
		return n.f
	}
	return float64(n.i)
}

// int64 cuts a float towards zero, as C does. What no 32 bit integer holds is
// the smallest one: C leaves it open, and this is what real IOCs answer.
func (n number) int64() int64 {
	switch {
	case !n.float:
		return n.i
	case n.f > math.MinInt32-1 && n.f < math.MaxInt32+1:
		return int64(n.f)
	}
	return math.MinInt32
}

// format is what conversions to and from strings need beside the value.
type format struct {
	precision int
	labels    []string
}

// appendConverted appends the first n elements of src, of native type from, as
// native type to. Missing elements are zero: a client that asks for n always
// gets n.
func appendConverted(b []byte, from ca.DBR, src []byte, to ca.DBR, n int, f format) ([]byte, error) {
	size := from.ElementSize()
	have := min(len(src)/size, n)
	if from == to {
		b = append(b, src[:have*size]...)
	} else {
		var err error
		for i := range have {
			if b, err = appendElement(b, from, src[i*size:][:size], to, f); err != nil {
				return b, err
			}
		}
	}
	return appendZeros(b, (n-have)*to.ElementSize()), nil
}

// appendElement converts one element.
func appendElement(b []byte, from ca.DBR, e []byte, to ca.DBR, f format) ([]byte, error) {
	switch {
	case to == ca.DBRString:
		s := formatElement(from, e, f)
		s = s[:min(len(s), ca.MaxStringSize-1)]
		return appendZeros(append(b, s...), ca.MaxStringSize-len(s)), nil
	case from == ca.DBRString:
		n, err := parseNumber(cString(e), to, f)
		if err != nil {
			return b, err
		}
		return appendNumber(b, to, n), nil
	}
	return appendNumber(b, to, elementNumber(from, e)), nil
}

// elementNumber reads a number. CHAR is unsigned, as DBR_CHAR is defined.
func elementNumber(from ca.DBR, e []byte) number {
	switch from {
	case ca.DBRShort:
		return number{i: int64(int16(binary.BigEndian.Uint16(e)))}
	case ca.DBREnum:
		return number{i: int64(binary.BigEndian.Uint16(e))}
	case ca.DBRChar:
		return number{i: int64(e[0])}
	case ca.DBRLong:
		return number{i: int64(int32(binary.BigEndian.Uint32(e)))}
	case ca.DBRFloat:
		return number{f: float64(math.Float32frombits(binary.BigEndian.Uint32(e))), float: true}
	}
	return number{f: math.Float64frombits(binary.BigEndian.Uint64(e)), float: true}
}

// appendNumber writes a number as a numeric native type, cutting what the type
// cannot hold as a C cast does.
func appendNumber(b []byte, to ca.DBR, n number) []byte {
	switch to {
	case ca.DBRShort, ca.DBREnum:
		return binary.BigEndian.AppendUint16(b, uint16(n.int64()))
	case ca.DBRChar:
		return append(b, byte(n.int64()))
	case ca.DBRLong:
		return binary.BigEndian.AppendUint32(b, uint32(n.int64()))
	case ca.DBRFloat:
		return binary.BigEndian.AppendUint32(b, math.Float32bits(float32(n.float64())))
	}
	return binary.BigEndian.AppendUint64(b, math.Float64bits(n.float64()))
}

// formatElement is an element as text: floats with the record's precision,
// enums as their label.
func formatElement(from ca.DBR, e []byte, f format) string {
	switch from {
	case ca.DBRString:
		return cString(e)
	case ca.DBRFloat, ca.DBRDouble:
		return formatFloat(elementNumber(from, e).f, f.precision)
	}
	n := elementNumber(from, e).i
	if from == ca.DBREnum && len(f.labels) > 0 {
		return f.state(n)
	}
	return strconv.FormatInt(n, 10)
}

// state is an enum's label, and for a state without one what bi and mbbi say.
func (f format) state(n int64) string {
	switch {
	case n < int64(len(f.labels)):
		return f.labels[n]
	case len(f.labels) <= 2: // a bi
		return "Illegal_Value"
	case n < ca.MaxEnumStates:
		return ""
	}
	return "Illegal Value"
}

// notFinite is the name that C prints, NaN's sign included.
func notFinite(x float64) string {
	switch {
	case math.IsNaN(x) && math.Signbit(x):
		return "-nan"
	case math.IsNaN(x):
		return "nan"
	}
	return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(x, 'f', -1, 64), "+"))
}

// formatFloat follows EPICS base: fixed point rounded half away from zero, from
// 1e7 with at most three digits after the point, from 1e16 or with more than 8
// digits as an exponent.
func formatFloat(x float64, precision int) string {
	precision = min(max(precision, 0), 17)
	switch {
	case math.IsNaN(x) && precision <= 8:
		return notFinite(x)
	case math.IsNaN(x) || math.IsInf(x, 0):
		return fmt.Sprintf("%*s", precision+7, notFinite(x)) // where an exponent would be
	case precision > 8 || math.Abs(x) > 1e16:
		return fmt.Sprintf("%*.*e", precision+7, precision, x)
	case math.Abs(x) > 1e7:
		return strconv.FormatFloat(x, 'f', min(precision, 3), 64)
	}
	return formatFixed(x, precision)
}

// formatFixed writes |x| <= 1e7 with at most 8 digits after the point.
func formatFixed(x float64, precision int) string {
	whole, fraction := math.Modf(math.Abs(x))
	unit := math.Pow10(precision)
	digits := math.Floor(fraction*unit + 0.5)
	if digits >= unit {
		whole, digits = whole+1, 0
	}
	s := strconv.FormatFloat(whole, 'f', 0, 64)
	if precision > 0 {
		s += fmt.Sprintf(".%0*.0f", precision, digits)
	}
	if x < 0 {
		s = "-" + s
	}
	return s
}

// parseNumber reads text as a number for a native type; for an enum as one of
// its labels or, failing that, as a number.
func parseNumber(s string, to ca.DBR, f format) (number, error) {
	if to == ca.DBREnum {
		for i, l := range f.labels {
			if l == s {
				return number{i: int64(i)}, nil
			}
		}
	}
	s = strings.TrimSpace(s)
	i, intErr := strconv.ParseInt(s, 0, 64)
	x, err := strconv.ParseFloat(s, 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil // an infinity or a zero, as C reads it
	}
	switch lo, hi := integerRange(to); {
	case err == nil && (to == ca.DBRFloat || to == ca.DBRDouble):
		return number{f: x, float: true}, nil
	case intErr == nil && i >= int64(lo) && i <= int64(hi):
		return number{i: i}, nil
	case err == nil && to != ca.DBREnum && x >= float64(lo) && x <= float64(hi) && intErr != nil:
		return number{f: x, float: true}, nil
	}
	return number{}, fmt.Errorf("%w: %.40q is not a number of native type %d", errConvert, s, to)
}

// integerRange is what an integer native type can hold.
func integerRange(t ca.DBR) (lo, hi int) {
	switch t {
	case ca.DBRShort:
		return math.MinInt16, math.MaxInt16
	case ca.DBREnum:
		return 0, math.MaxUint16
	case ca.DBRChar:
		return 0, math.MaxUint8
	case ca.DBRLong:
		return math.MinInt32, math.MaxInt32
	}
	return math.MinInt, math.MaxInt
}

// cString is the text before the first NUL, all of it if there is none.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

var zeros [4096]byte

func appendZeros(b []byte, n int) []byte {
	for ; n > len(zeros); n -= len(zeros) {
		b = append(b, zeros[:]...)
	}
	return append(b, zeros[:max(n, 0)]...)
}
