package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/consumers/archive"
	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// archiveRig is a log and an archive with a registry of a load's PVs.
type archiveRig struct {
	load     load
	registry *prometheus.Registry
	log      *streams.Log
	archive  *archive.Archive
	source   *timedSource
	infos    map[schema.PVName]*schema.TypeInfo
	names    []schema.PVName
	begin    time.Time // time stamp of the first sample

	// set by open
	stopLog, stopArchive context.CancelFunc
	logDone, archiveDone chan error

	// owned by the goroutine that feeds
	fed       int64
	event     []byte
	year      int
	yearEnd   int64 // first second of the year after
	yearStart int64
	elements  []float64
}

func newArchiveRig(dir string, l load, log *slog.Logger) *archiveRig {
	g := &archiveRig{load: l, registry: prometheus.NewRegistry(), infos: map[schema.PVName]*schema.TypeInfo{}, elements: make([]float64, l.Elements)}
	g.log = streams.New(streams.Options{Dir: filepath.Join(dir, "log"), Linger: l.Linger, Logger: log, Registerer: g.registry})
	for _, name := range loadNames("", l.PVs) {
		pv := schema.PVName(name)
		g.names = append(g.names, pv)
		g.infos[pv] = &schema.TypeInfo{PV: pv, ChunkKey: schema.ChunkKey(pv), DBRType: g.dbrType(), Generation: 1, Created: time.Unix(1, 0)}
	}
	g.source = &timedSource{Source: g.log.Archive()}
	g.archive = archive.New(archive.Options{
		Store:    archive.Store{Name: "STS", Root: storeOf(dir), Granularity: partition.PartitionHour},
		StateDir: dir, Source: g.source, Drops: g.log.Drops(), SyncLog: g.log.Sync, Logger: log, Registerer: g.registry,
		Registered: func(pv schema.PVName) (*schema.TypeInfo, bool) {
			info, ok := g.infos[pv]
			return info, ok
		},
	})
	// The last whole hour is crossed, so that no stamp lies in the future.
	g.begin = time.Now().Truncate(time.Hour)
	if l.Roll {
		// One period for the first sample of each PV, then half of the load.
		g.begin = g.begin.Add(-time.Duration(float64(time.Second)/l.Rate) - l.span()/2)
	}
	return g
}

func (g *archiveRig) dbrType() schema.DBRType {
	if g.load.Elements > 1 {
		return schema.WaveformDouble
	}
	return schema.ScalarDouble
}

func (g *archiveRig) pvs() int64 { return int64(g.load.PVs) }

// open starts the log and the archive.
func (g *archiveRig) open(ctx context.Context) error {
	if err := g.log.Open(ctx); err != nil {
		return err
	}
	if err := g.archive.OpenStore(); err != nil {
		return err
	}
	start := func(run func(context.Context) error) (context.CancelFunc, chan error) {
		ctx, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		return stop, done
	}
	g.stopLog, g.logDone = start(g.log.Run)
	g.stopArchive, g.archiveDone = start(g.archive.Run)
	return nil
}

// close ends them in the order in which samples flow.
func (g *archiveRig) close() error {
	var err error
	if g.stopLog != nil {
		g.stopLog()
		err = <-g.logDone
		g.stopArchive()
		err = errors.Join(err, <-g.archiveDone)
	}
	return errors.Join(err, g.archive.CloseStore(), g.log.Close())
}

// offer feeds the load at its rate for its time, in steps of some milliseconds.
// When the log is slower it waits for it, and catches up afterwards.
func (g *archiveRig) offer(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	first, began := g.fed, time.Now()
	for elapsed := time.Duration(0); elapsed < g.load.span(); elapsed = time.Since(began) {
		if err := g.feed(ctx, first+int64(elapsed.Seconds()*g.load.perSecond())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// feed appends samples to the log until so many have been: one of each PV in
// turn, evenly spread in time, with the PV's count as value.
func (g *archiveRig) feed(ctx context.Context, upTo int64) error {
	for ; g.fed < upTo; g.fed++ {
		at := g.begin.Add(time.Duration(float64(g.fed) / g.load.perSecond() * float64(time.Second)))
		s := schema.RawSample{Type: g.dbrType(), Registered: g.dbrType(), Received: at,
			DriftPast: 30 * time.Minute, DriftFuture: 30 * time.Minute, Generation: 1}
		s.Event, s.Year = g.encode(at, float64(g.fed/g.pvs()))
		if err := g.log.Samples().Append(ctx, g.names[g.fed%g.pvs()], s); err != nil {
			return err
		}
	}
	return nil
}

// encode makes an event in a buffer that is reused, and gives its year.
func (g *archiveRig) encode(at time.Time, value float64) ([]byte, int) {
	t := schema.TimeOf(at)
	if t.Sec < g.yearStart || t.Sec >= g.yearEnd {
		g.year = t.Year()
		g.yearStart, g.yearEnd = schema.YearStart(g.year), schema.YearStart(g.year+1)
	}
	b := schema.AppendHeadIn(g.event[:0], t, g.yearStart)
	if g.elements[0] = value; len(g.elements) > 1 {
		b = schema.AppendDoubles(b, len(g.elements), func(i int) float64 { return g.elements[i] })
	} else {
		b = schema.AppendDouble(b, value)
	}
	g.event = b
	return b, g.year
}

// done is how many of the samples are durable in files, kept there before, or
// in the drop log.
func (g *archiveRig) done() int64 {
	m, err := gather(g.registry)
	if err != nil {
		return 0
	}
	return settledSamples(m)
}

// drained waits until all that was fed is. The ticks are the resolution.
func (g *archiveRig) drained(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); g.done() < g.fed; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if time.Since(began) > drainPatience {
			return fmt.Errorf("%d of %d samples are durable %v after the load: %w", g.done(), g.fed, drainPatience, errBenchTime)
		}
	}
	return nil
}

// rigLook is the state of a rig at an instant.
type rigLook struct {
	use     processUse
	own     time.Duration // CPU of the archive itself
	fed     int64
	metrics metricValues
}

func (g *archiveRig) look() (rigLook, error) {
	m, err := gather(g.registry)
	return rigLook{use: useOf(os.Getpid()), own: time.Duration(g.source.own.Load()), fed: g.fed, metrics: m}, err
}

// timedSource adds up the CPU time of the archive's goroutine between two
// fetches: judging, buffering and writing, without the log's part. In between
// the goroutine keeps to its thread, whose time the kernel knows.
type timedSource struct {
	archive.Source
	own     atomic.Int64 // nanoseconds
	began   time.Duration
	holding bool
}

// Fetch is the source's.
func (s *timedSource) Fetch(ctx context.Context, wait time.Duration) ([]streams.Message, error) {
	if s.holding {
		s.own.Add(int64(threadTime() - s.began))
		runtime.UnlockOSThread()
	}
	messages, err := s.Source.Fetch(ctx, wait)
	runtime.LockOSThread()
	s.holding, s.began = true, threadTime()
	return messages, err
}
