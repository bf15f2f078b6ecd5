package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// In the registry's folder stand badger/ (the state), lock, reserve (see
// space.go), opening (there while badger/ is being opened) and the damaged-*
// folders that were moved aside.
func (r *Registry) badgerDir() string   { return filepath.Join(r.opt.Dir, "badger") }
func (r *Registry) openingFile() string { return filepath.Join(r.opt.Dir, "opening") }

// openStore opens Badger, or a fresh one if the present one is of no use.
// Called with storeMu held, and by Run's goroutine or before it.
func (r *Registry) openStore(ctx context.Context) error {
	if err := r.roomToOpen(); err != nil {
		return err
	}
	// Badger crashes the process on some damage (a panic in its own goroutine, a
	// mapped file that became short). The file tells the next start, which then
	// rebuilds; after a kill during the opening it does so without need.
	if _, err := os.Stat(r.openingFile()); err == nil {
		if err := r.moveAside("the last start ended while it was opened"); err != nil {
			return err
		}
	}
	if err := os.WriteFile(r.openingFile(), nil, 0o644); err != nil {
		return fmt.Errorf("note opening of badger: %w", err)
	}
	reason, err := r.tryStore(ctx)
	if err == nil && reason != "" {
		if err = r.moveAside(reason); err == nil {
			reason, err = r.tryStore(ctx)
		}
		if err == nil && reason != "" {
			err = fmt.Errorf("open fresh badger folder %s: %s", r.badgerDir(), reason)
		}
	}
	return errors.Join(err, os.Remove(r.openingFile()))
}

// tryStore opens and loads Badger. A reason without an error means that the
// folder has to be rebuilt; Badger is closed then.
func (r *Registry) tryStore(ctx context.Context) (reason string, err error) {
	s, err := openBadger(r.badgerDir(), r.log)
	if err != nil && notDamage(err) {
		return "", err
	}
	if err != nil {
		return err.Error(), nil
	}
	r.store = s
	st, m, err := s.load()
	if err != nil {
		return err.Error(), r.closeStore()
	}
	reason, err = r.foreign(ctx, st, m)
	if err != nil || reason != "" {
		return reason, errors.Join(err, r.closeStore())
	}
	r.replace(st, m)
	return "", nil
}

// foreign compares the cursor with the log and says why the state cannot come
// from it: the log lost its tail, or is another one.
func (r *Registry) foreign(ctx context.Context, st state, m meta) (string, error) {
	last, err := r.events.Last(ctx)
	if err != nil {
		return "", fmt.Errorf("find end of the event log: %w", err)
	}
	if m.Cursor > last {
		return fmt.Sprintf("it knows events up to %d but the log ends at %d: the log has lost its newest events, of %s",
			m.Cursor, last, st.newerThan(last)), nil
	}
	if m.Cursor == 0 {
		return "", nil
	}
	found := errors.New("found")
	var seen *logpb.RegistryEvent
	err = r.events.Follow(ctx, m.Cursor, func(seq uint64, e *logpb.RegistryEvent, _ bool) error {
		if seq == m.Cursor {
			seen = e
		}
		return found
	})
	if !errors.Is(err, found) {
		return "", fmt.Errorf("read event %d: %w", m.Cursor, errors.Join(err, ctx.Err()))
	}
	if seen == nil || fingerprint(seen) != m.Event {
		return fmt.Sprintf("event %d of the log is not the one that was applied: it belongs to another log", m.Cursor), nil
	}
	return "", nil
}

// moveAside keeps the useless folder under another name and says so.
func (r *Registry) moveAside(reason string) error {
	if _, err := os.Stat(r.badgerDir()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	stamp := r.now().UTC().Format("20060102T150405.000000000Z")
	aside := filepath.Join(r.opt.Dir, "damaged-"+stamp)
	if err := os.Rename(r.badgerDir(), aside); err != nil {
		return fmt.Errorf("move damaged badger aside: %w", err)
	}
	r.metrics.rebuilds.Inc()
	r.log.Warn("the registry's state is rebuilt from the event log; the old folder was moved aside and may be deleted",
		"reason", reason, "aside", aside)
	r.replace(newState(), meta{})
	return nil
}

// rebuild begins anew while running, when the log turned out to have lost
// events that were applied here.
func (r *Registry) rebuild(ctx context.Context) error {
	r.storeMu.Lock()
	defer r.storeMu.Unlock()
	if err := r.closeStore(); err != nil {
		r.log.Warn("badger did not close well before its rebuild", "err", err)
	}
	return r.openStore(ctx)
}

// closeStore ends Badger, which then writes a table: see roomToClose. Called
// with storeMu held.
func (r *Registry) closeStore() error {
	if r.store == nil {
		return nil
	}
	s := r.store
	r.store = nil
	if err := r.roomToClose(); err != nil {
		return err
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close badger: %w", err)
	}
	return nil
}

// replace puts a whole new state in place.
func (r *Registry) replace(st state, m meta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.meta = st, m
	r.signal()
}

// signal wakes who waits for meta or fault; called with mu held.
func (r *Registry) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// compactLoop cleans Badger up from time to time and restores the reserve
// file, until ctx ends.
func (r *Registry) compactLoop(ctx context.Context) {
	tick := time.NewTicker(r.opt.CompactGap)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := r.compact(); err != nil && schema.CodeOf(err) != schema.Unavailable {
				r.log.Warn("badger's value log was not cleaned up", "err", err)
			}
		}
	}
}

func (r *Registry) compact() error {
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	if r.store == nil {
		return nil
	}
	if err := r.room(); err != nil {
		return err
	}
	return errors.Join(r.keepReserve(), r.store.compact())
}
