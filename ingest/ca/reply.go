package ca

import (
	"encoding/binary"
	"fmt"
)

// Reply is a server's answer to a SEARCH.
type Reply struct {
	CID     uint32
	Port    uint16 // of the server's TCP listener
	Address uint32 // IPv4, or [AddressOfSender]
	Minor   uint16 // of the server, 0 if it did not say
}

// Minor versions at which search replies learnt to say more.
const (
	minorReplyPort    = 5
	minorReplyAddress = 8
)

// ParseReplies adds the search replies of a datagram to dst; everything else
// in it (VERSION, NOT_FOUND, beacons, unknown commands) is passed over.
// defaultPort is where servers older than minor 5 listen. One malformed
// message ends the datagram: what stood before it is returned with the error.
func ParseReplies(dst []Reply, datagram []byte, defaultPort uint16) ([]Reply, error) {
	for len(datagram) > 0 {
		h, payload, n, err := ParseMessage(datagram)
		if err != nil {
			return dst, err
		}
		if n == 0 {
			return dst, fmt.Errorf("%w: a datagram ends within a message, %d bytes before its end", ErrMalformed, len(datagram))
		}
		if h.Command == CmdSearch {
			dst = append(dst, replyOf(h, payload, defaultPort))
		}
		datagram = datagram[n:]
	}
	return dst, nil
}

func replyOf(h Header, payload []byte, defaultPort uint16) Reply {
	r := Reply{CID: h.P2, Port: h.DataType, Address: h.P1}
	if len(payload) >= 4 {
		r.Minor = binary.BigEndian.Uint16(payload)
	}
	if r.Minor < minorReplyAddress {
		r.Address = AddressOfSender
	}
	if r.Minor < minorReplyPort {
		r.Port = defaultPort
	}
	return r
}
