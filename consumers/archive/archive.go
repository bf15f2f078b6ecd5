// Package archive is the durable consumer that turns the log into PB files.
//
// It promises that a sample of the log ends exactly once in its PV's partition
// or in the drop log with its reason, whatever stops in between: it writes,
// makes durable, and only then acknowledges (design D3), in the order of the
// log (D4), and reading the same part of the log again changes nothing (D2).
// A fault of the store stops it, never the ingest (D5).
//
// It is driven by [Archive.Run], one goroutine, which owns every partition
// that is being written; retrieval reads what is not yet written by
// [Archive.Tail].
package archive

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// Source is where samples come from in order: [streams.Consumer], or a test's
// own log.
type Source interface {
	// Reset goes back to the acknowledged floor.
	Reset(ctx context.Context) error
	// Fetch gives the next messages, none after wait.
	Fetch(ctx context.Context, wait time.Duration) ([]streams.Message, error)
	// Ack acknowledges everything up to and including seq.
	Ack(ctx context.Context, seq uint64) error
}

// Drops takes what no partition may hold: [streams.DropLog], or a test's own.
type Drops interface {
	// Append returns when the log has all of them.
	Append(ctx context.Context, drops []streams.Drop) error
}

// Store is a place of partitions.
type Store struct {
	Name        string // "STS"
	Root        string // folder
	Granularity partition.Granularity
}

// Options of an [Archive].
type Options struct {
	Store Store // where samples are appended
	// Tiers are further stores, coarser from one to the next: nothing is
	// appended there, but what stands there counts for a PV's last time and its
	// lookups, and is deleted, restored and renamed with the PV.
	Tiers    []Store
	StateDir string // folder for the mark of a clean end
	Source   Source
	Drops    Drops
	// SyncLog makes what was published to the log durable. Drops stand there,
	// so it comes before the acknowledgement of a round that had any.
	SyncLog func() error
	// Registered gives a PV's registry entry, false if there is none.
	Registered func(pv schema.PVName) (*schema.TypeInfo, bool)

	RoundEvery  time.Duration // shortest time between flush rounds; 0 is 1 s
	BufferBytes int64         // bytes that wait in memory before a round starts early; 0 is 64 MiB
	UnackedMax  int           // messages that wait for acknowledgement before a round starts early; 0 is 500,000
	FS          partition.FS  // nil is the operating system's
	SyncPerFile bool          // fsync each file instead of one syncfs a round

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil keeps the metrics unregistered
}

func (o Options) withDefaults() Options {
	if o.RoundEvery == 0 {
		o.RoundEvery = time.Second
	}
	if o.BufferBytes == 0 {
		o.BufferBytes = 64 << 20
	}
	if o.UnackedMax == 0 {
		o.UnackedMax = 500_000
	}
	if o.FS == nil {
		o.FS = partition.OSFS{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SyncLog == nil {
		o.SyncLog = func() error { return nil }
	}
	return o
}

// Archive filters samples and writes them to partitions.
type Archive struct {
	// set by New, read-only
	opt     Options
	stores  []Store // Options.Store and its Tiers
	log     *slog.Logger
	metrics *metrics
	syncer  *partition.Syncer
	asks    chan ask
	ended   chan struct{} // closed when Run ends
	worked  chan struct{} // closed when its goroutine does, which may be left behind
	lister  partition.Lister
	marks   []*os.File // each store's lock, set by OpenStore before Run or by its begin

	hangAfter time.Duration // tests shorten it before Run
	sliceFor  time.Duration // sliceTime; tests shorten it
	busy      atomic.Int64  // since when Run's goroutine is at work on a disk, Unix nanoseconds; 0: it is not
	onLog     atomic.Bool   // and that disk is the log's
	abandoned bool          // set by Run, read after it: its work hangs and was left

	// owned by Run's goroutine
	unclean   bool        // the last run did not end by itself: files are checked forward
	inherited []inherited // found in files after an unclean end, not yet durable again
	dirty     map[*pvFiles]struct{}
	tallies   tallies
	appender  *partition.Appender
	buffered  int64  // bytes in all buffers
	unacked   int    // messages taken since the last acknowledgement
	taken     uint64 // last sequence taken
	acked     uint64
	astray    bool           // the consumer must go back to its floor before the next fetch
	drops     []streams.Drop // rejected, not yet in the drop log
	dropped   bool           // the drop log has had something since it was last synced
	asked     time.Time      // when something was last asked of Run's goroutine
	taking    time.Time      // what the log had stored until then has been taken
	// Samples that the last run had left unacknowledged may still come: what a
	// power cut left of their files is not repaired yet.
	recovering bool
	lastRound  time.Time
	roundTook  time.Duration
	strikes    map[string]int // I/O errors of files since they were last written
	singly     bool           // the next round syncs file by file
	swap       *swap          // files were replaced and the registry has not decided yet
	order      []*pvFiles     // those in dirty, as they came; see wait
	slice      uint64         // number of the round that appends
	turns      int            // of order, that it has dealt with
	cut        bool           // the last one left PVs for the next
	wroteFor   time.Duration  // of roundTook, until all was written
	syncTook   time.Duration  // until it was durable

	mu      sync.RWMutex // guards the map; each pvFiles has its own lock
	pvs     map[schema.PVName]*pvFiles
	held    map[schema.PVName]bool // guarded by mu; whose files are being copied or moved
	futures map[string]Future      // guarded by mu; by path
	health  Health                 // guarded by mu

	unsettled schema.PVName // guarded by mu; whose files were replaced while the registry has not decided
}

// Health says whether the archive can write, for /healthz and the console.
type Health struct {
	Fault error     // nil while it can write
	Since time.Time // of the fault
	Round time.Time // end of the last complete flush round
	Took  time.Duration
	Acked uint64 // last acknowledged sequence of SAMPLES
}

// New prepares an archive; nothing is read or written before Run.
func New(o Options) *Archive {
	o = o.withDefaults()
	return &Archive{
		opt: o, stores: append([]Store{o.Store}, o.Tiers...), log: o.Logger, metrics: newMetrics(o.Registerer),
		syncer: partition.NewSyncer(o.FS, o.Store.Root, o.SyncPerFile),
		asks:   make(chan ask), ended: make(chan struct{}), worked: make(chan struct{}), appender: partition.NewAppender(o.FS, 0),
		dirty:   map[*pvFiles]struct{}{},
		tallies: tallies{changed: map[*tally]struct{}{}, byPV: map[schema.PVName]*tally{}, path: filepath.Join(o.StateDir, tallyName)},
		pvs:     map[schema.PVName]*pvFiles{},
		held:    map[schema.PVName]bool{},

		hangAfter: hangAfter, sliceFor: sliceTime, strikes: map[string]int{},
	}
}

// Health tells how the archive is.
func (a *Archive) Health() Health {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.withHang(a.health)
}

// Run drains the log until ctx ends; then it takes what the log still holds,
// as far as ten seconds and its memory allow, and makes it durable. It returns
// an error only if that last step failed: everything else is retried. If a disk
// does not answer it returns all the same, and leaves the goroutine behind that
// waits for it.
func (a *Archive) Run(ctx context.Context) error {
	defer close(a.ended)
	work := make(chan error, 1)
	go func() {
		defer close(a.worked)
		work <- a.work(ctx)
	}()
	return a.watch(ctx, work)
}

// work is Run's goroutine: it owns the partitions.
func (a *Archive) work(ctx context.Context) error {
	defer a.appender.Close()
	defer a.rest()
	if err := a.begin(ctx); err != nil {
		return nil //nolint:nilerr // begin fails only when ctx ended: nothing was taken
	}
	cleaning, stop := context.WithCancel(ctx)
	var cleaner sync.WaitGroup
	defer cleaner.Wait()
	defer stop()
	if a.unclean {
		began := time.Now()
		cleaner.Go(func() { a.removeLeftovers(cleaning, began) })
	}
	for ctx.Err() == nil {
		a.progress()
		a.step(ctx)
	}
	a.progress()
	return a.end(context.WithoutCancel(ctx))
}

// step is one turn of Run: take what the log has, and flush when it is time.
func (a *Archive) step(ctx context.Context) {
	if a.serve(ctx) {
		a.asked = time.Now()
	}
	a.settle(ctx)
	if a.astray {
		a.retry(ctx, "reset the consumer", a.reset)
		return
	}
	wait := a.untilRound()
	if time.Since(a.asked) < askMemory {
		wait = time.Millisecond // the next request may be on its way
	}
	asking := time.Now()
	a.rest()
	messages, err := a.opt.Source.Fetch(ctx, wait)
	if err != nil {
		a.lose(ctx, "read the log", err)
		return
	}
	a.progress()
	if !a.takeAll(ctx, messages) {
		return
	}
	a.tookAll(messages, asking)
	a.retry(ctx, "publish drops", a.publishDrops)
	if a.roundDue() {
		a.retry(ctx, "write partitions", a.flushSome)
	}
}

// lose notes that the consumer's place is not known any more: nothing may be
// fetched before it stands at its floor again, or newer samples would come
// first (D4). An operation that ctx ended is no loss.
func (a *Archive) lose(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	a.astray = true
	a.log.Warn("the log is read again from the last acknowledged sample", "step", what, "err", err)
}

// reset puts the consumer to its floor. What comes again from there has been
// taken by nobody: the buffers, files and drops will know it.
func (a *Archive) reset(ctx context.Context) error {
	a.rest()
	defer a.progress()
	if err := a.opt.Source.Reset(ctx); err != nil {
		return err
	}
	a.astray, a.taken = false, a.acked
	return nil
}

// untilRound is how long a fetch may wait for samples.
func (a *Archive) untilRound() time.Duration {
	const idle, shortest = 500 * time.Millisecond, time.Millisecond
	if len(a.dirty) == 0 && !a.dropped && a.unacked == 0 {
		return idle
	}
	return min(idle, max(shortest, a.interval()-time.Since(a.lastRound)))
}

// full tells that memory or the server's list of unacknowledged messages may
// grow no more.
func (a *Archive) full() bool {
	return a.buffered >= a.opt.BufferBytes || a.unacked >= a.opt.UnackedMax
}

func (a *Archive) roundDue() bool {
	switch {
	case a.full():
		return true
	case a.unacked == 0 && len(a.dirty) == 0:
		return false
	}
	return time.Since(a.lastRound) >= a.interval()
}
