package simioc

import (
	"cmp"
	"encoding/binary"
	"math"
	"sync"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// Alarm severities and the statuses that records here raise by themselves.
const (
	severityNone    = 0
	severityMinor   = 1
	severityMajor   = 2
	severityInvalid = 3

	statusNone  = 0
	statusHIHI  = 3
	statusHIGH  = 4
	statusLOLO  = 5
	statusLOW   = 6
	statusState = 7
	statusSoft  = 15
	statusUDF   = 17
)

// variable is what a channel can be connected to: the value of a record or one
// of its fields. Lock order: variable.mu, then client.mu; never two variables.
type variable struct {
	// set on creation, read-only
	name     string // as clients call it
	native   ca.DBR
	max      int
	writable bool
	record   *record
	field    *field // nil for the value itself

	// guarded by mu
	mu      sync.Mutex
	cur     snapshot
	auto    int64   // newest stamp that the clock gave, Unix nanoseconds
	monitor float64 // value of the last VALUE update
	logged  float64 // value of the last LOG update
	subs    []*subscription
	clock   Clock
	forced  *alarm // stated by IOC.SetAlarm until it is cleared
	muted   bool   // no updates but first ones, see IOC.Mute
}

type alarm struct{ severity, status int16 }

// rights are what a client may do with the variable.
func (v *variable) rights() uint32 {
	rights := v.record.rights.Load()
	if !v.writable {
		rights &^= ca.AccessWrite
	}
	return rights
}

// posting is one change of a variable.
type posting struct {
	value    value
	keep     bool        // the value stays as it is
	clock    int64       // Unix nanoseconds; made later than the stamp before
	time     schema.Time // stated stamp, taken as it is
	stated   bool
	severity int16
	status   int16
	alarm    bool      // severity and status are stated; else they follow from the limits
	mask     uint16    // stated mask, 0 = by what changed
	force    bool      // VALUE and LOG even if the value is the same
	before   *snapshot // the state to compare with, if it is not the present one
}

// post applies a change and offers it to the subscriptions it concerns.
func (v *variable) post(p *posting, w *wakes) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := v.cur
	if p.before != nil {
		before = *p.before
	}
	if !p.keep {
		v.cur.value = p.value
	}
	v.stamp(p)
	switch {
	case p.alarm:
		v.cur.severity, v.cur.status = p.severity, p.status
	case v.forced != nil:
		v.cur.severity, v.cur.status = v.forced.severity, v.forced.status
	default:
		v.cur.severity, v.cur.status = alarmOf(&v.cur)
	}
	if v.cur.severity > v.cur.acks || !v.cur.ackt {
		v.cur.acks = v.cur.severity
	}
	mask := p.mask
	if mask == 0 {
		mask = v.changes(&before, p.force)
	}
	v.offer(mask, w)
}

// offer shows the current state to the subscriptions that want one of mask.
// The caller holds v.mu.
func (v *variable) offer(mask uint16, w *wakes) {
	if v.muted {
		return
	}
	for _, s := range v.subs {
		if s.mask&mask != 0 {
			s.client.offer(s, &v.cur, w)
		}
	}
}

// stamp sets the time: the stated one, or the clock's, which never repeats.
func (v *variable) stamp(p *posting) {
	if p.stated {
		v.cur.time = p.time
		return
	}
	v.auto = max(p.clock, v.auto+1)
	v.cur.time = v.clock.stamp(v.cur.time, time.Unix(0, v.auto))
}

// changes tells what is new since before as an event mask, and notes what the
// deadbands measure from.
func (v *variable) changes(before *snapshot, force bool) uint16 {
	var mask uint16
	if before.severity != v.cur.severity || before.status != v.cur.status {
		mask |= ca.MaskAlarm
	}
	switch {
	case force || v.max > 1:
		mask |= ca.MaskValue | ca.MaskLog
	case v.native == ca.DBRString || v.native == ca.DBREnum:
		if !v.cur.value.sameAs(&before.value) {
			mask |= ca.MaskValue | ca.MaskLog
		}
		return mask
	}
	if v.max > 1 {
		return mask
	}
	x := scalarOf(&v.cur)
	if mask&ca.MaskValue != 0 || beyond(x, v.monitor, v.cur.meta.mdel) {
		mask |= ca.MaskValue
		v.monitor = x
	}
	if mask&ca.MaskLog != 0 || beyond(x, v.logged, v.cur.meta.adel) {
		mask |= ca.MaskLog
		v.logged = x
	}
	return mask
}

// beyond reports whether x left the deadband round last. Turning into or out
// of NaN or an infinity always does.
func beyond(x, last, deadband float64) bool {
	delta := math.Abs(x - last)
	if math.IsNaN(delta) {
		return deadband < 0 || math.Float64bits(x) != math.Float64bits(last)
	}
	return delta > deadband
}

// scalarOf is the value of a numeric scalar.
func scalarOf(s *snapshot) float64 {
	if s.native == ca.DBRDouble {
		return math.Float64frombits(binary.BigEndian.Uint64(s.value.scalar[:]))
	}
	return elementNumber(s.native, s.value.scalar[:]).float64()
}

// alarmOf is the alarm that a processed record's value raises.
func alarmOf(s *snapshot) (severity, status int16) {
	if s.native == ca.DBREnum && s.max == 1 {
		return stateAlarm(s)
	}
	if s.native == ca.DBRString || s.native == ca.DBREnum || s.value.data != nil || s.value.n != 1 {
		return severityNone, statusNone
	}
	x, l := scalarOf(s), &s.meta.limits
	switch {
	case math.IsNaN(x):
		return severityInvalid, statusUDF
	case !l.Alarm:
		return severityNone, statusNone
	case x >= l.HIHI:
		return cmp.Or(l.HHSV, severityMajor), statusHIHI
	case x <= l.LOLO:
		return cmp.Or(l.LLSV, severityMajor), statusLOLO
	case x >= l.HIGH:
		return cmp.Or(l.HSV, severityMinor), statusHIGH
	case x <= l.LOW:
		return cmp.Or(l.LSV, severityMinor), statusLOW
	}
	return severityNone, statusNone
}

// stateAlarm is the alarm of an enum's state.
func stateAlarm(s *snapshot) (severity, status int16) {
	state := int(elementNumber(s.native, s.value.scalar[:]).i)
	if state < len(s.meta.states) && s.meta.states[state] != severityNone {
		return s.meta.states[state], statusState
	}
	return severityNone, statusNone
}

// snapshot copies the current state. A field carries the stamp and the alarm
// of its record.
func (v *variable) snapshot() snapshot {
	v.mu.Lock()
	s := v.cur
	v.mu.Unlock()
	if v.field != nil {
		v.record.main.mu.Lock()
		s.time, s.severity, s.status = v.record.main.cur.time, v.record.main.cur.severity, v.record.main.cur.status
		v.record.main.mu.Unlock()
	}
	return s
}

// subscribe adds s and offers it the current state at once, whatever its age.
func (v *variable) subscribe(s *subscription, w *wakes) {
	state := v.snapshot()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.field != nil {
		v.cur.time, v.cur.severity, v.cur.status = state.time, state.severity, state.status
	}
	s.index = len(v.subs)
	v.subs = append(v.subs, s)
	s.client.offer(s, &v.cur, w)
}

// unsubscribe removes s; nothing is offered to it afterwards.
func (v *variable) unsubscribe(s *subscription) {
	v.mu.Lock()
	defer v.mu.Unlock()
	last := len(v.subs) - 1
	v.subs[s.index] = v.subs[last]
	v.subs[s.index].index = s.index
	v.subs[last] = nil
	v.subs = v.subs[:last]
}
