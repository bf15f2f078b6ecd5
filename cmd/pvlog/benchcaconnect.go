package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"pvlog/ingest/caclient"
)

// benchCaConnectCmd is `pvlog bench ca connect`.
type benchCaConnectCmd struct {
	Channels   int           `default:"100000" help:"Channels to connect."`
	IOCs       int           `name:"iocs" default:"500" help:"Simulated IOCs that have them."`
	Broadcast  bool          `help:"Search by broadcasts on the loopback network, as on a site's subnet, instead of asking each IOC by itself."`
	Shuffle    bool          `help:"Open the names in a random order: the names of a datagram are with many IOCs."`
	AddrList   []string      `placeholder:"ADDR" help:"Search these servers for load:000001 and so on, instead of IOCs of its own, which are not restarted then."`
	SearchRate float64       `default:"50" help:"Search datagrams per second to each destination."`
	Down       time.Duration `default:"10s" help:"How long IOCs that restart are away."`
	Limit      time.Duration `default:"5m" help:"Longest time of a phase."`
	profiled
}

// connectRun is one run of the measurement.
type connectRun struct {
	*benchCaConnectCmd
	ctx    context.Context
	log    *slog.Logger
	names  []string
	child  *benchChild // nil: servers of others
	lists  []string
	table  *tabwriter.Writer
	client *benchClient
}

// Run measures and prints tables.
func (c *benchCaConnectCmd) Run(ctx context.Context, log *slog.Logger) error {
	if c.Channels < 1 || c.Channels > maxLoad || c.IOCs > c.Channels {
		return fmt.Errorf("--channels %d: 1 to %d are possible, one for each IOC at least", c.Channels, maxLoad)
	}
	saveMemory()
	r := &connectRun{benchCaConnectCmd: c, ctx: ctx, log: log, names: loadNames("", c.Channels), lists: c.AddrList}
	if c.Shuffle {
		rand.Shuffle(len(r.names), func(i, j int) { r.names[i], r.names[j] = r.names[j], r.names[i] })
	}
	if len(c.AddrList) > 0 {
		return r.measure()
	}
	listen := "127.0.0.1:0"
	if c.Broadcast {
		listen = "0.0.0.0:0"
	}
	args := []string{"serve", "--listen", listen, "--iocs", strconv.Itoa(c.IOCs), "--records", strconv.Itoa(c.Channels)}
	if c.Profile != "" {
		args = append(args, "--profile", c.Profile+".servers")
	}
	child, err := startChild(ctx, args...)
	if err != nil {
		return err
	}
	r.child, r.lists = child, child.addrList
	return errors.Join(r.measure(), child.close())
}

func (r *connectRun) measure() (err error) {
	end, err := r.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	file, remove, err := temporaryAddresses()
	if err != nil {
		return err
	}
	defer remove()
	options := caclient.Options{AddrList: r.lists, AddressFile: file, SearchRate: r.SearchRate}
	fmt.Printf("%d channels, %d destinations of searches\n", r.Channels, len(r.lists))
	r.table = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(r.table, "phase\tchannels\tseconds\tdatagrams\tper destination\tnames per datagram\thints\tCPU s\t")
	before := settled()
	if err := r.connect("first start", options); err != nil {
		return err
	}
	connected, idle := used(), settled()
	if err := r.heap(); err != nil {
		return err
	}
	if r.child != nil {
		if err := errors.Join(r.restart("one IOC restarts", 1), r.restart("all IOCs restart", r.IOCs)); err != nil {
			return errors.Join(err, r.client.close())
		}
	}
	if err := r.client.close(); err != nil {
		return err
	}
	if err := r.connect("start, addresses known", options); err != nil {
		return err
	}
	if err := errors.Join(r.client.close(), r.table.Flush()); err != nil {
		return err
	}
	return printMemory(before, connected, idle, r.Channels)
}

// connect opens everything with a new client.
func (r *connectRun) connect(phase string, o caclient.Options) error {
	client, err := newBenchClient(r.ctx, o, r.log)
	if err != nil {
		return err
	}
	r.client = client
	return r.phase(phase, r.Channels, func() error {
		client.open(r.names)
		return client.wait(r.ctx, r.Limit, client.all(r.Channels))
	})
}

// restart has the first n IOCs go and come back after a while. The time is
// that from their first beacon on.
func (r *connectRun) restart(phase string, n int) error {
	gone := (n*r.Channels + r.IOCs - 1) / r.IOCs
	if err := r.child.ask("stop 0 %d", n); err != nil {
		return err
	}
	lost := func() bool { return r.client.tally.connected.Load() <= int64(r.Channels-n*(r.Channels/r.IOCs)) }
	if err := r.client.wait(r.ctx, r.Limit, lost); err != nil {
		return err
	}
	if err := r.phase(phase+": away", gone, func() error { return r.pass(r.Down) }); err != nil {
		return err
	}
	return r.phase(phase+": back", gone, func() error {
		if err := r.child.ask("start 0 %d %d", n, r.client.port); err != nil {
			return err
		}
		return r.client.wait(r.ctx, r.Limit, r.client.all(r.Channels))
	})
}

// pass lets time pass.
func (r *connectRun) pass(d time.Duration) error {
	select {
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// phase measures what do does and adds a line to the table.
func (r *connectRun) phase(name string, channels int, do func() error) error {
	count := func(name string) float64 { return r.client.count(name) }
	datagrams, replies, hints, begin := count("search_datagrams_total"), count("search_replies_total"), count("hints_total"), used()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	now := used()
	datagrams, replies = count("search_datagrams_total")-datagrams, count("search_replies_total")-replies
	perDatagram := 0.0
	if datagrams > 0 {
		perDatagram = replies / (datagrams / float64(len(r.lists)))
	}
	fmt.Fprintf(r.table, "%s\t%d\t%.2f\t%.0f\t%.1f\t%.1f\t%.0f\t%.2f\t\n", name, channels, now.at.Sub(begin.at).Seconds(),
		datagrams, datagrams/float64(len(r.lists)), perDatagram, count("hints_total")-hints, (now.cpu - begin.cpu).Seconds())
	return nil
}

func printMemory(before, connected, idle usage, channels int) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "memory of the client\tbefore\tjust connected\tidle\tbytes per idle channel\t")
	const mb = 1e6
	fmt.Fprintf(table, "heap, MB\t%.1f\t\t%.1f\t%d\t\n", float64(before.heap)/mb, float64(idle.heap)/mb, (idle.heap-before.heap)/int64(channels))
	fmt.Fprintf(table, "resident, MB\t%.1f\t%.1f\t%.1f\t%d\t\n", float64(before.rss)/mb, float64(connected.rss)/mb, float64(idle.rss)/mb, (idle.rss-before.rss)/int64(channels))
	fmt.Fprintf(table, "goroutines\t%d\t%d\t%d\t\t\n", before.goroutines, connected.goroutines, idle.goroutines)
	return table.Flush()
}
