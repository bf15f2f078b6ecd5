package archive

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
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
