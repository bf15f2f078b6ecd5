package ingest

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// timetable wakes channels at the times that they asked for: those with a held
// update, and those that read their value. It is one goroutine and one entry
// per waiting PV, whatever the number of updates and reads.
type timetable struct {
	// set by newTimetable, read-only
	wake chan struct{} // holds one: look at the queue
	call func(c *Channel, ticket uint32, now time.Time) (again time.Time)

	mu    sync.Mutex
	queue dueQueue // guarded by mu
}

// newTimetable calls call when a channel's time has come, and again at the time
// that it gives unless that is zero.
func newTimetable(call func(c *Channel, ticket uint32, now time.Time) (again time.Time)) *timetable {
	return &timetable{wake: make(chan struct{}, 1), call: call}
}

// add asks for a call at the given time. That a channel is in the queue once,
// and which ticket counts, it sees to itself.
func (t *timetable) add(c *Channel, ticket uint32, at time.Time) {
	t.mu.Lock()
	heap.Push(&t.queue, due{at, c, ticket})
	first := t.queue[0].channel == c
	t.mu.Unlock()
	if first {
		signal(t.wake)
	}
}

// pop takes the first channel that is due, or tells how long until one is; 0
// and no channel: nothing waits.
func (t *timetable) pop(now time.Time) (due, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		return due{}, 0
	}
	if wait := t.queue[0].at.Sub(now); wait > 0 {
		return due{}, wait
	}
	return heap.Pop(&t.queue).(due), 0
}

// waiting is the number of entries.
func (t *timetable) waiting() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue)
}

// run calls channels until ctx ends.
func (t *timetable) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		d, wait := t.pop(now)
		if c := d.channel; c != nil {
			c.engine.calmly(c.pv, func() {
				if again := t.call(c, d.ticket, now); !again.IsZero() {
					t.add(c, d.ticket, again)
				}
			})
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-t.wake:
		case <-timer.C:
		}
	}
}

// signal leaves a token in a channel of one, if none is there.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

type due struct {
	at      time.Time
	channel *Channel
	ticket  uint32
}

// dueQueue is a heap, earliest first.
type dueQueue []due

// Len is the number of waiting channels.
func (q dueQueue) Len() int { return len(q) }

// Less orders by time.
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

// Swap exchanges two entries.
func (q dueQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push adds an entry at the end, for heap.Push.
func (q *dueQueue) Push(x any) { *q = append(*q, x.(due)) }

// Pop takes the last entry, for heap.Pop.
func (q *dueQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = due{}
	*q = (*q)[:last]
	return d
}
