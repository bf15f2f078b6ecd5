package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"pvlog/ingest/caclient"
)

// benchCaSoakCmd is `pvlog bench ca soak`.
type benchCaSoakCmd struct {
	Minutes  int     `default:"10" help:"How long, after a minute to settle."`
	Channels int     `default:"100" help:"Channels, ten percent of which close and open again each second."`
	IOCs     int     `name:"iocs" default:"10" help:"Simulated IOCs; one of them restarts every ten seconds."`
	Rate     float64 `default:"10" help:"Updates per second of each channel."`
}

// Run measures and prints a line each minute.
func (c *benchCaSoakCmd) Run(ctx context.Context, log *slog.Logger) error {
	if c.Minutes < 1 || c.Channels < 1 || c.Channels > maxLoad || c.IOCs > c.Channels {
		return errors.New("--minutes 1 and more, --channels 1 and more, one for each IOC at least")
	}
	saveMemory()
	child, err := startChild(ctx, "serve", "--iocs", strconv.Itoa(c.IOCs), "--records", strconv.Itoa(c.Channels), "--rate", fmt.Sprint(c.Rate))
	if err != nil {
		return err
	}
	client, err := newBenchClient(ctx, caclient.Options{AddrList: child.addrList}, log)
	if err != nil {
		return errors.Join(err, child.close())
	}
	names := loadNames("", c.Channels)
	client.open(names)
	return errors.Join(c.soak(ctx, client, child, names), client.close(), child.close())
}

func (c *benchCaSoakCmd) soak(ctx context.Context, client *benchClient, child *benchChild, names []string) error {
	const line = "%8v %10v %12v %11v %11v %8v %10v %8v\n"
	fmt.Printf(line, "minute", "heap MB", "resident MB", "goroutines", "connected", "CPU s", "updates/s", "lost")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var first, last usage
	cpu, updates := cpuTime(), client.count("updates_total")
	for second := 1; second <= 60*(c.Minutes+1); second++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		client.churn(names, second, max(1, len(names)/10))
		if second%10 == 0 {
			i := second / 10 % c.IOCs
			if err := errors.Join(child.ask("stop %d %d", i, i+1), child.ask("start %d %d %d", i, i+1, client.port)); err != nil {
				return err
			}
		}
		if second%60 != 0 {
			continue
		}
		if last = settled(); second == 60 {
			first = last
		}
		total := client.count("updates_total")
		fmt.Printf(line, second/60-1, fmt.Sprintf("%.2f", float64(last.heap)/1e6), fmt.Sprintf("%.2f", float64(last.rss)/1e6), last.goroutines,
			client.connected(), fmt.Sprintf("%.2f", (last.cpu-cpu).Seconds()), fmt.Sprintf("%.0f", (total-updates)/60), client.count("circuits_lost_total"))
		cpu, updates = last.cpu, total
	}
	_, err := fmt.Fprintf(os.Stdout, "last to first: heap %.3f, resident %.3f, goroutines %.3f\n", float64(last.heap)/float64(first.heap),
		float64(last.rss)/float64(first.rss), float64(last.goroutines)/float64(first.goroutines))
	return err
}

// churn closes and opens again n channels, others each time.
func (b *benchClient) churn(names []string, turn, n int) {
	for i := range n {
		at := (turn*n + i) % len(names)
		b.pvs[at].channel.Close()
		// A handler of its own: the last one may still be in a call.
		p := &benchPV{tally: &b.tally}
		p.channel = b.client.Open(names[at], p)
		b.pvs[at].channel = p.channel
	}
}

// connected counts channels that are connected now; the tally does not know of
// those that were closed.
func (b *benchClient) connected() (n int) {
	for i := range b.pvs {
		if _, ok := b.pvs[i].channel.Info(); ok {
			n++
		}
	}
	return n
}
