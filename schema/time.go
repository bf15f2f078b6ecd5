package schema

import (
	"cmp"
	"time"
)

// EPICSEpoch is 1990-01-01T00:00:00Z in Unix seconds: CA stamps count from it.
const EPICSEpoch = 631_152_000

// Floor is 1991-01-01T00:00:00Z in Unix seconds: an earlier stamp is an unset
// clock and no partition takes it (Appliance: ArchiveChannel).
const Floor = 662_688_000

// Time is an instant as an IOC stated it. Nsec is what the IOC sent and may be
// illegal (1e9 or more); see [Time.Legal].
type Time struct {
	Sec  int64  // Unix seconds
	Nsec uint32 // nanoseconds within the second
}

// TimeOf converts a Go time.
func TimeOf(t time.Time) Time { return Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())} }

// TimeFromYear is the instant that a PB line states: seconds into the UTC year.
func TimeFromYear(year int, secondsIntoYear, nano uint32) Time {
	return Time{Sec: YearStart(year) + int64(secondsIntoYear), Nsec: nano}
}

// YearStart is the first Unix second of a UTC year.
func YearStart(year int) int64 {
	return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
}

// Go converts to a Go time in UTC.
func (t Time) Go() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Year is the UTC year of the instant.
func (t Time) Year() int { return time.Unix(t.Sec, 0).UTC().Year() }

// Legal reports whether the nanoseconds are below one second.
func (t Time) Legal() bool { return t.Nsec < 1e9 }

// Compare orders instants: -1 if t is earlier than u, 0 if equal, +1 if later.
func (t Time) Compare(u Time) int {
	if c := cmp.Compare(t.Sec, u.Sec); c != 0 {
		return c
	}
	return cmp.Compare(t.Nsec, u.Nsec)
}

// After reports whether t is strictly later than u, the only order in which a
// partition takes samples.
func (t Time) After(u Time) bool { return t.Compare(u) > 0 }

// IsZero reports whether t is the zero value, which no sample has.
func (t Time) IsZero() bool { return t == Time{} }

// String is the instant in RFC 3339 with nanoseconds.
func (t Time) String() string { return t.Go().Format(time.RFC3339Nano) }
