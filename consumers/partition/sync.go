package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
)

// syncAtOnce is how many files are fsynced side by side: journals join them.
const syncAtOnce = 16

// Syncer makes the files and folders of a round durable: by one syncfs where
// that reports failures (Linux 5.8 or later on ext4, xfs or btrfs), by an fsync
// of each file elsewhere or where asked, and for files of another file system
// below the root.
type Syncer struct {
	// set by NewSyncer, read-only
	fs   FS
	root string

	mu      sync.Mutex // guards what follows
	perFile bool       // asked for, or syncfs does not report failures here
	held    Handle     // the root, open since before the round's writes
	found   []string   // see Found
}

// NewSyncer makes a syncer for the store at root; nothing is opened.
func NewSyncer(fs FS, root string, perFile bool) *Syncer {
	return &Syncer{fs: fs, root: root, perFile: perFile}
}

// Sync returns when all files, and the entries of all folders, are durable. The
// first call also makes durable what an earlier process left in the page cache
// of the store's file system: its lines are found on disk as replays and would
// otherwise be acknowledged while only in memory. After an error nothing may be
// believed of what was written since the last success, even if a retry
// succeeds: the page cache forgets failed writes.
func (s *Syncer) Sync(files, dirs []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.held == nil
	if !first && len(files) == 0 && len(dirs) == 0 && len(s.found) == 0 {
		return nil
	}
	if err := s.hold(); err != nil {
		return err
	}
	left, err := s.syncStore(files, first)
	if err != nil {
		s.release() // a new descriptor reports what this one may have missed
		return err
	}
	if s.perFile {
		for _, path := range s.found {
			left, dirs = append(left, path), append(dirs, filepath.Dir(path))
		}
	}
	if err := s.each(unique(left)); err != nil {
		return err
	}
	if err := s.each(s.folders(dirs)); err != nil {
		return err
	}
	s.found = nil
	return nil
}

// Found names a file that an earlier process may have left in the page cache
// only. Where files are synced one by one the next Sync makes it durable, too:
// there syncfs may have done nothing (FUSE).
func (s *Syncer) Found(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found = append(s.found, path)
}

// hold opens the root and keeps it: the kernel reports a failed write-back to
// descriptors that were open when it happened.
func (s *Syncer) hold() error {
	if s.held != nil {
		return nil
	}
	held, err := s.fs.OpenFile(s.root, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open the store's root: %w", err)
	}
	s.held = held
	return nil
}

func (s *Syncer) release() {
	_ = s.held.Close() // was only read
	s.held = nil
}

// syncStore syncs the store's file system if it may, and gives the files that
// are left to be synced one by one.
func (s *Syncer) syncStore(files []string, first bool) ([]string, error) {
	if s.perFile && !first {
		return files, nil
	}
	err := s.held.SyncFS()
	if errors.Is(err, errors.ErrUnsupported) {
		s.perFile = true
	} else if err != nil {
		return nil, fmt.Errorf("sync the file system of %s: %w", s.root, err)
	}
	if s.perFile {
		return files, nil
	}
	return elsewhere(s.root, files), nil
}

// folders are the folders to sync. Where files are synced one by one those
// above them up to the root are too: an earlier process may have made them.
func (s *Syncer) folders(dirs []string) []string {
	if !s.perFile {
		return unique(dirs)
	}
	var all []string
	for _, dir := range dirs {
		for ; len(dir) >= len(s.root) && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			all = append(all, dir)
		}
	}
	return unique(append(all, dirs...))
}

// each fsyncs paths, several side by side.
func (s *Syncer) each(paths []string) error {
	var group errgroup.Group
	group.SetLimit(syncAtOnce)
	for _, path := range paths {
		group.Go(func() error { return s.one(path) })
	}
	return group.Wait()
}

func (s *Syncer) one(path string) error { return SyncPath(s.fs, path) }

// SyncPath makes a file, or the entries of a folder, durable.
func SyncPath(fsys FS, path string) error {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open for sync: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// Close gives the root back, so that its file system can be unmounted.
func (s *Syncer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		return nil
	}
	err := s.held.Close()
	s.held = nil
	return err
}

// unique gives each path once, in the order of its first place.
func unique(paths []string) []string {
	seen := make(map[string]struct{}, len(paths))
	kept := make([]string, 0, len(paths))
	for _, path := range paths {
		if _, again := seen[path]; !again {
			seen[path] = struct{}{}
			kept = append(kept, path)
		}
	}
	return kept
}
