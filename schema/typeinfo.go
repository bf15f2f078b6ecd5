package schema

import (
	"maps"
	"math"
	"slices"
	"time"

	"pvlog/schema/logpb"
)

// SamplingMethod says how a PV's values become samples.
type SamplingMethod string

// The sampling methods of the Appliance.
const (
	Monitor SamplingMethod = "MONITOR" // every update of the IOC
	Scan    SamplingMethod = "SCAN"    // at most one update per period
)

// ParseSamplingMethod reads a method in any case; "" is [Monitor].
func ParseSamplingMethod(s string) (SamplingMethod, error) {
	switch s {
	case "", "MONITOR", "monitor", "Monitor":
		return Monitor, nil
	case "SCAN", "scan", "Scan":
		return Scan, nil
	}
	return "", Errorf(Invalid, "sampling method %q: use MONITOR or SCAN", s)
}

// State says what pvlog has been asked to do with a PV.
type State string

// The states of a registered PV.
const (
	Archiving State = "archiving" // requested or started; DBRType tells whether it ever connected
	Paused    State = "paused"
	Stopped   State = "stopped"
)

// TypeInfo is what the registry knows of a PV: the sum of its events.
type TypeInfo struct {
	PV             PVName
	State          State
	DBRType        DBRType // UnknownType until the PV connected for the first time
	ElementCount   int     // of the native channel
	SamplingMethod SamplingMethod
	SamplingPeriod time.Duration
	Policy         string
	ControllingPV  PVName
	Stores         []string // plugin URLs; empty: the configured stores
	ChunkKey       string
	Host           string // IOC that it first connected to
	Units          string
	Precision      int
	Limits         map[string]float64 // LOPR, HOPR, LOLO, LOW, HIGH, HIHI, DRVL, DRVH
	Fields         map[string]string  // RTYP, NAME, ...
	Created        time.Time
	Modified       time.Time
	Generation     uint64 // registry sequence that created or retyped the PV
	Sequence       uint64 // registry sequence of the newest event
}

// Apply gives the state of a PV after an event at a registry sequence. info is
// nil for a PV that is not registered and is never changed; the result is nil
// once the PV is deleted. Unknown events change nothing but the sequence, so
// that an older pvlog can follow a newer one's log.
func Apply(info *TypeInfo, sequence uint64, e *logpb.RegistryEvent) *TypeInfo {
	if e.GetDeleted() != nil {
		return nil
	}
	next := &TypeInfo{PV: PVName(e.GetPv())}
	switch {
	case e.GetRequested() != nil:
		next = requested(e, sequence)
	case info == nil:
		return nil
	default:
		*next = *info
	}
	next.Sequence = sequence
	next.Modified = time.Unix(0, e.GetTime()).UTC()
	next.apply(sequence, e)
	return next
}

func requested(e *logpb.RegistryEvent, sequence uint64) *TypeInfo {
	r := e.GetRequested()
	return &TypeInfo{
		PV:             PVName(e.GetPv()),
		State:          Archiving,
		DBRType:        UnknownType,
		SamplingMethod: SamplingMethod(r.GetSamplingMethod()),
		SamplingPeriod: seconds(r.GetSamplingPeriod()),
		Policy:         r.GetPolicy(),
		ControllingPV:  PVName(r.GetControllingPv()),
		Stores:         slices.Clone(r.GetStores()),
		ChunkKey:       ChunkKey(PVName(e.GetPv())),
		Created:        time.Unix(0, e.GetTime()).UTC(),
		Generation:     sequence,
	}
}

func (t *TypeInfo) apply(sequence uint64, e *logpb.RegistryEvent) {
	switch {
	case e.GetStarted() != nil:
		t.start(e.GetStarted(), sequence)
	case e.GetPaused() != nil:
		t.State = Paused
	case e.GetResumed() != nil:
		t.State = Archiving
	case e.GetStopped() != nil:
		t.State = Stopped
	case e.GetParametersChanged() != nil:
		p := e.GetParametersChanged()
		t.SamplingMethod = SamplingMethod(p.GetSamplingMethod())
		t.SamplingPeriod = seconds(p.GetSamplingPeriod())
	}
}

func (t *TypeInfo) start(s *logpb.PVStarted, sequence uint64) {
	if t.DBRType == UnknownType {
		t.DBRType = DBRType(s.GetType())
		t.Generation = sequence
	}
	t.ElementCount = int(s.GetElementCount())
	t.Host = s.GetHost()
	t.Units = s.GetUnits()
	t.Precision = int(s.GetPrecision())
	t.Limits = maps.Clone(s.GetLimits())
	t.Fields = maps.Clone(s.GetFields())
}

// seconds rounds: 1.003 s times 1e9 lies just below the whole number.
func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
