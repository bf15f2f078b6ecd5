package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// discoveryBatch is the most that is handed to the registry at once: the
// length of an atomic batch of its log.
const discoveryBatch = 1000

// discoveries collects what first connections told and hands it to the
// registry, many PVs at once while many come. A PV is in ready at most once and
// in asked a few times at most, so the lists are bounded by the number of PVs.
type discoveries struct {
	engine *Engine       // set by newDiscoveries
	wake   chan struct{} // set by newDiscoveries; holds one: look at the lists

	// guarded by mu
	mu    sync.Mutex
	asked []asked      // wait for answers or for the registry; all equally long, so in order
	ready []*discovery // to be reported, in order
}

// asked is a discovery that is handed in when its time is over, unless it was
// handed in or began to wait anew before.
type asked struct {
	d     *discovery
	round int
	due   time.Time
}

func newDiscoveries(e *Engine) *discoveries {
	return &discoveries{engine: e, wake: make(chan struct{}, 1)}
}

// queued is the number of discoveries that are to be reported.
func (q *discoveries) queued() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready)
}

// await sees that d is handed in when its time is over.
func (q *discoveries) await(d *discovery, now time.Time) {
	q.mu.Lock()
	d.round++
	d.listed = false
	q.asked = append(q.asked, asked{d, d.round, now.Add(discoveryWait)})
	first := len(q.asked) == 1
	q.mu.Unlock()
	if first {
		signal(q.wake)
	}
}

// handIn puts d among those to be reported, once.
func (q *discoveries) handIn(d *discovery) {
	q.mu.Lock()
	if !d.listed {
		d.listed = true
		q.ready = append(q.ready, d)
	}
	q.mu.Unlock()
	signal(q.wake)
}

// handInAgain does so for a d that was handed in and taken before.
func (q *discoveries) handInAgain(d *discovery) {
	q.mu.Lock()
	d.listed = false
	q.mu.Unlock()
	q.handIn(d)
}

// expire hands in what has waited long enough and tells how long the next one
// has to wait; 0: none waits.
func (q *discoveries) expire(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.asked) > 0 {
		a := q.asked[0]
		stale := a.d.listed || a.d.round != a.round
		if wait := a.due.Sub(now); !stale && wait > 0 {
			return wait
		}
		q.asked[0] = asked{}
		q.asked = q.asked[1:]
		if !stale {
			a.d.listed = true
			q.ready = append(q.ready, a.d)
		}
	}
	q.asked = nil
	return 0
}

// next takes the oldest ones that are to be reported.
func (q *discoveries) next() []*discovery {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.ready), discoveryBatch)
	batch := q.ready[:n:n]
	if q.ready = q.ready[n:]; len(q.ready) == 0 {
		q.ready = nil
	}
	return batch
}

// run reports discoveries until ctx ends.
func (q *discoveries) run(ctx context.Context) {
	timer := time.NewTimer(discoveryWait)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := q.expire(time.Now())
		if batch := q.next(); len(batch) > 0 {
			q.report(ctx, batch)
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// report hands a batch to the registry. Its answer is the event that Follow
// brings: what was refused, or is not confirmed in time, is handed in again as
// long as its connection lasts.
func (q *discoveries) report(ctx context.Context, batch []*discovery) {
	wanted := batch[:0]
	found := make([]Discovery, 0, len(batch))
	for _, d := range batch {
		if f, ok := d.current(); ok {
			wanted, found = append(wanted, d), append(found, f)
		}
	}
	if len(found) == 0 {
		return
	}
	e := q.engine
	err := e.opt.Started(ctx, found)
	if ctx.Err() != nil {
		return
	}
	for _, d := range wanted {
		if !d.refresh {
			e.metrics.discovered.Inc()
		}
	}
	if err != nil {
		e.log.Warn("the registry did not take first connections; trying again",
			slog.Int("pvs", len(found)), slog.Duration("after", discoveryWait), slog.Any("err", err))
	}
	now := time.Now()
	for _, d := range wanted {
		if err != nil {
			d.channel.history.transientErrors.Add(1)
			e.metrics.transientErrors.Inc()
		} else if d.refresh {
			if d.channel.refreshed(d) {
				q.handInAgain(d)
			}
			continue
		}
		q.await(d, now)
	}
}
