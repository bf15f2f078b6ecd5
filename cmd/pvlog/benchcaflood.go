package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// benchCaFloodCmd is the child of updates: a server that has every channel and
// sends updates of all of them as fast as its client reads. It makes them
// once: what it costs must not hide what reading costs.
type benchCaFloodCmd struct {
	Type     string `default:"double"`
	Elements int    `default:"1"`
	Channels int    `default:"100"`
}

// benchTypes are the native types by name.
var benchTypes = map[string]ca.DBR{
	"string": ca.DBRString, "short": ca.DBRShort, "float": ca.DBRFloat, "enum": ca.DBREnum,
	"char": ca.DBRChar, "long": ca.DBRLong, "double": ca.DBRDouble,
}

// floodChunk is about how many bytes are written at once.
const floodChunk = 256 << 10

// Run serves until the input ends.
func (c *benchCaFloodCmd) Run(ctx context.Context, _ *slog.Logger) error {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		return err
	}
	defer tcp.Close()
	go floodSearches(udp)
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := c.flood(conn); err != nil && !errors.Is(err, net.ErrClosed) {
					fmt.Fprintln(os.Stderr, "flood:", err)
				}
			}()
		}
	}()
	fmt.Println(udp.LocalAddr())
	go func() { _, _ = os.Stdin.Read(make([]byte, 1)); udp.Close(); os.Exit(0) }()
	<-ctx.Done()
	return nil
}

// floodSearches answers for every name.
func floodSearches(udp *net.UDPConn) {
	in, out := make([]byte, 64<<10), []byte(nil)
	for {
		n, from, err := udp.ReadFromUDPAddrPort(in)
		if err != nil {
			return
		}
		out = ca.AppendDatagramVersion(out[:0], 0)
		for rest := in[:n]; len(rest) > 0; {
			h, _, n, err := ca.ParseMessage(rest)
			if err != nil || n == 0 {
				break
			}
			if rest = rest[n:]; h.Command == ca.CmdSearch {
				out = ca.AppendSearchReply(out, h.P1, uint16(udp.LocalAddr().(*net.UDPAddr).Port), ca.AddressOfSender)
			}
		}
		_, _ = udp.WriteToUDPAddrPort(out, from)
	}
}

// flood answers claims until all channels have their monitors, then sends
// updates until the client has gone.
func (c *benchCaFloodCmd) flood(conn net.Conn) error {
	native := benchTypes[c.Type]
	var stream ca.Splitter
	out := ca.AppendVersion(nil)
	var subscriptions []uint32
	for len(subscriptions) < c.Channels {
		err := readMessages(conn, &stream, func(h ca.Header) {
			switch h.Command {
			case ca.CmdCreateChan:
				out = ca.AppendHeader(out, ca.Header{Command: ca.CmdAccessRights, P1: h.P1, P2: ca.AccessRead | ca.AccessWrite})
				out = ca.AppendHeader(out, ca.Header{Command: ca.CmdCreateChan, DataType: uint16(native), Count: uint32(c.Elements), P1: h.P1, P2: h.P1})
			case ca.CmdEventAdd:
				subscriptions = append(subscriptions, h.P2)
			}
		})
		if errors.Is(err, ca.ErrMalformed) {
			return err
		}
		if err != nil {
			return nil // gone
		}
		if _, err := conn.Write(out); err != nil {
			return nil
		}
		out = out[:0]
	}
	return c.send(conn, subscriptions)
}

func (c *benchCaFloodCmd) send(conn net.Conn, subscriptions []uint32) error {
	d := benchTypes[c.Type].Time()
	payload, err := ca.AppendTime(nil, d, 0, 0, schema.TimeOf(time.Now()), floodValues(benchTypes[c.Type], c.Elements))
	if err != nil {
		return err
	}
	var chunk []byte
	for len(chunk) < floodChunk {
		for _, id := range subscriptions {
			chunk = ca.AppendMessage(chunk, ca.Header{Command: ca.CmdEventAdd, DataType: uint16(d), Count: uint32(c.Elements), P1: ca.StatusNormal, P2: id}, payload)
		}
	}
	for {
		if _, err := conn.Write(chunk); err != nil {
			return nil // gone
		}
	}
}

func floodValues(native ca.DBR, n int) any {
	switch native {
	case ca.DBRString:
		values := make([]string, n)
		for i := range values {
			values[i] = "beam on target"
		}
		return values
	case ca.DBRShort:
		return filled(n, int16(1234))
	case ca.DBRFloat:
		return filled(n, float32(1.25))
	case ca.DBREnum:
		return filled(n, uint16(3))
	case ca.DBRChar:
		return filled(n, byte('x'))
	case ca.DBRLong:
		return filled(n, int32(123456))
	}
	return filled(n, 3.14159)
}

func filled[T any](n int, v T) []T {
	values := make([]T, n)
	for i := range values {
		values[i] = v
	}
	return values
}
