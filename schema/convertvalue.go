package schema

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// conversion is one value on its way.
type conversion struct {
	Conversion
	loss      string // the first value that lost something, "" while none did
	undefined bool   // it has nothing near
}

// element is one number or text.
type element struct {
	text    string
	isText  bool
	integer int64 // of a number without a fraction
	whole   bool  // integer is the number
	float   float64
}

func wholeElement(v int64) element { return element{integer: v, whole: true, float: float64(v)} }

func floatElement(v float64) element {
	e := element{float: v}
	if v == math.Trunc(v) && math.Abs(v) < 1<<63 {
		e.integer, e.whole = int64(v), true
	}
	return e
}

func textElement(s string) element { return element{text: s, isText: true} }

// String is the element for people.
func (e element) String() string {
	switch {
	case e.isText && len(e.text) > 60:
		return fmt.Sprintf("%.60q...", e.text)
	case e.isText:
		return strconv.Quote(e.text)
	case e.whole && !math.Signbit(e.float) || e.integer < 0:
		return strconv.FormatInt(e.integer, 10)
	}
	return strconv.FormatFloat(e.float, 'g', -1, 64) // -0 as well
}

// quietNaN is the NaN of C and Java, which Go's is not.
var quietNaN = math.Float64frombits(0x7ff8 << 48)

// elements gives the elements of a decoded value one by one, so that megabytes
// of them are not held twice.
func (c *conversion) elements(value any) (n int, at func(int) element) {
	switch v := value.(type) {
	case string:
		return 1, func(int) element { return textElement(v) }
	case []string:
		return len(v), func(i int) element { return textElement(v[i]) }
	case int32:
		return 1, func(int) element { return wholeElement(int64(v)) }
	case []int32:
		return len(v), func(i int) element { return wholeElement(int64(v[i])) }
	case []byte: // signed, as the Appliance's
		return len(v), func(i int) element { return wholeElement(int64(int8(v[i]))) }
	case float32:
		return 1, func(int) element { return floatElement(float64(v)) }
	case []float32:
		return len(v), func(i int) element { return floatElement(float64(v[i])) }
	case float64:
		return 1, func(int) element { return floatElement(v) }
	case []float64:
		return len(v), func(i int) element { return floatElement(v[i]) }
	}
	return 0, nil
}

// append adds the value as field 3 of the new type.
func (c *conversion) append(b []byte, value any) []byte {
	switch {
	case c.From == ScalarString && c.To == WaveformByte:
		return AppendBytes(b, []byte(value.(string)))
	case c.From == WaveformByte && c.To == ScalarString:
		return AppendString(b, c.longString(value.([]byte)))
	}
	n, at := c.elements(value)
	if c.To.Waveform() {
		return c.appendArray(b, n, at)
	}
	e := element{}
	switch {
	case n == 0:
		c.lose("an empty array")
		c.undefined = true
		if c.To == ScalarString {
			e = textElement("")
		} else if c.To == ScalarFloat || c.To == ScalarDouble {
			e = floatElement(quietNaN)
		} else {
			e = wholeElement(0)
		}
	case n > 1:
		c.lose(fmt.Sprintf("an array of %d elements", n))
		fallthrough
	default:
		e = at(0)
	}
	return c.appendScalar(b, e)
}

func (c *conversion) appendScalar(b []byte, e element) []byte {
	switch c.To {
	case ScalarString:
		return AppendString(b, []byte(c.textOf(e)))
	case ScalarByte:
		return AppendBytes(b, []byte{byte(c.whole(e))})
	case ScalarShort, ScalarEnum:
		return AppendSint(b, int32(c.whole(e)))
	case ScalarInt:
		return AppendInt(b, int32(c.whole(e)))
	case ScalarFloat:
		return AppendFloat(b, float32(c.number(e)))
	}
	return AppendDouble(b, c.number(e))
}

func (c *conversion) appendArray(b []byte, n int, at func(int) element) []byte {
	switch c.To {
	case WaveformString:
		for i := range n {
			b = AppendString(b, []byte(c.textOf(at(i))))
		}
		return b
	case WaveformByte:
		content := make([]byte, n)
		for i := range n {
			content[i] = byte(c.whole(at(i)))
		}
		return AppendBytes(b, content)
	case WaveformShort, WaveformEnum:
		values := make([]int32, n) // each is asked for twice
		for i := range n {
			values[i] = int32(c.whole(at(i)))
		}
		return AppendSints(b, n, func(i int) int32 { return values[i] })
	case WaveformInt:
		return AppendInts(b, n, func(i int) int32 { return int32(c.whole(at(i))) })
	case WaveformFloat:
		return AppendFloats(b, n, func(i int) float32 { return float32(c.number(at(i))) })
	}
	return AppendDoubles(b, n, func(i int) float64 { return c.number(at(i)) })
}

// longString is the text of an array of bytes: what stands before the first
// NUL. Something else than NULs behind it would be lost, and so would bytes
// that are not UTF-8, which are decoded from Latin-1.
func (c *conversion) longString(v []byte) []byte {
	text, rest, _ := bytes.Cut(v, []byte{0})
	if !utf8.Valid(text) || len(bytes.Trim(rest, "\x00")) > 0 {
		c.lose(fmt.Sprintf("an array of %d bytes that is no text", len(v)))
	}
	return text
}

// lose notes the first loss.
func (c *conversion) lose(what string) {
	if c.loss == "" {
		c.loss = what
	}
}

// bounds are the integers that a type holds. States of enums are those that the
// Appliance, which keeps 16 signed bits of them, and CA read alike.
func (t DBRType) bounds() (least, most int64) {
	switch t {
	case ScalarByte, WaveformByte:
		return math.MinInt8, math.MaxInt8
	case ScalarShort, WaveformShort:
		return math.MinInt16, math.MaxInt16
	case ScalarEnum, WaveformEnum:
		return 0, math.MaxInt16
	}
	return math.MinInt32, math.MaxInt32
}

func (t DBRType) enum() bool { return t == ScalarEnum || t == WaveformEnum }

// whole is the element as an integer of the new type.
func (c *conversion) whole(e element) int64 {
	e = c.numeric(e)
	least, most := c.To.bounds()
	v := e.integer
	if !e.whole {
		c.lose(e.String())
		switch {
		case math.IsNaN(e.float):
			c.undefined = true
			return 0
		case e.float >= float64(most): // infinity as well
			return most
		case e.float <= float64(least):
			return least
		}
		v = int64(math.RoundToEven(e.float))
	}
	if v < least || v > most {
		c.lose(e.String())
	}
	return min(max(v, least), most)
}

// number is the element as a float of the new type.
func (c *conversion) number(e element) float64 {
	number := c.numeric(e)
	v := number.float
	if c.To == ScalarDouble || c.To == WaveformDouble {
		if number.whole && (math.Abs(v) >= 1<<63 || int64(v) != number.integer) {
			c.lose(e.String())
		}
		return v
	}
	near := float64(float32(v))
	same := near == v || math.IsNaN(v)
	if e.isText && !same { // "0.1" is what the float 0.1 reads as
		again, err := strconv.ParseFloat(strconv.FormatFloat(near, 'g', -1, 32), 64)
		same = err == nil && again == v
	}
	if !same {
		c.lose(e.String())
	}
	return near
}

// numeric reads a text as a number.
func (c *conversion) numeric(e element) element {
	if !e.isText {
		return e
	}
	if c.To.enum() {
		if state, ok := c.state(e.text); ok {
			return wholeElement(state)
		}
	}
	text := strings.TrimSpace(e.text)
	if v, err := strconv.ParseInt(text, 10, 64); err == nil && text != "-0" {
		return wholeElement(v)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && math.IsNaN(v) {
		return floatElement(quietNaN)
	}
	if err == nil {
		return floatElement(v)
	}
	c.lose(e.String())
	if math.IsInf(v, 0) { // beyond what a double holds
		return floatElement(v)
	}
	c.undefined = true
	return floatElement(quietNaN)
}

// state is the state that a label is of, if it is one and of that state alone.
func (c *conversion) state(text string) (int64, bool) {
	found := -1
	for i, label := range c.Labels {
		if label != text || label == "" {
			continue
		}
		if found >= 0 {
			return 0, false
		}
		found = i
	}
	return int64(found), found >= 0
}

// textOf is the element as text.
func (c *conversion) textOf(e element) string {
	switch {
	case e.isText:
		return e.text
	case c.From.enum() && e.whole && e.integer >= 0 && e.integer < int64(len(c.Labels)):
		label := c.Labels[e.integer]
		if _, alone := c.state(label); alone {
			return label
		}
	case c.From == ScalarFloat || c.From == WaveformFloat:
		return strconv.FormatFloat(e.float, 'g', -1, 32)
	}
	text := e.String()
	if _, taken := c.state(text); taken && c.From.enum() { // "1" is the label of another state
		c.lose(text)
	}
	return text
}
