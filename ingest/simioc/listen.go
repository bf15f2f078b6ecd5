package simioc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// portTries is how often a port that is free for TCP may turn out to be taken
// for UDP.
const portTries = 50

// Listen binds the sockets, so that Addr is known. Clients connect from then
// on and are answered when Run runs.
func (ioc *IOC) Listen() error {
	if ioc.err != nil {
		return ioc.err
	}
	addr, err := net.ResolveUDPAddr("udp4", ioc.opts.Listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", ioc.opts.Listen, err)
	}
	asked := addr.AddrPort()
	if asked = netip.AddrPortFrom(asked.Addr().Unmap(), asked.Port()); !asked.Addr().IsValid() {
		asked = netip.AddrPortFrom(netip.IPv4Unspecified(), asked.Port())
	}
	if ioc.beaconTo, err = resolveBeacons(ioc.opts.Beacons); err != nil {
		return err
	}
	if err := ioc.bind(asked); err != nil {
		return fmt.Errorf("listen on %q: %w", ioc.opts.Listen, err)
	}
	ioc.tcpPort = portOf(ioc.tcp.Addr())
	ioc.log.Info("IOC listens", "search", ioc.Addr(), "tcp", ioc.tcp.Addr().String(), "records", len(ioc.Names()))
	if got := portOf(ioc.udp.LocalAddr()); asked.Port() != 0 && got != asked.Port() {
		ioc.log.Warn("the port is taken, another one was chosen", "asked", asked.String(), "search", ioc.Addr())
	}
	return nil
}

// bind takes the asked UDP port, with the same TCP port if it is free; when the
// UDP port is taken, any port that is free for both.
func (ioc *IOC) bind(asked netip.AddrPort) error {
	any := netip.AddrPortFrom(asked.Addr(), 0)
	if asked.Port() != 0 {
		udp, err := listenUDP(asked)
		if err == nil {
			if ioc.tcp, err = listenTCP(asked); errors.Is(err, syscall.EADDRINUSE) {
				ioc.tcp, err = listenTCP(any)
			}
			if err != nil {
				udp.Close()
				return err
			}
			ioc.udp = udp
			return nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return ioc.bindFree(any)
}

// bindFree takes a port that is free for UDP and TCP.
func (ioc *IOC) bindFree(any netip.AddrPort) error {
	var err error
	for range portTries {
		var tcp *net.TCPListener
		if tcp, err = listenTCP(any); err != nil {
			return err
		}
		if ioc.udp, err = listenUDP(netip.AddrPortFrom(any.Addr(), portOf(tcp.Addr()))); err == nil {
			ioc.tcp = tcp
			return nil
		}
		tcp.Close()
	}
	return fmt.Errorf("no port is free for UDP and TCP: %w", err)
}

func listenTCP(a netip.AddrPort) (*net.TCPListener, error) {
	return net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(a))
}

// listenUDP binds the search socket. On the wildcard address it shares the
// port with other servers, as all IOCs of a host do: broadcasts reach each of
// them. A single address is not shared, for a search would reach only one.
func listenUDP(a netip.AddrPort) (*net.UDPConn, error) {
	var config net.ListenConfig
	if a.Addr().IsUnspecified() {
		config.Control = func(_, _ string, c syscall.RawConn) error {
			var err error
			if e := c.Control(func(fd uintptr) { err = sharePort(fd) }); e != nil {
				return e
			}
			return err
		}
	}
	conn, err := config.ListenPacket(context.Background(), "udp4", a.String())
	if err != nil {
		return nil, err
	}
	udp := conn.(*net.UDPConn)
	// Thousands of names are searched in one burst; a smaller buffer is a
	// slower start, not a failure.
	_ = udp.SetReadBuffer(1 << 20)
	return udp, nil
}

func portOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	return 0
}

// Addr is the "host:port" to search at, which is what EPICS_CA_ADDR_LIST takes;
// "" before Listen.
func (ioc *IOC) Addr() string {
	if ioc.udp == nil {
		return ""
	}
	return ioc.udp.LocalAddr().String()
}

// TCPAddr is the "host:port" of circuits, mostly the same as Addr; "" before
// Listen.
func (ioc *IOC) TCPAddr() string {
	if ioc.tcp == nil {
		return ""
	}
	return ioc.tcp.Addr().String()
}
