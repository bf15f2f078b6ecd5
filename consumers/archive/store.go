package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// markName is the file in a store's root that says whose it is: it is locked
// by the process that writes the store (D16), and its absence where it once was
// tells of a file system that is not mounted.
const markName = ".pvlog-store"

// cleanName is the file in StateDir that says the last run ended by itself.
const cleanName = "archive.clean"

// errUnmounted says that the store's root is not the folder it was.
var errUnmounted = errors.New("the store's root has lost its mark " + markName + ": is its file system mounted?")

// ErrLocked says that another process writes the store.
var ErrLocked = errors.New("another process writes this store")

// ErrAway says that a store which an earlier run has written cannot be opened
// now: its file system is not mounted, read-only or full.
var ErrAway = errors.New("the store cannot be opened now")

// OpenStore makes the root of each store if need be, marks it and locks it for
// this process. A store that was marked in an earlier run and has no mark now is
// a missing mount, not a new store: StateDir remembers. An [ErrAway] need not
// keep anybody from running the archive, which tries again until it succeeds
// while the log keeps the samples (D5).
func (a *Archive) OpenStore() error {
	var marks []*os.File
	for _, s := range a.stores {
		mark, err := a.openOne(s)
		if err != nil {
			return errors.Join(err, closeAll(marks))
		}
		marks = append(marks, mark)
	}
	a.marks = marks
	return nil
}

func (a *Archive) openOne(s Store) (*os.File, error) {
	known, err := a.knownStore(s)
	if err != nil {
		return nil, err
	}
	mark, err := a.openStore(s, known)
	if known && err != nil && !errors.Is(err, ErrLocked) {
		err = fmt.Errorf("%w: %w", ErrAway, err)
	}
	return mark, err
}

func (a *Archive) openStore(s Store, known bool) (*os.File, error) {
	mark := filepath.Join(s.Root, markName)
	if _, err := os.Stat(mark); known && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store %s at %s: %w (if it is gone for good, remove %s)", s.Name, s.Root, errUnmounted, a.knownPath(s))
	}
	if err := os.MkdirAll(s.Root, 0o755); err != nil {
		return nil, fmt.Errorf("make store %s: %w", s.Name, err)
	}
	f, err := os.OpenFile(mark, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("mark store %s: %w", s.Name, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s at %s: %w: stop it first", s.Name, s.Root, ErrLocked), f.Close())
	}
	if err := os.RemoveAll(filepath.Join(s.Root, copyingName)); err != nil {
		return nil, errors.Join(fmt.Errorf("remove copies that were not finished: %w", err), f.Close())
	}
	if !known {
		if err := errors.Join(f.Sync(), a.rememberStore(s)); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

func (a *Archive) knownPath(s Store) string {
	return filepath.Join(a.opt.StateDir, "store."+s.Name)
}

// knownStore reports whether the root was marked by an earlier run.
func (a *Archive) knownStore(s Store) (bool, error) {
	b, err := os.ReadFile(a.knownPath(s))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(b) == s.Root, err
}

// rememberStore notes the root in StateDir, after the mark is durable in it: a
// power cut in between must not look like a missing mount.
func (a *Archive) rememberStore(s Store) error {
	for _, dir := range []string{s.Root, filepath.Dir(s.Root)} {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("mark store %s: %w", s.Name, err)
		}
	}
	if err := writeDurable(a.knownPath(s), s.Root); err != nil {
		return fmt.Errorf("remember store %s: %w", s.Name, err)
	}
	return nil
}

// CloseStore gives the locks back.
func (a *Archive) CloseStore() error {
	if a.marks == nil || a.abandoned {
		return nil // what hangs may still write: the locks end with the process
	}
	err := errors.Join(a.syncer.Close(), closeAll(a.marks))
	a.marks = nil
	return err
}

func closeAll(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// checkStore makes sure that the root of the store that is appended to is still
// the folder that was marked, so that a lost mount is never mistaken for an
// empty store.
func (a *Archive) checkStore() error { return a.checkMark(0) }

// checkMark is checkStore for the i-th of the stores.
func (a *Archive) checkMark(i int) error {
	s := a.stores[i]
	if a.marks == nil {
		return fmt.Errorf("store %s is not open", s.Name)
	}
	held, err := a.marks[i].Stat()
	if err != nil {
		return fmt.Errorf("stat the mark of store %s: %w", s.Name, err)
	}
	found, err := os.Stat(filepath.Join(s.Root, markName))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(held, found) {
		return fmt.Errorf("store %s at %s: %w", s.Name, s.Root, errUnmounted)
	}
	return err
}

// begin opens the store if that was not done, finds out how the last run ended
// and puts the consumer to its floor. It fails only if ctx ends.
func (a *Archive) begin(ctx context.Context) error {
	if a.marks == nil {
		a.retry(ctx, "open the store", func(context.Context) error { return a.OpenStore() })
		if a.marks == nil {
			return ctx.Err()
		}
	}
	a.retry(ctx, "begin", func(context.Context) error {
		err := os.Remove(filepath.Join(a.opt.StateDir, cleanName))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		a.unclean = err != nil
		a.recovering = a.unclean
		return syncDir(a.opt.StateDir)
	})
	a.loadTallies()
	a.retry(ctx, "finish replacing files", a.recoverSwap)
	a.retry(ctx, "reset the consumer", a.reset)
	return ctx.Err()
}

// end takes what the log still has, flushes, and marks the end as clean.
func (a *Archive) end(ctx context.Context) error {
	a.drain(ctx)
	within, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := errors.Join(a.publishDrops(within), a.flush(within)); err != nil {
		return fmt.Errorf("flush partitions at the end (the next start repeats it from the log): %w", err)
	}
	if err := writeDurable(filepath.Join(a.opt.StateDir, cleanName), ""); err != nil {
		return fmt.Errorf("mark the clean end: %w", err)
	}
	return nil
}

// drain fetches until the log has no more, memory is full or drainTime is over.
// What is left is still in the log for the next start.
func (a *Archive) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if a.astray && a.reset(ctx) != nil {
		return
	}
	for ctx.Err() == nil && !a.full() {
		messages, err := a.opt.Source.Fetch(ctx, drainWait)
		if err != nil || len(messages) == 0 || !a.takeAll(ctx, messages) {
			return
		}
		if err := a.publishDrops(ctx); err != nil {
			return
		}
	}
}

// writeDurable writes a small file and returns when a power cut leaves it.
func writeDurable(path, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
