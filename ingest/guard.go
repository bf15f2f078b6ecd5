package ingest

import (
	"log/slog"
	"time"

	"pvlog/schema"
)

// guardSpan is over how long a rate is averaged: so much may come at once.
const guardSpan = 10 * time.Second

// allowance is what a PV may still have: a bucket that fills with the time at
// which its samples were received. Owned by the channel, under its sampling lock.
type allowance struct {
	events, bytes float64
	at            time.Time // of the newest sample that was weighed; zero: none
	told          bool
}

// guard marks a sample that is one too many for the PV's rate. It goes into the
// log as all samples do; the archive keeps it out of the PV's files, in the drop
// log. The verdict is made here, where the rate is seen, and travels with the
// sample: the log judged again tells the same.
func (c *Channel) guard(s *schema.RawSample) {
	set := c.settings.Load()
	if set.rateEvents == 0 && set.rateBytes == 0 {
		c.allowed = nil
		return
	}
	if c.allowed == nil {
		c.allowed = &allowance{}
	}
	over := c.allowed.weigh(s, set.rateEvents, set.rateBytes)
	if !over {
		return
	}
	c.engine.metrics.overRate.Inc()
	if !c.allowed.told {
		c.allowed.told = true
		c.engine.log.Warn("the PV sends more than it may; what is too much goes to the drop log with the reason rate",
			slog.String("pv", string(c.pv)), slog.Uint64("events_per_second", uint64(set.rateEvents)), slog.Uint64("bytes_per_second", set.rateBytes))
	}
}

// weigh takes a sample from what is allowed, or marks it and reports true. A
// clock that was set back adds nothing.
func (a *allowance) weigh(s *schema.RawSample, events uint32, bytes uint64) (over bool) {
	most := guardSpan.Seconds()
	if a.at.IsZero() {
		a.events, a.bytes = float64(events)*most, float64(bytes)*most
	} else if took := s.Received.Sub(a.at).Seconds(); took > 0 {
		a.events = min(a.events+took*float64(events), float64(events)*most)
		a.bytes = min(a.bytes+took*float64(bytes), float64(bytes)*most)
	}
	if a.at.Before(s.Received) {
		a.at = s.Received
	}
	size := float64(len(s.Event))
	switch {
	case events > 0 && a.events < 1:
		s.RateEvents = events
		return true
	case bytes > 0 && a.bytes < size:
		s.RateBytes = bytes
		return true
	}
	a.events--
	a.bytes -= size
	return false
}
