package simioc

import (
	"errors"
	"time"

	"pvlog/schema"
)

// Clock says how the stamps of a record go, right or wrong. The zero value is
// the clock of this machine; one field at most is set.
type Clock struct {
	Skew      time.Duration // added to the right time
	Frozen    bool          // the stamp of the processing before, again and again
	Backwards time.Duration // each stamp lies this much before the last, not before 1990
	Epoch     bool          // 1990-01-01, as of a record that was never processed
	Absolute  schema.Time   // always this; the zero Time is none
}

// maxSkew keeps stamps of a wrong clock within what Channel Access can say.
const maxSkew = 30 * 365 * 24 * time.Hour

var (
	errClockFields = errors.New("a clock is skewed, frozen, backwards, at the epoch or absolute: one of these")
	errClockRange  = errors.New("a clock is skewed by at most 30 years and steps backwards by 0 to 30 years")
	errClockStamp  = errors.New("an absolute stamp lies between 1990 and 2126")
)

func (c Clock) check() error {
	set := 0
	for _, b := range []bool{c.Skew != 0, c.Frozen, c.Backwards != 0, c.Epoch, c.Absolute != schema.Time{}} {
		if b {
			set++
		}
	}
	switch {
	case set > 1:
		return errClockFields
	case c.Skew.Abs() > maxSkew || c.Backwards < 0 || c.Backwards > maxSkew:
		return errClockRange
	case c.Absolute != schema.Time{} && !onWire(c.Absolute):
		return errClockStamp
	}
	return nil
}

// onWire reports whether Channel Access can carry the seconds of a stamp.
func onWire(t schema.Time) bool { return t.Sec >= epoch && t.Sec-epoch <= 1<<32-1 }

// stamp gives the stamp after last when the right time is now.
func (c *Clock) stamp(last schema.Time, now time.Time) schema.Time {
	never := last == schema.Time{Sec: epoch}
	switch {
	case c.Epoch:
		return schema.Time{Sec: epoch}
	case c.Absolute != schema.Time{}:
		return c.Absolute
	case c.Frozen && !never:
		return last
	case c.Backwards != 0 && !never:
		now = time.Unix(last.Sec, int64(last.Nsec)).Add(-c.Backwards)
	}
	t := schema.TimeOf(now.Add(c.Skew))
	if t.Sec < epoch {
		return schema.Time{Sec: epoch}
	}
	return t
}
