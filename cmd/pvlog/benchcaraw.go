package main

import (
	"context"
	"log/slog"
	"net"
	"time"

	"pvlog/ingest/ca"
)

// messageBytes is what one update takes on the wire.
func (c *benchCaUpdatesCmd) messageBytes() int64 {
	size := (benchTypes[c.Type].Time().Size(uint32(c.Elements)) + 7) &^ 7
	if size > 65528 || c.Elements > 65534 {
		return size + ca.ExtendedHeaderSize
	}
	return size + ca.HeaderSize
}

// rawBuffer is what a client's busy circuit reads into.
const rawBuffer = 64 << 10

// raw has the server send and reads its bytes without looking at them.
func (c *benchCaUpdatesCmd) raw(_ context.Context, addr string, _ *slog.Logger) (updatesRun, error) {
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		return updatesRun{}, err
	}
	defer conn.Close()
	if err := c.subscribe(conn); err != nil {
		return updatesRun{}, err
	}
	buf := make([]byte, rawBuffer)
	var n int64
	begin := used()
	for end := begin.at.Add(c.duration()); time.Now().Before(end); {
		got, err := conn.Read(buf)
		if err != nil {
			return updatesRun{}, err
		}
		n += int64(got)
	}
	now := used()
	return updatesRun{updates: n / c.messageBytes(), bytes: n, wall: now.at.Sub(begin.at), cpu: now.cpu - begin.cpu}, nil
}

func (c *benchCaUpdatesCmd) duration() time.Duration {
	return time.Duration(c.Seconds * float64(time.Second))
}

// subscribe does by hand what a client does.
func (c *benchCaUpdatesCmd) subscribe(conn net.Conn) error {
	out := ca.AppendVersion(nil)
	for i, name := range loadNames("", c.Channels) {
		out = ca.AppendCreateChan(out, uint32(i), name)
	}
	if _, err := conn.Write(out); err != nil {
		return err
	}
	var stream ca.Splitter
	for claimed := 0; claimed < c.Channels; {
		out = out[:0]
		err := readMessages(conn, &stream, func(h ca.Header) {
			if h.Command == ca.CmdCreateChan {
				claimed++
				out = ca.AppendEventAdd(out, h.P2, h.P1+1, ca.DBR(h.DataType).Time(), 0, ca.MaskLog|ca.MaskAlarm)
			}
		})
		if err != nil {
			return err
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
	}
	return nil
}

// readMessages reads once and takes the headers of all whole messages.
func readMessages(conn net.Conn, stream *ca.Splitter, take func(ca.Header)) error {
	n, err := conn.Read(stream.Buffer())
	if err != nil {
		return err
	}
	stream.Filled(n)
	for {
		h, _, _, ok, err := stream.Next()
		if err != nil || !ok {
			return err
		}
		take(h)
	}
}
