package ingest

import (
	"sync/atomic"
	"time"

	"pvlog/schema"
)

// history is what of a PV outlives its channel: a pause does not forget the
// counters, nor up to where the PV was seen. Counters are read without locks.
type history struct {
	created int64 // of the registration, Unix nanoseconds; read-only

	received, appended           atomic.Uint64
	overflowWaits, overflowDrops atomic.Uint64
	transientErrors, disconnects atomic.Uint64
	bytes, suppressed            atomic.Uint64

	first          atomic.Int64 // Unix nanoseconds, 0: none
	lastDisconnect atomic.Int64 // Unix seconds, 0: none
	observed       atomic.Int32 // a DBR type, or UnknownType

	// owned by the PV's running channel, guarded by its sampling mutex
	seen newest

	window window // guarded by rates.mu
}

func newHistory(created int64) *history {
	h := &history{created: created}
	h.observed.Store(int32(schema.UnknownType))
	return h
}

// sawEvent counts an update that held a value.
func (h *history) sawEvent(now time.Time) {
	h.received.Add(1)
	if h.first.Load() == 0 {
		h.first.CompareAndSwap(0, now.UnixNano())
	}
}

// sawDisconnect counts a loss.
func (h *history) sawDisconnect(now time.Time) {
	h.disconnects.Add(1)
	h.lastDisconnect.Store(now.Unix())
}

// counters is a snapshot; each number is right, the set may be of two moments.
func (h *history) counters() Counters {
	return Counters{
		Received:        h.received.Load(),
		Appended:        h.appended.Load(),
		Bytes:           h.bytes.Load(),
		Suppressed:      h.suppressed.Load(),
		OverflowWaits:   h.overflowWaits.Load(),
		OverflowDrops:   h.overflowDrops.Load(),
		TransientErrors: h.transientErrors.Load(),
		Disconnects:     h.disconnects.Load(),
		First:           timeOrZero(h.first.Load(), 1),
		LastDisconnect:  timeOrZero(h.lastDisconnect.Load(), time.Second),
		Observed:        schema.DBRType(h.observed.Load()),
	}
}

// timeOrZero is n units after 1970, or no time for 0.
func timeOrZero(n int64, unit time.Duration) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n*int64(unit))
}
