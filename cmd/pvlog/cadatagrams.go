package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"pvlog/ingest/ca"
)

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
			a.from, a.err = netip.AddrPort{}, err
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

// probe tells when nobody listens at an address of one host: the host says so
// to a connected socket only, and it is enough to ask it once.
func probe(ctx context.Context, addr netip.AddrPort, arrivals chan<- arrival) {
	socket, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return // a search that cannot be sent tells it
	}
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	defer socket.Close()
	if _, err = socket.Write(ca.AppendDatagramVersion(nil, 0)); err == nil {
		_, err = socket.Read(make([]byte, 1))
	}
	if err != nil && ctx.Err() == nil {
		deliver(ctx, arrivals, arrival{at: time.Now(), from: addr, err: err})
	}
}

// systemError is what the system said, without the addresses that are printed
// anyway.
func systemError(err error) error {
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		return call.Err
	}
	return err
}
