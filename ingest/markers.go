package ingest

import (
	"strconv"

	"pvlog/schema"
)

// markers are the three field values that tell of a connection (S38). They
// ride on the first sample that is later than the last one seen and stay
// pending until then: after a reconnect an IOC sends its last value again with
// its old time, and what rode on that duplicate would vanish with it (D12).
type markers struct {
	pending  bool
	startup  bool  // this run or a resume began with it
	lost     int64 // last disconnect, Unix seconds, 0: none
	regained int64 // connect, Unix seconds
}

// begin notes a connect. A connection that comes before the markers of the one
// before could ride takes their place; that the run began remains true.
func (m *markers) begin(lost, regained int64) {
	m.pending, m.lost, m.regained = true, lost, regained
}

// appendTo adds the field values to an event. Like the Appliance's they do not
// count as an actual change of fields.
func (m *markers) appendTo(event []byte) []byte {
	event = schema.AppendField(event, "cnxlostepsecs", strconv.FormatInt(m.lost, 10))
	event = schema.AppendField(event, "cnxregainedepsecs", strconv.FormatInt(m.regained, 10))
	return schema.AppendField(event, "startup", strconv.FormatBool(m.startup))
}

// took notes that a sample carried the markers into the log.
func (m *markers) took() { m.pending, m.startup = false, false }

// newest is the time of the latest sample of a PV that a partition can hold.
type newest struct {
	at  schema.Time
	has bool
}

// later reports whether a sample at t is later than all seen.
func (n newest) later(t schema.Time) bool { return !n.has || t.After(n.at) }

// fits reports whether the archive could keep a sample that s describes, its
// order apart. Neither may markers ride on one that will be a drop, nor may
// such a one set the time to be passed: an IOC that said 2036 once would keep
// them pending for ten years.
func fits(s schema.RawSample, at schema.Time) bool {
	if !at.Legal() || at.Sec < schema.Floor || s.Type != s.Registered {
		return false
	}
	if s.RateEvents > 0 || s.RateBytes > 0 || at.After(schema.TimeOf(s.Received.Add(s.DriftFuture))) {
		return false
	}
	return s.First || !schema.TimeOf(s.Received.Add(-s.DriftPast)).After(at)
}
