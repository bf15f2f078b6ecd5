package main

import (
	"io"
	"net"
	"testing"

	"pvlog/ingest/ca"
)

// TestFloodSendsWhatIsCounted: the measure divides bytes by what it thinks an
// update takes.
func TestFloodSendsWhatIsCounted(t *testing.T) {
	for name := range benchTypes {
		for _, n := range []int{1, 1000, 100_000} {
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := benchCaFloodCmd{Type: name, Elements: n, Channels: 3}
			client := benchCaUpdatesCmd{Type: name, Elements: n, Channels: 3}
			done := make(chan error, 1)
			go func() {
				conn, err := listener.Accept()
				if err == nil {
					err = server.flood(conn)
					conn.Close()
				}
				done <- err
			}()
			conn, err := net.Dial("tcp4", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if err := client.subscribe(conn); err != nil {
				t.Fatal(err)
			}
			update := make([]byte, client.messageBytes())
			if _, err := io.ReadFull(conn, update); err != nil {
				t.Fatal(err)
			}
			h, payload, length, err := ca.ParseMessage(update)
			if err != nil || int64(length) != client.messageBytes() || h.Command != ca.CmdEventAdd {
				t.Errorf("%d of %s: %+v, %d bytes of %d, %v", n, name, h, length, client.messageBytes(), err)
			} else if _, _, err := ca.DecodeTime(nil, ca.DBR(h.DataType), h.Count, n > 1, payload); err != nil {
				t.Errorf("%d of %s: %v", n, name, err)
			}
			conn.Close()
			listener.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}
