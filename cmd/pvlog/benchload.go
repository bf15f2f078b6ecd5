package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"pvlog/streams"
)

// benchLoadFlags are those of `pvlog bench archive` and `pvlog bench pipeline`.
type benchLoadFlags struct {
	PVs      int     `name:"pvs" default:"2000" help:"PVs of the load."`
	Rate     float64 `default:"10" help:"Samples per second of each PV."`
	Seconds  float64 `default:"20" help:"Time of each measurement."`
	Linger   string  `default:"default" help:"log.linger: default, 0 for none, a span, or several of them (default,0)."`
	Type     string  `default:"double" enum:"double,waveform" help:"double, or waveform (of --elements doubles)."`
	Elements int     `default:"1000" help:"Elements of a waveform."`
	Roll     bool    `default:"true" negatable:"" help:"Time stamps pass an hour in the middle of the measurement, so that all partitions roll over."`
	All      bool    `help:"Measure 1,000, 10,000 and 100,000 PVs at 1 and at 10 Hz, and 100 PVs at 1 kHz, in place of --pvs and --rate."`
	Capacity bool    `help:"Search the highest rate that is held without loss, for each number of PVs."`
	Bare     int     `default:"200000" help:"Messages of bare JetStream for the ratio, half of them before and half after each measurement."`
	JSON     bool    `name:"json" help:"Print a JSON object a line in place of the table."`
	Dir      string  `type:"path" help:"Where to put the temporary data (default: the system's temporary directory)."`
}

// load is one measurement that is asked for.
type load struct {
	PVs      int           `json:"pvs"`
	Rate     float64       `json:"rate_hz"`
	Seconds  float64       `json:"seconds"`
	Linger   time.Duration `json:"linger_ns"` // as in streams.Options: 0 the default, negative none
	Elements int           `json:"elements"`  // 1: scalars
	Roll     bool          `json:"roll"`
}

// perSecond is the samples per second that are offered.
func (l load) perSecond() float64 { return float64(l.PVs) * l.Rate }

// span is the time of the measurement.
func (l load) span() time.Duration { return time.Duration(l.Seconds * float64(time.Second)) }

// presets are the loads of --all.
var presets = []struct {
	pvs  int
	rate float64
}{{1000, 1}, {1000, 10}, {10_000, 1}, {10_000, 10}, {100_000, 1}, {100_000, 10}, {100, 1000}}

// loads are what the flags ask for.
func (f *benchLoadFlags) loads() ([]load, error) {
	lingers, err := parseLingers(f.Linger)
	if err != nil {
		return nil, err
	}
	one := load{PVs: f.PVs, Rate: f.Rate, Seconds: f.Seconds, Elements: 1, Roll: f.Roll}
	if f.Type == "waveform" {
		one.Elements = f.Elements
	}
	switch {
	case f.PVs < 1 || f.PVs > maxLoad:
		return nil, fmt.Errorf("--pvs %d: 1 to %d are possible", f.PVs, maxLoad)
	case !(f.Rate > 0 && f.Rate <= 1000):
		return nil, fmt.Errorf("--rate %v: more than 0 and at most 1000 Hz are possible", f.Rate)
	case !(f.Seconds >= 0.1 && f.Seconds <= 3600):
		return nil, fmt.Errorf("--seconds %v: 0.1 to 3600 are possible", f.Seconds)
	case one.Elements < 1 || one.Elements > 1_000_000 || f.Type == "waveform" && f.Elements < 2:
		return nil, fmt.Errorf("--elements %d: 2 to 1000000 are possible", f.Elements)
	case f.Bare < 1000:
		return nil, errors.New("--bare: 1000 messages and more are possible")
	}
	kinds := []load{one}
	if f.All {
		kinds = nil
		for _, p := range presets {
			one.PVs, one.Rate = p.pvs, p.rate
			kinds = append(kinds, one)
		}
	}
	var all []load
	for _, l := range kinds {
		for _, l.Linger = range lingers {
			all = append(all, l)
		}
	}
	return all, nil
}

// loadResult is what a measurement found. Times are those of the pvlog process
// between the begin of the measurement and its end.
type loadResult struct {
	Bench string `json:"bench"`
	load
	Samples        int64   `json:"samples"` // that the log took meanwhile
	PerSecond      float64 `json:"samples_per_s"`
	CPU            float64 `json:"cpu_us_per_sample"`
	ArchiveCPU     float64 `json:"archive_cpu_us_per_sample,omitempty"` // bench archive: of CPU, judging and writing alone
	IOCCPU         float64 `json:"ioc_cpu_us_per_sample,omitempty"`     // bench pipeline: of the simulated IOCs' process
	Bare           float64 `json:"bare_us_per_message"`                 // JetStream alone, in this run
	Ratio          float64 `json:"cpu_to_bare"`
	SamplesPerMsg  float64 `json:"samples_per_message"`
	FileBytes      float64 `json:"file_bytes_per_sample"`
	DiskBytes      float64 `json:"disk_bytes_per_sample"` // written by the process, the log included
	FileOps        float64 `json:"file_appends_per_sample"`
	Rounds         int64   `json:"rounds"`
	RoundSeconds   float64 `json:"round_seconds_mean"`
	RSSMax         int64   `json:"rss_max_bytes"`
	RSSMean        int64   `json:"rss_mean_bytes"`
	LagSamples     int64   `json:"lag_samples"`   // taken and not yet durable when the measurement ended
	DrainSeconds   float64 `json:"drain_seconds"` // until they were
	IOCOverwritten int64   `json:"ioc_overwritten,omitempty"`
	IOCSkipped     int64   `json:"ioc_skipped,omitempty"`
	check
	Held bool   `json:"held"`
	Why  string `json:"why_not,omitempty"`
}

// Bounds of a load that is held.
const (
	heldShare = 0.98             // of what was offered, at least
	heldDrain = 15 * time.Second // until all is durable after the load ended, at most
)

// judge says whether the load was held without loss.
func (r *loadResult) judge(expected int64) {
	r.Missing = max(r.Missing, expected-r.Found)
	switch {
	case r.Missing > 0 || r.Repeated > 0 || r.Disordered > 0:
		r.Why = fmt.Sprintf("%d samples missing, %d twice, %d out of order", r.Missing, r.Repeated, r.Disordered)
	case r.IOCSkipped > 0:
		r.Why = fmt.Sprintf("the simulated IOCs were too slow: %d updates left out", r.IOCSkipped)
	case r.PerSecond < heldShare*r.perSecond():
		r.Why = fmt.Sprintf("%.0f of %.0f samples/s", r.PerSecond, r.perSecond())
	case r.DrainSeconds > heldDrain.Seconds():
		r.Why = fmt.Sprintf("%.0f s behind", r.DrainSeconds)
	}
	r.Held = r.Why == ""
}

// perSample are the figures that are shares of the samples.
func (r *loadResult) perSample(cpu time.Duration, written int64, metrics metricValues) {
	n := float64(max(r.Samples, 1))
	r.CPU = float64(cpu.Nanoseconds()) / 1000 / n
	r.DiskBytes = float64(written) / n
	r.FileOps = metrics["pvlog_archive_file_appends_total"] / n
	if messages := metrics["pvlog_streams_messages_total"]; messages > 0 {
		r.SamplesPerMsg = metrics["pvlog_streams_published_samples_total"] / messages
	}
	if r.Rounds = int64(metrics["pvlog_archive_round_seconds_count"]); r.Rounds > 0 {
		r.RoundSeconds = metrics["pvlog_archive_round_seconds_sum"] / float64(r.Rounds)
	}
}

// measureLoad is one of the two benchmarks: it measures a load with its data in
// an empty folder.
type measureLoad func(ctx context.Context, dir string, l load, log *slog.Logger) (loadResult, error)

// run measures all that is asked for and prints it.
func (f *benchLoadFlags) run(ctx context.Context, name string, measure measureLoad, out io.Writer, log *slog.Logger) error {
	loads, err := f.loads()
	if err != nil {
		return exitError{exitUsage, err}
	}
	var results []loadResult
	for _, l := range loads {
		if !f.Capacity {
			r, err := f.one(ctx, name, l, measure, log)
			if err != nil {
				return err
			}
			results = append(results, r)
			f.tell(log, r)
			continue
		}
		tried, err := f.search(l, func(l load) (loadResult, error) {
			r, err := f.one(ctx, name, l, measure, log)
			f.tell(log, r)
			return r, err
		})
		if err != nil {
			return err
		}
		results = append(results, tried...)
	}
	return f.print(out, name, results)
}

// tell shows that a long series goes on.
func (f *benchLoadFlags) tell(log *slog.Logger, r loadResult) {
	if f.All || f.Capacity {
		log.Info("measured", "pvs", r.PVs, "rate_hz", r.Rate, "samples_per_s", int64(r.PerSecond), "held", r.Held, "why", r.Why)
	}
}

// one measures a load between two measurements of bare JetStream.
func (f *benchLoadFlags) one(ctx context.Context, name string, l load, measure measureLoad, log *slog.Logger) (r loadResult, err error) {
	before, err := f.bare(ctx, log)
	if err != nil {
		return r, err
	}
	dir, err := os.MkdirTemp(f.Dir, "pvlog-bench-")
	if err != nil {
		return r, fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if r, err = measure(ctx, dir, l, log); err != nil {
		return r, fmt.Errorf("bench %s: %d PVs of %g Hz: %w", name, l.PVs, l.Rate, err)
	}
	after, err := f.bare(ctx, log)
	if err != nil {
		return r, err
	}
	r.Bench, r.Bare = name, (before+after)/2
	r.Ratio = r.CPU / r.Bare
	return r, nil
}

// bare is what JetStream takes for a message of one sample, published and
// consumed at once, in microseconds of CPU.
func (f *benchLoadFlags) bare(ctx context.Context, log *slog.Logger) (float64, error) {
	dir, err := os.MkdirTemp(f.Dir, "pvlog-bench-")
	if err != nil {
		return 0, fmt.Errorf("make a temporary log: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := streams.Bench(ctx, streams.BenchOptions{Dir: dir, Messages: f.Bare / 2, Logger: quiet(log)})
	if err != nil {
		return 0, fmt.Errorf("bench bare JetStream: %w", err)
	}
	return r.Both.PerMessage(), nil
}

// print writes a table, or JSON lines for comparisons.
func (f *benchLoadFlags) print(out io.Writer, name string, results []loadResult) error {
	if f.JSON {
		encoder := json.NewEncoder(out)
		for _, r := range results {
			if err := encoder.Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Fprintf(out, "bench %s, %g s each; CPU in microseconds per sample, bare: JetStream per message in the same run\n", name, f.Seconds)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	part := "archive"
	if name == "pipeline" {
		part = "IOC"
	}
	fmt.Fprintf(table, "PVs\tHz\tlinger\tsamples/s\tCPU\t%s\tbare\tratio\tsamples/msg\tfile B\tdisk B\tappends\trounds\tmean s\tRSS MB\tmean MB\tlag\tdrain s\tfound\theld\t\n", part)
	for _, r := range results {
		held := "yes"
		if !r.Held {
			held = "no: " + r.Why
		}
		fmt.Fprintf(table, "%d\t%g\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\t%.1f\t%.3f\t%d\t%.3f\t%.0f\t%.0f\t%d\t%.1f\t%d\t%s\t\n",
			r.PVs, r.Rate, lingerText(r.Linger), r.PerSecond, r.CPU, r.ArchiveCPU+r.IOCCPU, r.Bare, r.Ratio, r.SamplesPerMsg, r.FileBytes, r.DiskBytes,
			r.FileOps, r.Rounds, r.RoundSeconds, float64(r.RSSMax)/1e6, float64(r.RSSMean)/1e6, r.LagSamples, r.DrainSeconds, r.Found, held)
	}
	return table.Flush()
}
