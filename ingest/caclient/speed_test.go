package caclient_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// Updates of one round of BenchmarkUpdates.
const (
	speedChannels = 100
	speedEach     = 100
)

// speedChunk is a round: updates of scalar doubles for each subscription.
func speedChunk(subscriptions []uint32) (chunk []byte) {
	for _, id := range subscriptions {
		for range speedEach {
			chunk = append(chunk, updated(id, 1)...)
		}
	}
	return chunk
}

// BenchmarkUpdates is the way from a socket to a handler, beside the plain
// cost of reading the same bytes from a socket into the same buffer.
func BenchmarkUpdates(b *testing.B) {
	b.Run("raw", benchmarkRawUpdates)
	b.Run("client", benchmarkClientUpdates)
}

func reportPerUpdate(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/speedChannels/speedEach, "ns/update")
}

func benchmarkRawUpdates(b *testing.B) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	served, err := listener.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer served.Close()
	chunk := speedChunk(make([]uint32, speedChannels))
	b.SetBytes(int64(len(chunk)))
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := served.Write(chunk); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for left := b.N * len(chunk); left > 0; {
		n, err := conn.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		left -= n
	}
	reportPerUpdate(b)
}

func benchmarkClientUpdates(b *testing.B) {
	s := newServer(b, all)
	client := run(b, caclient.Options{}, s.addr())
	c := &counter{event: make(chan struct{}, 1)}
	openDoubles(client, c, speedChannels)
	served := take(b, s.conns, "circuit")
	chunk := speedChunk(served.monitors(speedChannels))
	b.SetBytes(int64(len(chunk)))
	b.ResetTimer()
	for range b.N {
		served.send(chunk)
	}
	c.wait(b, "all updates", func() bool { return c.updated.Load() == int64(b.N)*speedChannels*speedEach })
	reportPerUpdate(b)
}

func openDoubles(client *caclient.Client, h caclient.Handler, n int) []*caclient.Channel {
	channels := make([]*caclient.Channel, n)
	for i := range channels {
		channels[i] = client.Open(fmt.Sprintf("A:CHANNEL:%06d", i), h)
	}
	return channels
}

// monitors answers the claims of n doubles and gives their subscriptions.
func (c *conn) monitors(n int) (ids []uint32) {
	var claims []byte
	for i := range uint32(n) {
		claims = append(claims, claimed(c.expect(ca.CmdCreateChan).P1, i, ca.DBRDouble, 1)...)
	}
	c.send(claims)
	for range n {
		ids = append(ids, c.expect(ca.CmdEventAdd).P2)
	}
	return ids
}

// BenchmarkChannelMemory is what an idle channel takes, its name included:
// connected, with a monitor and its first update.
func BenchmarkChannelMemory(b *testing.B) {
	const n = 20_000
	for range b.N {
		s := newServer(b, all)
		c := &counter{event: make(chan struct{}, 1)}
		client := run(b, caclient.Options{}, s.addr())
		first := client.Open("A:FIRST", c) // the circuit is not what is measured
		served := take(b, s.conns, "circuit")
		served.monitors(1)
		before := heapInUse()
		channels := openDoubles(client, c, n)
		var updates []byte
		for _, id := range served.monitors(n) {
			updates = append(updates, updated(id, 1)...)
		}
		served.send(updates)
		c.wait(b, "updates", func() bool { return c.updated.Load() == n })
		for len(s.searches) > 0 {
			<-s.searches // they hold the names once more
		}
		updates = nil
		b.ReportMetric(float64(heapInUse()-before)/n, "B/channel")
		first.Close()
		for _, ch := range channels {
			ch.Close()
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
