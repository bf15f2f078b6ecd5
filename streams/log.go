package streams

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pvlog/schema"
)

// ErrClosed says that the log was closed, or never opened.
var ErrClosed = errors.New("the log is closed")

// Log is the embedded server with its streams. Open comes first; Run publishes
// and trims; the parts may be used from Open until Close, from any goroutine
// unless they say otherwise.
type Log struct {
	// Set by New, read-only.
	opt     Options
	invalid error // of the options, told by Open
	log     *slog.Logger
	metrics *metrics
	samples *SampleLog
	events  *EventLog
	drops   *DropLog
	archive *Consumer

	reconnects atomic.Int64 // of our connection within a session

	restartMu sync.Mutex // one restart of the server at a time; taken before mu and ledgerMu

	ledgerMu sync.Mutex // guards the next four; taken alone
	ledger   ledger
	problems []string
	losses   []Loss
	outlook  Outlook

	lastSeen uint64 // newest sequence of SAMPLES; the keeper's

	space func(dir string) (size, free int64, err error) // set by New; tests replace it before Open

	mu      sync.RWMutex // guards what follows
	lock    *os.File
	lim     limits
	session *session // nil before Open, after Close, and while the server restarts
	number  int      // of the newest session
	addr    string
}

// New prepares a log; it does no I/O.
func New(opt Options) *Log {
	opt, err := opt.withDefaults()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{opt: opt, invalid: err, log: opt.Logger, metrics: newMetrics(opt.Registerer), space: space}
	l.samples = newSampleLog(l)
	l.events = &EventLog{log: l}
	l.drops = &DropLog{log: l}
	l.archive = &Consumer{log: l}
	return l
}

// Open takes the directory for this process, starts the server and sets up the
// streams. A directory that another process holds is a [schema.Conflict].
func (l *Log) Open(ctx context.Context) error {
	if l.invalid != nil {
		return l.invalid
	}
	if err := os.MkdirAll(filepath.Join(l.opt.Dir, "nats"), 0o755); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	lock, err := lockDir(l.opt.Dir)
	if err != nil {
		return err
	}
	if err := l.roomToStart(); err != nil {
		return errors.Join(err, lock.Close())
	}
	led := l.openLedger()
	found, err := l.examine(led, !led.Clean)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	s, lim, err := l.start(ctx, 1)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	l.mu.Lock()
	l.lock, l.lim, l.session, l.number, l.addr = lock, lim, s, 1, serverAddr(s, l.opt.Listen)
	l.mu.Unlock()
	if err := l.recovered(ctx, led, found); err != nil {
		return errors.Join(err, l.Close())
	}
	l.samples.open()
	l.log.Info("the log is open", "dir", l.opt.Dir, "durability", l.opt.Durability, "sync_interval", l.opt.SyncInterval,
		"keep", l.opt.Keep, "max_bytes", lim.keep, "limit_bytes", lim.limit, "drops_max_bytes", lim.drops)
	return nil
}

// start plans the limits and starts a session with its streams.
func (l *Log) start(ctx context.Context, number int) (*session, limits, error) {
	size, free, err := l.space(l.opt.Dir)
	if err != nil {
		return nil, limits{}, err
	}
	lim, err := planLimits(l.opt, size, free+usedBytes(filepath.Join(l.opt.Dir, "nats")), l.standing())
	if err != nil {
		return nil, limits{}, err
	}
	s, err := l.startSession(ctx, number, lim)
	if err != nil {
		return nil, limits{}, err
	}
	if err := errors.Join(s.fault(), ctx.Err()); err != nil {
		s.close()
		return nil, limits{}, schema.Errorf(schema.Unavailable, "the log in %s does not come up: %w: what it holds is left as it is; see the server's lines before", l.opt.Dir, err)
	}
	if err := l.setUp(ctx, s, lim); err != nil {
		s.close()
		return nil, limits{}, err
	}
	return s, lim, nil
}

// recovered compares what the server came up with to the ledger, and puts the
// archive's consumer back to the floor that the ledger knows: its state has no
// checksum, and a floor that is too high would pass samples over. What comes
// twice is known to the archive (design D2).
func (l *Log) recovered(ctx context.Context, led *ledger, found examination) error {
	state, err := l.State(ctx)
	if err != nil {
		return err
	}
	if led.Floor != nil && state.Floor > *led.Floor {
		if err := l.lowerFloor(ctx, *led.Floor); err != nil {
			return err
		}
		if state, err = l.State(ctx); err != nil {
			return err
		}
	}
	return l.checkLedger(ctx, led, found, state)
}

func (l *Log) lowerFloor(ctx context.Context, floor uint64) error {
	s, err := l.current()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if _, err := s.js.ResetConsumerToSequence(ctx, SamplesStream, ArchiveName, floor+1); err != nil {
		return fmt.Errorf("put consumer %s back to %d: %w", ArchiveName, floor, err)
	}
	return nil
}

// Run publishes samples, trims SAMPLES and watches over the server until ctx
// ends. Then it publishes all that waits, for at most 10 s, and returns; what
// is left after that is an error. The other parts work on until Close.
func (l *Log) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	wait.Go(func() { l.runTrimmer(ctx) })
	wait.Go(func() { l.drops.run(ctx) })
	wait.Go(func() { l.runKeeper(side) })
	err := l.samples.run(ctx)
	stop()
	wait.Wait()
	return err
}

// Close makes what is stored durable, stops the server and gives the directory
// back. Appends that wait end with [ErrClosed].
func (l *Log) Close() error {
	l.restartMu.Lock() // the directory is not given back under a starting server
	defer l.restartMu.Unlock()
	l.samples.close()
	var noted error
	if _, err := l.current(); err == nil {
		noted = bounded(closeTime, "make the log durable", func() error {
			return errors.Join(l.Sync(), l.note(func(led *ledger) { led.Clean = true }))
		})
	}
	l.mu.Lock()
	s, lock := l.session, l.lock
	l.session, l.lock = nil, nil
	l.mu.Unlock()
	if s != nil {
		err := bounded(closeTime, "stop the log's server", func() error {
			s.close()
			return nil
		})
		if err != nil {
			return errors.Join(noted, err) // what hangs may still write: the lock ends with the process
		}
	}
	if lock == nil {
		return noted
	}
	if err := lock.Close(); err != nil {
		return fmt.Errorf("release the log's directory: %w", err)
	}
	return noted
}

// Addr is where NATS clients can connect, "" if there is no listener.
func (l *Log) Addr() string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.addr
}

// closeTime is how long each step of Close may take.
const closeTime = 20 * time.Second

// errHangs says that a write or sync of the log does not return.
var errHangs = errors.New("the log's disk does not answer: a write or sync hangs")

// bounded does something that a disk may never let end, and leaves it behind
// after a while.
func bounded(d time.Duration, what string, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C:
		return schema.Errorf(schema.Unavailable, "%s: %w", what, errHangs)
	}
}

// Sync makes everything that the log has acknowledged durable, and notes it.
// While the server cannot be asked it only syncs.
func (l *Log) Sync() error {
	ctx, cancel := context.WithTimeout(context.Background(), apiTimeout)
	defer cancel()
	state, failed := l.State(ctx)
	if err := syncDir(filepath.Join(l.opt.Dir, "nats")); err != nil {
		return err
	}
	if failed != nil {
		return nil
	}
	return l.noteStreams(state)
}

// Samples is the way in for samples.
func (l *Log) Samples() *SampleLog { return l.samples }

// Events is the registry's log.
func (l *Log) Events() *EventLog { return l.events }

// Drops is where rejected samples go.
func (l *Log) Drops() *DropLog { return l.drops }

// Archive is the archive's consumer of SAMPLES.
func (l *Log) Archive() *Consumer { return l.archive }

// current gives the running session. Its error is a [schema.Unavailable] while
// the server restarts.
func (l *Log) current() (*session, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.session != nil:
		return l.session, nil
	case l.lock != nil:
		return nil, schema.Errorf(schema.Unavailable, "the log's server is restarting")
	}
	return nil, ErrClosed
}
