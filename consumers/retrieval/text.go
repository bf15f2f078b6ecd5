package retrieval

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

func appendInt(b []byte, v int32) []byte { return strconv.AppendInt(b, int64(v), 10) }

// appendFloat writes a number as the style wants it.
func appendFloat(b []byte, v float64, bits int, st style) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, st.nan...)
	case math.IsInf(v, 1):
		return append(b, st.posInf...)
	case math.IsInf(v, -1):
		return append(b, st.negInf...)
	}
	return AppendJavaFloat(b, v, bits)
}

// AppendJavaFloat writes a finite number of 32 or 64 bits as Java's toString
// does, which is what clients of the Appliance see: the shortest digits that
// read back the same, always with a fraction, "1.0E10" from 10,000,000 on and
// below 0.001. NaN and Infinity are written by those names.
func AppendJavaFloat(b []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, "NaN"...)
	case math.IsInf(v, 0):
		if v < 0 {
			b = append(b, '-')
		}
		return append(b, "Infinity"...)
	}
	if size := math.Abs(v); size == 0 || size >= 1e-3 && size < 1e7 {
		mark := len(b)
		b = strconv.AppendFloat(b, v, 'f', -1, bits)
		if bytes.IndexByte(b[mark:], '.') < 0 {
			b = append(b, ".0"...)
		}
		return b
	}
	var digits [40]byte
	text := strconv.AppendFloat(digits[:0], v, 'E', -1, bits) // -1.5E+07 or 1E-05
	e := bytes.IndexByte(text, 'E')
	b = append(b, text[:e]...)
	if bytes.IndexByte(text[:e], '.') < 0 {
		b = append(b, ".0"...)
	}
	b = append(b, 'E')
	if text[e+1] == '-' {
		b = append(b, '-')
	}
	return append(b, bytes.TrimLeft(text[e+2:], "0")...)
}

const hexDigits = "0123456789abcdef"

// appendJSONString writes s in quotes; what is not UTF-8 becomes U+FFFD, as no
// JSON may hold it.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < 0x20:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
