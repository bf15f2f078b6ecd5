package ingest

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// stragglers wakes the channels whose held update becomes due: one goroutine
// and one entry per waiting PV, whatever the number of updates.
type stragglers struct {
	wake chan struct{} // set by newStragglers; holds one: look at the queue

	mu    sync.Mutex
	queue dueQueue // guarded by mu
}

func newStragglers() *stragglers { return &stragglers{wake: make(chan struct{}, 1)} }

// add asks for c.release at the given time. A channel is in the queue at most
// once, which it sees to itself.
func (s *stragglers) add(c *Channel, at time.Time) {
	s.mu.Lock()
	heap.Push(&s.queue, due{at, c})
	first := s.queue[0].channel == c
	s.mu.Unlock()
	if first {
		signal(s.wake)
	}
}

// pop takes the first channel that is due, or tells how long until one is; 0
// and nil: nothing waits.
func (s *stragglers) pop(now time.Time) (*Channel, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, 0
	}
	if wait := s.queue[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&s.queue).(due).channel, 0
}

// waiting is the number of PVs in the queue.
func (s *stragglers) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// run releases stragglers until ctx ends.
func (s *stragglers) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		c, wait := s.pop(now)
		if c != nil {
			if again := c.release(now); !again.IsZero() {
				s.add(c, again)
			}
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
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
