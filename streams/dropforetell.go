package streams

import (
	"context"
	"maps"
	"slices"
	"time"
)

// rateSpan is over how long the rate of drops is averaged.
const rateSpan = 10 * time.Minute

// foretell looks when the oldest drops of each reason will leave, and shows it.
func (d *DropLog) foretell(ctx context.Context, s *session, now time.Time) error {
	state, err := s.dropState(ctx)
	if err != nil {
		return err
	}
	reasons, err := d.reasonsHeld(ctx, s)
	if err != nil {
		return err
	}
	d.rate.turn(now)
	k := DropKeeping{At: now, Drops: state.Messages, Bytes: int64(state.Bytes), MaxBytes: d.room(), Keep: d.log.opt.DropsKeep, Rate: d.rate.mean, Expired: d.expiry.total()}
	known := map[string]DropReason{}
	for reason, n := range d.expiry.Expired {
		known[reason] = DropReason{Reason: reason, Expired: n}
	}
	for _, reason := range reasons {
		n, first, at, err := s.dropsFrom(ctx, reason, 1)
		if err != nil {
			return err
		}
		r := DropReason{Reason: reason, Drops: n, Expired: d.expiry.Expired[reason]}
		if n > 0 {
			r.Oldest, r.Leaves = at, k.leaves(at, float64(first-state.First)/float64(state.Last-state.First+1))
		}
		known[reason] = r
	}
	for _, reason := range slices.Sorted(maps.Keys(known)) {
		k.Reasons = append(k.Reasons, known[reason])
	}
	d.show(k)
	return nil
}

// leaves is when a drop leaves that was stored at a time and has a part of all
// bytes before it: by its age, or when the rate has filled what is free and
// replaced what is older. It is pure.
func (k DropKeeping) leaves(stored time.Time, before float64) time.Time {
	at := stored.Add(k.Keep)
	if k.Rate <= 0 {
		return at
	}
	wait := (float64(k.MaxBytes-k.Bytes) + before*float64(k.Bytes)) / k.Rate
	if wait > at.Sub(k.At).Seconds() {
		return at
	}
	return k.At.Add(time.Duration(max(0, wait) * float64(time.Second)))
}

// show publishes a look at the drop log, and tells once when drops will leave
// before their time.
func (d *DropLog) show(k DropKeeping) {
	m := d.log.metrics
	m.dropsBytes.Set(float64(k.Bytes))
	m.dropsMaxBytes.Set(float64(k.MaxBytes))
	m.dropsLeave.Reset()
	early := DropReason{}
	for _, r := range k.Reasons {
		if r.Drops == 0 {
			continue
		}
		m.dropsLeave.WithLabelValues(r.Reason).Set(r.Leaves.Sub(k.At).Seconds())
		if r.Leaves.Before(r.Oldest.Add(k.Keep)) && (early.Drops == 0 || r.Leaves.Before(early.Leaves)) {
			early = r
		}
	}
	d.keepingMu.Lock()
	told := d.early
	d.keeping, d.early = k, early.Drops > 0 && k.Bytes > k.MaxBytes/2
	warn := d.early && !told
	d.keepingMu.Unlock()
	if warn {
		d.log.log.Warn("drops will leave before drops.keep is over: at the present rate drops.max_bytes is reached first; the oldest of a PV that takes too large a share go first",
			"reason", early.Reason, "oldest", early.Oldest.UTC(), "leaves", early.Leaves.UTC(), "bytes", k.Bytes, "max_bytes", k.MaxBytes, "bytes_per_second", int64(k.Rate))
	}
}

// meanRate is the mean rate of something over the last rateSpan or so.
type meanRate struct {
	mean   float64 // per second
	since  float64 // counted since the last turn
	turned time.Time
}

// turn takes what was counted since the turn before into the mean.
func (r *meanRate) turn(now time.Time) {
	if r.turned.IsZero() {
		r.turned, r.since = now, 0
		return
	}
	took := now.Sub(r.turned).Seconds()
	if took <= 0 {
		return
	}
	weight := min(1, took/rateSpan.Seconds())
	r.mean += weight * (r.since/took - r.mean)
	r.turned, r.since = now, 0
}
