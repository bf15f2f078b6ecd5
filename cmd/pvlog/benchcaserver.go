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
	profiled
}

// Run serves until the input ends. Lines are "stop FROM TO" and
// "start FROM TO PORT", of IOCs counted from 0, TO not included, with beacons
// sent to PORT on this host.
func (c *benchCaServeCmd) Run(ctx context.Context, log *slog.Logger) error {
	end, err := c.begin()
	if err != nil {
		return err
	}
	defer func() { _ = end() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := newFleet(c.IOCs, c.Listen, "", nil, simioc.Load(c.Records, c.Rate), quiet(log))
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
		if err := f.obey(ctx, lines.Text(), &beacons); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("done")
		}
	}
	for i := range f.iocs {
		f.stop(i)
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
	go func() { done <- f.iocs[i].Run(ctx) }()
	return ctx
}

// stop ends an IOC and waits for it.
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
