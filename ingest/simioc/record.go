package simioc

import (
	"fmt"
	"math"
	"strings"
	"time"

	"pvlog/ingest/ca"
)

// Record describes one record of the IOC. Only Name and Type are needed: the
// zero value of the rest is a passive, writable scalar that was never
// processed (UDF, INVALID, stamp 1990-01-01).
type Record struct {
	Name string // after the IOC's prefix; without '.', white space and control characters

	// Aliases are more names of the same record, with the same prefix. What
	// the record calls itself (.NAME) is Name.
	Aliases []string

	Type  ca.DBR // native type, ca.DBRString to ca.DBRDouble
	Count int    // elements at most (NELM); 0 and 1 make a scalar
	RTYP  string // record type; "" = what a real IOC would use for Type and Count
	Desc  string // .DESC, 40 bytes at most
	Units string // .EGU, 15 bytes at most; CTRL types carry its first 7

	Precision int      // .PREC: digits after the point when read as a string
	Limits    Limits   // of numeric records
	Labels    []string // of enum records: 16 at most, 25 bytes each
	States    []int16  // severities of the labels (STATE alarm); missing ones are NO_ALARM
	ReadOnly  bool     // puts by clients are refused with NOWTACCESS

	// Process is how long the processing takes that a client's put starts: the
	// update and the answer to a WRITE_NOTIFY come at its end. 0 is at once.
	Process time.Duration

	// Clock is how the stamps go at first. See [IOC.SetClock].
	Clock Clock

	// MDEL and ADEL are the deadbands of VALUE and LOG updates of numeric
	// scalars: one is sent when the value moved by more since the last. 0
	// sends every change, -1 every processing.
	MDEL, ADEL float64

	// Value is the first value, nil for a record that was never processed.
	// Accepted are the Go type of Type (string, int16, float32, uint16, byte,
	// int32, float64), a slice of it, and int and float64 where they fit.
	Value any

	Rate float64 // processings per second, 0 = passive

	// Generate gives the value of the n-th processing, n from 0. It is called
	// by one goroutine and must not block. nil leaves the value as it is.
	Generate func(n uint64, at time.Time) any

	counts bool // a load record: the value is the number of processings before
}

// Limits are the operating and alarm limits of a numeric record.
type Limits struct {
	LOPR, HOPR            float64 // display and control range
	LOLO, LOW, HIGH, HIHI float64
	Alarm                 bool // the four alarm limits are in force, those that are NaN are not

	// Severities of the alarm limits; 0 is MAJOR for LOLO and HIHI, MINOR for
	// LOW and HIGH.
	LLSV, LSV, HSV, HHSV int16
}

// Bounds of a record's strings and rates.
const (
	maxNameBytes  = 500
	maxDescBytes  = 40
	maxUnitsBytes = 15
	maxLabels     = 16
	maxLabelBytes = 25
	maxAliases    = 16
	maxRate       = 1000
	maxProcess    = time.Hour
	maxValueBytes = 64 << 20 // 8,388,608 doubles
)

// check refuses a record that no IOC could serve.
func (r *Record) check() error {
	switch {
	case r.Type > ca.DBRDouble:
		return fmt.Errorf("type %d is not a native type (0 to 6)", r.Type)
	case r.Count < 0 || r.Count > maxElements(r.Type):
		return fmt.Errorf("count %d, 0 to %d are allowed", r.Count, maxElements(r.Type))
	case len(r.Aliases) > maxAliases:
		return fmt.Errorf("%d aliases, %d are allowed", len(r.Aliases), maxAliases)
	case r.Process < 0 || r.Process > maxProcess:
		return fmt.Errorf("a processing of %v, 0 to %v are allowed", r.Process, maxProcess)
	case len(r.States) > len(r.Labels):
		return fmt.Errorf("%d severities of %d labels", len(r.States), len(r.Labels))
	case len(r.Desc) > maxDescBytes:
		return fmt.Errorf("the description has %d bytes, %d are allowed", len(r.Desc), maxDescBytes)
	case len(r.Units) > maxUnitsBytes:
		return fmt.Errorf("the units have %d bytes, %d are allowed", len(r.Units), maxUnitsBytes)
	case len(r.Labels) > maxLabels:
		return fmt.Errorf("%d labels, %d are allowed", len(r.Labels), maxLabels)
	case math.IsNaN(r.Rate) || r.Rate < 0 || r.Rate > maxRate:
		return fmt.Errorf("rate %v Hz, 0 to %d are allowed", r.Rate, maxRate)
	}
	for _, s := range append([]int16{r.Limits.LLSV, r.Limits.LSV, r.Limits.HSV, r.Limits.HHSV}, r.States...) {
		if s < severityNone || s > severityInvalid {
			return fmt.Errorf("severity %d, 0 to %d are allowed", s, severityInvalid)
		}
	}
	for _, name := range append([]string{r.Name}, r.Aliases...) {
		if err := checkName(name); err != nil {
			return err
		}
	}
	if err := r.Clock.check(); err != nil {
		return err
	}
	for _, l := range r.Labels {
		if len(l) > maxLabelBytes {
			return fmt.Errorf("label %q has %d bytes, %d are allowed", l, len(l), maxLabelBytes)
		}
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxNameBytes:
		return fmt.Errorf("the name has %d bytes, 1 to %d are allowed", len(name), maxNameBytes)
	case strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '.' }):
		return fmt.Errorf("a record name has no dot, white space or control characters")
	}
	return nil
}

// maxElements is how many elements of a native type a value has at most.
func maxElements(t ca.DBR) int { return maxValueBytes / t.ElementSize() }

// elements is the most elements a value can have.
func (r *Record) elements() int { return max(r.Count, 1) }

// recordType is the RTYP: the one stated, or that of the real record whose
// VAL has this type and count.
func (r *Record) recordType() string {
	switch {
	case r.RTYP != "":
		return r.RTYP
	case r.elements() > 1:
		return "waveform"
	case r.Type == ca.DBRDouble:
		return "ai"
	case r.Type == ca.DBRLong:
		return "longin"
	case r.Type == ca.DBRString:
		return "stringin"
	case r.Type == ca.DBREnum && len(r.Labels) <= 2:
		return "bi"
	case r.Type == ca.DBREnum:
		return "mbbi"
	}
	return "waveform" // NELM = 1: the only record whose VAL is CHAR, SHORT or FLOAT
}

// numeric reports whether the value has units and limits.
func (r *Record) numeric() bool { return r.Type != ca.DBRString && r.Type != ca.DBREnum }
