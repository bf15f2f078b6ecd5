package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"pvlog/ingest/ca"
)

// enum is a state's label or number.
func (f caFormat) enum(r caReading, n uint16) string {
	switch {
	case r.monitored:
		return f.monitoredEnum(r, n)
	case f.EnumNumber || r.labels == nil:
		return strconv.Itoa(int(n))
	case n >= ca.MaxEnumStates:
		return fmt.Sprintf("Illegal Value (%d)", n)
	case int(n) >= len(r.labels):
		return fmt.Sprintf("Enum Index Overflow (%d)", n)
	}
	return shown(r.labels[n])
}

// monitoredEnum prints what an IOC would send that is asked for a short or a
// string.
func (f caFormat) monitoredEnum(r caReading, n uint16) string {
	switch {
	case f.EnumNumber:
		return f.integer(int32(int16(n)))
	case len(r.labels) == 0:
		return strconv.Itoa(int(n))
	case n >= ca.MaxEnumStates:
		return "Illegal Value"
	case int(n) >= len(r.labels):
		return ""
	}
	return escaped(r.labels[n])
}

func (f caFormat) integer(v int32) string { return inBase(v, f.IntegerBase) }

// inBase prints the bits of v but for decimal numbers.
func inBase(v int32, base string) string {
	switch base {
	case "x":
		return fmt.Sprintf("0x%X", uint32(v))
	case "o":
		return fmt.Sprintf("0o%o", uint32(v))
	case "b":
		return strconv.FormatUint(uint64(uint32(v)), 2)
	}
	return strconv.Itoa(int(v))
}

// float prints as C's %g does where nothing else is asked for.
func (f caFormat) float(r caReading, v float64) string {
	switch {
	case r.precision >= 0:
		return withPrecision(v, r.precision)
	case f.FloatBase != "":
		return inBase(rounded(v), f.FloatBase)
	case f.E >= 0:
		return cFloat(v, 'e', f.E)
	case f.F >= 0:
		return cFloat(v, 'f', f.F)
	case f.G >= 0:
		return cFloat(v, 'g', f.G)
	}
	return cFloat(v, 'g', 6)
}

// cFloat prints as C does: %g has a digit at least, and NaN a sign.
func cFloat(v float64, verb byte, digits int) string {
	switch {
	case math.IsNaN(v) && math.Signbit(v):
		return "-nan"
	case math.IsNaN(v) || math.IsInf(v, 0):
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+"))
	case verb == 'g':
		return fmt.Sprintf("%.*g", max(digits, 1), v)
	}
	return strconv.FormatFloat(v, verb, digits, 64)
}

// rounded is the nearest integer, halves away from zero. What is beyond an int
// is what processors make of it, as caget does.
func rounded(v float64) int32 {
	v += math.Copysign(0.5, v)
	if !(v > math.MinInt32-1.0 && v < math.MaxInt32+1.0) {
		return math.MinInt32
	}
	return int32(v)
}

// withPrecision writes a number as an IOC does that is asked for a string:
// halves are rounded up, large numbers and many digits have an exponent.
func withPrecision(v float64, digits int) string {
	switch {
	case digits > 8 || math.Abs(v) > 1e16:
		digits = min(digits, 17)
		return fmt.Sprintf("%*s", digits+7, cFloat(v, 'e', digits))
	case math.Abs(v) > 1e7 || math.IsNaN(v):
		return cFloat(v, 'f', min(digits, 3))
	}
	unit := math.Pow10(digits)
	return strconv.FormatFloat(math.Round(v*unit)/unit, 'f', digits, 64)
}
