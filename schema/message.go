package schema

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pvlog/schema/logpb"
)

// MessageVersion is the version of the log's messages that this code writes.
const MessageVersion = 1

// ErrDamaged says that a message of the log fails its checksum or cannot be
// decoded.
var ErrDamaged = errors.New("damaged log message")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumSize is the tag and content of field 15, the last of a message.
const checksumSize = 5

const checksumField = 15

// AppendSampleHeader begins a logpb.SampleMessage. Samples follow by
// [AppendRawSample], the end is [AppendChecksum] over the whole message.
func AppendSampleHeader(b []byte) []byte {
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	return protowire.AppendVarint(b, MessageVersion)
}

// AppendRawSample adds one sample to a logpb.SampleMessage, field by field and
// without allocation when b has room.
func AppendRawSample(b []byte, s RawSample) []byte {
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(sizeRawSample(s)))
	b = appendUint(b, 1, uint64(s.Type))
	b = appendUint(b, 2, uint64(s.Year))
	b = protowire.AppendTag(b, 3, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(s.Received.UnixNano()))
	b = appendUint(b, 4, protowire.EncodeBool(s.First))
	b = appendUint(b, 5, uint64(s.Registered))
	b = appendUint(b, 6, uint64(s.DriftPast/time.Second))
	b = appendUint(b, 7, uint64(s.DriftFuture/time.Second))
	b = appendUint(b, 8, s.Generation)
	b = appendUint(b, 10, uint64(s.RateEvents))
	b = appendUint(b, 11, s.RateBytes)
	b = protowire.AppendTag(b, 9, protowire.BytesType)
	return protowire.AppendBytes(b, s.Event)
}

// SizeRawSample is the number of bytes that AppendRawSample adds.
func SizeRawSample(s RawSample) int {
	n := sizeRawSample(s)
	return protowire.SizeTag(2) + protowire.SizeBytes(n)
}

func sizeRawSample(s RawSample) int {
	return sizeUint(uint64(s.Type)) + sizeUint(uint64(s.Year)) + 9 +
		sizeUint(protowire.EncodeBool(s.First)) + sizeUint(uint64(s.Registered)) +
		sizeUint(uint64(s.DriftPast/time.Second)) + sizeUint(uint64(s.DriftFuture/time.Second)) +
		sizeUint(s.Generation) + sizeUint(uint64(s.RateEvents)) + sizeUint(s.RateBytes) + 1 + protowire.SizeBytes(len(s.Event))
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

// sizeUint is the size of a non-zero number under a tag of one byte.
func sizeUint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

// AppendChecksum ends a message: CRC-32C over b from byte start.
func AppendChecksum(b []byte, start int) []byte {
	sum := crc32.Checksum(b[start:], castagnoli)
	b = protowire.AppendTag(b, checksumField, protowire.Fixed32Type)
	return protowire.AppendFixed32(b, sum)
}

// CheckSum verifies the checksum at the end of a message and gives the bytes
// before it.
func CheckSum(b []byte) ([]byte, error) {
	if len(b) < checksumSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	body, tail := b[:len(b)-checksumSize], b[len(b)-checksumSize:]
	num, wire, n := protowire.ConsumeTag(tail)
	if num != checksumField || wire != protowire.Fixed32Type {
		return nil, fmt.Errorf("%w: no checksum at its end", ErrDamaged)
	}
	want, _ := protowire.ConsumeFixed32(tail[n:])
	if got := crc32.Checksum(body, castagnoli); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, the bytes give %08x", ErrDamaged, want, got)
	}
	return body, nil
}

// DecodeSampleMessage checks and decodes a message of samples.<PV>. A message
// that is a part of a larger one comes back in part; samples are then none.
// The samples' events point into b.
func DecodeSampleMessage(b []byte, into []RawSample) (samples []RawSample, part *logpb.Part, err error) {
	body, err := CheckSum(b)
	if err != nil {
		return into, nil, err
	}
	for rest := body; len(rest) > 0; {
		num, wire, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return into, nil, fmt.Errorf("%w: byte %d", ErrDamaged, len(body)-len(rest))
		}
		m := protowire.ConsumeFieldValue(num, wire, rest[n:])
		if m < 0 {
			return into, nil, fmt.Errorf("%w: byte %d", ErrDamaged, len(body)-len(rest))
		}
		value := rest[n : n+m]
		rest = rest[n+m:]
		switch {
		case num == 1 && wire == protowire.VarintType:
			err = checkVersion(value)
		case num == 2 && wire == protowire.BytesType:
			var s RawSample
			s, err = decodeRawSample(unwrap(value))
			into = append(into, s)
		case num == 3 && wire == protowire.BytesType:
			part = &logpb.Part{}
			err = proto.Unmarshal(unwrap(value), part)
		}
		if err != nil {
			return into, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return into, part, nil
}

func checkVersion(value []byte) error {
	if v, _ := protowire.ConsumeVarint(value); v != MessageVersion {
		return fmt.Errorf("version %d, this pvlog reads %d: a newer one wrote it", v, MessageVersion)
	}
	return nil
}

func unwrap(value []byte) []byte {
	v, _ := protowire.ConsumeBytes(value)
	return v
}

func decodeRawSample(b []byte) (RawSample, error) {
	var s RawSample
	for len(b) > 0 {
		num, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return s, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(num, wire, b[n:])
		if m < 0 {
			return s, protowire.ParseError(m)
		}
		s.take(num, wire, b[n:n+m])
		b = b[n+m:]
	}
	if !s.Type.Valid() || !s.Registered.Valid() {
		return s, fmt.Errorf("sample of type %d, registered %d", s.Type, s.Registered)
	}
	return s, nil
}

func (s *RawSample) take(num protowire.Number, wire protowire.Type, value []byte) {
	switch wire {
	case protowire.VarintType:
		v, _ := protowire.ConsumeVarint(value)
		s.takeNumber(num, v)
	case protowire.Fixed64Type:
		if num == 3 {
			v, _ := protowire.ConsumeFixed64(value)
			s.Received = time.Unix(0, int64(v))
		}
	case protowire.BytesType:
		if num == 9 {
			s.Event = unwrap(value)
		}
	}
}

func (s *RawSample) takeNumber(num protowire.Number, v uint64) {
	switch num {
	case 1:
		s.Type = DBRType(v)
	case 2:
		s.Year = int(v)
	case 4:
		s.First = v != 0
	case 5:
		s.Registered = DBRType(v)
	case 6:
		s.DriftPast = time.Duration(v) * time.Second
	case 7:
		s.DriftFuture = time.Duration(v) * time.Second
	case 8:
		s.Generation = v
	case 10:
		s.RateEvents = uint32(v)
	case 11:
		s.RateBytes = v
	}
}
