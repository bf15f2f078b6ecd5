package appliance

import (
	"context"
	"sync"
	"time"

	"pvlog/ingest"
	"pvlog/schema"
)

// rateTime is how long a PV's rate is measured before policies look at it: the
// Appliance's minute. Its samples are archived meanwhile.
const rateTime = time.Minute

// rates are PVs that wait for their rate. A PV stands here at most once for
// each time that it connected first, so the list is bounded by their number.
type rates struct {
	wake chan struct{} // holds one: look at the queue

	mu    sync.Mutex
	queue []awaited // guarded by mu; all wait equally long, so in order
}

type awaited struct {
	pv  schema.PVName
	due time.Time
}

func newRates() *rates { return &rates{wake: make(chan struct{}, 1)} }

// await lets PVs come up when their rate can be known.
func (r *rates) await(pvs []schema.PVName, now time.Time) {
	r.mu.Lock()
	for _, pv := range pvs {
		r.queue = append(r.queue, awaited{pv, now.Add(rateTime)})
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// waiting is the number of PVs in the queue.
func (r *rates) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

// pop takes what is due, or tells how long until something is; 0: nothing waits.
func (r *rates) pop(now time.Time) (pvs []schema.PVName, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) > 0 {
		if wait = r.queue[0].due.Sub(now); wait > 0 {
			return pvs, wait
		}
		pvs = append(pvs, r.queue[0].pv)
		r.queue = r.queue[1:]
	}
	r.queue = nil
	return pvs, 0
}

// run hands PVs whose rate was measured to judge until ctx ends. One that was
// not connected long enough waits again.
func (r *rates) run(ctx context.Context, state func(schema.PVName) (ingest.ChannelState, bool), judge func([]schema.PVName)) {
	timer := time.NewTimer(rateTime)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		due, wait := r.pop(now)
		if len(due) > 0 {
			measured, again := sortMeasured(due, state)
			if len(again) > 0 {
				r.await(again, now)
			}
			judge(measured)
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// sortMeasured tells PVs whose rate is known from those that wait again; those
// without a channel, which were paused or deleted, are neither.
func sortMeasured(due []schema.PVName, state func(schema.PVName) (ingest.ChannelState, bool)) (measured, again []schema.PVName) {
	for _, pv := range due {
		switch s, ok := state(pv); {
		case !ok:
		case s.Measured >= rateTime:
			measured = append(measured, pv)
		default:
			again = append(again, pv)
		}
	}
	return measured, again
}
