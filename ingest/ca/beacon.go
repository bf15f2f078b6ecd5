package ca

import "time"

// Beacon is RSRV_IS_UP: a server says that it serves a TCP port.
type Beacon struct {
	Address uint32 // IPv4 of the server, 0 if it is the sender of the datagram
	Port    uint16 // of the server's TCP listener
	Counter uint32 // one more each time
	Minor   uint16 // of the server
}

// Verdict is what a beacon says of its server.
type Verdict uint8

// The verdicts.
const (
	BeaconIgnored Verdict = iota // a first one, a duplicate, a late one, or one after a loss
	BeaconNormal                 // the server lives as it did
	BeaconLate                   // it was silent for longer than usual: suspicious
	BeaconAnomaly                // it has restarted, is new, or the network to it is back
)

// Limits of a [BeaconTable]. The ratios are libca's.
const (
	maxBeaconSources = 8192
	staleSource      = 3 * time.Minute // many times the 15 s between beacons
	minorCounter     = 10              // first minor version that counts its beacons
	lateRatio        = 1.25
	restoredRatio    = 3.25
	rebootedRatio    = 0.80
)

// BeaconTable recognises in the rhythm of beacons that a server has restarted
// or that the network to it is back. A restarted server begins again with
// short intervals (20 ms, doubled up to 15 s), which is how it is known.
//
// Time is an argument. It holds a bounded number of servers: when it is full,
// new ones replace those that are silent, or are not remembered. It is not
// safe for concurrent use.
type BeaconTable struct {
	began   time.Time
	sources map[beaconSource]*rhythm
}

type beaconSource struct {
	address uint32
	port    uint16
}

// rhythm is what is known of a server's beacons.
type rhythm struct {
	counter uint32
	seen    time.Time     // of the last accepted beacon
	period  time.Duration // mean interval, 0 after the first beacon
	anomaly time.Time     // of the last one
}

// NewBeaconTable gives an empty table of a client that began to listen at a
// time.
func NewBeaconTable(began time.Time) *BeaconTable {
	return &BeaconTable{began: began, sources: map[beaconSource]*rhythm{}}
}

// Len is the number of servers that are known.
func (t *BeaconTable) Len() int { return len(t.sources) }

// Anomaly is when a server's beacons last were an anomaly, zero if never.
func (t *BeaconTable) Anomaly(address uint32, port uint16) time.Time {
	if r, ok := t.sources[beaconSource{address, port}]; ok {
		return r.anomaly
	}
	return time.Time{}
}

// Heard judges a beacon. Its address must be known by now, not 0.
func (t *BeaconTable) Heard(now time.Time, b Beacon) Verdict {
	source := beaconSource{b.Address, b.Port}
	r, ok := t.sources[source]
	if !ok {
		if len(t.sources) < maxBeaconSources || t.makeRoom(now) {
			t.sources[source] = &rhythm{counter: b.Counter, seen: now}
		}
		return BeaconIgnored
	}
	if advance := b.Counter - r.counter; b.Minor >= minorCounter {
		r.counter = b.Counter
		// Duplicate, late by up to 256, or a beacon or two that took another
		// way or none: their time says nothing.
		if advance == 0 || advance > 1<<32-1-256 || advance == 2 || advance == 3 {
			return BeaconIgnored
		}
	}
	v := t.judge(r, now.Sub(r.seen))
	r.seen = now
	if v == BeaconAnomaly {
		r.anomaly = now
	}
	return v
}

// judge compares an interval with those before.
func (t *BeaconTable) judge(r *rhythm, gap time.Duration) Verdict {
	if r.period == 0 {
		r.period = max(gap, time.Nanosecond)
		// Intervals grow from 20 ms: a server whose interval is longer than
		// this client has listened may have been there before.
		if gap <= r.seen.Sub(t.began) {
			return BeaconAnomaly
		}
		return BeaconNormal
	}
	ratio := float64(gap) / float64(r.period)
	r.period = max(r.period-r.period/8+gap/8, time.Nanosecond)
	switch {
	case ratio >= restoredRatio || ratio <= rebootedRatio:
		return BeaconAnomaly
	case ratio >= lateRatio:
		return BeaconLate
	}
	return BeaconNormal
}

// makeRoom forgets the stalest of some servers, if it is stale at all: a
// flood of invented ones neither grows the table nor empties it.
func (t *BeaconTable) makeRoom(now time.Time) bool {
	var stalest beaconSource
	var age time.Duration
	looked := 0
	for source, r := range t.sources {
		if d := now.Sub(r.seen); d > age {
			stalest, age = source, d
		}
		if looked++; looked == 16 {
			break
		}
	}
	if age < staleSource {
		return false
	}
	delete(t.sources, stalest)
	return true
}
