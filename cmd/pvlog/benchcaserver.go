package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// benchCaServeCmd is the child of connect and soak: simulated IOCs that stop
// and start as lines of the standard input say.
type benchCaServeCmd struct {
	Listen  string  `default:"127.0.0.1:0"`
	IOCs    int     `name:"iocs" default:"1"`
	Records int     `default:"0"`
	Rate    float64 `default:"0.001"`
	// Elements above 1 make waveforms, whose first element counts.
	Elements int           `default:"1"`
	Skew     time.Duration // of all stamps
	profiled
}

// Run serves until the input ends. Lines are "stop FROM TO" and
// "start FROM TO PORT", of IOCs counted from 0, TO not included, with beacons
// sent to PORT on this host; "skew SPAN" changes the clock of all records, and
// "stats" is answered with the updates that were replaced by newer ones and the
// processings that were left out.
func (c *benchCaServeCmd) Run(ctx context.Context, log *slog.Logger) error {
	end, err := c.begin()
	if err != nil {
		return err
	}
	defer func() { _ = end() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := newFleet(c.IOCs, c.Listen, "", nil, c.records(), quiet(log))
	if err != nil {
		return err
	}
	if err := f.listen(); err != nil {
		return err
	}
	for i := range f.iocs {
		f.start(ctx, i)
	}
	fmt.Println(strings.Join(f.addrList(), " "))
	var beacons sync.WaitGroup
	defer beacons.Wait()
	defer cancel()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(f.answer(ctx, lines.Text(), &beacons))
	}
	for i := range f.iocs {
		f.stop(i)
	}
	return nil
}

// records are the load: doubles, or waveforms whose first element counts.
func (c *benchCaServeCmd) records() []simioc.Record {
	records := simioc.Load(c.Records, c.Rate)
	for i := range records {
		records[i].Clock = simioc.Clock{Skew: c.Skew}
		if c.Elements > 1 {
			records[i] = simioc.Record{Name: records[i].Name, Type: ca.DBRDouble, Count: c.Elements, Rate: c.Rate, Clock: records[i].Clock,
				Generate: func(n uint64, _ time.Time) any {
					values := make([]float64, c.Elements)
					values[0] = float64(n)
					return values
				}}
		}
	}
	return records
}

// answer does what a line asks for and says what became of it.
func (f *fleet) answer(ctx context.Context, line string, beacons *sync.WaitGroup) string {
	var err error
	if line == "stats" {
		s := f.Stats()
		return fmt.Sprintf("%d %d", s.Overwritten, s.Skipped)
	} else if span, ok := strings.CutPrefix(line, "skew "); ok {
		err = f.skew(span)
	} else {
		err = f.obey(ctx, line, beacons)
	}
	if err != nil {
		return err.Error()
	}
	return "done"
}

// skew sets the clock of all records of all IOCs.
func (f *fleet) skew(text string) error {
	span, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	for _, ioc := range f.iocs {
		for _, name := range ioc.Names() {
			if err := ioc.SetClock(name, simioc.Clock{Skew: span}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fleet) obey(ctx context.Context, line string, beacons *sync.WaitGroup) error {
	var verb string
	var from, to, port int
	if _, err := fmt.Sscan(line+" 0", &verb, &from, &to, &port); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		if verb == "stop" {
			f.stop(i)
			continue
		}
		f.iocs[i] = simioc.New(f.options[i])
		if err := f.iocs[i].Listen(); err != nil {
			return err
		}
		life := f.start(ctx, i)
		if addr, err := netip.ParseAddrPort(f.iocs[i].TCPAddr()); err == nil && port > 0 {
			beacons.Go(func() { sendBeacons(life, addr, port) })
		}
	}
	return nil
}

// start runs an IOC; the context is that of its life.
func (f *fleet) start(ctx context.Context, i int) context.Context {
	ctx, f.cancels[i] = context.WithCancel(ctx)
	done := make(chan error, 1)
	f.dones[i] = done
	go func() {
		defer close(done) // it may be stopped twice
		done <- f.iocs[i].Run(ctx)
	}()
	return ctx
}

// stop ends an IOC, if it runs, and waits for it.
func (f *fleet) stop(i int) {
	f.cancels[i]()
	<-f.dones[i]
}

// sendBeacons sends what an IOC sends after its start: at once, then after 20
// ms, doubled each time up to 15 s.
func sendBeacons(ctx context.Context, server netip.AddrPort, port int) {
	local := server.Addr()
	if local.IsUnspecified() {
		local = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)), to)
	if err != nil {
		return
	}
	defer conn.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for counter, gap := uint32(0), 20*time.Millisecond; ; counter, gap = counter+1, min(2*gap, 15*time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		_, _ = conn.Write(ca.AppendBeacon(nil, server.Port(), counter, 0))
		timer.Reset(gap)
	}
}
