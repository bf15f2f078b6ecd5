package ingest

import (
	"math"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// band is the memory of a PV's deadband: the value that stands for it. An
// update that lies within is counted and makes no sample, also not when a
// silence or a pause follows: unlike an update that SCAN held, it says nothing
// that the recorded value does not say already, and to keep it would record
// every update of a quiet PV.
type band struct {
	width            float64 // under which the value was kept; under another it stands for nothing
	value            float64
	severity, status int32
	has              bool
}

// holds reports whether an update says nothing new. NaN and infinities never
// differ by a number, so they always do.
func (b *band) holds(width, v float64, stamp ca.Stamp) bool {
	return b != nil && b.has && b.width == width && b.severity == stamp.Severity && b.status == stamp.Status &&
		math.Abs(v-b.value) <= width
}

// suppressed applies the deadband of scalar numbers. What the archive cannot
// keep stands for nothing, and what waits to ride on a sample needs one.
// c.sampling is held.
func (c *Channel) suppressed(u *caclient.Update, stamp ca.Stamp, s schema.RawSample, width float64) bool {
	v, ok := ca.Number(u.Type, u.Count, u.Payload)
	if !ok || s.Type.Waveform() || s.Type == schema.ScalarEnum {
		return false
	}
	set := c.fields.Load()
	rides := c.markers.pending || len(c.properties.riding) > 0 || set != nil && set.pending.Load()
	if !c.first && !rides && c.band.holds(width, v, stamp) {
		c.history.suppressed.Add(1)
		c.engine.metrics.suppressed.Inc()
		return true
	}
	if fits(s, stamp.Time) && c.history.seen.later(stamp.Time) {
		if c.band == nil {
			c.band = &band{}
		}
		*c.band = band{width: width, value: v, severity: stamp.Severity, status: stamp.Status, has: true}
	}
	return false
}
