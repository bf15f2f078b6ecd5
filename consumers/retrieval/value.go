package retrieval

import (
	"encoding/base64"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"pvlog/schema"
)

// style is how a format writes values.
type style struct {
	nan, posInf, negInf string // numbers that are not finite
	quoted              bool   // strings stand in JSON quotes, also outside of arrays
}

var (
	jsonStyle = style{nan: "null", posInf: "null", negInf: "null", quoted: true}
	csvStyle  = style{nan: "NaN", posInf: "Infinity", negInf: "-Infinity"}
)

// appendValue writes the value of an event straight from its records of field
// 3, without decoding the message: retrieval spends most of its time here.
// Arrays are JSON lists, bytes are signed numbers, V4 bytes are base64.
func appendValue(b []byte, t schema.DBRType, records []byte, st style) ([]byte, error) {
	if t.Waveform() {
		return appendArray(b, t, records, st)
	}
	value, ok := lastRecord(records)
	if !ok {
		return b, fmt.Errorf("%w: %v without a value", schema.ErrEvent, t)
	}
	switch t {
	case schema.ScalarString:
		s, n := consumeBytes(value)
		if n < 0 {
			return b, wrongWire(t)
		}
		if !st.quoted {
			return append(b, s...), nil
		}
		return appendJSONString(b, string(s)), nil
	case schema.ScalarByte:
		v, n := consumeBytes(value)
		if n < 0 || len(v) == 0 {
			return b, wrongWire(t)
		}
		return appendInt(b, int32(int8(v[0]))), nil
	case schema.V4GenericBytes:
		v, n := consumeBytes(value)
		if n < 0 {
			return b, wrongWire(t)
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v)
		return append(b, '"'), nil
	}
	_, wire, n := protowire.ConsumeTag(value)
	b, m := appendNumber(b, t, wire, value[n:], st)
	if m < 0 {
		return b, wrongWire(t)
	}
	return b, nil
}

func wrongWire(t schema.DBRType) error {
	return fmt.Errorf("%w: the value is not a %v", schema.ErrEvent, t)
}

// lastRecord is the last record of field 3: of a repeated scalar the last holds.
func lastRecord(records []byte) (last []byte, ok bool) {
	for len(records) > 0 {
		_, _, n := protowire.ConsumeField(records)
		if n < 0 {
			return nil, false
		}
		last, records, ok = records[:n], records[n:], true
	}
	return last, ok
}

// consumeBytes reads a record of wire type bytes; n is negative if it is not one.
func consumeBytes(record []byte) (v []byte, n int) {
	_, wire, n := protowire.ConsumeTag(record)
	if n < 0 || wire != protowire.BytesType {
		return nil, -1
	}
	v, m := protowire.ConsumeBytes(record[n:])
	if m < 0 {
		return nil, -1
	}
	return v, n + m
}

// appendArray writes an array; its elements stand packed in one record or, as
// protobuf allows, in a record each.
func appendArray(b []byte, t schema.DBRType, records []byte, st style) ([]byte, error) {
	if t == schema.WaveformByte {
		return appendBytes(b, records)
	}
	b = append(b, '[')
	for n := 0; len(records) > 0; {
		_, wire, tag := protowire.ConsumeTag(records)
		if tag < 0 {
			return b, wrongWire(t)
		}
		rest := records[tag:]
		size := protowire.ConsumeFieldValue(3, wire, rest)
		if size < 0 {
			return b, wrongWire(t)
		}
		var ok bool
		if b, n, ok = appendElements(b, t, wire, rest[:size], st, n); !ok {
			return b, wrongWire(t)
		}
		records = rest[size:]
	}
	return append(b, ']'), nil
}

// appendElements writes the elements of one record; n counts those before it.
func appendElements(b []byte, t schema.DBRType, wire protowire.Type, content []byte, st style, n int) ([]byte, int, bool) {
	if t == schema.WaveformString {
		v, m := protowire.ConsumeBytes(content)
		if wire != protowire.BytesType || m < 0 {
			return b, n, false
		}
		return appendJSONString(comma(b, n), string(v)), n + 1, true
	}
	scalar := t - schema.WaveformString + schema.ScalarString
	if wire == protowire.BytesType {
		content, _ = protowire.ConsumeBytes(content)
		wire = wireOf(scalar)
	}
	for len(content) > 0 {
		var m int
		if b, m = appendNumber(comma(b, n), scalar, wire, content, st); m < 0 {
			return b, n, false
		}
		content = content[m:]
		n++
	}
	return b, n, true
}

func comma(b []byte, n int) []byte {
	if n > 0 {
		return append(b, ',')
	}
	return b
}

func appendBytes(b, records []byte) ([]byte, error) {
	b = append(b, '[')
	if record, ok := lastRecord(records); ok {
		v, n := consumeBytes(record)
		if n < 0 {
			return b, wrongWire(schema.WaveformByte)
		}
		for i, c := range v {
			b = appendInt(comma(b, i), int32(int8(c)))
		}
	}
	return append(b, ']'), nil
}

// wireOf is the wire type of a number's elements.
func wireOf(t schema.DBRType) protowire.Type {
	switch t {
	case schema.ScalarDouble:
		return protowire.Fixed64Type
	case schema.ScalarFloat, schema.ScalarInt:
		return protowire.Fixed32Type
	}
	return protowire.VarintType
}

// appendNumber writes the number at the front of content and gives its size,
// negative if it is not a number of scalar type t.
func appendNumber(b []byte, t schema.DBRType, wire protowire.Type, content []byte, st style) ([]byte, int) {
	if wire != wireOf(t) {
		return b, -1
	}
	switch t {
	case schema.ScalarDouble:
		v, n := protowire.ConsumeFixed64(content)
		return appendFloat(b, math.Float64frombits(v), 64, st), n
	case schema.ScalarFloat:
		v, n := protowire.ConsumeFixed32(content)
		return appendFloat(b, float64(math.Float32frombits(v)), 32, st), n
	case schema.ScalarInt:
		v, n := protowire.ConsumeFixed32(content)
		return appendInt(b, int32(v)), n
	case schema.ScalarShort, schema.ScalarEnum:
		v, n := protowire.ConsumeVarint(content)
		return appendInt(b, int32(protowire.DecodeZigZag(v&math.MaxUint32))), n
	}
	return b, -1
}
