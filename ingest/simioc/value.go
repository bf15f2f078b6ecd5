package simioc

import (
	"encoding/binary"
	"fmt"
	"math"

	"pvlog/ingest/ca"
)

// value is what a record holds: n elements of its native type as they stand on
// the wire. data never changes once it is set, so values are copied freely.
type value struct {
	n      int
	scalar [8]byte // the number of a scalar, whose data is nil
	data   []byte
}

// bytes are the n elements, size bytes each.
func (v *value) bytes(size int) []byte {
	if v.data != nil {
		return v.data
	}
	return v.scalar[:min(v.n*size, len(v.scalar))]
}

// sameAs reports whether v and w hold the same elements.
func (v *value) sameAs(w *value) bool {
	return v.n == w.n && v.scalar == w.scalar && string(v.data) == string(w.data)
}

// encodeValue turns a Go value into at most max elements of a native type.
func encodeValue(t ca.DBR, max int, x any) (value, error) {
	var v value
	data, n, err := appendElements(nil, t, x)
	switch {
	case err != nil:
		return v, err
	case n > max:
		return v, fmt.Errorf("%d elements, the record holds %d", n, max)
	case n == 0 && max == 1:
		return v, fmt.Errorf("a scalar has one element, not 0")
	}
	return wireValue(t, max, n, data), nil
}

// wireValue makes a value of n elements on the wire for a variable of at most
// max. It keeps data.
func wireValue(t ca.DBR, max, n int, data []byte) value {
	v := value{n: n}
	if t != ca.DBRString && max == 1 {
		copy(v.scalar[:], data[:n*t.ElementSize()])
		return v
	}
	v.data = data
	return v
}

// doubleValue is one double: the load generator's way round appendElements.
func doubleValue(f float64) value {
	v := value{n: 1}
	binary.BigEndian.PutUint64(v.scalar[:], math.Float64bits(f))
	return v
}

// appendElements appends x in wire form and says how many elements it had.
func appendElements(b []byte, t ca.DBR, x any) ([]byte, int, error) {
	switch x := x.(type) {
	case string:
		return appendString(b, t, x)
	case []string:
		return appendAll(b, t, x, appendString)
	case []byte:
		if t == ca.DBRChar {
			return append(b, x...), len(x), nil
		}
		return nil, 0, mismatch(t, x)
	case []int16:
		return appendAll(b, t, x, appendTyped[int16](ca.DBRShort))
	case []uint16:
		return appendAll(b, t, x, appendTyped[uint16](ca.DBREnum))
	case []int32:
		return appendAll(b, t, x, appendTyped[int32](ca.DBRLong))
	case []float32:
		return appendAll(b, t, x, appendTyped[float32](ca.DBRFloat))
	case []float64:
		return appendAll(b, t, x, appendTyped[float64](ca.DBRDouble))
	}
	return appendScalar(b, t, x)
}

func appendScalar(b []byte, t ca.DBR, x any) ([]byte, int, error) {
	switch x := x.(type) {
	case byte:
		return appendTyped[byte](ca.DBRChar)(b, t, x)
	case int16:
		return appendTyped[int16](ca.DBRShort)(b, t, x)
	case uint16:
		return appendTyped[uint16](ca.DBREnum)(b, t, x)
	case int32:
		return appendTyped[int32](ca.DBRLong)(b, t, x)
	case float32:
		return appendTyped[float32](ca.DBRFloat)(b, t, x)
	case int:
		return appendInt(b, t, x)
	case float64:
		if t == ca.DBRFloat {
			return appendNumber(b, t, number{f: x, float: true}), 1, nil
		}
		return appendTyped[float64](ca.DBRDouble)(b, t, x)
	}
	return nil, 0, mismatch(t, x)
}

// appendAll appends each element of a slice.
func appendAll[T any](b []byte, t ca.DBR, xs []T, one func([]byte, ca.DBR, T) ([]byte, int, error)) ([]byte, int, error) {
	if b == nil {
		b = make([]byte, 0, len(xs)*t.ElementSize())
	}
	var err error
	for _, x := range xs {
		if b, _, err = one(b, t, x); err != nil {
			return nil, 0, err
		}
	}
	return b, len(xs), nil
}

// appendTyped appends a number whose Go type belongs to the native type only.
func appendTyped[T byte | int16 | uint16 | int32 | float32 | float64](only ca.DBR) func([]byte, ca.DBR, T) ([]byte, int, error) {
	return func(b []byte, t ca.DBR, x T) ([]byte, int, error) {
		if t != only {
			return nil, 0, mismatch(t, x)
		}
		switch x := any(x).(type) {
		case float32: // by its bits: a signalling NaN stays one
			return binary.BigEndian.AppendUint32(b, math.Float32bits(x)), 1, nil
		case float64:
			return binary.BigEndian.AppendUint64(b, math.Float64bits(x)), 1, nil
		}
		return appendNumber(b, t, number{i: int64(x)}), 1, nil
	}
}

// appendInt appends an int where the native type can hold it.
func appendInt(b []byte, t ca.DBR, x int) ([]byte, int, error) {
	if t == ca.DBRString {
		return nil, 0, mismatch(t, x)
	}
	lo, hi := integerRange(t)
	if x < lo || x > hi {
		return nil, 0, fmt.Errorf("%d is outside %d to %d", x, lo, hi)
	}
	return appendNumber(b, t, number{i: int64(x)}), 1, nil
}

// appendString appends a CA string of 40 bytes. Exactly 40 may be given: some
// servers send strings without their NUL. For a CHAR record the text and its
// NUL are the elements.
func appendString(b []byte, t ca.DBR, s string) ([]byte, int, error) {
	switch {
	case t == ca.DBRChar:
		return append(append(b, s...), 0), len(s) + 1, nil
	case t != ca.DBRString:
		return nil, 0, mismatch(t, s)
	case len(s) > ca.MaxStringSize:
		return nil, 0, fmt.Errorf("the string has %d bytes, %d are allowed", len(s), ca.MaxStringSize)
	}
	b = append(b, s...)
	return append(b, make([]byte, ca.MaxStringSize-len(s))...), 1, nil
}

func mismatch(t ca.DBR, x any) error {
	return fmt.Errorf("a %T cannot be a value of native type %d", x, t)
}
