package ingest

import (
	"time"

	"pvlog/schema"
)

// scanJitter shortens the scan period so that an IOC that processes exactly
// once in a period is not sampled every second time (Appliance:
// scanJitterFactor).
const scanJitter = 0.95

// defaultPeriod is the scan period of a PV that states none (Appliance: 1 s).
const defaultPeriod = time.Second

// turn is what becomes of an update of a scanned PV.
type turn int

const (
	record turn = iota // to the log, now
	hold               // kept as straggler: to the log if nothing newer comes for a period
	skip               // its time stamp is the one recorded last
)

// scanned is the sampling state of a PV: the time stamp recorded last.
type scanned struct {
	last schema.Time
	has  bool
}

// turn judges an update at t by the distance of IOC times, as the Appliance's
// SCAN does. A clock that was set back counts as distance as well, or its PV
// would be silent until the clock has caught up.
func (s scanned) turn(t schema.Time, first bool, period time.Duration) turn {
	switch {
	case !s.has:
		return record
	case t == s.last:
		return skip
	case first || distance(t, s.last) >= period:
		return record
	}
	return hold
}

// distance is |t-u|. CA's 136 years fit a Duration.
func distance(t, u schema.Time) time.Duration {
	d := time.Duration(t.Sec-u.Sec)*time.Second + time.Duration(int64(t.Nsec)-int64(u.Nsec))
	return max(d, -d)
}

// straggler is the newest update of a scanned PV that came too soon. Its
// event's buffer is its own and is used again.
type straggler struct {
	sample  schema.RawSample
	at      schema.Time
	held    bool
	earlier bool // it came before the present connection
}

// hold keeps a copy of an update in place of the one before.
func (s *straggler) hold(sample schema.RawSample, at schema.Time) {
	event := append(s.sample.Event[:0], sample.Event...)
	s.sample, s.at, s.held, s.earlier = sample, at, true, false
	s.sample.Event = event
}
