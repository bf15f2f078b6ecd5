package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pvlog/ingest/ca"
)

// searchAnswer is a server that has a PV.
type searchAnswer struct {
	server netip.AddrPort
	minor  uint16
	after  time.Duration // it was asked
}

func (a searchAnswer) String() string {
	return fmt.Sprintf("%v, protocol 4.%d, %.1f ms after the question", a.server, a.minor, float64(a.after)/float64(time.Millisecond))
}

// take notes the answers in what arrived.
func (s *nameSearch) take(a arrival) {
	switch {
	case a.err != nil && a.from.IsValid():
		s.unreachable(a.at, a.from, a.err)
	case a.err != nil:
		s.say(a.at, "receive: %v", systemError(a.err))
	case a.note != "":
		s.say(a.at, "%v: %s", a.from, a.note)
	}
	for rest := a.data; len(rest) > 0; {
		h, payload, n, err := ca.ParseMessage(rest)
		if err != nil || n == 0 {
			s.say(a.at, "%v: sent %d bytes that are no message", a.from, len(rest))
			return
		}
		if h.Command == ca.CmdSearch {
			s.answered(a, h, payload)
		}
		rest = rest[n:]
	}
}

func (s *nameSearch) answered(a arrival, h ca.Header, payload []byte) {
	if uint64(h.P2) >= uint64(len(s.names)) {
		s.say(a.at, "%v: answers what was not asked", a.from)
		return
	}
	found := s.reply(a, h, payload)
	s.schedule.Answered(h.P2)
	also := ""
	switch first := s.answers[h.P2]; {
	case slices.ContainsFunc(first, func(b searchAnswer) bool { return b.server == found.server }):
		also = " again"
	case len(first) > 0:
		also = ", too, but the first is taken"
	}
	s.answers[h.P2] = append(s.answers[h.P2], found)
	s.say(a.at, "%v has %s%s: server %v", a.from, s.names[h.P2], also, found)
}

// Minor versions since which replies name the server's port and address.
const (
	minorReplyPort    = 5
	minorReplyAddress = 8
)

// reply reads one answer.
func (s *nameSearch) reply(a arrival, h ca.Header, payload []byte) searchAnswer {
	r := searchAnswer{after: a.at.Sub(s.asked[h.P2])}
	if len(payload) >= 2 {
		r.minor = binary.BigEndian.Uint16(payload)
	}
	ip, port := a.from.Addr(), h.DataType
	if r.minor < minorReplyPort {
		port = uint16(s.port)
	}
	if r.minor >= minorReplyAddress && h.P1 != ca.AddressOfSender && h.P1 != 0 {
		ip = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, h.P1)))
	}
	r.server = netip.AddrPortFrom(ip, port)
	return r
}

// summary tells of each PV who has it, and gives the number of those that
// nobody has.
func (s *nameSearch) summary(now time.Time) (silent int, text string) {
	var b strings.Builder
	for cid, name := range s.names {
		var servers []netip.AddrPort
		for _, a := range s.answers[cid] {
			if len(servers) == 0 {
				fmt.Fprintf(&b, "%-30s %v", name, a)
			} else if !slices.Contains(servers, a.server) {
				fmt.Fprintf(&b, "; also %v", a)
			} else {
				continue
			}
			servers = append(servers, a.server)
		}
		if n := len(servers); n > 1 {
			fmt.Fprintf(&b, ": %d servers have it, the first is taken", n)
		}
		if len(servers) == 0 {
			silent++
			fmt.Fprintf(&b, "%-30s silent for %.3f s: asked %d times; places: %d", name, now.Sub(s.start).Seconds(), s.sent[cid], s.used)
			if n := len(s.broken); n > 0 {
				fmt.Fprintf(&b, ", not reached: %d", n)
			}
		}
		b.WriteByte('\n')
	}
	return silent, b.String()
}
