package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"pvlog/ingest/ca"
)

// nameServer is a search over one circuit.
type nameServer struct {
	addr     netip.AddrPort
	out      <-chan []byte // datagrams to send
	arrivals chan<- arrival
}

func (s nameServer) note(ctx context.Context, format string, args ...any) {
	deliver(ctx, s.arrivals, arrival{at: time.Now(), from: s.addr, note: "name server: " + fmt.Sprintf(format, args...)})
}

// ask searches until ctx or the circuit ends.
func (s nameServer) ask(ctx context.Context) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp4", s.addr.String())
	if err != nil {
		if ctx.Err() == nil {
			deliver(ctx, s.arrivals, arrival{at: time.Now(), from: s.addr, err: err})
		}
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	s.note(ctx, "connected")
	var wg sync.WaitGroup
	wg.Go(func() { s.send(ctx, conn) })
	if err := s.receive(ctx, conn); err != nil && ctx.Err() == nil {
		s.note(ctx, "%v", err)
	}
	cancel()
	wg.Wait()
	_ = conn.Close()
}

func (s nameServer) send(ctx context.Context, conn net.Conn) {
	b := ca.AppendVersion(nil)
	for {
		if _, err := conn.Write(b); err != nil {
			if ctx.Err() == nil {
				s.note(ctx, "%v", err)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case b = <-s.out:
		}
	}
}

// receive hands on the answers.
func (s nameServer) receive(ctx context.Context, conn net.Conn) error {
	var stream ca.Splitter
	minor := make([]byte, 8) // as a datagram's answer carries it: a circuit's own told it before
	binary.BigEndian.PutUint16(minor, ca.MinorVersion)
	for {
		n, err := conn.Read(stream.Buffer())
		at := time.Now()
		stream.Filled(n)
		for {
			h, payload, tooLarge, ok, streamErr := stream.Next()
			if streamErr != nil {
				return streamErr
			}
			if !ok {
				break
			}
			if h.Command == ca.CmdVersion && h.Count > 0 {
				binary.BigEndian.PutUint16(minor, uint16(min(h.Count, ca.MinorVersion)))
			}
			if h.Command != ca.CmdSearch || tooLarge {
				continue
			}
			if len(payload) < 2 {
				payload = minor
			}
			if !deliver(ctx, s.arrivals, arrival{at: at, from: s.addr, data: ca.AppendMessage(nil, h, payload)}) {
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}
