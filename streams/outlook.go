package streams

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Outlook is how far the archive is behind and how long the log can hold what
// comes, as of a moment.
type Outlook struct {
	At       time.Time // zero: never looked
	Messages uint64    // of SAMPLES that are not archived
	Samples  uint64    // in them, by the average of what was published
	Bytes    int64     // of them
	Oldest   time.Time // when the oldest of them was stored; zero: none
	Rate     float64   // bytes/s that SAMPLES grew by, of late
	Room     int64     // bytes that samples may still take
}

// Holds is how long the log can go on storing samples at the present rate if
// nothing is archived; false if none come.
func (o Outlook) Holds() (time.Duration, bool) {
	if o.Rate < 1 {
		return 0, false
	}
	s := float64(max(o.Room, 0)) / o.Rate
	return time.Duration(min(s, math.MaxInt32) * float64(time.Second)), true
}

// String tells it in one line.
func (o Outlook) String() string {
	text := fmt.Sprintf("%d messages (about %d samples, %s) are not archived", o.Messages, o.Samples, bytesText(o.Bytes))
	if !o.Oldest.IsZero() {
		text += ", the oldest stored " + o.Oldest.UTC().Format(time.RFC3339)
	}
	if d, ok := o.Holds(); ok {
		text += fmt.Sprintf("; at the present rate the log can hold on for %v", d.Round(time.Second))
	} else {
		text += fmt.Sprintf("; the log has room for %s more", bytesText(o.Room))
	}
	return text
}

// Fault says since when and why the log does not store samples; its error is
// nil if it does.
func (l *Log) Fault() (since time.Time, err error) {
	l.samples.mu.Lock()
	defer l.samples.mu.Unlock()
	return l.samples.fault.begun, l.samples.fault.err
}

// Outlook gives what the keeper saw last. It asks nobody, so it answers also
// while the server does not.
func (l *Log) Outlook() Outlook {
	l.ledgerMu.Lock()
	defer l.ledgerMu.Unlock()
	return l.outlook
}

// lookAhead makes the outlook anew.
func (l *Log) lookAhead(ctx context.Context, now time.Time) {
	state, err := l.State(ctx)
	if err != nil {
		return
	}
	size, free, err := l.space(l.opt.Dir)
	if err != nil {
		return
	}
	before := l.Outlook()
	o := outlook(state, l.samples.perMessage(), before, now, l.lastSeen)
	l.lastSeen = state.Samples.Last
	o.Room = min(state.Samples.Limit-o.Bytes, free-reserve(size)+int64(state.Samples.Bytes)-o.Bytes)
	if o.Messages > 0 {
		o.Oldest = l.storedAt(ctx, max(state.Floor+1, state.Samples.First))
	}
	l.ledgerMu.Lock()
	l.outlook = o
	l.ledgerMu.Unlock()
	l.metrics.show(o, now)
}

// outlook is what a state means; last is the newest sequence at the look before.
func outlook(s State, perMessage float64, before Outlook, now time.Time, last uint64) Outlook {
	o := Outlook{At: now, Messages: s.Lag, Samples: uint64(float64(s.Lag) * perMessage), Rate: before.Rate}
	if s.Samples.Messages == 0 {
		return o
	}
	each := float64(s.Samples.Bytes) / float64(s.Samples.Messages)
	o.Bytes = int64(each * float64(s.Lag))
	if dt := now.Sub(before.At).Seconds(); !before.At.IsZero() && dt > 0 && s.Samples.Last >= last {
		const memory = 30 // seconds
		grown := float64(s.Samples.Last-last) * each / dt
		if before.Rate == 0 {
			o.Rate = grown
		} else if grown > 0 || s.Lag == 0 { // nothing stored and a backlog: the log is full, not the IOCs silent
			o.Rate += (grown - before.Rate) * (1 - math.Exp(-dt/memory))
		}
	}
	return o
}

// storedAt is when a message of SAMPLES was stored, zero if that cannot be told.
func (l *Log) storedAt(ctx context.Context, seq uint64) time.Time {
	s, err := l.current()
	if err != nil {
		return time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, SamplesStream)
	if err != nil {
		return time.Time{}
	}
	m, err := stream.GetMsg(ctx, seq)
	if err != nil {
		return time.Time{}
	}
	return m.Time
}

// outlookMetrics show an Outlook.
type outlookMetrics struct{ messages, samples, bytes, seconds, rate, room, holds prometheus.Gauge }

func newOutlookMetrics(gauge func(name, help string) prometheus.Gauge) outlookMetrics {
	return outlookMetrics{
		messages: gauge("behind_messages", "Messages of SAMPLES that are not archived."),
		samples:  gauge("behind_samples", "Samples in them, by the average."),
		bytes:    gauge("behind_bytes", "Bytes of them."),
		seconds:  gauge("behind_seconds", "How long ago the oldest of them was stored."),
		rate:     gauge("growth_bytes_per_second", "Bytes that SAMPLES grew by a second, of late."),
		room:     gauge("room_bytes", "Bytes that samples may still take until the log is full."),
		holds:    gauge("holds_seconds", "How long that lasts at the present rate if nothing is archived; +Inf if nothing comes."),
	}
}

func (m *metrics) show(o Outlook, now time.Time) {
	m.outlook.messages.Set(float64(o.Messages))
	m.outlook.samples.Set(float64(o.Samples))
	m.outlook.bytes.Set(float64(o.Bytes))
	m.outlook.rate.Set(o.Rate)
	m.outlook.room.Set(float64(o.Room))
	m.outlook.seconds.Set(0)
	if !o.Oldest.IsZero() {
		m.outlook.seconds.Set(now.Sub(o.Oldest).Seconds())
	}
	m.outlook.holds.Set(math.Inf(1))
	if d, ok := o.Holds(); ok {
		m.outlook.holds.Set(d.Seconds())
	}
}
