package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"pvlog/consumers/partition"
)

// strikesMax is how often an I/O error of one file is taken for one of the
// store, and tried again, before a probe decides.
const strikesMax = 3

// fileAlone decides whose an I/O error is (D5): of this file alone if it comes
// again and again while the store takes another file to the disk.
func (a *Archive) fileAlone(path string) bool {
	a.strikes[path]++
	return a.strikes[path] >= strikesMax && a.checkStore() == nil && a.probeDisk() == nil
}

// probeDisk does all that a partition needs with a folder and a file of its own,
// syncs included.
func (a *Archive) probeDisk() error {
	fs, dir := a.opt.FS, filepath.Join(a.opt.Store.Root, ".probe-folder")
	path := filepath.Join(a.opt.Store.Root, ".probe-disk")
	if err := fs.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("probe the store's disk: %w", err)
	}
	defer func() { _, _ = os.Remove(dir), os.Remove(path) }() // the next probe uses what is left
	f, err := fs.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("probe the store's disk: %w", err)
	}
	_, err = f.WriteAt([]byte("probe\n"), 0)
	if err = errors.Join(err, f.Truncate(1), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("probe the store's disk: %w", err)
	}
	return nil
}

// syncSingly makes a round's files durable one by one, after a sync of all has
// failed: it finds the file whose fault that is. It gives what is durable; the
// samples of a file that is damaged are drops then.
func (a *Archive) syncSingly(appends []written, dirs []string) ([]written, error) {
	var failed error
	kept := slices.DeleteFunc(slices.Clone(appends), func(w written) bool {
		a.progress()
		path := w.f.file.path
		err := partition.SyncPath(a.opt.FS, path)
		if err == nil || failed != nil {
			return false
		}
		if !errors.Is(err, syscall.EIO) || !a.fileAlone(path) {
			failed = err
			return false
		}
		w.f.mu.Lock()
		defer w.f.mu.Unlock()
		a.rejectPart(w.f, w.part, err)
		return true
	})
	for _, dir := range dirs {
		if failed == nil {
			failed = a.syncUp(dir, a.opt.Store.Root, nil)
		}
	}
	for _, p := range a.inherited {
		if err := a.syncUp(p.path, a.rootOf(p.path), nil); failed == nil && !errors.Is(err, fs.ErrNotExist) {
			failed = err
		}
	}
	if failed != nil {
		return nil, fmt.Errorf("make %d partitions durable one by one: %w", len(appends), failed)
	}
	a.singly, a.inherited = false, nil
	return kept, nil
}
