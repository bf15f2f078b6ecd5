package ca

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed says that bytes are not what Channel Access allows there.
var ErrMalformed = errors.New("malformed Channel Access message")

// Sizes of headers and payloads.
const (
	HeaderSize         = 16
	ExtendedHeaderSize = 24

	// MaxValue is the most bytes of elements that a value has here.
	MaxValue = 64 << 20

	// MaxPayload is the largest payload that is taken from a peer, a value
	// with the head of any DBR type; a larger one is a broken or hostile
	// server, not a waveform.
	MaxPayload = MaxValue + 512

	// extendedMark as payload size announces the extended form. A standard
	// message therefore carries at most 65528 bytes and 65534 elements.
	extendedMark = 0xFFFF
)

// Header is the head of a message in either form, standard or extended.
type Header struct {
	Command     uint16
	PayloadSize uint32 // bytes after the header, padding included: a multiple of 8
	DataType    uint16 // DBR type, or what the command makes of it
	Count       uint32 // elements, or what the command makes of it
	P1          uint32 // "cid": sid, cid, status or address
	P2          uint32 // "available": ioid, subscription id, cid or minor version
}

// AppendMessage adds one message to b: the header with PayloadSize set to what
// the payload takes, the payload, and zeros up to a multiple of 8. It takes
// the extended form when size or count ask for it.
func AppendMessage(b []byte, h Header, payload []byte) []byte {
	padding := pad8(len(payload)) - len(payload)
	h.PayloadSize = uint32(len(payload) + padding)
	b = AppendHeader(b, h)
	b = append(b, payload...)
	return append(b, zeros[:padding]...)
}

var zeros [8]byte

func pad8(n int) int { return (n + 7) &^ 7 }

// AppendHeader adds a header alone, for callers that append PayloadSize bytes
// of payload themselves.
func AppendHeader(b []byte, h Header) []byte {
	extended := h.PayloadSize >= extendedMark || h.Count >= extendedMark
	size, count := uint16(h.PayloadSize), uint16(h.Count)
	if extended {
		size, count = extendedMark, 0
	}
	b = binary.BigEndian.AppendUint16(b, h.Command)
	b = binary.BigEndian.AppendUint16(b, size)
	b = binary.BigEndian.AppendUint16(b, h.DataType)
	b = binary.BigEndian.AppendUint16(b, count)
	b = binary.BigEndian.AppendUint32(b, h.P1)
	b = binary.BigEndian.AppendUint32(b, h.P2)
	if extended {
		b = binary.BigEndian.AppendUint32(b, h.PayloadSize)
		b = binary.BigEndian.AppendUint32(b, h.Count)
	}
	return b
}

// ParseHeader reads the header that b begins with; n is its length, 16 or 24,
// and 0 when b is too short to tell. The extended form is recognised by its
// mark alone: servers use it for small messages too. A payload size that is
// not a multiple of 8 is [ErrMalformed]; h and n are then given all the same.
func ParseHeader(b []byte) (h Header, n int, err error) {
	if len(b) < HeaderSize {
		return Header{}, 0, nil
	}
	h = Header{
		Command:     binary.BigEndian.Uint16(b),
		PayloadSize: uint32(binary.BigEndian.Uint16(b[2:])),
		DataType:    binary.BigEndian.Uint16(b[4:]),
		Count:       uint32(binary.BigEndian.Uint16(b[6:])),
		P1:          binary.BigEndian.Uint32(b[8:]),
		P2:          binary.BigEndian.Uint32(b[12:]),
	}
	n = HeaderSize
	if h.PayloadSize == extendedMark {
		if len(b) < ExtendedHeaderSize {
			return Header{}, 0, nil
		}
		h.PayloadSize = binary.BigEndian.Uint32(b[16:])
		h.Count = binary.BigEndian.Uint32(b[20:])
		n = ExtendedHeaderSize
	}
	if h.PayloadSize%8 != 0 {
		return h, n, fmt.Errorf("%w: %s with a payload of %d bytes, which is not a multiple of 8",
			ErrMalformed, CommandName(h.Command), h.PayloadSize)
	}
	return h, n, nil
}

// ParseMessage reads the message that b begins with; n is its whole length and
// 0 when b does not hold all of it. The payload points into b.
func ParseMessage(b []byte) (h Header, payload []byte, n int, err error) {
	h, n, err = ParseHeader(b)
	if err != nil || n == 0 {
		return h, nil, 0, err
	}
	if uint64(len(b)-n) < uint64(h.PayloadSize) {
		return h, nil, 0, nil
	}
	end := n + int(h.PayloadSize)
	return h, b[n:end:end], end, nil
}
