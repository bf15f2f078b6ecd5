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
	Old     bool   // it is older than minor 4, and has given the name a channel at once
	SID     uint32 // of that channel
	Native  DBR    // of that channel, valid before minor 2
	Count   uint32 // of that channel, valid before minor 2
}

// Minor versions at which search replies learnt to say more.
const (
	minorReplyPort    = 5
	minorReplyAddress = 8
)

// Datagram is what a client's search socket receives: replies to its searches,
// and what a repeater sends on. The zero value is ready, and may be used again.
type Datagram struct {
	Replies   []Reply
	Beacons   []Beacon
	Confirmed bool // a repeater has accepted the client
}

// Parse reads a datagram; what else is in it (VERSION, NOT_FOUND, unknown
// commands) is passed over. defaultPort is where servers older than minor 5
// listen. One malformed message ends the datagram: what stood before it is
// kept.
func (d *Datagram) Parse(datagram []byte, defaultPort uint16) error {
	d.Replies, d.Beacons, d.Confirmed = d.Replies[:0], d.Beacons[:0], false
	for len(datagram) > 0 {
		h, payload, n, err := ParseMessage(datagram)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: a datagram ends within a message, %d bytes before its end", ErrMalformed, len(datagram))
		}
		switch h.Command {
		case CmdSearch:
			d.Replies = append(d.Replies, replyOf(h, payload, defaultPort))
		case CmdBeacon:
			d.Beacons = append(d.Beacons, beaconOf(h))
		case CmdRepeaterConfirm:
			d.Confirmed = true
		}
		datagram = datagram[n:]
	}
	return nil
}

func beaconOf(h Header) Beacon {
	b := Beacon{Address: h.P2, Port: uint16(h.Count), Counter: h.P1, Minor: h.DataType}
	if b.Port == 0 {
		b.Port = ServerPort
	}
	return b
}

func replyOf(h Header, payload []byte, defaultPort uint16) Reply {
	r := Reply{CID: h.P2, Port: h.DataType, Address: h.P1}
	if len(payload) >= 4 {
		r.Minor = binary.BigEndian.Uint16(payload)
	}
	if r.Minor < minorReplyAddress {
		r.Address = AddressOfSender
	}
	// A newer server that left its minor version out does say where it is.
	if r.Minor > 0 && r.Minor < minorClaimName || r.Minor == 0 && h.P1 != AddressOfSender && len(payload) < 4 {
		r.Old, r.SID, r.Native, r.Count = true, h.P1, DBR(h.DataType), h.Count
	}
	if r.Minor < minorReplyPort {
		r.Port = defaultPort
	}
	return r
}
