package schema

import (
	"encoding/binary"
	"slices"
)

// Channel Access sends elements in network byte order. These turn arrays of
// them around without a call for each element.

// AppendNetwork64 adds a VectorDouble value of the 8-byte elements in v.
func AppendNetwork64(b, v []byte) []byte {
	b, out := appendRoom(b, len(v)/8, len(v))
	for len(v) >= 8 && len(out) >= 8 {
		binary.LittleEndian.PutUint64(out, binary.BigEndian.Uint64(v))
		v, out = v[8:], out[8:]
	}
	return b
}

// AppendNetwork32 adds a VectorFloat or VectorInt value of the 4-byte elements
// in v.
func AppendNetwork32(b, v []byte) []byte {
	b, out := appendRoom(b, len(v)/4, len(v))
	for len(v) >= 4 && len(out) >= 4 {
		binary.LittleEndian.PutUint32(out, binary.BigEndian.Uint32(v))
		v, out = v[4:], out[4:]
	}
	return b
}

// AppendNetwork16 adds a VectorShort value of the 2-byte elements in v, or, if
// they are not signed, a VectorEnum value.
func AppendNetwork16(b, v []byte, signed bool) []byte {
	size := 0
	for i := 0; i+1 < len(v); i += 2 {
		switch z := zigzag16(v[i:], signed); {
		case z < 1<<7:
			size++
		case z < 1<<14:
			size += 2
		default:
			size += 3
		}
	}
	b, out := appendRoom(b, len(v)/2, size)
	for i := 0; i+1 < len(v); i += 2 {
		z := zigzag16(v[i:], signed)
		for ; z >= 1<<7; z >>= 7 {
			out[0], out = byte(z)|0x80, out[1:]
		}
		out[0], out = byte(z), out[1:]
	}
	return b
}

// zigzag16 is a 2-byte element as an sint32 is written.
func zigzag16(v []byte, signed bool) uint32 {
	x := int32(binary.BigEndian.Uint16(v))
	if signed {
		x = int32(int16(x))
	}
	return uint32(x<<1) ^ uint32(x>>31)
}

// appendRoom adds the head of n packed elements and size bytes to fill.
func appendRoom(b []byte, n, size int) (grown, room []byte) {
	b = appendPacked(b, n, size)
	at := len(b)
	b = slices.Grow(b, size)[:at+size]
	return b, b[at:]
}
