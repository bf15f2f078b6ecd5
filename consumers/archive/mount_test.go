package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/streams"
)

// TestALostMountIsNoAnswer takes the store's folder away while samples of a PV
// whose files are not known yet, and samples that must be looked up, come in:
// an empty folder must not be taken for a PV without files.
func TestALostMountIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), newMemLog(t, 1)
		root, away := filepath.Join(dir, "sts"), filepath.Join(dir, "away")
		for i := range 3 {
			log.add("P", double(after(time.Duration(i)*time.Second), float64(i)))
			log.add("Q", double(after(time.Duration(i)*time.Second), float64(i)))
		}
		run(t, open(t, dir, log))
		a := open(t, dir, log)
		log.add("P", double(after(3*time.Second), 3))
		a.step(t.Context())
		for _, gone := range []func() error{
			func() error { return os.Rename(root, away) },
			func() error { log.add("P", double(after(2*time.Second), 2)); return nil },                 // on disk
			func() error { log.add("Q", double(after(time.Second), 1)); return os.Mkdir(root, 0o755) }, // its files are not known
		} {
			if err := gone(); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for ctx.Err() == nil && log.position() < 8 {
				a.step(ctx)
			}
		}()
		time.Sleep(time.Minute) // synthetic
		synctest.Wait()
		if a.Health().Fault == nil {
			t.Error("no fault is told")
		}
		if err := os.Remove(root); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(away, root); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // synthetic
		cancel()
		<-ended
		run(t, a)
		checkAgainstOracle(t, dir, log)
	})
}

// idleLog waits for messages as the real one does.
type idleLog struct{ *memLog }

func newIdleLog(t *testing.T) idleLog { return idleLog{newMemLog(t, 5)} }

func (l idleLog) Fetch(ctx context.Context, wait time.Duration) ([]streams.Message, error) {
	messages, err := l.memLog.Fetch(ctx, wait)
	if len(messages) == 0 && err == nil {
		time.Sleep(wait) // synthetic
	}
	return messages, err
}

// TestAStoreThatIsAwayAtTheStartIsWaitedFor starts before the store's file
// system is mounted, as a host that boots may: the log fills meanwhile.
func TestAStoreThatIsAwayAtTheStartIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), newIdleLog(t)
		root, away := filepath.Join(dir, "sts"), filepath.Join(dir, "away")
		log.add("P", double(after(0), 1))
		first := open(t, dir, log.memLog, func(o *Options) { o.Source = log })
		run(t, first)
		log.add("P", double(after(0), 1), double(after(time.Second), 2))
		if err := os.Rename(root, away); err != nil {
			t.Fatal(err)
		}
		a := New(first.opt)
		if err := a.OpenStore(); !errors.Is(err, ErrAway) {
			t.Fatalf("OpenStore gave %v, want ErrAway", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(time.Minute) // synthetic
		if h := a.Health(); !errors.Is(h.Fault, errUnmounted) || log.acked() != 1 {
			t.Errorf("health %+v, acknowledged %d", h, log.acked())
		}
		if err := os.Rename(away, root); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // synthetic
		if h := a.Health(); h.Fault != nil {
			t.Errorf("after the mount: %+v", h)
		}
		cancel()
		if err := errors.Join(<-done, a.CloseStore()); err != nil {
			t.Fatal(err)
		}
		checkAgainstOracle(t, dir, log.memLog)
	})
}

// TestAnEndWhileTheStoreIsAwayIsNoError has nothing to flush.
func TestAnEndWhileTheStoreIsAwayIsNoError(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	first := open(t, dir, log)
	run(t, first)
	if err := os.RemoveAll(filepath.Join(dir, "sts")); err != nil {
		t.Fatal(err)
	}
	a := New(first.opt)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(a.Run(ctx), a.CloseStore()); err != nil {
		t.Error(err)
	}
}
