package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// appendLine appends one line and checks what the file holds then.
func appendLine(t *testing.T, a *Appender, path string, length int64, want string) {
	t.Helper()
	n, _, err := a.Append(path, []byte("header\n"), []byte("line\n"), length)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want || n != int64(len(want)) {
		t.Fatalf("%q, %d bytes, %v; want %q", b, n, err, want)
	}
}

func TestAppenderOpensAFileOnce(t *testing.T) {
	ffs := NewFaultFS(OSFS{})
	a := NewAppender(ffs, 10)
	defer a.Close()
	path := filepath.Join(t.TempDir(), "X")
	want := "header\n"
	for range 5 {
		length := int64(len(want))
		if want == "header\n" {
			length = 0
		}
		want += "line\n"
		appendLine(t, a, path, length, want)
	}
	if n := ffs.Steps(OpOpen); n != 1 {
		t.Errorf("opened %d times", n)
	}
}

func TestAppenderHoldsNoMoreThanItMay(t *testing.T) {
	dir := t.TempDir()
	for _, limit := range []int{-1, 1, 3} {
		a := NewAppender(OSFS{}, limit)
		for i := range 10 {
			appendLine(t, a, filepath.Join(dir, fmt.Sprintf("X%d.%d", limit, i)), 0, "header\nline\n")
			if len(a.held) > max(0, limit) {
				t.Errorf("limit %d: holds %d", limit, len(a.held))
			}
		}
		for i := range 10 {
			appendLine(t, a, filepath.Join(dir, fmt.Sprintf("X%d.%d", limit, i)), 12, "header\nline\nline\n")
		}
		if a.Close(); len(a.held) != 0 {
			t.Errorf("limit %d: %d are held after Close", limit, len(a.held))
		}
	}
}

// TestAppenderNeverWritesToAFileThatHasNoName: bytes appended to a file that was
// removed, or replaced by renaming another over it, would vanish.
func TestAppenderNeverWritesToAFileThatHasNoName(t *testing.T) {
	if heldLimit() <= 0 {
		t.Skip("descriptors are not held here")
	}
	dir := t.TempDir()
	a := NewAppender(OSFS{}, 10)
	defer a.Close()
	path, other := filepath.Join(dir, "X"), filepath.Join(dir, "other")
	appendLine(t, a, path, 0, "header\nline\n")
	if err := os.WriteFile(other, []byte("merged, long\n"), fileMode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Append(path, nil, []byte("line\n"), 12); err == nil || !strings.Contains(err.Error(), "13 bytes, 12 are ours") {
		t.Errorf("replaced: %v", err)
	}
	appendLine(t, a, path, 13, "merged, long\nline\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Append(path, nil, []byte("line\n"), 18); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	appendLine(t, a, path, 0, "header\nline\n")
}

func TestAppenderForgetsAFileAfterAnError(t *testing.T) {
	ffs := NewFaultFS(OSFS{})
	a := NewAppender(ffs, 10)
	defer a.Close()
	path := filepath.Join(t.TempDir(), "X")
	appendLine(t, a, path, 0, "header\nline\n")
	ffs.Fail(Fault{Op: OpWrite, Err: syscall.ENOSPC, Written: 2})
	if n, _, err := a.Append(path, nil, []byte("line\n"), 12); !errors.Is(err, syscall.ENOSPC) || n != 12 || len(a.held) != 0 {
		t.Errorf("length %d, %v, %d held", n, err, len(a.held))
	}
	if err := Truncate(ffs, path, 12); err != nil {
		t.Fatal(err)
	}
	appendLine(t, a, path, 12, "header\nline\nline\n")
}

func TestAppenderGivesDescriptorsBackWhenNoneAreLeft(t *testing.T) {
	ffs := NewFaultFS(OSFS{})
	a := NewAppender(ffs, 10)
	defer a.Close()
	dir := t.TempDir()
	for i := range 5 {
		appendLine(t, a, filepath.Join(dir, fmt.Sprint(i)), 0, "header\nline\n")
	}
	ffs.Fail(Fault{Op: OpOpen, Err: syscall.EMFILE})
	appendLine(t, a, filepath.Join(dir, "X"), 0, "header\nline\n")
	if len(a.held) != 1 {
		t.Errorf("%d are held", len(a.held))
	}
}
