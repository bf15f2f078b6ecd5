package partition

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestARandomPowerCutKeepsWhatWasSynced is of the test's own tool: whatever
// chance does to the rest, synced bytes under synced names are there, and the
// rest is different from time to time.
func TestARandomPowerCutKeepsWhatWasSynced(t *testing.T) {
	ways := map[string]bool{}
	for seed := range uint64(60) {
		ffs := NewFaultFS(OSFS{})
		path := filepath.Join(t.TempDir(), "D", "X")
		synced := bytes.Repeat([]byte("synced."), 1000)
		length, dirs, err := Append(ffs, path, nil, synced, 0)
		if err != nil {
			t.Fatal(err)
		}
		if b, ok := ffs.Durable(path); ok || len(b) > 0 {
			t.Fatalf("durable before any sync: %d bytes", len(b))
		}
		for _, at := range append(dirs, path) {
			if err := SyncPath(ffs, at); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if length, _, err = Append(ffs, path, nil, bytes.Repeat([]byte("later."), 1000), length); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := Append(ffs, path+"2", nil, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		if b, ok := ffs.Durable(path); !ok || !bytes.Equal(b, synced) {
			t.Fatalf("durable: %v, %d bytes", ok, len(b))
		}
		if err := ffs.PowerCutAtRandom(rand.New(rand.NewPCG(seed, 1))); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(b, synced) || len(b) > int(length) {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		_, second := os.Stat(path + "2")
		ways[string(b[len(synced):])+map[bool]string{true: "+"}[second == nil]] = true
	}
	if len(ways) < 20 {
		t.Errorf("only %d ways", len(ways))
	}
}

func TestADiskThatLiesMakesNothingDurable(t *testing.T) {
	ffs := NewFaultFS(syncfsFS{})
	ffs.Lie()
	root := t.TempDir()
	s := NewSyncer(ffs, root, false)
	defer func() { _ = s.Close() }()
	files, dirs := round(t, ffs, root, 1, 0)
	if err := s.Sync(files, dirs); err != nil {
		t.Fatal(err)
	}
	if _, ok := ffs.Durable(files[0]); ok {
		t.Error("it is durable")
	}
}

// TestAMovedPartitionIsInOneOfTwoPlaces fails the first, second, third ... step
// of a move until none fails, with the power cut behind it, and moves again.
func TestAMovedPartitionIsInOneOfTwoPlaces(t *testing.T) {
	for seed := range uint64(8) {
		for n := 0; ; n++ {
			ffs := NewFaultFS(OSFS{})
			root := t.TempDir()
			from, to := filepath.Join(root, "A", "X:2026.pb"), filepath.Join(root, "trash", "now", "A", "X:2026.pb")
			if err := os.MkdirAll(filepath.Dir(from), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(from, []byte("content"), 0o644); err != nil {
				t.Fatal(err)
			}
			ffs.Fail(Fault{Op: OpAny, Skip: n, Err: syscall.EIO, Lasting: true})
			moved := Move(ffs, from, to)
			if moved != nil && !errors.Is(moved, syscall.EIO) {
				t.Fatal(moved)
			}
			if err := ffs.PowerCutAtRandom(rand.New(rand.NewPCG(seed, uint64(n)))); err != nil {
				t.Fatal(err)
			}
			old, errOld := os.ReadFile(from)
			now, errNow := os.ReadFile(to)
			if (errOld == nil) == (errNow == nil) || string(old)+string(now) != "content" || moved == nil && errNow != nil {
				t.Fatalf("seed %d, step %d fails (%v): %q %v, %q %v", seed, n, moved, old, errOld, now, errNow)
			}
			ffs.Heal()
			if errOld == nil {
				if err := Move(ffs, from, to); err != nil {
					t.Fatalf("again: %v", err)
				}
			}
			if moved == nil {
				if n < 8 {
					t.Errorf("only %d steps could fail", n)
				}
				break
			}
		}
	}
}

// TestWhatAFailedSyncLeftInTheCacheIsRenewed does what a new process does with
// lines that it finds: only written again do they survive.
func TestWhatAFailedSyncLeftInTheCacheIsRenewed(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		ffs := NewFaultFS(OSFS{})
		path := filepath.Join(t.TempDir(), "X")
		length, dirs, err := Append(ffs, path, nil, []byte("header\nline\n"), 0)
		if err != nil {
			t.Fatal(err)
		}
		ffs.Fail(Fault{Op: OpSync, Err: syscall.EIO})
		if err := SyncPath(ffs, path); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		if renewed {
			if err := Renew(ffs, path, 0, length+5); err != nil { // it has become shorter, perhaps
				t.Fatal(err)
			}
		}
		for _, at := range append(dirs, path) {
			if err := SyncPath(ffs, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := ffs.PowerCut(nil); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, path); (got == "header\nline\n") != renewed {
			t.Errorf("renewed %v: %q", renewed, got)
		}
	}
	if err := Renew(OSFS{}, filepath.Join(t.TempDir(), "gone"), 0, 9); err != nil {
		t.Errorf("a file that is gone: %v", err)
	}
}
