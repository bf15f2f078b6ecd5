package archive

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// hangAfter is how long one step of the archive's work may take before it
// counts as one that does not come back: a write or sync to a disk, or a read,
// that the kernel still waits for. Such a thread cannot be stopped, only told of.
const hangAfter = 15 * time.Second

// How long the end of the process waits for the archive: for all that it may
// do at its end, and less if it hangs.
const (
	endTime  = drainTime + flushTime + 5*time.Second
	hangLook = time.Second
)

// ErrHangs says that a write, sync or read does not return.
var ErrHangs = errors.New("its disk does not answer: a write, sync or read hangs")

// progress notes that the archive's goroutine begins or has done something that
// takes moments only if the store's disk answers.
func (a *Archive) progress() {
	a.onLog.Store(false)
	a.busy.Store(time.Now().UnixNano())
}

// syncLog makes the log durable; it is another disk, perhaps.
func (a *Archive) syncLog() error {
	defer a.progress()
	a.onLog.Store(true)
	a.busy.Store(time.Now().UnixNano())
	return a.opt.SyncLog()
}

// rest notes that it waits for something else than a disk.
func (a *Archive) rest() { a.busy.Store(0) }

// hung gives since when the archive's goroutine is held up by a disk.
func (a *Archive) hung() (since time.Time, yes bool) {
	began := a.busy.Load()
	if began == 0 {
		return time.Time{}, false
	}
	since = time.Unix(0, began)
	return since, time.Since(since) >= a.hangAfter
}

// disk names what the archive's goroutine waits for if it hangs.
func (a *Archive) disk() string {
	if a.onLog.Load() {
		return "the log"
	}
	return fmt.Sprintf("store %s at %s", a.opt.Store.Name, a.opt.Store.Root)
}

// withHang adds what only a look from outside can tell.
func (a *Archive) withHang(h Health) Health {
	since, yes := a.hung()
	if yes && h.Fault == nil {
		h.Fault = fmt.Errorf("%s: %w", a.disk(), ErrHangs)
		h.Since = since
	}
	return h
}

// watch tells, once, that the archive hangs, and that it goes on. When ctx has
// ended it waits for work as long as work may take, and leaves one that hangs:
// whoever waits for a disk that does not answer may wait for ever, and what is
// not acknowledged comes again at the next start.
func (a *Archive) watch(ctx context.Context, work <-chan error) error {
	look := time.NewTicker(min(hangLook, a.hangAfter/2))
	defer look.Stop()
	var patience <-chan time.Time
	ended := ctx.Done()
	told := time.Time{}
	for {
		select {
		case err := <-work:
			return err
		case <-ended:
			ended = nil
			limit := time.NewTimer(endTime)
			defer limit.Stop()
			patience = limit.C
		case <-patience:
			return a.leave()
		case <-look.C:
		}
		told = a.tellHang(told)
		if ended == nil && !told.IsZero() {
			return a.leave()
		}
	}
}

func (a *Archive) tellHang(told time.Time) time.Time {
	since, yes := a.hung()
	switch {
	case yes && told.IsZero():
		a.metrics.faults.Inc()
		a.metrics.faulty.Set(1)
		a.log.Error("the archive has stopped writing: its disk does not answer; the log keeps the samples and writing goes on by itself when it does",
			"disk", a.disk(), "since", since)
		return since
	case !yes && !told.IsZero():
		if a.Health().Fault == nil {
			a.metrics.faulty.Set(0)
		}
		a.log.Info("the disk answers again", "after", time.Since(told).Round(time.Millisecond).String())
		return time.Time{}
	}
	return told
}

// leave ends Run without its work. The store stays locked: what hangs may
// still write.
func (a *Archive) leave() error {
	a.abandoned = true
	return fmt.Errorf("end the archive: %s: %w: what it had not acknowledged comes again from the log", a.disk(), ErrHangs)
}

// lockSoon takes the PV's lock unless its holder is held up by a disk; then
// readers do without.
func (f *pvFiles) lockSoon() bool {
	const most, pause = 2 * time.Second, time.Millisecond
	for began := time.Now(); !f.mu.TryLock(); time.Sleep(pause) {
		if time.Since(began) > most {
			return false
		}
	}
	return true
}
