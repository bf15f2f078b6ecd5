// Package registry keeps what pvlog knows of every PV: which are archived,
// how, and since when.
//
// The truth is the REGISTRY stream, one subject per PV; this package validates
// commands against the present state, appends one event per PV with the
// expected last sequence of that PV's subject, and follows the stream into a
// Badger folder that holds state and cursor, changed in one transaction. It
// promises that a command has returned only after its event is durable in the
// log and applied here (read your writes), that of two racing commands one is
// told so, that a command on many PVs is finished whatever interrupts it, that
// what was done can be looked up and taken back, that the Badger folder may be deleted, corrupted or older or newer
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

	"pvlog/schema"
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
	// History visits the events of one PV from a sequence on, oldest first, up
	// to the newest that is stored now; it ends with visit's first error.
	History(ctx context.Context, pv schema.PVName, from uint64, visit func(seq uint64, e *logpb.RegistryEvent) error) error
	// Since is the sequence of the first event stored at or after a time, one
	// behind the newest if there is none.
	Since(ctx context.Context, t time.Time) (uint64, error)
}

// Options configure a Registry. Dir and Events are required.
type Options struct {
	Dir        string        // folder of the state; everything in it can be rebuilt from Events
	Events     Events        // the log of events
	Reserve    int64         // bytes; below this much free space nothing is written (0: 16 MiB, at most an eighth of the file system)
	CompactGap time.Duration // pause between clean-ups of Badger's value log (0: 10 minutes)
	Logger     *slog.Logger  // nil: discard
	Registerer prometheus.Registerer

	// Restore brings the data back that went with a deleted PV, before an undo
	// of its deletion registers it again. It may be called for data that is back
	// or never went, which is no error; its error leaves the PV deleted. nil:
	// data stays where it is.
	Restore func(ctx context.Context, pv schema.PVName) error
	// Revert brings back the files that a change of type had converted, from the
	// folder kept of the trash, before an undo gives the PV the type to, and names
	// the folder with those that it replaced. It may be called again for files
	// that are back. Its error leaves the type as it is. nil: files stay.
	Revert func(ctx context.Context, pv schema.PVName, kept string, to schema.DBRType) (again string, err error)
	// Unjoin brings back the files of a PV that was joined with another one, from
	// the folder kept of the trash, as Restore does.
	Unjoin func(ctx context.Context, pv schema.PVName, kept string) error
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
	retry    time.Duration // first pause before an interrupted change is tried again
	tick     time.Duration // how often requests are looked at that have a time limit
	wake     chan struct{} // holds one token: a change was handed over

	// owned by Run's goroutine
	pending      []followed
	pendingBytes int

	storeMu sync.RWMutex // held for reading while store is used, for writing to replace it
	store   *store       // nil before Open and after Close
	lock    *os.File

	workMu  sync.Mutex
	working map[string]chan struct{} // guarded by workMu; changes that a goroutine is at work on, closed when it ends
	waiting map[string]bool          // guarded by workMu; changes that Run is to go on with

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
		retry:    time.Second,
		tick:     time.Second,
		wake:     make(chan struct{}, 1),
		working:  map[string]chan struct{}{},
		waiting:  map[string]bool{},
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
