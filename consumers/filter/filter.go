// Package filter judges samples: may this one stand in its PV's partition?
//
// It promises verdicts that depend on the sample's envelope and the PV's last
// time alone, never on a clock, so that a backlog and a replay are judged as
// the live sample was (design D1), and that what it keeps of a PV, in the order
// given, is strictly ascending in time.
//
// The archive drives it, sample by sample; it does no I/O and holds no state.
package filter

import (
	"fmt"
	"time"

	"pvlog/schema"
)

// Reason says why a sample is not in a partition; "" means that it is kept. It
// is a token of the drop log's subjects, so its names never change.
type Reason string

// The reasons that [Judge] gives, in the order in which it looks for them: a
// sample that is wrong in two ways has the first.
const (
	Type        Reason = "type"         // not of the type that the registry has for the PV
	Nanos       Reason = "nanos"        // illegal nanoseconds: one second or more
	Before1991  Reason = "before_1991"  // the IOC's clock was never set
	DriftFuture Reason = "drift_future" // later than it was received, by more than the window
	DriftPast   Reason = "drift_past"   // earlier than it was received, by more than the window
	Rate        Reason = "rate"         // more events or bytes per second than the PV may have
	Order       Reason = "order"        // not later than the PV's last sample
)

// The reasons that others give, who know what a single sample does not tell.
const (
	File         Reason = "file"         // the partition's file cannot be written
	Damaged      Reason = "damaged"      // checksum or decoding of the log message failed
	Unregistered Reason = "unregistered" // the PV, or this generation of it, is not registered
)

// Reasons lists all reasons, those of Judge first and in its order.
func Reasons() []Reason {
	return []Reason{Type, Nanos, Before1991, DriftFuture, DriftPast, Rate, Order, File, Damaged, Unregistered}
}

// Verdict says whether a sample may stand in its partition, and if not, why.
type Verdict struct {
	Reason Reason // "" = keep
	Detail string // the numbers that decided, for people
}

// Keep reports whether the sample may be written.
func (v Verdict) Keep() bool { return v.Reason == "" }

// Judge decides on a sample whose event is at the given time, for a PV whose
// newest kept sample is at last, if hasLast. The rules come in this order:
//
//   - A type other than the registered one can be in no file of the PV,
//     whatever its time.
//   - A time that is none (illegal nanoseconds, before 1991) is no time to
//     compare with anything.
//   - Later than Received + DriftFuture is always refused: a sample of 2036
//     would turn every right one of ten years into an order drop.
//   - Earlier than Received - DriftPast is refused unless the sample is the
//     first since the channel connected: an IOC's last value may be old.
//   - One that was too many for the PV's rate, by the guard of the ingest, is
//     refused: it stands in the envelope, so that any replay judges alike.
//   - Not strictly later than last is [Order], and the caller looks it up.
//
// A last that was read from disk must not be given if it lies so far in the
// future that no sample of the PV can have put it there: it is from an adopted
// or poisoned file and no floor (design D1).
func Judge(s schema.RawSample, at schema.Time, last schema.Time, hasLast bool) Verdict {
	switch {
	case s.Type != s.Registered:
		return Verdict{Reason: Type, Detail: fmt.Sprintf("the sample is %v, the PV is registered as %v", s.Type, s.Registered)}
	case !at.Legal():
		return Verdict{Reason: Nanos, Detail: fmt.Sprintf("%d nanoseconds after %v", at.Nsec, schema.Time{Sec: at.Sec})}
	case at.Sec < schema.Floor:
		return Verdict{Reason: Before1991, Detail: fmt.Sprintf("at %v, before %v", at, schema.Time{Sec: schema.Floor})}
	case at.After(latest(s)):
		return Verdict{Reason: DriftFuture, Detail: drift(at, s.Received, "after", s.DriftFuture)}
	case !s.First && schema.TimeOf(s.Received.Add(-s.DriftPast)).After(at):
		return Verdict{Reason: DriftPast, Detail: drift(at, s.Received, "before", s.DriftPast)}
	case s.RateEvents > 0 || s.RateBytes > 0:
		return Verdict{Reason: Rate, Detail: rate(s)}
	case hasLast && !at.After(last):
		return Verdict{Reason: Order, Detail: fmt.Sprintf("at %v, not later than the PV's last at %v", at, last)}
	}
	return Verdict{}
}

// latest is the end of a sample's future window.
func latest(s schema.RawSample) schema.Time { return schema.TimeOf(s.Received.Add(s.DriftFuture)) }

// rate tells which bound a sample was too many for.
func rate(s schema.RawSample) string {
	if s.RateEvents > 0 {
		return fmt.Sprintf("more than the %d events/s that the PV may have, received at %v", s.RateEvents, schema.TimeOf(s.Received))
	}
	return fmt.Sprintf("its %d bytes are more than the %d bytes/s that the PV may have, received at %v", len(s.Event), s.RateBytes, schema.TimeOf(s.Received))
}

// drift tells by how much a time misses the window. A distance beyond what a
// Duration holds (292 years) is given as that.
func drift(at schema.Time, received time.Time, side string, window time.Duration) string {
	return fmt.Sprintf("at %v, %v %s it was received at %v; %v is allowed",
		at, at.Go().Sub(received).Abs(), side, schema.TimeOf(received), window)
}
