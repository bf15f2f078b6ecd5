package schema

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// An EPICSEvent message is written field by field in the order of its numbers,
// as the Appliance's encoder does, so that equal samples have equal bytes:
// AppendHead, one Append<Type> for the value, AppendAlarm, AppendField.

// Field numbers that all EPICSEvent messages share.
const (
	fieldSeconds  = 1
	fieldNano     = 2
	fieldVal      = 3
	fieldSeverity = 4
	fieldStatus   = 5
	fieldValues   = 7
	fieldChange   = 8
)

// appendTag is protowire's for the field numbers of here, all of which fit one
// byte; it is inlined, which saves half of what a scalar takes.
func appendTag(b []byte, field protowire.Number, t protowire.Type) []byte {
	return append(b, byte(protowire.EncodeTag(field, t)))
}

func appendVarint(b []byte, v uint64) []byte {
	for ; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// AppendHead begins an EPICSEvent: seconds into t's UTC year, and nanoseconds
// as they came, even if illegal.
func AppendHead(b []byte, t Time) []byte {
	return appendHead(b, uint32(t.Sec-YearStart(t.Year())), t.Nsec)
}

// AppendHeadIn is AppendHead for callers that know the year's first second,
// which saves the calendar on the hot path.
func AppendHeadIn(b []byte, t Time, yearStart int64) []byte {
	return appendHead(b, uint32(t.Sec-yearStart), t.Nsec)
}

func appendHead(b []byte, secondsIntoYear, nano uint32) []byte {
	b = appendTag(b, fieldSeconds, protowire.VarintType)
	b = appendVarint(b, uint64(secondsIntoYear))
	b = appendTag(b, fieldNano, protowire.VarintType)
	return appendVarint(b, uint64(nano))
}

// AppendAlarm adds severity and status; zeros are left out, as the Appliance does.
func AppendAlarm(b []byte, severity, status int32) []byte {
	if severity != 0 {
		b = appendTag(b, fieldSeverity, protowire.VarintType)
		b = appendVarint(b, uint64(severity))
	}
	if status != 0 {
		b = appendTag(b, fieldStatus, protowire.VarintType)
		b = appendVarint(b, uint64(status))
	}
	return b
}

// AppendField adds one field value or connection marker. It may be used on a
// finished message: protobuf messages may be extended by concatenation.
func AppendField(b []byte, name, val string) []byte {
	size := protowire.SizeTag(1) + protowire.SizeBytes(len(name)) + protowire.SizeTag(2) + protowire.SizeBytes(len(val))
	b = appendTag(b, fieldValues, protowire.BytesType)
	b = appendVarint(b, uint64(size))
	b = appendTag(b, 1, protowire.BytesType)
	b = protowire.AppendString(b, name)
	b = appendTag(b, 2, protowire.BytesType)
	return protowire.AppendString(b, val)
}

// AppendFieldsChanged says whether the fields of this sample are changes
// (true) or a periodic dump (false).
func AppendFieldsChanged(b []byte, changed bool) []byte {
	b = appendTag(b, fieldChange, protowire.VarintType)
	return appendVarint(b, protowire.EncodeBool(changed))
}

// AppendDouble adds a ScalarDouble value.
func AppendDouble(b []byte, v float64) []byte {
	b = appendTag(b, fieldVal, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(v))
}

// AppendFloat adds a ScalarFloat value.
func AppendFloat(b []byte, v float32) []byte {
	b = appendTag(b, fieldVal, protowire.Fixed32Type)
	return protowire.AppendFixed32(b, math.Float32bits(v))
}

// AppendInt adds a ScalarInt value (sfixed32).
func AppendInt(b []byte, v int32) []byte {
	b = appendTag(b, fieldVal, protowire.Fixed32Type)
	return protowire.AppendFixed32(b, uint32(v))
}

// AppendSint adds a ScalarShort or ScalarEnum value (zigzag sint32).
func AppendSint(b []byte, v int32) []byte {
	b = appendTag(b, fieldVal, protowire.VarintType)
	return appendVarint(b, protowire.EncodeZigZag(int64(v)))
}

// AppendBytes adds a ScalarByte, VectorChar or V4GenericBytes value.
func AppendBytes(b, v []byte) []byte {
	b = appendTag(b, fieldVal, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

// AppendString adds a ScalarString value, or one element of a VectorString.
// CA strings have no encoding: what is not UTF-8 is taken as Latin-1.
func AppendString(b []byte, v []byte) []byte {
	b = appendTag(b, fieldVal, protowire.BytesType)
	if s, latin := latin1(v); latin {
		return protowire.AppendString(b, s)
	}
	return protowire.AppendBytes(b, v)
}

// AppendDoubles adds a VectorDouble value; no element adds nothing.
func AppendDoubles(b []byte, n int, at func(int) float64) []byte {
	b = appendPacked(b, n, 8*n)
	for i := range n {
		b = protowire.AppendFixed64(b, math.Float64bits(at(i)))
	}
	return b
}

// AppendFloats adds a VectorFloat value.
func AppendFloats(b []byte, n int, at func(int) float32) []byte {
	b = appendPacked(b, n, 4*n)
	for i := range n {
		b = protowire.AppendFixed32(b, math.Float32bits(at(i)))
	}
	return b
}

// AppendInts adds a VectorInt value (sfixed32).
func AppendInts(b []byte, n int, at func(int) int32) []byte {
	b = appendPacked(b, n, 4*n)
	for i := range n {
		b = protowire.AppendFixed32(b, uint32(at(i)))
	}
	return b
}

// AppendSints adds a VectorShort or VectorEnum value (zigzag sint32).
func AppendSints(b []byte, n int, at func(int) int32) []byte {
	size := 0
	for i := range n {
		size += protowire.SizeVarint(protowire.EncodeZigZag(int64(at(i))))
	}
	b = appendPacked(b, n, size)
	for i := range n {
		b = appendVarint(b, protowire.EncodeZigZag(int64(at(i))))
	}
	return b
}

func appendPacked(b []byte, n, size int) []byte {
	if n == 0 {
		return b
	}
	b = appendTag(b, fieldVal, protowire.BytesType)
	return appendVarint(b, uint64(size))
}
