package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Old and new contents; the new one is more than a buffer, so that it takes
// several writes.
var (
	oldContent = "old\n"
	newContent = strings.Repeat("new line\n", replacementBuffer/4)
)

// place makes a partition to be replaced, or an absent one whose folders are
// absent too.
func place(t *testing.T, exists bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "A", "B", "X:2026.pb")
	if exists {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(oldContent), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func replaceWithNew(fsys FS, path string) error {
	return Replace(fsys, path, func(w io.Writer) error {
		for rest := newContent; len(rest) > 0; {
			n := min(len(rest), 100_000)
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
}

// found is "old", "new", "none" or "neither".
func found(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "none"
	case err != nil:
		t.Fatal(err)
	case string(b) == oldContent:
		return "old"
	case string(b) == newContent:
		return "new"
	}
	return "neither"
}

// names lists a folder; none if it is absent.
func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestAReplacementThatFailsLeavesTheOldFile fails the first, second, third ...
// step until none fails.
func TestAReplacementThatFailsLeavesTheOldFile(t *testing.T) {
	for was, exists := range map[string]bool{"old": true, "none": false} {
		for n := 0; ; n++ {
			path := place(t, exists)
			ffs := NewFaultFS(OSFS{})
			ffs.Fail(Fault{Op: OpAny, Skip: n, Err: syscall.EIO, Written: 3})
			err := replaceWithNew(ffs, path)
			want := was
			if err == nil || errors.Is(err, ErrReplaced) {
				want = "new"
			}
			if got := found(t, path); got != want {
				t.Errorf("%s, step %d fails (%v): %s", was, n, err, got)
			}
			left := names(t, filepath.Dir(path))
			if len(left) > 1 || len(left) == 1 && left[0] != filepath.Base(path) {
				t.Errorf("%s, step %d fails (%v): left %q", was, n, err, left)
			}
			if err == nil {
				if n < 8 {
					t.Errorf("only %d steps could fail", n)
				}
				break
			}
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("step %d: %v", n, err)
			}
		}
	}
}

// TestAPowerCutLeavesTheOldFileOrTheNew stops at each step in turn, and lets the
// file system have written by itself each number of the names that were not
// synced, and parts of the bytes.
func TestAPowerCutLeavesTheOldFileOrTheNew(t *testing.T) {
	tears := map[string]func(string, []byte) []byte{
		"nothing":    nil,
		"everything": func(_ string, b []byte) []byte { return b },
		"half":       func(_ string, b []byte) []byte { return b[:len(b)/2] },
		"zeros":      func(_ string, b []byte) []byte { return make([]byte, len(b)) },
	}
	for was, exists := range map[string]bool{"old": true, "none": false} {
		for name, tear := range tears {
			for keep := range 2 {
				for n, done := 0, false; !done; n++ {
					path := place(t, exists)
					ffs := NewFaultFS(OSFS{})
					ffs.Fail(Fault{Op: OpAny, Skip: n, Err: syscall.EIO, Written: 3, Lasting: true})
					done = replaceWithNew(ffs, path) == nil
					if err := ffs.PowerCutKeeping(keep, tear); err != nil {
						t.Fatal(err)
					}
					got := found(t, path)
					if got != "new" && (done || got != was) {
						t.Errorf("%s, %s, %d names kept, power cut at step %d: %s", was, name, keep, n, got)
					}
				}
			}
		}
	}
}

func TestAReplacementIsNoPartitionAndIsWrittenOver(t *testing.T) {
	path := place(t, true)
	dir := filepath.Dir(path)
	r, err := BeginReplacement(OSFS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write([]byte(newContent + newContent)); err != nil || r.Size() != int64(2*len(newContent)) {
		t.Fatalf("%d bytes, %v", r.Size(), err)
	}
	if err := r.Sync(); err != nil {
		t.Fatal(err)
	}
	files, err := List(filepath.Dir(filepath.Dir(dir)), "A/B/X:", PartitionYear)
	if err != nil || len(files) != 1 || files[0].Path != path || len(names(t, dir)) != 2 {
		t.Errorf("while it is written: %v, %v, %q", files, err, names(t, dir))
	}
	// The process was killed here.
	if err := replaceWithNew(OSFS{}, path); err != nil || found(t, path) != "new" || len(names(t, dir)) != 1 {
		t.Errorf("%v, %s, %q", err, found(t, path), names(t, dir))
	}
	if err := r.f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnErrorOfTheWriterIsTheReplacements(t *testing.T) {
	path := place(t, true)
	wrong := errors.New("no more samples")
	err := Replace(OSFS{}, path, func(w io.Writer) error {
		_, err := io.WriteString(w, newContent)
		return errors.Join(err, wrong)
	})
	if !errors.Is(err, wrong) || found(t, path) != "old" || len(names(t, filepath.Dir(path))) != 1 {
		t.Errorf("%v, %s", err, found(t, path))
	}
	if err := Replace(OSFS{}, filepath.Dir(path), nil); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestALinkedPartitionIsReplacedWhereItIs(t *testing.T) {
	real, link := place(t, true), filepath.Join(t.TempDir(), "X:2026.pb")
	if err := errors.Join(os.Chmod(real, 0o600), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	if err := replaceWithNew(OSFS{}, link); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 || found(t, real) != "new" {
		t.Errorf("%v, %v, %s", info.Mode(), err, found(t, real))
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Remove(real); err != nil {
		t.Fatal(err)
	}
	if err := replaceWithNew(OSFS{}, link); err == nil {
		t.Error("a link to nothing was replaced")
	}
}

// TestWhatAKilledProcessLeftIsRemoved, but not what is being made, nor what is
// in folders of ours.
func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	root := t.TempDir()
	begun := time.Now()
	make := func(path string, changed time.Time) string {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, bytes.Repeat([]byte("x"), 10), 0o644), os.Chtimes(path, changed, changed)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	before := begun.Add(-time.Hour)
	gone := []string{
		make("A/"+filepath.Base(besidePath("X:2026.pb")), before),
		make("A/B/C/"+filepath.Base(besidePath("Y:2026.pb")), before),
		make(filepath.Base(besidePath("Z:2026.pb")), before),
	}
	kept := []string{
		make("A/"+filepath.Base(besidePath("W:2026.pb")), begun.Add(time.Second)),
		make("A/X:2026.pb", before),
		make(".trash/A/"+filepath.Base(besidePath("X:2026.pb")), before),
	}
	n, err := RemoveReplacements(context.Background(), OSFS{}, root, begun)
	if n != len(gone) || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for i, path := range append(gone, kept...) {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) != (i < len(gone)) {
			t.Errorf("%s: %v", path, err)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := RemoveReplacements(ended, OSFS{}, root, begun); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestAPowerCutTakesBackNames is of FaultFS: what a removal or a rename over a
// file destroyed is there again, with the bytes that were durable.
func TestAPowerCutTakesBackNames(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	for _, synced := range []bool{false, true} {
		ffs := NewFaultFS(OSFS{})
		for _, path := range []string{a, b} {
			if err := os.WriteFile(path, []byte("was "+filepath.Base(path)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(ffs.Rename(a, b), ffs.Rename(b, c), ffs.Remove(c)); err != nil {
			t.Fatal(err)
		}
		want := "[a:was a b:was b]"
		if synced {
			want = "[]"
			if err := SyncPath(ffs, dir); err != nil {
				t.Fatal(err)
			}
		}
		if err := ffs.PowerCut(nil); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range names(t, dir) {
			got = append(got, name+":"+contents(t, filepath.Join(dir, name)))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("synced %v: %v, want %s", synced, got, want)
		}
	}
}
