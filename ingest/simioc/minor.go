package simioc

import (
	"encoding/binary"

	"pvlog/ingest/ca"
)

// Minor versions of Channel Access from which on something is done. An IOC of
// [Options.Minor] does to its clients what servers of that age did.
const (
	minMinor       = 4  // older ones are not served, as by base since 3.16
	minPort        = 5  // search replies name the TCP port
	minCreateFail  = 6  // an unknown name is told, not passed over
	minServerEnd   = 7  // SERVER_DISCONN; before, the circuit had to go
	minAddress     = 8  // search replies name the server's address
	minExtended    = 9  // extended headers
	minBeaconCount = 10 // beacons are numbered
	minSequence    = 11 // search datagrams are numbered
	minGreeting    = 11 // the server says VERSION first
	minTCPSearch   = 12 // names are searched over circuits, too
	minDynamic     = 13 // count 0 is the current length
)

// maxPlainCount is the most elements that a header of 16 bytes can tell.
const maxPlainCount = 0xFFFF

// tooLong reports whether a message needs an extended header.
func tooLong(size int64, count uint32) bool { return size > 0xFFF8 || count >= maxPlainCount }

// appendSearchReply appends a reply as a server of this minor version makes it.
func (ioc *IOC) appendSearchReply(b []byte, cid uint32) []byte {
	port, address := ioc.tcpPort, ca.AddressOfSender
	if ioc.opts.Minor < minPort {
		port = 0
	}
	if ioc.opts.Minor < minAddress {
		address = 0 // clients must not read it
	}
	b = ca.AppendSearchReply(b, cid, port, address)
	binary.BigEndian.PutUint16(b[len(b)-searchReplySize+ca.HeaderSize:], ioc.opts.Minor)
	return b
}

// appendFor is appendMessage for a request of count elements. To servers
// before CA 4.13 count 0 is no question: they answer it with 0 elements and the
// room of one.
func (s *snapshot) appendFor(b []byte, h ca.Header, d ca.DBR, count uint32, minor uint16) ([]byte, error) {
	if count != 0 || minor >= minDynamic {
		return s.appendMessage(b, h, d, s.elementsFor(d, count))
	}
	start := len(b)
	b, err := s.appendMessage(b, h, d, 1)
	if err == nil {
		binary.BigEndian.PutUint16(b[start+6:], 0)
	}
	return b, err
}

// appendDatagramVersion begins a datagram of replies.
func (ioc *IOC) appendDatagramVersion(b []byte, sequence uint32) []byte {
	start := len(b)
	b = ca.AppendDatagramVersion(b, sequence)
	binary.BigEndian.PutUint16(b[start+6:], ioc.opts.Minor)
	return b
}

// appendBeacon appends RSRV_IS_UP.
func (ioc *IOC) appendBeacon(b []byte, counter uint32) []byte {
	if ioc.opts.Minor < minBeaconCount {
		counter = 0
	}
	h := ca.Header{Command: ca.CmdBeacon, DataType: ioc.opts.Minor, Count: uint32(ioc.tcpPort), P1: counter}
	return ca.AppendHeader(b, h)
}
