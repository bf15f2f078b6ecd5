package archive

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"pvlog/schema"
)

// ask is a request to Run's goroutine, which owns the partitions (D16).
type ask struct {
	do   func(context.Context) error
	done chan error
}

// askTime is how long a request waits for Run's goroutine. While the store
// cannot be written it is refused at once: a thousand of them must not hold the
// end of the process.
const askTime = 10 * time.Second

// owning lets Run's goroutine do something with partitions between two of its
// steps. The error is a [schema.Unavailable] if the archive has ended, is busy
// or cannot write now; what names it in that case.
func (a *Archive) owning(ctx context.Context, what string, do func(context.Context) error) error {
	if fault := a.Health().Fault; fault != nil {
		return schema.Errorf(schema.Unavailable, "%s: %w", what, fault)
	}
	q := ask{done: make(chan error, 1), do: do}
	patience := time.NewTimer(askTime)
	defer patience.Stop()
	select {
	case a.asks <- q:
		return a.answer(q, what)
	case <-a.ended:
		return schema.Errorf(schema.Unavailable, "%s: the archive has ended", what)
	case <-patience.C:
		return schema.Errorf(schema.Unavailable, "%s: the archive is busy", what)
	case <-ctx.Done():
		return fmt.Errorf("%s: the archive is busy: %w", what, ctx.Err())
	}
}

// answer waits for what was asked, but not for a disk that does not answer.
func (a *Archive) answer(q ask, what string) error {
	look := time.NewTicker(hangLook)
	defer look.Stop()
	for {
		select {
		case err := <-q.done:
			return err
		case <-look.C:
			if _, yes := a.hung(); yes {
				return schema.Errorf(schema.Unavailable, "%s: it was begun and its end is not known: %w", what, ErrHangs)
			}
		}
	}
}

// Who asks for a thousand PVs asks a thousand times: after each request the next
// one is awaited for askGap, and served at once, until askBurst is over. Then
// the log has its turn.
// Whoever works on files between two requests finds the goroutine waiting for the
// log but for moments, until nothing was asked for askMemory.
const (
	askGap    = 2 * time.Millisecond
	askBurst  = 100 * time.Millisecond
	askMemory = time.Second
)

// serve does what is asked of Run's goroutine, and reports whether it was asked
// anything.
func (a *Archive) serve(ctx context.Context) bool {
	select {
	case q := <-a.asks:
		a.progress()
		q.done <- q.do(ctx)
	default:
		return false
	}
	for began := time.Now(); time.Since(began) < askBurst; {
		select {
		case q := <-a.asks:
			a.progress()
			q.done <- q.do(ctx)
		case <-time.After(askGap):
			return true
		case <-ctx.Done():
			return true
		}
	}
	return true
}

// takeUntil takes and writes what the log had stored at an instant, as far as
// it comes within drainTime. Only the end of Run may end a fetch: what that had
// delivered would be missing else.
func (a *Archive) takeUntil(ctx context.Context, at time.Time) error {
	if a.astray {
		if err := a.reset(ctx); err != nil {
			return err
		}
	}
	for began := time.Now(); ; {
		asking := time.Now()
		messages, err := a.opt.Source.Fetch(ctx, drainWait)
		if err != nil {
			a.lose(ctx, "read the log", err)
			return fmt.Errorf("read the log: %w", err)
		}
		if !a.takeAll(ctx, messages) {
			return ctx.Err()
		}
		a.tookAll(messages, asking)
		ended := len(messages) == 0 || messages[len(messages)-1].Time.After(at) || time.Since(began) > drainTime
		if !ended && !a.full() {
			continue
		}
		if err := errors.Join(a.publishDrops(ctx), a.flush(ctx)); err != nil || ended {
			return err
		}
	}
}

// worded tells a failure to whoever asked for something: what, and what follows
// for it (", nothing was copied" or nothing). An error that has a code of its own
// says enough; no room and the end of the request are [schema.Unavailable].
func worded(what, follows string, err error) error {
	switch {
	case err == nil, schema.CodeOf(err) != schema.Internal:
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return schema.Errorf(schema.Unavailable, "%s: the store is full%s: make room and try again: %w", what, follows, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return schema.Errorf(schema.Unavailable, "%s: it was ended%s: %w", what, follows, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
