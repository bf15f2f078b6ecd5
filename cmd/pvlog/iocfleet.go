package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"pvlog/ingest/simioc"
)

// maxIOCs is the most IOCs of a fleet.
const maxIOCs = 5000

// fleet is many simulated IOCs of one process that share the load records
// evenly, in blocks of neighbouring names, as IOCs of a site do.
type fleet struct {
	// set by newFleet, read-only
	options []simioc.Options // by IOC

	// guarded by mu
	mu      sync.Mutex
	iocs    []*simioc.IOC
	cancels []context.CancelFunc // of those that run
	dones   []chan error
}

// newFleet prepares n IOCs at listen and the addresses that follow it. The
// first one has the other records too.
func newFleet(n int, listen, prefix string, first, load []simioc.Record, log *slog.Logger) (*fleet, error) {
	addrs, err := fleetAddresses(listen, n)
	if err != nil {
		return nil, err
	}
	f := &fleet{iocs: make([]*simioc.IOC, n), cancels: make([]context.CancelFunc, n), dones: make([]chan error, n)}
	for i, addr := range addrs {
		records := load[i*len(load)/n : (i+1)*len(load)/n]
		if i == 0 {
			records = append(first, records...)
		}
		f.options = append(f.options, simioc.Options{Listen: addr, Prefix: prefix, Records: records, Logger: log})
		f.iocs[i] = simioc.New(f.options[i])
		if err := f.iocs[i].Err(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// fleetAddresses gives n addresses from listen on. Linux answers on all of
// 127.0.0.0/8; IOCs on 0.0.0.0 share the search port, and broadcasts reach all.
func fleetAddresses(listen string, n int) ([]string, error) {
	if n < 1 || n > maxIOCs {
		return nil, fmt.Errorf("--iocs %d: 1 to %d are possible", n, maxIOCs)
	}
	if n == 1 {
		return []string{listen}, nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %q: %w", listen, err)
	}
	ip, err := netip.ParseAddr(host)
	shared := err == nil && ip == netip.IPv4Unspecified()
	if err != nil || !ip.Is4() || !ip.IsLoopback() && !shared {
		return nil, fmt.Errorf("--listen %q: several IOCs need addresses of 127.0.0.0/8, or 0.0.0.0 to share its search port", listen)
	}
	if shared && port == "0" {
		free, err := freeUDPPort()
		if err != nil {
			return nil, err
		}
		port = strconv.Itoa(free)
	}
	addrs := make([]string, n)
	for i := range addrs {
		if addrs[i] = net.JoinHostPort(ip.String(), port); !shared {
			ip = ip.Next()
		}
	}
	if !shared && !ip.IsLoopback() {
		return nil, fmt.Errorf("--listen %q: there are no %d addresses from there on in 127.0.0.0/8", listen, n)
	}
	return addrs, nil
}

// listen binds all sockets, so that the addresses are known and stay.
func (f *fleet) listen() error {
	for i, ioc := range f.iocs {
		err := ioc.Listen()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return fmt.Errorf("IOC %d of %d: %w (ulimit -n: each IOC takes two, and one for each of its clients)", i+1, len(f.iocs), err)
		} else if err != nil {
			return err
		}
		f.options[i].Listen = ioc.Addr()
	}
	return nil
}

// addrList is what a client's EPICS_CA_ADDR_LIST needs to reach all.
func (f *fleet) addrList() []string {
	first := netip.MustParseAddrPort(f.iocs[0].Addr())
	if first.Addr().IsUnspecified() {
		return []string{fmt.Sprintf("127.255.255.255:%d", first.Port())}
	}
	addrs := make([]string, len(f.iocs))
	for i, ioc := range f.iocs {
		addrs[i] = ioc.Addr()
	}
	return addrs
}

// run serves until ctx ends.
func (f *fleet) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, ioc := range f.iocs {
		group.Go(func() error { return ioc.Run(ctx) })
	}
	return group.Wait()
}

// runFleet is `pvlog ioc` with several IOCs.
func (c *iocCmd) runFleet(ctx context.Context, log *slog.Logger) error {
	f, err := newFleet(c.IOCs, c.Listen, c.Prefix, simioc.Demo(), simioc.Load(c.Records, c.Rate), quiet(log))
	if err != nil {
		return err
	}
	if c.List {
		for _, ioc := range f.iocs {
			if err := printNames(ioc.Names()); err != nil {
				return err
			}
		}
		return nil
	}
	if err := f.listen(); err != nil {
		return err
	}
	log.Info("IOCs listen", "iocs", len(f.iocs), "first", f.iocs[0].Addr(), "last", f.iocs[len(f.iocs)-1].Addr(), "records of a load", c.Records)
	fmt.Printf("EPICS_CA_ADDR_LIST=%q EPICS_CA_AUTO_ADDR_LIST=NO\n", strings.Join(f.addrList(), " "))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.run(ctx) })
	group.Go(func() error {
		reportLosses(ctx, f, log)
		return nil
	})
	return group.Wait()
}

// Stats are those of all IOCs together.
func (f *fleet) Stats() simioc.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	var sum simioc.Stats
	for _, ioc := range f.iocs {
		s := ioc.Stats()
		sum.Clients += s.Clients
		sum.Updates += s.Updates
		sum.Overwritten += s.Overwritten
		sum.Skipped += s.Skipped
	}
	return sum
}
