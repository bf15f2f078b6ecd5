package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/consumers/partition"
)

// tears are what a power cut makes of bytes that were not durable.
var tears = []func(string, []byte) []byte{
	nil,
	func(_ string, lost []byte) []byte { return lost[:len(lost)/2] },
	func(_ string, lost []byte) []byte { return make([]byte, len(lost)) },
	func(_ string, lost []byte) []byte { return bytes.Repeat([]byte{0xff}, len(lost)) },
	func(_ string, lost []byte) []byte { return lost },
}

// work takes some of the log and flushes, going on after failures as Run does
// but without its pauses.
func work(t *testing.T, a *Archive, log *memLog, turns int, flushes func() bool) {
	t.Helper()
	for range turns {
		messages, err := log.Fetch(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !a.takeAll(t.Context(), messages) {
			t.Fatal("takeAll ended early")
		}
		if flushes() {
			_ = a.flush(t.Context()) // a planned failure; the next flush repeats it
		}
	}
}

// TestPowerCutsAndFailingStepsLoseNothingAcknowledged lets random steps of the
// file system fail, takes back what was not synced, and starts again from the
// acknowledged floor. If anything were acknowledged before it was durable, or a
// failed sync believed, samples would be missing in the end.
func TestPowerCutsAndFailingStepsLoseNothingAcknowledged(t *testing.T) {
	ops := []partition.Op{partition.OpOpen, partition.OpMkdir, partition.OpWrite, partition.OpTruncate, partition.OpSync, partition.OpSyncFS}
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			dir, log := t.TempDir(), randomLog(t, rng, 300)
			files := partition.NewFaultFS(partition.OSFS{})
			for range 8 {
				a := open(t, dir, log, func(o *Options) {
					o.FS, o.SyncPerFile = files, rng.IntN(2) == 0
				})
				for range rng.IntN(4) {
					files.Fail(partition.Fault{Op: ops[rng.IntN(len(ops))], Skip: rng.IntN(12), Written: rng.IntN(60),
						Err: []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)], Lasting: rng.IntN(4) == 0})
				}
				work(t, a, log, rng.IntN(12), func() bool { return rng.IntN(3) > 0 })
				crash(t, a)
				if err := files.PowerCut(tears[rng.IntN(len(tears))]); err != nil {
					t.Fatal(err)
				}
				files.Heal()
			}
			run(t, open(t, dir, log))
			checkAgainstOracle(t, dir, log)
		})
	}
}

// TestEachStepOfARoundMayFail fails the first, second, third ... step of whatever
// kind until a run has none left to fail, with a power cut behind it. Counters
// are among the steps and stop nothing.
func TestEachStepOfARoundMayFail(t *testing.T) {
	for _, perFile := range []bool{false, true} {
		for skip := 0; ; skip++ {
			dir, log := t.TempDir(), newMemLog(t, 4)
			for i := range 12 {
				log.add("S:A", double(after(time.Duration(i)*time.Second), float64(i)))
				log.add("S:B", double(after(time.Duration(i)*time.Second), float64(i)))
			}
			files := partition.NewFaultFS(syncfsFS{})
			r := record(t, dir, log, files)
			change := func(o *Options) { o.FS, o.SyncPerFile, o.SyncLog = files, perFile, r.syncLog }
			a := open(t, dir, log, change)
			begun := files.Steps(partition.OpAny)
			files.Fail(partition.Fault{Op: partition.OpAny, Skip: skip, Err: syscall.EIO, Written: skip % 7})
			work(t, a, log, 7, func() bool {
				_ = a.flush(t.Context()) // a planned failure
				return true
			})
			crash(t, a)
			steps := files.Steps(partition.OpAny) - begun
			if err := files.PowerCutAtRandom(rand.New(rand.NewPCG(uint64(skip), 5))); err != nil {
				t.Fatal(err)
			}
			files.Heal()
			run(t, open(t, dir, log, change))
			checkAgainstOracle(t, dir, log)
			if t.Failed() {
				t.Fatalf("after step %d failed, per file %v", skip, perFile)
			}
			if steps <= skip {
				if steps < 20 {
					t.Errorf("only %d steps could fail", steps)
				}
				break
			}
		}
	}
}

// TestEachStepOfTheTrashMayFail fails each step of a deletion and of its
// restoration in turn, with a power cut behind it: each file is in one place, and
// doing it again completes it.
func TestEachStepOfTheTrashMayFail(t *testing.T) {
	for skip, done := 0, false; !done; skip++ {
		dir, log := t.TempDir(), newMemLog(t, 4)
		for i := range 9 {
			log.add("P:X", double(after(time.Duration(i)*20*time.Minute), float64(i)))
		}
		run(t, open(t, dir, log))
		want := read(t, dir, "P:X")
		rng := rand.New(rand.NewPCG(uint64(skip), 6))
		files := partition.NewFaultFS(syncfsFS{})
		a := open(t, dir, log, func(o *Options) { o.FS = files })
		now := time.Unix(1_800_000_000, 0)
		files.Fail(partition.Fault{Op: partition.OpAny, Skip: skip, Err: syscall.EIO, Lasting: true})
		_, trashed := a.trash("P:X", now)
		_, restored := a.restore("P:X", time.Time{})
		done = trashed == nil && restored == nil
		if err := files.PowerCutAtRandom(rng); err != nil {
			t.Fatal(err)
		}
		files.Heal()
		if _, err := a.trash("P:X", now); err != nil {
			t.Fatalf("step %d: deleted again: %v", skip, err)
		}
		if left := read(t, dir, "P:X"); len(left) != 0 {
			t.Fatalf("step %d: deleted, and %d samples are left", skip, len(left))
		}
		if _, err := a.restore("P:X", time.Time{}); err != nil {
			t.Fatalf("step %d: restored again: %v", skip, err)
		}
		if got := read(t, dir, "P:X"); !slices.Equal(got, want) {
			t.Fatalf("step %d (%v, %v): restored %d samples, want %d", skip, trashed, restored, len(got), len(want))
		}
		crash(t, a)
		if done && skip < 20 {
			t.Errorf("only %d steps could fail", skip)
		}
	}
}

func TestAFullDiskStopsTheArchiveAndNothingIsLost_S74(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), newMemLog(t, 5)
		files := partition.NewFaultFS(partition.OSFS{})
		files.Fail(partition.Fault{Op: partition.OpWrite, Err: syscall.ENOSPC, Lasting: true})
		a := open(t, dir, log, func(o *Options) { o.FS = files })
		for i := range 10 {
			log.add("P", double(after(time.Duration(i)*time.Second), float64(i)))
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.step(ctx)
		}()
		time.Sleep(time.Minute) // synthetic: retries with growing pauses
		synctest.Wait()
		h := a.Health()
		if !errors.Is(h.Fault, syscall.ENOSPC) || h.Since.IsZero() || log.acked() != 0 || len(log.drops) != 0 {
			t.Errorf("health %+v, acknowledged %d, drops %v", h, log.acked(), log.drops)
		}
		if tail := a.Tail("P"); len(tail) != 5 {
			t.Errorf("%d samples can be read while the disk is full, want 5", len(tail))
		}
		files.Heal()
		<-ended
		if h := a.Health(); h.Fault != nil || log.acked() != 5 {
			t.Errorf("after the fault: health %+v, acknowledged %d", h, log.acked())
		}
		cancel()
		run(t, a)
		checkAgainstOracle(t, dir, log)
	})
}

// TestANewPartitionWaitsForTheOneBefore holds the law that makes recovery look
// at the newest file only.
func TestANewPartitionWaitsForTheOneBefore(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 50)
	for i := range 5 {
		log.add("P", double(after(time.Duration(i)*time.Hour), float64(i)))
	}
	files := partition.NewFaultFS(partition.OSFS{})
	a := open(t, dir, log, func(o *Options) { o.FS = files })
	work(t, a, log, 1, func() bool { return false })
	for n := 1; n <= 5; n++ {
		if err := a.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := partition.List(filepath.Join(dir, "sts"), "P:", hour)
		if err != nil || len(found) != n || log.acked() != uint64(n) {
			t.Fatalf("after round %d: %d files, acknowledged %d, %v", n, len(found), log.acked(), err)
		}
	}
}
