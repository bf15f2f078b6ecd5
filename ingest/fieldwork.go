package ingest

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Data come first: what else is asked of IOCs is asked at a bounded rate, of
// which little is left while PVs themselves are connecting.
const (
	fieldPace     = 20 * time.Millisecond  // between two helpings
	fieldHelping  = 100                    // attempts, when no PV connects
	fieldMorsel   = 4                      // attempts, while PVs connect
	fieldCalm     = 500 * time.Millisecond // without a PV's connection: no PV connects
	fieldTries    = 500                    // attempts under way
	fieldSearches = 50                     // of them searches: names that nobody has cost the network
)

// fieldwork gives the monitors of archive fields, and who checks a PV's name,
// their turns: one goroutine, one entry for each that waits.
type fieldwork struct {
	wake      chan struct{} // set by newFieldwork; holds one: look at the queue
	connected atomic.Int64  // when a PV connected last, Unix nanoseconds

	// guarded by mu
	mu       sync.Mutex
	queue    plannedQueue
	expected []planned // attempts under way, until fieldWait is over; all equally long, so in order
	tries    int       // attempts under way
	searches int       // of them searches
}

// errand is what fieldwork gives turns to.
type errand interface {
	// wants tells whether what was planned for a turn is wanted still, and if so
	// whether it is a search.
	wants(turn uint32) (wanted, search bool)
	// try begins it, in a place that it gives back by release. False: there is
	// nothing to do and the place is not needed.
	try(turn uint32) bool
	// expire ends it when it has taken too long, if [fieldwork.expect] was asked to.
	expire(turn uint32)
}

// planned is an errand to be done at a time, unless its turn is over.
type planned struct {
	errand errand
	turn   uint32
	at     time.Time
}

func newFieldwork() *fieldwork { return &fieldwork{wake: make(chan struct{}, 1)} }

// sawConnection notes that a PV has connected.
func (w *fieldwork) sawConnection(now time.Time) { w.connected.Store(now.UnixNano()) }

// plan sees that an errand is done at a time.
func (w *fieldwork) plan(e errand, turn uint32, at time.Time) {
	w.mu.Lock()
	heap.Push(&w.queue, planned{e, turn, at})
	first := w.queue[0].errand == e
	w.mu.Unlock()
	if first {
		signal(w.wake)
	}
}

// expect sees that an attempt that has just begun does not last for ever.
func (w *fieldwork) expect(e errand, turn uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = append(w.expected, planned{e, turn, time.Now().Add(fieldWait)})
}

// release notes the end of an attempt.
func (w *fieldwork) release(search bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries--
	if search {
		w.searches--
	}
}

// run gives turns until ctx ends.
func (w *fieldwork) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		w.expire(now)
		w.help(now)
		if wait, some := w.rest(now); some {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// expire ends the attempts whose time is over.
func (w *fieldwork) expire(now time.Time) {
	for {
		w.mu.Lock()
		if len(w.expected) == 0 || w.expected[0].at.After(now) {
			w.mu.Unlock()
			return
		}
		p := w.expected[0]
		w.expected[0] = planned{}
		w.expected = w.expected[1:]
		w.mu.Unlock()
		p.errand.expire(p.turn)
	}
}

// help begins errands whose time has come, as many as one helping.
func (w *fieldwork) help(now time.Time) {
	left := fieldHelping
	if now.UnixNano()-w.connected.Load() < int64(fieldCalm) {
		left = fieldMorsel
	}
	for left > 0 {
		p, ok := w.next(now)
		if !ok {
			return
		}
		if wanted, search := p.errand.wants(p.turn); wanted && w.begin(p, search) {
			left--
		}
	}
}

// next takes the first errand whose time has come, while there is room.
func (w *fieldwork) next(now time.Time) (planned, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tries >= fieldTries || len(w.queue) == 0 || w.queue[0].at.After(now) {
		return planned{}, false
	}
	p := heap.Pop(&w.queue).(planned)
	if len(w.queue) == 0 {
		w.queue = nil // it was long when all PVs connected
	}
	return p, true
}

// begin takes a place for an errand. A search for which there is none is planned
// anew.
func (w *fieldwork) begin(p planned, search bool) bool {
	w.mu.Lock()
	if search && w.searches >= fieldSearches {
		p.at = time.Now().Add(fieldPause)
		heap.Push(&w.queue, p)
		w.mu.Unlock()
		return true
	}
	w.tries++
	if search {
		w.searches++
	}
	w.mu.Unlock()
	if !p.errand.try(p.turn) {
		w.release(search)
		return false
	}
	return true
}

// rest is how long nothing has to be done; false: until it is woken.
func (w *fieldwork) rest(now time.Time) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait, some := time.Hour, false
	if len(w.queue) > 0 {
		wait, some = max(w.queue[0].at.Sub(now), fieldPace), true
	}
	if len(w.expected) > 0 {
		wait, some = min(wait, max(w.expected[0].at.Sub(now), fieldPace)), true
	}
	return wait, some
}

// waiting is the number of errands that wait for their turn.
func (w *fieldwork) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// plannedQueue is a heap, earliest first.
type plannedQueue []planned

// Len is the number of entries.
func (q plannedQueue) Len() int { return len(q) }

// Less orders by time.
func (q plannedQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }

// Swap exchanges two entries.
func (q plannedQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push adds an entry at the end, for heap.Push.
func (q *plannedQueue) Push(x any) { *q = append(*q, x.(planned)) }

// Pop takes the last entry, for heap.Pop.
func (q *plannedQueue) Pop() any {
	last := len(*q) - 1
	p := (*q)[last]
	(*q)[last] = planned{}
	*q = (*q)[:last]
	return p
}
