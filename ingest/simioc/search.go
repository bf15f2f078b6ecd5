package simioc

import (
	"errors"
	"net"
	"net/netip"

	"pvlog/ingest/ca"
)

// maxDatagram is the size that every client can take (libca's buffer).
const maxDatagram = 1024

// searchLoop answers name searches until the socket closes.
func (ioc *IOC) searchLoop(conn *net.UDPConn) {
	in := make([]byte, 64<<10)
	var out []byte
	for {
		n, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error about some earlier reply
		}
		ioc.answerSearch(in[:n], &out, func(datagram []byte) { ioc.sendReply(conn, datagram, from) })
	}
}

func (ioc *IOC) sendReply(conn *net.UDPConn, datagram []byte, to netip.AddrPort) {
	if _, err := conn.WriteToUDPAddrPort(datagram, to); err != nil {
		ioc.log.Debug("search reply not sent", "client", to, "err", err)
	}
}

// answerSearch answers the searches of one datagram with as few datagrams as
// hold the replies. Unknown names and clients below minor 4 get no answer, and
// a malformed message ends the datagram. buf is reused between calls.
func (ioc *IOC) answerSearch(in []byte, buf *[]byte, send func(datagram []byte)) {
	if ioc.traffic.silent() {
		return
	}
	var minor, sequence uint32
	out := (*buf)[:0]
	start := 0 // length of the reply's VERSION
	for len(in) > 0 {
		h, payload, n, err := ca.ParseMessage(in)
		if err != nil || n == 0 {
			break
		}
		in = in[n:]
		switch {
		case h.Command == ca.CmdVersion && len(out) == 0:
			minor, sequence = min(h.Count, uint32(ioc.opts.Minor)), h.P1
		case h.Command != ca.CmdSearch || min(minor, h.Count) < minMinor || ioc.find(nameOf(payload)) == nil:
			continue
		default:
			if len(out) == 0 && minor >= minSequence {
				out = ioc.appendDatagramVersion(out, sequence)
				start = len(out)
			}
			out = ioc.appendSearchReply(out, h.P2)
			if len(out)+searchReplySize > maxDatagram {
				send(out)
				out = out[:start]
			}
		}
	}
	if len(out) > start {
		send(out)
	}
	*buf = out
}

// searchReplySize is one reply: a header and 8 bytes.
const searchReplySize = ca.HeaderSize + 8
