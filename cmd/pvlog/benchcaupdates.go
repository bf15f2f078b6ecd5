package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// benchCaUpdatesCmd is `pvlog bench ca updates`.
type benchCaUpdatesCmd struct {
	Type     string  `default:"double" enum:"string,short,float,enum,char,long,double" help:"Native type: string, short, float, enum, char, long or double."`
	Elements int     `default:"1" help:"Elements of a value; more than one make a waveform."`
	Channels int     `default:"100" help:"Monitors, all on one circuit."`
	Seconds  float64 `default:"2" help:"Time of each measurement."`
	Rounds   int     `default:"5" help:"Rounds of raw, client and decode; the medians are shown."`
	Rate     float64 `help:"Take them from a simulated IOC with records of this rate, instead of a server that only sends."`
	profiled
}

// updatesRun is what one measurement found.
type updatesRun struct {
	updates int64
	bytes   int64
	wall    time.Duration
	cpu     time.Duration
}

func (u updatesRun) perUpdate() float64 { return float64(u.cpu.Nanoseconds()) / float64(u.updates) }

func (u updatesRun) rate() float64 { return float64(u.updates) / u.wall.Seconds() }

// Run measures, in turns so that whatever else the machine does hits all of
// them, and prints a table.
func (c *benchCaUpdatesCmd) Run(ctx context.Context, log *slog.Logger) error {
	if c.Elements < 1 || c.Elements > 1_000_000 || c.Channels < 1 || c.Channels > maxLoad || c.Rounds < 1 || !(c.Seconds > 0) {
		return errors.New("--elements 1 to 1000000, --channels 1 and more, --rounds 1 and more, --seconds above 0")
	}
	saveMemory()
	child, err := c.server(ctx)
	if err != nil {
		return err
	}
	end, err := c.begin()
	if err != nil {
		return errors.Join(err, child.close())
	}
	rows, err := c.rounds(ctx, child.addrList[0], log)
	if err = errors.Join(err, end(), child.close()); err != nil {
		return err
	}
	return c.print(rows)
}

func (c *benchCaUpdatesCmd) rounds(ctx context.Context, addr string, log *slog.Logger) (rows [3][]updatesRun, err error) {
	for range c.Rounds {
		for i, measure := range []func(context.Context, string, *slog.Logger) (updatesRun, error){c.raw, c.handled, c.decoded} {
			run, err := measure(ctx, addr, log)
			if err != nil {
				return rows, err
			}
			rows[i] = append(rows[i], run)
		}
	}
	return rows, nil
}

func (c *benchCaUpdatesCmd) server(ctx context.Context) (*benchChild, error) {
	if c.Rate == 0 {
		return startChild(ctx, "flood", "--type", c.Type, "--elements", strconv.Itoa(c.Elements), "--channels", strconv.Itoa(c.Channels))
	}
	if c.Type != "double" || c.Elements != 1 {
		return nil, errors.New("--rate: the simulated IOC's load are scalar doubles")
	}
	return startChild(ctx, "serve", "--records", strconv.Itoa(c.Channels), "--rate", fmt.Sprint(c.Rate))
}

// print shows medians: one round in which the machine was busy is no finding.
func (c *benchCaUpdatesCmd) print(rows [3][]updatesRun) error {
	middle := func(runs []updatesRun, f func(updatesRun) float64) float64 {
		values := make([]float64, len(runs))
		for i, r := range runs {
			values[i] = f(r)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	fmt.Printf("DBR_TIME of %s, %d elements, %d monitors, medians of %d rounds of %g s\n", c.Type, c.Elements, c.Channels, c.Rounds, c.Seconds)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tupdates/s\tMB/s\tCPU ns/update\tupdates per CPU s\tCPU to raw\ttime to raw\t")
	rawCPU, rawRate := middle(rows[0], updatesRun.perUpdate), middle(rows[0], updatesRun.rate)
	for i, name := range []string{"plain read of the socket", "client, handler counts", "client, decoded to samples"} {
		cpu, rate := middle(rows[i], updatesRun.perUpdate), middle(rows[i], updatesRun.rate)
		mb := middle(rows[i], func(u updatesRun) float64 { return float64(u.bytes) / u.wall.Seconds() / 1e6 })
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t\n", name, rate, mb, cpu, 1e9/cpu, cpu/rawCPU, rawRate/rate)
	}
	return table.Flush()
}

// floodPV is a channel that counts its updates, and decodes them into samples
// if it is to. One goroutine, the circuit's, calls all of them.
type floodPV struct {
	updates  *atomic.Int64
	failed   *atomic.Int64
	decode   bool
	waveform bool
	sample   []byte
}

// Connected is told by the client.
func (p *floodPV) Connected(ch *caclient.Channel, info caclient.Info) {
	p.waveform = info.Count != 1
	ch.Subscribe(ca.MaskLog | ca.MaskAlarm)
}

// Disconnected is told by the client.
func (p *floodPV) Disconnected(*caclient.Channel, error) { p.failed.Add(1) }

// Update is told by the client.
func (p *floodPV) Update(_ *caclient.Channel, u caclient.Update) {
	if p.decode {
		var err error
		if p.sample, _, err = ca.DecodeTime(p.sample[:0], u.Type, u.Count, p.waveform, u.Payload); err != nil {
			p.failed.Add(1)
		}
	}
	p.updates.Add(1)
}

// handled has the client deliver them to a handler that only counts.
func (c *benchCaUpdatesCmd) handled(ctx context.Context, addr string, log *slog.Logger) (updatesRun, error) {
	return c.take(ctx, addr, log, false)
}

// decoded has the handler make a sample of each.
func (c *benchCaUpdatesCmd) decoded(ctx context.Context, addr string, log *slog.Logger) (updatesRun, error) {
	return c.take(ctx, addr, log, true)
}

func (c *benchCaUpdatesCmd) take(ctx context.Context, addr string, log *slog.Logger, decode bool) (updatesRun, error) {
	b, err := newBenchClient(ctx, caclient.Options{AddrList: []string{addr}}, log)
	if err != nil {
		return updatesRun{}, err
	}
	var updates, failed atomic.Int64
	for _, name := range loadNames("", c.Channels) {
		b.client.Open(name, &floodPV{updates: &updates, failed: &failed, decode: decode})
	}
	if err := b.wait(ctx, time.Minute, func() bool { return updates.Load() >= int64(c.Channels) }); err != nil {
		return updatesRun{}, errors.Join(err, b.close())
	}
	n, begin := updates.Load(), used()
	err = b.wait(ctx, time.Hour, func() bool { return time.Since(begin.at) > c.duration() })
	now := used()
	n = updates.Load() - n
	if failed.Load() > 0 && err == nil {
		err = errors.New("updates could not be decoded, or the circuit was lost")
	}
	return updatesRun{updates: n, bytes: n * c.messageBytes(), wall: now.at.Sub(begin.at), cpu: now.cpu - begin.cpu}, errors.Join(err, b.close())
}
