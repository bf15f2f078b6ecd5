// Package appliance is one running archiver: it builds all parts from a
// [Config], runs them, and stops them in the order in which samples flow, so
// that what was received before a stop is in its file after it.
//
// It promises that one data directory has one owner, that addresses.json is
// there once every listener is ready, and that a fault of one part ends them
// all in order. It is driven by `pvlog serve`, `pvlog demo` and the tests in
// integration.
package appliance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"pvlog/consumers/archive"
	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/consumers/retrieval"
	"pvlog/consumers/web"
	"pvlog/ingest"
	"pvlog/ingest/caclient"
	"pvlog/streams"
)

// Appliance is one archiver. Its parts are there once Ready is closed.
type Appliance struct {
	config Config
	log    *slog.Logger
	ready  chan struct{}

	// set by open, read-only once ready is closed
	metrics   *prometheus.Registry
	streams   *streams.Log
	registry  *registry.Registry
	archive   *archive.Archive
	client    *caclient.Client
	engine    *ingest.Engine
	policies  *policies
	retrieval *retrieval.Retrieval
	replays   *replays
	web       *web.Server
	listener  net.Listener
	addresses Addresses
}

// Addresses is where the parts listen, the content of DATA/addresses.json.
type Addresses struct {
	HTTP string `json:"http"`
	NATS string `json:"nats"` // "" when off
}

// New prepares an appliance; nothing is opened before Run.
func New(config Config, log *slog.Logger) *Appliance {
	return &Appliance{config: config, log: log, ready: make(chan struct{})}
}

// Ready is closed when every listener answers.
func (a *Appliance) Ready() <-chan struct{} { return a.ready }

// Addresses is where it listens; it blocks until Ready.
func (a *Appliance) Addresses() Addresses {
	<-a.ready
	return a.addresses
}

// Run archives until ctx ends or a part fails, then stops: HTTP, monitors, the
// log's waiting samples, the archive with a last flush, the registry, the log.
// After an end in order, also of the start, it returns nil; its errors are never
// context.Canceled.
func (a *Appliance) Run(ctx context.Context) error {
	if err := a.open(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // the start was interrupted: nothing was received
		}
		return toldAnyway(errors.Join(err, a.close()))
	}
	stages := []stage{
		{name: "web", run: func(ctx context.Context) error { return a.web.Serve(ctx, a.listener) }},
		{name: "policies", run: a.policies.run},
		{name: "replays", run: a.replays.run},
		{name: "engine", run: a.engine.Run},
		{name: "channel access", run: a.client.Run},
		{name: "sample log", run: a.streams.Run},
		{name: "archive", run: a.archive.Run},
		{name: "registry", run: a.registry.Run, ready: a.registry.CaughtUp()},
	}
	// Announced only when all stages run: whoever reads the addresses may send
	// a command at once.
	err := runStages(ctx, stages, a.announce)
	if gone := os.Remove(a.addressFile()); gone != nil && !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("remove the addresses: %w", gone))
	}
	if err := errors.Join(err, a.close()); err != nil {
		return toldAnyway(err)
	}
	a.log.Info("stopped; everything received is in files or in the log")
	return nil
}

// open makes the parts that hold files, in the order in which they depend on
// each other. The log comes first: its lock is the data directory's.
func (a *Appliance) open(ctx context.Context) error {
	c := a.config
	token, err := c.token()
	if err != nil {
		return err
	}
	if err := web.CheckListen(c.HTTP, token, c.OpenWrites); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Data, 0o755); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	a.metrics = prometheus.NewRegistry()
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.streams = streams.New(a.streamsOptions())
	if err := a.streams.Open(ctx); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if err := os.Remove(a.addressFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the last run's addresses: %w", err)
	}
	a.registry = registry.New(registry.Options{Dir: filepath.Join(c.Data, "registry"), Events: a.streams.Events(),
		Restore: a.restoreData, Revert: a.revert, Unjoin: a.unjoin, Logger: a.log, Registerer: a.metrics})
	if err := a.registry.Open(ctx); err != nil {
		return fmt.Errorf("open the registry: %w", err)
	}
	if err := a.openArchive(); err != nil {
		return err
	}
	if err := a.openIngest(); err != nil {
		return err
	}
	a.replays = newReplays(a.registry, a.archive, a.streams, a.log)
	return a.openWeb(token)
}

func (a *Appliance) streamsOptions() streams.Options {
	l := a.config.Log
	listen := a.config.NATS
	if listen == "off" {
		listen = ""
	}
	return streams.Options{
		Dir: filepath.Join(a.config.Data, "log"), Listen: listen, Durability: l.Durability, SyncInterval: l.SyncInterval,
		Keep: l.Keep, MaxBytes: l.MaxBytes, LimitBytes: l.LimitBytes, ImmediateRate: l.ImmediateRate, Linger: l.Linger,
		MaxWait: l.MaxWait, MessageBytes: l.MessageBytes, WaitingBytes: l.WaitingBytes,
		DropsKeep: a.config.Drops.Keep, DropsMaxBytes: a.config.Drops.MaxBytes,
		Logger: a.log, Registerer: a.metrics,
	}
}

func (a *Appliance) openArchive() error {
	var stores []archive.Store
	var read []retrieval.Store
	for _, s := range a.config.Stores {
		granularity, err := partition.ParseGranularity(s.Granularity)
		if err != nil {
			return err
		}
		root := a.config.root(s)
		stores = append(stores, archive.Store{Name: s.Name, Root: root, Granularity: granularity})
		read = append(read, retrieval.Store{Name: s.Name, Root: root, Granularity: granularity})
	}
	a.archive = archive.New(archive.Options{
		Store: stores[0], Tiers: stores[1:],
		StateDir: a.config.Data, Source: a.streams.Archive(), Drops: a.streams.Drops(), SyncLog: a.streams.Sync,
		Registered: a.registry.Get, Logger: a.log, Registerer: a.metrics,
	})
	err := a.archive.OpenStore()
	if errors.Is(err, archive.ErrAway) {
		a.log.Error("samples stay in the log until the store is there", "err", err)
	} else if err != nil {
		return err
	}
	a.retrieval = retrieval.New(retrieval.Options{
		Stores: read,
		Tail:   a.tail, Logger: a.log, Registerer: a.metrics,
	})
	return nil
}

func (a *Appliance) openIngest() error {
	c := a.config
	options, warnings := caclient.OptionsFromEnv(os.Getenv)
	for _, w := range warnings {
		a.log.Warn("Channel Access environment", "problem", w)
	}
	c.CA.apply(&options)
	options.AddressFile = filepath.Join(c.Data, "ca-addresses")
	options.Logger, options.Registerer = a.log, a.metrics
	mask, err := c.mask()
	if err != nil {
		return err
	}
	a.client = caclient.New(options)
	a.engine, err = ingest.New(ingest.Options{
		Client: a.client, Append: a.streams.Samples().Append, Follow: a.streams.Events().Follow,
		Initial: a.registry.Snapshot, Started: a.started, Known: a.registry.Get,
		DriftPast: c.Drift.Past, DriftFuture: c.Drift.Future, RateEvents: c.Rate.Events, RateBytes: c.Rate.Bytes, Mask: mask, NoProperties: !c.CA.Properties,
		CountersFile: filepath.Join(c.Data, "ingest-counters"),
		Logger:       a.log, Registerer: a.metrics,
	})
	if err != nil {
		return err
	}
	a.policies, err = newPolicies(c.Policies, a.registry, a.engine, a.log, a.metrics)
	return err
}

// addressText is the content of addresses.json.
func (a *Appliance) addressText() ([]byte, error) {
	text, err := json.Marshal(a.addresses)
	return append(text, '\n'), err
}

// announce writes addresses.json, by renaming so that nobody reads half of it.
func (a *Appliance) announce() error {
	text, err := a.addressText()
	if err != nil {
		return err
	}
	temporary := a.addressFile() + ".new"
	if err := os.WriteFile(temporary, text, 0o644); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	if err := os.Rename(temporary, a.addressFile()); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	a.log.Info("pvlog is archiving", "http", "http://"+a.addresses.HTTP, "nats", a.addresses.NATS,
		"data", a.config.Data, "pvs", len(a.registry.All()), "durability", a.config.Log.promise(), "version", Version())
	close(a.ready)
	return nil
}

// close gives back what open took, in the opposite order.
func (a *Appliance) close() error {
	var errs []error
	if a.listener != nil {
		if err := a.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.archive != nil {
		errs = append(errs, a.archive.CloseStore())
	}
	if a.registry != nil {
		errs = append(errs, a.registry.Close())
	}
	if a.streams != nil {
		errs = append(errs, a.streams.Close())
	}
	return errors.Join(errs...)
}
