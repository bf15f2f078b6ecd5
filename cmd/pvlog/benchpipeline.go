package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// benchPipelineCmd is `pvlog bench pipeline`: from the sockets of simulated
// IOCs to durable files.
type benchPipelineCmd struct {
	benchLoadFlags
	IOCs int `name:"iocs" default:"0" help:"Simulated IOCs that share the PVs; 0: one for each 2,000."`
}

// Run measures and prints a table. The IOCs are one process and `pvlog serve`
// is another, so that each has its own CPU and memory.
func (c *benchPipelineCmd) Run(ctx context.Context, log *slog.Logger) error {
	return c.run(ctx, "pipeline", c.measure, os.Stdout, log)
}

func (c *benchPipelineCmd) measure(ctx context.Context, dir string, l load, log *slog.Logger) (loadResult, error) {
	iocs := c.IOCs
	if iocs == 0 {
		iocs = 1 + (l.PVs-1)/2000
	}
	rig := pipelineRig{dir: dir, load: l, iocs: iocs, hour: time.Now().Truncate(time.Hour)}
	r, err := rig.run(ctx, log)
	if err = errors.Join(err, rig.close()); err != nil {
		return r, err
	}
	taken := r.Found
	if r.check, err = checkFiles(dir, loadNames("", l.PVs)); err != nil {
		return r, err
	}
	r.FileBytes = float64(r.Bytes) / float64(max(r.Found, 1))
	r.judge(taken)
	return r, nil
}

// early is how long before the hour the stamps begin: connecting may take that
// long. With a roll-over they step to the hour when the measurement begins.
const early = 20 * time.Minute

// run gives what was measured; Found is what the log took in all.
func (g *pipelineRig) run(ctx context.Context, log *slog.Logger) (r loadResult, err error) {
	r.load = g.load
	skew := time.Duration(0)
	if g.load.Roll {
		skew = time.Until(g.hour.Add(-early))
	}
	if err := g.start(ctx, skew, log); err != nil {
		return r, err
	}
	if err := g.archived(ctx); err != nil {
		return r, err
	}
	if g.load.Roll {
		if err := g.child.ask("skew %v", time.Until(g.hour.Add(-g.load.span()/2))); err != nil {
			return r, err
		}
	}
	if err := g.measure(ctx, &r); err != nil {
		return r, err
	}
	answer, err := g.child.query("stats")
	if err != nil {
		return r, err
	}
	if _, err := fmt.Sscan(answer, &r.IOCOverwritten, &r.IOCSkipped); err != nil {
		return r, fmt.Errorf("the IOCs' counts %q: %w", answer, err)
	}
	if err := g.child.ask("stop 0 %d", g.iocs); err != nil {
		return r, err
	}
	stopped := time.Now()
	taken, err := g.drained(ctx)
	r.DrainSeconds, r.Found = time.Since(stopped).Seconds(), taken
	return r, err
}

// measure looks at both processes for the time of the load.
func (g *pipelineRig) measure(ctx context.Context, r *loadResult) error {
	pid, ioc := g.server.Process.Pid, g.child.command.Process.Pid
	memory := watchMemory(ctx, pid)
	defer func() { r.RSSMax, r.RSSMean = memory.end() }()
	first, err := g.metrics(ctx)
	if err != nil {
		return err
	}
	before, iocBefore := useOf(pid), useOf(ioc)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(g.load.span()):
	}
	after, iocAfter := useOf(pid), useOf(ioc)
	last, err := g.metrics(ctx)
	if err != nil {
		return err
	}
	gone := last.minus(first)
	r.Samples = int64(gone["pvlog_streams_samples_total"])
	r.PerSecond = float64(r.Samples) / after.at.Sub(before.at).Seconds()
	r.LagSamples = int64(last["pvlog_streams_samples_total"]) - settledSamples(last)
	r.perSample(after.cpu-before.cpu, after.written-before.written, gone)
	r.IOCCPU = float64((iocAfter.cpu - iocBefore.cpu).Nanoseconds()) / 1000 / float64(max(r.Samples, 1))
	return nil
}

// settledSamples are those that are durable, kept there before, or dropped.
func settledSamples(m metricValues) int64 {
	return int64(m["pvlog_archive_samples_stored_total"] + m["pvlog_archive_samples_duplicate_total"] + m["pvlog_archive_samples_dropped_total"])
}
