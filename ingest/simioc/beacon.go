package simioc

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Intervals between beacons: short ones tell of a start, each twice as long as
// the one before.
const (
	firstBeacon = 20 * time.Millisecond
	lastBeacon  = 15 * time.Second
	maxBeacons  = 16 // destinations
)

// resolveBeacons reads Options.Beacons.
func resolveBeacons(list []string) ([]netip.AddrPort, error) {
	if len(list) > maxBeacons {
		return nil, fmt.Errorf("%d beacon addresses, %d are allowed", len(list), maxBeacons)
	}
	var to []netip.AddrPort
	for _, s := range list {
		addr, err := net.ResolveUDPAddr("udp4", s)
		if err != nil {
			return nil, fmt.Errorf("beacon address %q: %w", s, err)
		}
		a := addr.AddrPort()
		if !a.Addr().IsValid() || a.Port() == 0 {
			return nil, fmt.Errorf("beacon address %q: a host and a port are needed", s)
		}
		to = append(to, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	return to, nil
}

// RestartBeacons begins the fast sequence of beacons again, as an IOC does
// after a reboot.
func (ioc *IOC) RestartBeacons() {
	select {
	case ioc.beacons <- struct{}{}:
	default:
	}
}

// sendBeacons sends beacons until ctx ends. The number 0 comes twice, as from
// base.
func (ioc *IOC) sendBeacons(ctx context.Context) {
	if len(ioc.beaconTo) == 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	number, wait := uint32(0), firstBeacon
	for sent := 0; ; sent++ {
		select {
		case <-ctx.Done():
			return
		case <-ioc.beacons:
			number, wait, sent = 0, firstBeacon, 0
		case <-timer.C:
		}
		ioc.sendBeacon(number)
		if sent > 0 {
			number++
		}
		timer.Reset(wait)
		if wait *= 2; wait > lastBeacon {
			wait = lastBeacon
		}
	}
}

func (ioc *IOC) sendBeacon(number uint32) {
	if ioc.traffic.silent() {
		return
	}
	datagram := ioc.appendBeacon(nil, number)
	for _, to := range ioc.beaconTo {
		if _, err := ioc.udp.WriteToUDPAddrPort(datagram, to); err != nil {
			ioc.log.Debug("beacon not sent", "to", to, "err", err)
		}
	}
}
