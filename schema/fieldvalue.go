package schema

import (
	"math"
	"strconv"
)

// FormatField is a number as field values show it: plain, with as many digits
// as make it exact.
func FormatField(v float64) string { return formatField(v, 64) }

// FormatField32 is FormatField for a number of single precision.
func FormatField32(v float32) string { return formatField(float64(v), 32) }

func formatField(v float64, bits int) string {
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'g'
	}
	return strconv.FormatFloat(v, format, -1, bits)
}
