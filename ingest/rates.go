package ingest

import (
	"context"
	"sync"
	"time"
)

// rateBucket is the distance of the moments that rates are measured from. A
// rate is that of the time since the last but one of them, one to two minutes,
// or since the PV connected for the first time: the numbers are real ones from
// the first second on, and cost nothing while nobody asks.
const rateBucket = time.Minute

// mark is what a PV's counters were at a moment.
type mark struct{ events, bytes uint64 }

// window is where the measurement of a PV's rates begins.
type window struct {
	begun        time.Duration // since epoch, when its channel connected first; 0: it did not
	older, newer mark          // at the moments of rates, or when it began if that was later
}

// rates are the moments that all windows share.
type rates struct {
	mu           sync.RWMutex
	older, newer time.Duration // since epoch; guarded by mu, as all windows are
}

func (h *history) mark() mark { return mark{h.received.Load(), h.bytes.Load()} }

// begin measures a PV anew: its channel has connected for the first time.
func (r *rates) begin(h *history, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := h.mark()
	h.window = window{begun: now, older: m, newer: m}
}

// of gives a PV's rates and the time that they were measured over.
func (r *rates) of(h *history, now time.Duration) (events, bytes float64, measured time.Duration) {
	r.mu.RLock()
	w, from := h.window, max(r.older, h.window.begun)
	r.mu.RUnlock()
	if measured = now - from; w.begun == 0 || measured <= 0 {
		return 0, 0, 0
	}
	m, seconds := h.mark(), measured.Seconds()
	return float64(m.events-w.older.events) / seconds, float64(m.bytes-w.older.bytes) / seconds, measured
}

// turn begins a new bucket.
func (r *rates) turn(histories []*history, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.older, r.newer = r.newer, now
	for _, h := range histories {
		h.window.older, h.window.newer = h.window.newer, h.mark()
	}
}

// keepRates turns the buckets until ctx ends.
func (e *Engine) keepRates(ctx context.Context) {
	ticker := time.NewTicker(rateBucket)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.turnRates()
		}
	}
}

func (e *Engine) turnRates() {
	e.mu.RLock()
	histories := make([]*history, 0, len(e.histories))
	for _, h := range e.histories {
		histories = append(histories, h)
	}
	e.mu.RUnlock()
	e.rates.turn(histories, time.Since(epoch))
}
