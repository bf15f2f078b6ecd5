package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// benchCaCmd is `pvlog bench ca`. What it is measured against runs in a child
// process of the same program, so that CPU and memory are the client's own.
type benchCaCmd struct {
	Connect benchCaConnectCmd `cmd:"" help:"Connect many channels: time, search datagrams, memory per channel, restarts."`
	Updates benchCaUpdatesCmd `cmd:"" help:"Take updates as fast as they come, against the plain cost of reading their bytes."`
	Soak    benchCaSoakCmd    `cmd:"" help:"Run for minutes with channels that come and go: what does not grow?"`
	Serve   benchCaServeCmd   `cmd:"" hidden:"" help:"The simulated IOCs of connect and soak."`
	Flood   benchCaFloodCmd   `cmd:"" hidden:"" help:"The server of updates."`
}

// benchClient is a client with its counts and all of its channels.
type benchClient struct {
	client   *caclient.Client
	registry *prometheus.Registry
	port     int // where it is the repeater of beacons
	stop     context.CancelFunc
	done     chan error
	pvs      []benchPV
	tally    benchTally
}

// benchTally counts what the channels of a client heard.
type benchTally struct {
	connected, disconnected, first atomic.Int64
}

// benchPV is one channel. Only the first update of a connection counts as such.
type benchPV struct {
	tally   *benchTally
	channel *caclient.Channel
	updated bool // owned by the goroutine that calls the handler
}

// Connected subscribes as an archive does.
func (p *benchPV) Connected(ch *caclient.Channel, _ caclient.Info) {
	p.updated = false
	p.tally.connected.Add(1)
	ch.Subscribe(ca.MaskLog | ca.MaskAlarm)
}

// Disconnected is told by the client.
func (p *benchPV) Disconnected(*caclient.Channel, error) {
	p.tally.disconnected.Add(1)
	if p.updated {
		p.tally.first.Add(-1)
	}
	p.tally.connected.Add(-1)
}

// Update is told by the client.
func (p *benchPV) Update(*caclient.Channel, caclient.Update) {
	if !p.updated {
		p.updated = true
		p.tally.first.Add(1)
	}
}

// newBenchClient runs a client that searches at the given addresses only.
func newBenchClient(ctx context.Context, o caclient.Options, log *slog.Logger) (*benchClient, error) {
	no, yes := false, true
	port, err := freeUDPPort()
	if err != nil {
		return nil, err
	}
	b := &benchClient{registry: prometheus.NewRegistry(), port: port, done: make(chan error, 1)}
	o.AutoAddrList, o.Registerer, o.Logger = &no, b.registry, quiet(log)
	o.Repeater, o.RepeaterPort = &yes, port
	b.client = caclient.New(o)
	ctx, b.stop = context.WithCancel(ctx)
	go func() { b.done <- b.client.Run(ctx) }()
	return b, nil
}

// close ends the client and gives its error.
func (b *benchClient) close() error {
	b.stop()
	return <-b.done
}

// open opens a channel for each name.
func (b *benchClient) open(names []string) {
	b.pvs = make([]benchPV, len(names))
	for i, name := range names {
		b.pvs[i].tally = &b.tally
		b.pvs[i].channel = b.client.Open(name, &b.pvs[i])
	}
}

// errBenchTime says that what is measured did not happen at all.
var errBenchTime = errors.New("it did not happen in time")

// wait looks until something is so. The ticks are the resolution.
func (b *benchClient) wait(ctx context.Context, limit time.Duration, done func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !done(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %d connected, %d of them with an update", errBenchTime, b.tally.connected.Load(), b.tally.first.Load())
		}
	}
	return nil
}

// all says whether n channels are connected and had an update each.
func (b *benchClient) all(n int) func() bool {
	return func() bool {
		return b.tally.connected.Load() >= int64(n) && b.tally.first.Load() >= int64(n)
	}
}

// count reads one of the client's metrics.
func (b *benchClient) count(name string) float64 {
	families, err := b.registry.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() == "pvlog_caclient_"+name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

func freeUDPPort() (int, error) {
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return conn.LocalAddr().(*net.UDPAddr).Port, conn.Close()
}

// loadNames are the names of the load records of simulated IOCs.
func loadNames(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%sload:%06d", prefix, i+1)
	}
	return names
}

// temporaryAddresses is a place for an address file.
func temporaryAddresses() (file string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "pvlog-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	return dir + "/ca-addresses", func() { _ = os.RemoveAll(dir) }, nil
}
