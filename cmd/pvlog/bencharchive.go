package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

// benchArchiveCmd is `pvlog bench archive`: from the log to durable files,
// without Channel Access.
type benchArchiveCmd struct {
	benchLoadFlags
}

// Run measures and prints a table. Each load has a process of its own, so that
// CPU and memory are those of its log, its archive and the loop that feeds them.
func (c *benchArchiveCmd) Run(ctx context.Context, log *slog.Logger) error {
	return c.run(ctx, "archive", measureArchive, os.Stdout, log)
}

func measureArchive(ctx context.Context, dir string, l load, _ *slog.Logger) (r loadResult, err error) {
	asked, err := json.Marshal(l)
	if err != nil {
		return r, err
	}
	child, err := startBench(ctx, "archive-run", "--dir", dir, "--load", string(asked))
	if err != nil {
		return r, err
	}
	answer, err := io.ReadAll(child.out)
	if err = errors.Join(err, child.close()); err != nil {
		return r, err
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return r, fmt.Errorf("read what was measured: %w", err)
	}
	fed := r.Found
	if r.check, err = checkFiles(dir, loadNames("", l.PVs)); err != nil {
		return r, err
	}
	r.FileBytes = float64(r.Bytes) / float64(max(r.Found, 1))
	r.judge(fed)
	return r, nil
}

// benchArchiveRunCmd is the process that is measured.
type benchArchiveRunCmd struct {
	Dir     string `type:"path" required:""`
	Load    string `required:""`
	Profile string `env:"PVLOG_BENCH_PROFILE" type:"path" help:"Write a CPU profile to FILE and what is held at its end to FILE.heap."`
}

// Run feeds the log and prints what it found as JSON: Found is what it fed.
func (c *benchArchiveRunCmd) Run(ctx context.Context, log *slog.Logger) error {
	var l load
	if err := json.Unmarshal([]byte(c.Load), &l); err != nil {
		return fmt.Errorf("--load: %w", err)
	}
	saveMemory()
	rig := newArchiveRig(c.Dir, l, quiet(log))
	if err := rig.open(ctx); err != nil {
		return errors.Join(err, rig.close())
	}
	r, err := rig.measure(ctx, profiled{c.Profile})
	if err = errors.Join(err, rig.close()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// drainPatience is how long a load may take to become durable after its end.
const drainPatience = 2 * time.Minute

// measure begins every file, then offers the load in real time and waits until
// all of it is durable.
func (g *archiveRig) measure(ctx context.Context, p profiled) (r loadResult, err error) {
	r.load = g.load
	if err := g.feed(ctx, g.pvs()); err != nil {
		return r, err
	}
	if err := g.drained(ctx); err != nil {
		return r, err
	}
	end, err := p.begin()
	if err != nil {
		return r, err
	}
	memory := watchMemory(ctx, os.Getpid())
	before, err := g.look()
	if err != nil {
		return r, err
	}
	err = g.offer(ctx)
	offered := time.Now()
	r.LagSamples = g.fed - g.done()
	r.PerSecond = float64(g.fed-before.fed) / offered.Sub(before.use.at).Seconds()
	err = errors.Join(err, p.heap(), g.drained(ctx))
	after, looked := g.look()
	r.RSSMax, r.RSSMean = memory.end()
	if err = errors.Join(err, looked, end()); err != nil {
		return r, err
	}
	r.DrainSeconds = after.use.at.Sub(offered).Seconds()
	r.Samples = after.fed - before.fed
	r.perSample(after.use.cpu-before.use.cpu, after.use.written-before.use.written, after.metrics.minus(before.metrics))
	r.ArchiveCPU = float64((after.own - before.own).Nanoseconds()) / 1000 / float64(max(r.Samples, 1))
	r.Found = g.fed
	return r, nil
}
