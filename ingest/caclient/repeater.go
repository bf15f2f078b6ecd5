package caclient

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
)

// maxRepeaterClients bounds the clients of a repeater: each takes a socket.
const maxRepeaterClients = 256

// repeater sends the beacons that reach this host on to all clients on it,
// since only one process can own the port that they come to. Other programs'
// clients are served as by EPICS' caRepeater. It lives as long as its client.
type repeater struct {
	// owned by the goroutine that starts it
	socket *net.UDPConn
	wg     sync.WaitGroup

	// set by start, owned by run's goroutine
	log      *slog.Logger
	repeated prometheus.Counter
	clients  map[netip.AddrPort]*net.UDPConn // connected, so that a client's end is told
}

// start runs the repeater unless it runs or the port is not free: then there
// is another one.
func (r *repeater) start(ctx context.Context, port int, log *slog.Logger, repeated prometheus.Counter) {
	if r.socket != nil {
		return
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{Port: port})
	if err != nil {
		return
	}
	_ = socket.SetReadBuffer(1 << 20)
	r.socket, r.log, r.repeated, r.clients = socket, log, repeated, map[netip.AddrPort]*net.UDPConn{}
	log.Info("beacon repeater runs", "port", port)
	r.wg.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
		defer stop()
		r.run(ctx)
	})
}

// wait ends with run, whose context has ended.
func (r *repeater) wait() { r.wg.Wait() }

func (r *repeater) run(ctx context.Context) {
	defer func() {
		_ = r.socket.Close()
		for _, conn := range r.clients {
			_ = conn.Close()
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.socket.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select { // whatever it is must not become a busy loop
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if datagram := buf[:n]; isRegistration(datagram) {
			r.register(from)
		} else {
			fillAddress(datagram, from.Addr())
			r.forward(datagram, from)
		}
	}
}

// isRegistration: an empty datagram, as libca sends, or REPEATER_REGISTER.
func isRegistration(datagram []byte) bool {
	return len(datagram) == 0 ||
		len(datagram) >= ca.HeaderSize && binary.BigEndian.Uint16(datagram) == ca.CmdRepeaterRegister
}

// fillAddress writes the sender into a beacon that does not name its server:
// clients see the repeater as the sender.
func fillAddress(datagram []byte, from netip.Addr) {
	if len(datagram) < ca.HeaderSize || binary.BigEndian.Uint16(datagram) != ca.CmdBeacon {
		return
	}
	if binary.BigEndian.Uint32(datagram[12:]) == 0 {
		ip := from.As4()
		copy(datagram[12:], ip[:])
	}
}

// register takes a client of this host, and confirms. The others get a message
// that means nothing: who has gone is noticed by it.
func (r *repeater) register(client netip.AddrPort) {
	if !isLocal(client.Addr()) {
		return
	}
	conn, ok := r.clients[client]
	if !ok {
		if len(r.clients) >= maxRepeaterClients {
			r.log.Warn("beacon repeater has no room for a client", "addr", client, "clients", len(r.clients))
			return
		}
		var err error
		conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(client))
		if err != nil {
			r.log.Warn("beacon repeater cannot reach a client", "addr", client, "err", err)
			return
		}
		r.clients[client] = conn
	}
	ip := client.Addr().As4()
	r.send(client, conn, ca.AppendRepeaterConfirm(nil, binary.BigEndian.Uint32(ip[:])))
	r.forward(ca.AppendHeader(nil, ca.Header{Command: ca.CmdVersion}), client)
}

// forward sends a datagram to all clients but its sender.
func (r *repeater) forward(datagram []byte, from netip.AddrPort) {
	for client, conn := range r.clients {
		if client != from {
			r.send(client, conn, datagram)
		}
	}
	r.repeated.Inc()
}

// send drops a client that has gone: nobody listens, and its port is free.
func (r *repeater) send(client netip.AddrPort, conn *net.UDPConn, datagram []byte) {
	_, err := conn.Write(datagram)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	test, err := net.ListenUDP("udp4", &net.UDPAddr{Port: int(client.Port())})
	if err != nil {
		_, _ = conn.Write(datagram) // the refusal was of an earlier one
		return
	}
	_ = test.Close()
	_ = conn.Close()
	delete(r.clients, client)
}
