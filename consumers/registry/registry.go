// Package registry keeps what pvlog knows of every PV: which are archived,
// how, and since when.
//
// The truth is the REGISTRY stream, one subject per PV; this package validates
// commands against the present state, appends one event per PV with the
// expected last sequence of that PV's subject, and follows the stream into a
// Badger folder that holds state and cursor, changed in one transaction. It
// promises that a command has returned only after its event is durable in the
// log and applied here (read your writes), that of two racing commands one is
// told so, that the Badger folder may be deleted, corrupted or older or newer
// than the log at any time without loss (it is rebuilt; a damaged one is moved
// aside, never deleted), and that nothing is written to it when the file
// system is nearly full.
//
// Commands may come from any goroutine. [Registry.Open] loads the folder,
// [Registry.Run] follows the stream and owns every write to Badger,
// [Registry.Close] ends it. It is the only package that imports badger.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/schema/logpb"
	"pvlog/streams"
)

// Events is the log of registry events: [streams.EventLog], or one in memory.
type Events interface {
	// Append adds events with the expected last sequence of each PV's subject
	// (0: none yet); at most 1000 are stored together or not at all, and they
	// are durable when it returns. A lost race is streams.ErrConflict.
	Append(ctx context.Context, proposals ...streams.Proposal) ([]uint64, error)
	// Follow calls apply with every event from a sequence on, in order, until
	// ctx ends or apply fails; caughtUp says that none was waiting behind it.
	Follow(ctx context.Context, from uint64, apply func(seq uint64, e *logpb.RegistryEvent, caughtUp bool) error) error
	// Last is the sequence of the newest event, 0 for an empty log.
	Last(ctx context.Context) (uint64, error)
}

// Options configure a Registry. Dir and Events are required.
type Options struct {
	Dir        string        // folder of the state; everything in it can be rebuilt from Events
	Events     Events        // the log of events
	Reserve    int64         // bytes; below this much free space nothing is written (0: 16 MiB, at most an eighth of the file system)
	CompactGap time.Duration // pause between clean-ups of Badger's value log (0: 10 minutes)
	Logger     *slog.Logger  // nil: discard
	Registerer prometheus.Registerer
}

// Registry is the state of all PVs, derived from the event log.
type Registry struct {
	// set by New, read-only
	opt      Options
	events   Events
	log      *slog.Logger
	metrics  *metrics
	now      func() time.Time
	space    func(dir string) (free, total int64, err error)
	caughtUp chan struct{} // closed by Run when the log's end was reached the first time
	stopped  chan struct{} // closed when Run has ended
	claims   claims

	// owned by Run's goroutine
	pending      []followed
	pendingBytes int

	storeMu sync.RWMutex // held for reading while store is used, for writing to replace it
	store   *store       // nil before Open and after Close
	lock    *os.File

	mu      sync.RWMutex
	state   state         // guarded by mu
	meta    meta          // guarded by mu; what the newest transaction wrote
	fault   error         // guarded by mu; why following pauses, nil if it does not
	changed chan struct{} // guarded by mu; closed and replaced when meta or fault change
}

// New makes a Registry; it does no I/O.
func New(opt Options) *Registry {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if opt.Reserve <= 0 {
		opt.Reserve = 16 << 20
	}
	if opt.CompactGap <= 0 {
		opt.CompactGap = 10 * time.Minute
	}
	r := &Registry{
		opt:      opt,
		events:   opt.Events,
		log:      opt.Logger,
		now:      time.Now,
		space:    freeSpace,
		caughtUp: make(chan struct{}),
		stopped:  make(chan struct{}),
		claims:   claims{held: map[string]*claim{}},
		state:    newState(),
		changed:  make(chan struct{}),
	}
	r.metrics = newMetrics(r, opt.Registerer)
	return r
}

// Open loads the state from Badger and compares it with the log, which must be
// open. A folder that cannot be read, is damaged, or knows events that the log
// does not have is moved aside; Run then rebuilds it from the log.
func (r *Registry) Open(ctx context.Context) error {
	if err := os.MkdirAll(r.opt.Dir, 0o755); err != nil {
		return fmt.Errorf("make registry folder: %w", err)
	}
	lock, err := lockFile(filepath.Join(r.opt.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("lock registry folder %s: %w", r.opt.Dir, err)
	}
	r.storeMu.Lock()
	defer r.storeMu.Unlock()
	r.lock = lock
	if err := r.openStore(ctx); err != nil {
		return errors.Join(err, r.closeLocked())
	}
	r.log.Info("registry loaded", "pvs", r.state.registered(), "cursor", r.meta.Cursor)
	return nil
}

// CaughtUp is closed when everything that stood in the log when Run began has
// been applied. Commands are refused before.
func (r *Registry) CaughtUp() <-chan struct{} { return r.caughtUp }

// Cursor is the sequence of the newest event that was applied.
func (r *Registry) Cursor() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.meta.Cursor
}

// Fault says why following pauses (disk full, log unreachable), nil when it
// does not.
func (r *Registry) Fault() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.fault
}

// Close ends Badger; Run must have returned. It is safe to call twice.
func (r *Registry) Close() error {
	r.storeMu.Lock()
	defer r.storeMu.Unlock()
	return r.closeLocked()
}

func (r *Registry) closeLocked() error {
	err := r.closeStore()
	if r.lock != nil {
		err = errors.Join(err, r.lock.Close())
		r.lock = nil
	}
	return err
}
