package schema

import (
	"maps"
	"time"

	"pvlog/schema/logpb"
)

// State says what pvlog has been asked to do with a PV.
type State string

// The states of a registered PV.
const (
	Archiving State = "archiving" // requested or started; DBRType tells whether it ever connected
	Paused    State = "paused"
	Stopped   State = "stopped"
	Alias     State = "alias" // the name stands for another PV; nothing else is known of it
)

// TypeInfo is what the registry knows of a PV: the sum of its events.
type TypeInfo struct {
	PV           PVName
	State        State
	AliasOf      PVName  // in state Alias: the PV that the name stands for
	DBRType      DBRType // UnknownType until the PV connected for the first time
	ElementCount int     // of the native channel
	Settings
	AskedSampling  bool   // method or period were asked for
	AskedPolicy    string // policy that was asked for by name
	SkipAliasCheck bool   // what the IOC says of the PV's name does not matter
	ChunkKey       string
	Host           string // IOC that it first connected to
	Units          string
	Precision      int
	Limits         map[string]float64 // LOPR, HOPR, LOLO, LOW, HIGH, HIHI, DRVL, DRVH
	Fields         map[string]string  // RTYP, NAME, ...
	Created        time.Time
	Modified       time.Time
	Expires        time.Time // given up if it has not connected by then; zero: never
	Generation     uint64    // registry sequence that created or retyped the PV
	Sequence       uint64    // registry sequence of the newest event
}

// Apply gives the state of a PV after an event at a registry sequence. info is
// nil for a PV that is not registered and is never changed; the result is nil
// once the PV is deleted. Unknown events change nothing but the sequence, so
// that an older pvlog can follow a newer one's log.
func Apply(info *TypeInfo, sequence uint64, e *logpb.RegistryEvent) *TypeInfo {
	if e.GetDeleted() != nil || e.GetAliasRemoved() != nil {
		return nil
	}
	next := &TypeInfo{PV: PVName(e.GetPv())}
	switch {
	case e.GetRequested() != nil:
		next = requested(e, sequence)
	case e.GetDefined() != nil:
		next = defined(info, e, sequence)
	case e.GetAliasAdded() != nil:
		next = aliased(e, sequence, PVName(e.GetAliasAdded().GetPv()))
	case e.GetJoined() != nil:
		next = aliased(e, sequence, PVName(e.GetJoined().GetPv()))
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
		Settings:       SettingsOf(r),
		AskedSampling:  r.GetAskedSampling(),
		AskedPolicy:    r.GetAskedPolicy(),
		SkipAliasCheck: r.GetSkipAliasCheck(),
		ChunkKey:       ChunkKey(PVName(e.GetPv())),
		Created:        time.Unix(0, e.GetTime()).UTC(),
		Expires:        timeOf(r.GetExpires()),
		Generation:     sequence,
	}
}

// defined keeps the generation of a PV whose type stays, so that samples which
// are on their way still reach its files.
func defined(info *TypeInfo, e *logpb.RegistryEvent, sequence uint64) *TypeInfo {
	d := e.GetDefined()
	next := &TypeInfo{
		PV:             PVName(e.GetPv()),
		State:          State(d.GetState()),
		DBRType:        DBRType(d.GetType()),
		ElementCount:   int(d.GetElementCount()),
		Settings:       SettingsOf(d.GetSettings()),
		AskedSampling:  d.GetAskedSampling(),
		AskedPolicy:    d.GetAskedPolicy(),
		SkipAliasCheck: d.GetSkipAliasCheck(),
		ChunkKey:       ChunkKey(PVName(e.GetPv())),
		Host:           d.GetHost(),
		Units:          d.GetUnits(),
		Precision:      int(d.GetPrecision()),
		Limits:         maps.Clone(d.GetLimits()),
		Fields:         maps.Clone(d.GetFields()),
		Created:        time.Unix(0, d.GetCreated()).UTC(),
		Generation:     sequence,
	}
	if info != nil && info.DBRType == next.DBRType && info.State != Alias {
		next.Generation = info.Generation
	}
	return next
}

func aliased(e *logpb.RegistryEvent, sequence uint64, of PVName) *TypeInfo {
	return &TypeInfo{
		PV:         PVName(e.GetPv()),
		State:      Alias,
		AliasOf:    of,
		DBRType:    UnknownType,
		Created:    time.Unix(0, e.GetTime()).UTC(),
		Generation: sequence,
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
	case e.GetRetyped() != nil:
		t.DBRType = DBRType(e.GetRetyped().GetType())
		t.ElementCount = int(e.GetRetyped().GetElementCount())
		t.Generation = sequence
	case e.GetConfigured() != nil:
		t.Settings = SettingsOf(e.GetConfigured().GetSettings())
		t.SkipAliasCheck = e.GetConfigured().GetSkipAliasCheck()
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
	t.Expires = time.Time{} // it has connected
	if s.GetSettings() != nil {
		t.Settings = SettingsOf(s.GetSettings())
	}
}

// timeOf is Unix nanoseconds as a time; 0 is none.
func timeOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
