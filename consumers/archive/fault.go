package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// storeErrors are the failures that no other PV of the store would escape.
var storeErrors = []error{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE,
	syscall.ESTALE, syscall.ENODEV, syscall.ENXIO, syscall.ENOMEM, syscall.ETIMEDOUT, errUnmounted,
}

// storeFault tells a fault of the whole store from one of a single PV's file
// (D5): by the error itself, or by whether the store's root takes a file now.
// alone names the file, or what else counts its I/O errors; with "" those are
// the store's.
func (a *Archive) storeFault(alone string, err error) bool {
	if errors.Is(err, syscall.EIO) {
		return alone == "" || !a.fileAlone(alone)
	}
	for _, e := range storeErrors {
		if errors.Is(err, e) {
			return true
		}
	}
	return a.checkStore() != nil || a.probe() != nil
}

// probe writes and removes a small file in the store's root. It syncs nothing:
// what only a sync shows has an error of its own, and one bad file must not
// cost all PVs a sync for each of its samples.
func (a *Archive) probe() error {
	f, err := os.CreateTemp(a.opt.Store.Root, ".probe-*")
	if err != nil {
		return fmt.Errorf("probe the store: %w", err)
	}
	_, err = f.WriteString("probe\n")
	return errors.Join(err, f.Close(), os.Remove(filepath.Clean(f.Name())))
}

// retry does a step until it succeeds or ctx ends, with growing pauses. The
// log keeps what comes in meanwhile; health and one log line tell of it.
func (a *Archive) retry(ctx context.Context, what string, step func(context.Context) error) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		a.progress()
		err := step(ctx)
		if err == nil {
			a.recovered(what)
			return
		}
		if ctx.Err() != nil {
			return
		}
		a.failed(what, err)
		a.rest()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// failed notes a fault; only its beginning is logged, not each attempt.
func (a *Archive) failed(what string, err error) {
	a.metrics.faults.Inc()
	a.metrics.faulty.Set(1)
	a.mu.Lock()
	first := a.health.Fault == nil
	a.health.Fault = fmt.Errorf("%s: %w", what, err)
	if first {
		a.health.Since = time.Now()
	}
	a.mu.Unlock()
	if first {
		a.log.Error("the archive has stopped writing; the log keeps the samples and writing goes on by itself when the cause is gone", "step", what, "err", err)
	}
}

func (a *Archive) recovered(what string) {
	a.mu.Lock()
	since, fault := a.health.Since, a.health.Fault
	a.health.Fault, a.health.Since = nil, time.Time{}
	a.mu.Unlock()
	if fault == nil {
		return
	}
	a.metrics.faulty.Set(0)
	a.log.Info("the archive writes again", "step", what, "after", time.Since(since).Round(time.Millisecond).String())
}
