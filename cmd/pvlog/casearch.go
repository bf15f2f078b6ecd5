package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
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
	if len(places) == 0 {
		return errNoPlace
	}
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

// errNoPlace says that the settings leave nobody to ask.
var errNoPlace = errors.New("nobody to ask: EPICS_CA_AUTO_ADDR_LIST is NO, and EPICS_CA_ADDR_LIST and EPICS_CA_NAME_SERVERS are empty")

// nameSearch is a search and what it found.
type nameSearch struct {
	// set by newNameSearch, read-only
	names []string // by cid
	start time.Time
	port  int // of servers that do not tell theirs

	// owned by run's goroutine
	schedule *ca.SearchSchedule
	trace    io.Writer   // nil says nothing
	err      error       // of printing
	asked    []time.Time // last, by cid
	sent     []int       // how often, by cid
	answers  [][]searchAnswer
	used     int                       // places
	broken   map[netip.AddrPort]string // places that cannot be reached, with the reason
}

func newNameSearch(names []string, now time.Time, port int) *nameSearch {
	s := &nameSearch{
		names: names, start: now, port: port,
		schedule: ca.NewSearchSchedule(ca.SearchOptions{}),
		asked:    make([]time.Time, len(names)), sent: make([]int, len(names)), answers: make([][]searchAnswer, len(names)),
		broken: map[netip.AddrPort]string{},
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
	err  error // the place cannot be reached
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
	s.say(s.start, "search from UDP port %d, for %s, at:", socket.LocalAddr().(*net.UDPAddr).Port, strings.Join(s.names, " "))
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
			if !p.broadcast {
				wg.Go(func() { probe(ctx, p.addr, arrivals) })
			}
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

// send lets a datagram go to all places.
func (s *nameSearch) send(now time.Time, socket *net.UDPConn, udp []netip.AddrPort, tcp []chan []byte, datagram []byte) {
	var names []string
	for _, cid := range searchedIn(datagram) {
		if int(cid) < len(s.names) {
			names = append(names, s.names[cid])
			s.sent[cid]++
			s.asked[cid] = now
		}
	}
	s.say(now, "asked for %s (%d bytes)", strings.Join(names, " "), len(datagram))
	for _, to := range udp {
		if _, err := socket.WriteToUDPAddrPort(datagram, to); err != nil {
			s.unreachable(now, to, err)
		}
	}
	for _, out := range tcp {
		select {
		case out <- datagram:
		default: // it does not read: it is asked again
		}
	}
}

// unreachable notes a place that does not work, once for each reason.
func (s *nameSearch) unreachable(now time.Time, at netip.AddrPort, err error) {
	reason := systemError(err).Error()
	if s.broken[at] != reason {
		s.broken[at] = reason
		s.say(now, "%v cannot be reached: %s", at, reason)
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
