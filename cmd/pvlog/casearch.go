package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"pvlog/ingest/ca"
)

type caSearchCmd struct {
	caWait
	Trace bool     `help:"Tell what is sent where, and what comes back, as it happens."`
	PVs   []string `arg:"" name:"pv" help:"PV names."`
}

// Run searches until the time is up: a second server that has a PV may be slower.
func (c *caSearchCmd) Run(ctx context.Context, log *slog.Logger) error {
	wait, err := c.limit()
	if err != nil {
		return err
	}
	log = caLogger(ctx, log)
	options := caOptions(log)
	places := searchPlaces(ctx, options) // a slow name service takes none of the time to search
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s := newNameSearch(c.PVs, time.Now(), options.ServerPort)
	if c.Trace {
		s.trace = os.Stdout
	}
	if err := s.run(ctx, places); err != nil {
		return err
	}
	silent, text := s.summary(time.Now())
	if _, err := io.WriteString(os.Stdout, text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return caFailures(silent, len(c.PVs), "found")
}

// nameSearch is a search and what it found.
type nameSearch struct {
	// set by newNameSearch, read-only
	names []string // by cid
	start time.Time
	port  int // of servers that do not tell theirs

	// owned by run's goroutine
	schedule *ca.SearchSchedule
	trace    io.Writer // nil says nothing
	err      error     // of printing
	sent     []int     // datagrams, by cid
	answers  [][]searchAnswer
	used     int // destinations
}

type searchAnswer struct {
	server netip.AddrPort
	minor  uint16
	after  time.Duration
}

func newNameSearch(names []string, now time.Time, port int) *nameSearch {
	s := &nameSearch{
		names: names, start: now, port: port,
		schedule: ca.NewSearchSchedule(ca.SearchOptions{}),
		sent:     make([]int, len(names)), answers: make([][]searchAnswer, len(names)),
	}
	return s
}

func (s *nameSearch) say(now time.Time, format string, args ...any) {
	if s.trace == nil || s.err != nil {
		return
	}
	_, s.err = fmt.Fprintf(s.trace, "%9.3f s  %s\n", now.Sub(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// arrival is what came from a destination.
type arrival struct {
	at   time.Time
	from netip.AddrPort
	data []byte // whole messages
	note string
}

// run searches until ctx ends.
func (s *nameSearch) run(ctx context.Context, places []place) error {
	socket, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return fmt.Errorf("open the search socket: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	arrivals := make(chan arrival, 64)
	wg.Go(func() { receiveDatagrams(ctx, socket, arrivals) })
	var udp []netip.AddrPort
	var tcp []chan []byte
	for _, p := range places {
		s.say(s.start, "%v", p)
		switch {
		case p.err != nil:
			continue
		case p.tcp:
			out := make(chan []byte, 16)
			tcp = append(tcp, out)
			wg.Go(func() { nameServer{p.addr, out, arrivals}.ask(ctx) })
		default:
			udp = append(udp, p.addr)
		}
		s.used++
	}
	for cid, name := range s.names {
		if err := s.schedule.Add(s.start, uint32(cid), name, 0, 0); err != nil {
			s.say(s.start, "%s: never searched: %v", name, err)
		}
	}
	s.loop(ctx, socket, udp, tcp, arrivals)
	cancel()
	_ = socket.Close()
	wg.Wait()
	return s.err
}

func (s *nameSearch) loop(ctx context.Context, socket *net.UDPConn, udp []netip.AddrPort, tcp []chan []byte, arrivals <-chan arrival) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.err == nil {
		select {
		case <-ctx.Done():
			return
		case a := <-arrivals:
			s.take(a)
		case now := <-timer.C:
			for {
				datagram, ok := s.schedule.Next(now, nil)
				if !ok {
					break
				}
				s.send(now, socket, udp, tcp, datagram)
			}
			timer.Reset(max(s.schedule.Wait(now, time.Second), time.Millisecond))
		}
	}
}

// send lets a datagram go to all destinations.
func (s *nameSearch) send(now time.Time, socket *net.UDPConn, udp []netip.AddrPort, tcp []chan []byte, datagram []byte) {
	var names []string
	for _, cid := range searchedIn(datagram) {
		if int(cid) < len(s.names) {
			names = append(names, s.names[cid])
			s.sent[cid]++
		}
	}
	s.say(now, "datagram of %d bytes to %d destinations, %d names: %s", len(datagram), s.used, len(names), strings.Join(names, " "))
	for _, to := range udp {
		if _, err := socket.WriteToUDPAddrPort(datagram, to); err != nil {
			s.say(now, "not sent to %v: %v", to, err)
		}
	}
	for _, out := range tcp {
		select {
		case out <- datagram:
		default: // it does not read: it is asked again
		}
	}
}

// searchedIn gives the ids of the names that a datagram searches.
func searchedIn(datagram []byte) (cids []uint32) {
	for len(datagram) > 0 {
		h, _, n, err := ca.ParseMessage(datagram)
		if err != nil || n == 0 {
			break
		}
		if h.Command == ca.CmdSearch {
			cids = append(cids, h.P1)
		}
		datagram = datagram[n:]
	}
	return cids
}

// take notes the answers in what arrived.
func (s *nameSearch) take(a arrival) {
	if a.note != "" {
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
	s.answers[h.P2] = append(s.answers[h.P2], found)
	s.say(a.at, "%v: has %s, server %v, protocol 4.%d", a.from, s.names[h.P2], found.server, found.minor)
}

// Minor versions since which replies name the server's port and address.
const (
	minorReplyPort    = 5
	minorReplyAddress = 8
)

// reply reads one answer.
func (s *nameSearch) reply(a arrival, h ca.Header, payload []byte) searchAnswer {
	r := searchAnswer{after: a.at.Sub(s.start)}
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
				fmt.Fprintf(&b, "%-30s %v after %.3f s, protocol 4.%d", name, a.server, a.after.Seconds(), a.minor)
			} else if !slices.Contains(servers, a.server) {
				fmt.Fprintf(&b, "; also %v after %.3f s: two servers have it, the first is taken", a.server, a.after.Seconds())
			}
			servers = append(servers, a.server)
		}
		if len(servers) == 0 {
			silent++
			fmt.Fprintf(&b, "%-30s silent for %.3f s: %d datagrams to %d destinations, no answer", name, now.Sub(s.start).Seconds(), s.sent[cid], s.used)
		}
		b.WriteByte('\n')
	}
	return silent, b.String()
}

// receiveDatagrams hands on what comes until the socket closes.
func receiveDatagrams(ctx context.Context, socket *net.UDPConn, arrivals chan<- arrival) {
	for {
		b := make([]byte, 64<<10)
		n, from, err := socket.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		a := arrival{at: time.Now(), from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), data: b[:n]}
		if err != nil {
			a.note = err.Error()
		}
		if !deliver(ctx, arrivals, a) {
			return
		}
	}
}

func deliver(ctx context.Context, arrivals chan<- arrival, a arrival) bool {
	select {
	case arrivals <- a:
		return true
	case <-ctx.Done():
		return false
	}
}
