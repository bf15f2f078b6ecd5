package archive

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// TestAHungDiskIsToldAndHoldsUpNobody lets a write, then a sync, not return:
// health tells since when, who reads or asks is answered, and the end of the
// process does not wait for the disk. What was not acknowledged comes again.
func TestAHungDiskIsToldAndHoldsUpNobody(t *testing.T) {
	for _, op := range []partition.Op{partition.OpWrite, partition.OpSyncFS} {
		t.Run(string(op), func(t *testing.T) {
			dir, log := t.TempDir(), newMemLog(t, 10)
			for i := range 10 {
				log.add("P", double(after(time.Duration(i)*time.Second), float64(i)))
			}
			files := partition.NewFaultFS(partition.OSFS{})
			begun, release := files.Hang(op)
			defer release()
			a := open(t, dir, log, func(o *Options) { o.FS = files })
			a.hangAfter = 50 * time.Millisecond
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			before := time.Now()
			go func() { done <- a.Run(ctx) }()
			<-begun
			h := a.Health()
			for !errors.Is(h.Fault, ErrHangs) {
				time.Sleep(time.Millisecond) // until hangAfter is over
				h = a.Health()
			}
			if h.Since.Before(before) || h.Since.After(time.Now()) {
				t.Errorf("it hangs since %v, the test began at %v", h.Since, before)
			}
			if tail := a.Tail("P"); len(tail) == 0 {
				t.Error("what is in memory cannot be read")
			}
			if s, ok := a.Status("P"); !ok || s.Stored != 0 {
				t.Errorf("status %+v, %v", s, ok)
			}
			if _, err := a.Trash(t.Context(), "P", time.Now()); schema.CodeOf(err) != schema.Unavailable || !errors.Is(err, ErrHangs) {
				t.Errorf("a request got %v", err)
			}
			cancel()
			if err := <-done; !errors.Is(err, ErrHangs) {
				t.Errorf("Run gave %v", err)
			}
			if err := a.CloseStore(); err != nil {
				t.Error(err)
			}
			if log.acked() != 0 {
				t.Errorf("%d is acknowledged", log.acked())
			}
			release()
			<-a.worked // what was left behind ends within the test
		})
	}
}

// TestAHungDiskThatAnswersAgainGoesOn needs no help.
func TestAHungDiskThatAnswersAgainGoesOn(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10)
	log.add("P", double(after(0), 1))
	files := partition.NewFaultFS(partition.OSFS{})
	begun, release := files.Hang(partition.OpWrite)
	a := open(t, dir, log, func(o *Options) { o.FS = files })
	a.hangAfter = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-begun
	for a.Health().Fault == nil {
		time.Sleep(time.Millisecond) // until hangAfter is over
	}
	release()
	for log.acked() != 1 || a.Health().Fault != nil {
		time.Sleep(time.Millisecond) // until the round is over
	}
	cancel()
	if err := errors.Join(<-done, a.CloseStore()); err != nil {
		t.Error(err)
	}
	checkAgainstOracle(t, dir, log)
}

// TestAnErrorOfOneFileStopsNothingElse lets the writes, or the syncs, of one
// PV's file fail for good: its samples are drops, all other PVs go on.
func TestAnErrorOfOneFileStopsNothingElse(t *testing.T) {
	for _, op := range []partition.Op{partition.OpWrite, partition.OpSync} {
		t.Run(string(op), func(t *testing.T) {
			dir, log := t.TempDir(), newMemLog(t, 10)
			for i := range 10 {
				for _, pv := range []schema.PVName{"P", "Q", "R"} {
					log.add(pv, double(after(time.Duration(i)*time.Second), float64(i)))
				}
			}
			files := partition.NewFaultFS(partition.OSFS{})
			bad := partition.Path(filepath.Join(dir, "sts"), "Q:", hour, hour.Start(after(0)))
			files.Fail(partition.Fault{Op: op, Path: bad, Err: syscall.EIO, Lasting: true})
			if op == partition.OpSync {
				files.Fail(partition.Fault{Op: partition.OpSyncFS, Err: syscall.EIO, Lasting: true})
			}
			a := open(t, dir, log, func(o *Options) { o.FS = files })
			work(t, a, log, 30, func() bool { return false })
			a.retry(t.Context(), "write partitions", a.flush)
			if log.acked() == 0 || a.Health().Fault != nil {
				t.Errorf("%d is acknowledged, health %+v", log.acked(), a.Health())
			}
			for pv, want := range map[schema.PVName]Status{"P": {Stored: 10}, "R": {Stored: 10}, "Q": {Dropped: 10}} {
				if s, _ := a.Status(pv); s.Stored != want.Stored || s.Dropped != want.Dropped {
					t.Errorf("%s: %+v", pv, s)
				}
			}
			for _, d := range log.drops {
				if d.PV != "Q" || d.Reason != "file" {
					t.Errorf("drop %+v", d)
				}
			}
		})
	}
}
