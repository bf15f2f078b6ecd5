package web

import (
	"context"
	"sync/atomic"
	"time"

	"pvlog/schema"
)

// turns bounds how many answers are written at once. Dashboards ask for
// hundreds of PVs at the same moment, so requests wait for their turn; only a
// full queue or a long wait is refused.
type turns struct {
	// set by newTurns, read-only
	slots      chan struct{}
	maxWaiting int64
	maxWait    time.Duration
	metrics    *metrics

	waiting atomic.Int64
}

func newTurns(running, waiting int, wait time.Duration, m *metrics) *turns {
	return &turns{slots: make(chan struct{}, running), maxWaiting: int64(waiting), maxWait: wait, metrics: m}
}

// take waits for a turn; the caller gives it back with done.
func (t *turns) take(ctx context.Context) (done func(), err error) {
	select {
	case t.slots <- struct{}{}:
		return t.begin(), nil
	default:
	}
	if t.waiting.Add(1) > t.maxWaiting {
		t.waiting.Add(-1)
		return nil, t.refuse("%d requests are waiting already", t.maxWaiting)
	}
	t.metrics.waiting.Inc()
	defer func() { t.waiting.Add(-1); t.metrics.waiting.Dec() }()
	timer := time.NewTimer(t.maxWait)
	defer timer.Stop()
	select {
	case t.slots <- struct{}{}:
		return t.begin(), nil
	case <-timer.C:
		return nil, t.refuse("the request waited %v for its turn", t.maxWait)
	case <-ctx.Done():
		return nil, schema.Errorf(schema.Unavailable, "the request ended before its turn: %w", ctx.Err())
	}
}

func (t *turns) begin() func() {
	t.metrics.running.Inc()
	return func() { t.metrics.running.Dec(); <-t.slots }
}

func (t *turns) refuse(format string, args ...any) error {
	t.metrics.refused.Inc()
	return refuse(schema.Unavailable, "ask for fewer PVs at once, or again in a moment", format, args...)
}
