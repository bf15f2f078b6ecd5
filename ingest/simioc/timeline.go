package simioc

import (
	"container/heap"
	"context"
	"log/slog"
	"time"
)

// step is an action of a scenario at its times.
type step struct {
	path      string // of its action in the file
	at, every time.Duration
	times     int // 0 = without end, if there is an every
	hosts     []*host
	do        func(h *host) error

	// lasting actions end after span; what names the thing they do
	span time.Duration
	what string
	undo func(h *host) error

	failed bool // it was told
}

// event is what happens at an instant of a timeline.
type event struct {
	due   time.Duration // since the start
	order int           // events of one instant happen as in the file
	run   func()
}

type eventHeap []event

func (e eventHeap) Len() int { return len(e) }
func (e eventHeap) Less(i, j int) bool {
	return e[i].due < e[j].due || e[i].due == e[j].due && e[i].order < e[j].order
}
func (e eventHeap) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *eventHeap) Push(x any)   { *e = append(*e, x.(event)) }
func (e *eventHeap) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// timeline runs the steps of a scenario. It belongs to one goroutine.
type timeline struct {
	log    *slog.Logger
	begin  time.Time
	events eventHeap
	order  int
}

func (t *timeline) plan(due time.Duration, run func()) {
	t.order++
	heap.Push(&t.events, event{due: due, order: t.order, run: run})
}

// run does what is planned, from ready on, until ctx ends or nothing is left.
func (t *timeline) run(ctx context.Context, ready <-chan struct{}, steps []*step) {
	if ready != nil {
		select {
		case <-ready:
		case <-ctx.Done():
			return
		}
	}
	t.begin = time.Now()
	for _, s := range steps {
		t.plan(s.at, func() { t.fire(ctx, s, s.at, 1) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(t.events) > 0 {
		timer.Reset(t.events[0].due - time.Since(t.begin))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		heap.Pop(&t.events).(event).run()
	}
}

// fire does a step for the n-th time and plans its next time. Of a step that
// repeats, the first time and the first failure are told.
func (t *timeline) fire(ctx context.Context, s *step, due time.Duration, n int) {
	level := slog.LevelInfo
	if n > 1 {
		level = slog.LevelDebug
	}
	t.log.Log(ctx, level, "scenario", "step", s.path)
	for _, h := range s.hosts {
		if s.undo != nil {
			h.lasts(s.what, s.span)
		}
		if err := s.do(h); err != nil && !s.failed {
			s.failed = true
			t.log.Warn("a step of the scenario failed", "step", s.path, "ioc", h.label(), "err", err)
		}
	}
	if s.undo != nil {
		t.plan(time.Since(t.begin)+s.span, func() { t.relieve(s) })
	}
	if s.every > 0 && (s.times == 0 || n < s.times) {
		// Steps missed because an action took long are not made up for.
		next := max(due+s.every, time.Since(t.begin))
		t.plan(next, func() { t.fire(ctx, s, next, n+1) })
	}
}

// relieve ends what a lasting step did.
func (t *timeline) relieve(s *step) {
	for _, h := range s.hosts {
		if !h.over(s.what) {
			continue
		}
		if err := s.undo(h); err != nil {
			t.log.Info("a step of the scenario had nothing to end", "step", s.path, "ioc", h.label(), "why", err)
		}
	}
}
