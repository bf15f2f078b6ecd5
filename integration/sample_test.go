package integration

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"pvlog/schema"
)

// sample is what any reader of the archive tells of one stored value, in the
// form in which all of them are compared.
type sample struct {
	at               schema.Time
	severity, status int32
	dbr              schema.DBRType
	value            any // as schema.Sample.Value
	fields           map[string]string
}

// key is equal for equal samples only: time to the nanosecond, alarm, type,
// length and each bit of the value. Fields are pvlog's own and no part of it.
func (s sample) key() string {
	return fmt.Sprintf("%d.%09d %d/%d %v %s", s.at.Sec, s.at.Nsec, s.severity, s.status, s.dbr, valueKey(s.value))
}

// valueKey tells values apart by their bits, so that NaN equals itself and -0
// does not equal 0.
func valueKey(value any) string {
	var b []byte
	n := 1
	switch v := value.(type) {
	case string:
		b = []byte(v)
	case int32:
		b = binary.LittleEndian.AppendUint32(nil, uint32(v))
	case float32:
		b = binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))
	case float64:
		b = binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
	case []byte:
		n, b = len(v), v
	case []string:
		n = len(v)
		for _, s := range v {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
	case []int32:
		n = len(v)
		for _, i := range v {
			b = binary.LittleEndian.AppendUint32(b, uint32(i))
		}
	case []float32:
		n = len(v)
		for _, f := range v {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
	case []float64:
		n = len(v)
		for _, f := range v {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
		}
	default:
		return fmt.Sprintf("unknown %T", value)
	}
	if len(b) > sha256.Size {
		sum := sha256.Sum256(b)
		b = sum[:]
	}
	return fmt.Sprintf("%d:%x", n, b)
}

// String shows a sample to whoever reads a failed test.
func (s sample) String() string {
	value := fmt.Sprintf("%v", s.value)
	if len(value) > 60 {
		value = value[:60] + "..."
	}
	return fmt.Sprintf("%v %d/%d %s(%d) %s", s.at, s.severity, s.status, s.dbr.Payload(), valueLength(s.value), value)
}

func valueLength(value any) int {
	switch v := value.(type) {
	case []byte:
		return len(v)
	case []string:
		return len(v)
	case []int32:
		return len(v)
	case []float32:
		return len(v)
	case []float64:
		return len(v)
	}
	return 1
}

// equalsJSON reports whether a JSON value states value, as the Appliance's
// JSON does: bytes as numbers, what is not finite as null (JSON has no NaN).
func equalsJSON(value any, text json.RawMessage) bool {
	switch v := value.(type) {
	case string:
		var s string
		return json.Unmarshal(text, &s) == nil && s == v
	case int32:
		return numberEquals(float64(v), text)
	case float32:
		var f *float32
		if json.Unmarshal(text, &f) != nil {
			return false
		}
		if f == nil {
			return notFinite(float64(v))
		}
		return *f == v
	case float64:
		return numberEquals(v, text)
	case []byte:
		if len(v) == 1 && !strings.HasPrefix(string(text), "[") { // a scalar byte, signed as Java's
			return numberEquals(float64(int8(v[0])), text)
		}
		return elementsEqual(len(v), text, func(i int) any { return int32(int8(v[i])) })
	case []string:
		return elementsEqual(len(v), text, func(i int) any { return v[i] })
	case []int32:
		return elementsEqual(len(v), text, func(i int) any { return v[i] })
	case []float32:
		return elementsEqual(len(v), text, func(i int) any { return v[i] })
	case []float64:
		return elementsEqual(len(v), text, func(i int) any { return v[i] })
	}
	return false
}

func elementsEqual(n int, text json.RawMessage, at func(int) any) bool {
	var elements []json.RawMessage
	if json.Unmarshal(text, &elements) != nil || len(elements) != n {
		return false
	}
	for i, element := range elements {
		if !equalsJSON(at(i), element) {
			return false
		}
	}
	return true
}

func numberEquals(v float64, text json.RawMessage) bool {
	var f *float64
	if json.Unmarshal(text, &f) != nil {
		return false
	}
	if f == nil {
		return notFinite(v)
	}
	return *f == v
}

func notFinite(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
