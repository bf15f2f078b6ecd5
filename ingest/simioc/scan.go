package simioc

import (
	"context"
	"time"
)

// ring is all records of one rate. Their processings are spread over the
// period, so the work of a large load is even, but rounded to ticks, so that
// it comes in batches and a batch is one write per client.
type ring struct {
	period  time.Duration
	tick    time.Duration
	records []*record
	turn    int64 // processings so far, of all records together
}

func newRing(rate float64) *ring {
	period := time.Duration(float64(time.Second) / rate)
	return &ring{period: period, tick: min(max(period/10, time.Millisecond), 10*time.Millisecond)}
}

// due is when the next processing falls, measured from the start of scanning.
func (r *ring) due() time.Duration {
	n := int64(len(r.records))
	rounds, i := r.turn/n, r.turn%n
	within := time.Duration(i * int64(r.period) / n)
	return time.Duration(rounds)*r.period + within.Truncate(r.tick)
}

// skip leaves out whole rounds when the scan is late by more than a second
// (the machine slept or is too slow) and says how many processings that were.
func (r *ring) skip(elapsed time.Duration) int64 {
	late := elapsed - r.due()
	if late < max(r.period, time.Second) {
		return 0
	}
	missed := int64(late/r.period) * int64(len(r.records))
	r.turn += missed
	return missed
}

// scan processes all periodic records at their rates until ctx ends. It never
// waits for a client.
func (ioc *IOC) scan(ctx context.Context, rings []*ring) {
	if len(rings) == 0 {
		return
	}
	start := time.Now()
	var w wakes
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		next := time.Duration(1<<63 - 1)
		for _, r := range rings {
			ioc.scanRing(r, now, now.Sub(start), &w)
			next = min(next, r.due())
		}
		w.flush()
		timer.Reset(next - time.Since(start))
	}
}

// scanRing processes what is due. The stamp is the time at which a processing
// was due: late scans still make even stamps.
func (ioc *IOC) scanRing(r *ring, now time.Time, elapsed time.Duration, w *wakes) {
	ioc.skipped.Add(r.skip(elapsed))
	for due := r.due(); due <= elapsed; due = r.due() {
		i := r.turn % int64(len(r.records))
		rec := r.records[i]
		if heir := rec.heir.Load(); heir != nil {
			rec, r.records[i] = heir, heir
		}
		r.turn++
		ioc.process(rec, now.UnixNano()-int64(elapsed-due), w)
	}
}

// process runs a record and tells of the first value it cannot hold; the
// record's alarm tells of all.
func (ioc *IOC) process(r *record, clock int64, w *wakes) {
	if err := r.process(clock, w); err != nil && !r.complained {
		r.complained = true
		ioc.log.Warn("record cannot hold its value", "pv", r.name, "err", err)
	}
}
