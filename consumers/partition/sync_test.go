package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// syncfsFS is a file system of which syncfs reports failures, or not, wherever
// the test runs.
type syncfsFS struct {
	OSFS
	err error
}

func (s syncfsFS) OpenFile(path string, flag int, perm os.FileMode) (Handle, error) {
	h, err := s.OSFS.OpenFile(path, flag, perm)
	return syncfsHandle{h, s.err}, err
}

type syncfsHandle struct {
	Handle
	err error
}

func (h syncfsHandle) SyncFS() error { return h.err }

// round appends a line to each of n files.
func round(t *testing.T, fs FS, root string, n int, length int64) (files, dirs []string) {
	t.Helper()
	for i := range n {
		path := filepath.Join(root, "D", fmt.Sprintf("X%d:2026.pb", i))
		_, made, err := Append(fs, path, nil, []byte("line\n"), length)
		if err != nil {
			t.Fatal(err)
		}
		files, dirs = append(files, path), append(dirs, made...)
	}
	return files, dirs
}

func TestARoundCostsOneSyncOfTheFileSystem(t *testing.T) {
	root := t.TempDir()
	ffs := NewFaultFS(syncfsFS{})
	s := NewSyncer(ffs, root, false)
	defer func() { _ = s.Close() }()
	for i, want := range []int{2, 2, 2} { // root and D got entries in the first round only
		files, dirs := round(t, ffs, root, 50, int64(i*5))
		if err := s.Sync(files, dirs); err != nil {
			t.Fatal(err)
		}
		if fs, files := ffs.Steps(OpSyncFS), ffs.Steps(OpSync); fs != i+1 || files != want {
			t.Errorf("round %d: %d syncfs, %d fsyncs, want %d and %d", i, fs, files, i+1, want)
		}
	}
	if err := s.Sync(nil, nil); err != nil || ffs.Steps(OpSyncFS) != 3 {
		t.Errorf("an empty round: %v, %d syncfs", err, ffs.Steps(OpSyncFS))
	}
}

// TestTheFirstSyncCoversWhatAnEarlierProcessLeft: its lines are acknowledged as
// replays although this process writes no file.
func TestTheFirstSyncCoversWhatAnEarlierProcessLeft(t *testing.T) {
	for _, perFile := range []bool{false, true} {
		ffs := NewFaultFS(syncfsFS{})
		s := NewSyncer(ffs, t.TempDir(), perFile)
		if err := s.Sync(nil, nil); err != nil || ffs.Steps(OpSyncFS) != 1 {
			t.Errorf("per file %v: %v, %d syncfs", perFile, err, ffs.Steps(OpSyncFS))
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFilesAreSyncedOneByOneWhereSyncfsTellsNoErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		perFile bool
	}{"unsupported": {errors.ErrUnsupported, false}, "asked for": {nil, true}} {
		root := t.TempDir()
		ffs := NewFaultFS(syncfsFS{err: c.err})
		s := NewSyncer(ffs, root, c.perFile)
		for i := range 2 {
			files, dirs := round(t, ffs, root, 20, int64(i*5))
			if err := s.Sync(files, dirs); err != nil {
				t.Fatal(err)
			}
			if fs, files := ffs.Steps(OpSyncFS), ffs.Steps(OpSync); fs != 1 || files != 22+20*i {
				t.Errorf("%s, round %d: %d syncfs, %d fsyncs", name, i, fs, files)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAFailedSyncIsTold for each step, and the next call tries again.
func TestAFailedSyncIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		fault   Fault
		perFile bool
	}{
		"the root is gone":   {Fault{Op: OpOpen, Err: syscall.ENOENT}, false},
		"the file system":    {Fault{Op: OpSyncFS, Err: syscall.EIO}, false},
		"a file":             {Fault{Op: OpSync, Skip: 3, Err: syscall.EIO}, true},
		"the last folder":    {Fault{Op: OpSync, Skip: 11, Err: syscall.ENOSPC}, true},
		"a folder":           {Fault{Op: OpSync, Err: syscall.EIO}, false},
		"opening a file":     {Fault{Op: OpOpen, Skip: 4, Err: syscall.EMFILE}, true},
		"the first of ever":  {Fault{Op: OpSyncFS, Err: syscall.EDQUOT}, true},
		"a file that is not": {Fault{Op: OpOpen, Skip: 1, Err: syscall.ENOENT}, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			ffs := NewFaultFS(syncfsFS{})
			files, dirs := round(t, ffs, root, 10, 0)
			s := NewSyncer(ffs, root, c.perFile)
			defer func() { _ = s.Close() }()
			ffs.Fail(c.fault)
			if err := s.Sync(files, dirs); !errors.Is(err, c.fault.Err) {
				t.Fatalf("%v, want %v", err, c.fault.Err)
			}
			if err := s.Sync(files, dirs); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// TestAFailedSyncForgetsAsLinuxDoes is of the test's own tool: a retry of sync
// must not make durable what was dirty when the first one failed.
func TestAFailedSyncForgetsAsLinuxDoes(t *testing.T) {
	root := t.TempDir()
	ffs := NewFaultFS(syncfsFS{})
	s := NewSyncer(ffs, root, false)
	defer func() { _ = s.Close() }()
	files, dirs := round(t, ffs, root, 1, 0)
	if err := s.Sync(files, dirs); err != nil {
		t.Fatal(err)
	}
	round(t, ffs, root, 1, 5)
	ffs.Fail(Fault{Op: OpSyncFS, Err: syscall.EIO})
	if err := s.Sync(files, nil); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := s.Sync(files, nil); err != nil {
		t.Fatal(err)
	}
	if err := ffs.PowerCut(nil); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, files[0]); got != "line\n" {
		t.Fatalf("%q survived, the second line should not", got)
	}
	// Written again after the cut, as the archive does, it stays.
	round(t, ffs, root, 1, 5)
	if err := s.Sync(files, nil); err != nil {
		t.Fatal(err)
	}
	if err := ffs.PowerCut(nil); err != nil || contents(t, files[0]) != "line\nline\n" {
		t.Errorf("%v, %q", err, contents(t, files[0]))
	}
}

func TestSyncOfRealFiles(t *testing.T) {
	for _, perFile := range []bool{false, true} {
		root := t.TempDir()
		s := NewSyncer(OSFS{}, root, perFile)
		for i := range 3 {
			files, dirs := round(t, OSFS{}, root, 5, int64(i*5))
			if err := s.Sync(files, dirs); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if err := s.Sync([]string{filepath.Join(root, "absent")}, nil); perFile != (err != nil) {
			t.Errorf("per file %v, an absent file: %v", perFile, err)
		}
		_ = s.Close()
	}
}
