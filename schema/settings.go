package schema

import (
	"math"
	"slices"
	"strings"
	"time"

	"pvlog/schema/logpb"
)

// SamplingMethod says how a PV's values become samples.
type SamplingMethod string

// The sampling methods: the first two are the Appliance's.
const (
	Monitor SamplingMethod = "MONITOR"  // every update of the IOC
	Scan    SamplingMethod = "SCAN"     // at most one update per period
	ScanGet SamplingMethod = "SCAN_GET" // one read per period, stamped with pvlog's own clock
)

// ParseSamplingMethod reads a method in any case; "" is [Monitor].
func ParseSamplingMethod(s string) (SamplingMethod, error) {
	switch m := SamplingMethod(strings.ToUpper(s)); m {
	case "":
		return Monitor, nil
	case Monitor, Scan, ScanGet:
		return m, nil
	}
	return "", Errorf(Invalid, "sampling method %q: use MONITOR, SCAN or SCAN_GET", s)
}

// Settings is how a PV is archived: what an operator or a policy may choose.
type Settings struct {
	SamplingMethod SamplingMethod
	SamplingPeriod time.Duration
	Policy         string        // its stable name
	ControllingPV  PVName        // archived only while this one's value is not 0; "": always
	Stores         []string      // plugin URLs; empty: the configured stores
	ArchiveFields  []string      // fields that are archived with the samples, sorted, without duplicates
	Deadband       float64       // a smaller change of a number makes no sample; 0: every update does
	DriftPast      time.Duration // whole seconds; 0: as configured for all
	DriftFuture    time.Duration // whole seconds; 0: as configured for all
	RateEvents     uint32        // events/s that it may have, what is beyond goes to the drop log; 0: as configured for all
	RateBytes      uint64        // bytes/s, likewise
}

// settingsMessage is what the messages that hold settings have in common.
type settingsMessage interface {
	GetSamplingMethod() string
	GetSamplingPeriod() float64
	GetPolicy() string
	GetControllingPv() string
	GetStores() []string
	GetArchiveFields() []string
	GetDeadband() float64
	GetDriftPast() uint32
	GetDriftFuture() uint32
	GetRateEvents() uint32
	GetRateBytes() uint64
}

// SettingsOf reads the settings that a registry event holds: those of a
// PVRequested, or a Settings message.
func SettingsOf(m settingsMessage) Settings {
	return Settings{
		SamplingMethod: SamplingMethod(m.GetSamplingMethod()),
		SamplingPeriod: seconds(m.GetSamplingPeriod()),
		Policy:         m.GetPolicy(),
		ControllingPV:  PVName(m.GetControllingPv()),
		Stores:         slices.Clone(m.GetStores()),
		ArchiveFields:  slices.Clone(m.GetArchiveFields()),
		Deadband:       m.GetDeadband(),
		DriftPast:      time.Duration(m.GetDriftPast()) * time.Second,
		DriftFuture:    time.Duration(m.GetDriftFuture()) * time.Second,
		RateEvents:     m.GetRateEvents(),
		RateBytes:      m.GetRateBytes(),
	}
}

// Message is the settings as a registry event holds them.
func (s Settings) Message() *logpb.Settings {
	return &logpb.Settings{
		SamplingMethod: string(s.SamplingMethod),
		SamplingPeriod: s.SamplingPeriod.Seconds(),
		Policy:         s.Policy,
		ControllingPv:  string(s.ControllingPV),
		Stores:         slices.Clone(s.Stores),
		ArchiveFields:  slices.Clone(s.ArchiveFields),
		Deadband:       s.Deadband,
		DriftPast:      uint32(s.DriftPast / time.Second),
		DriftFuture:    uint32(s.DriftFuture / time.Second),
		RateEvents:     s.RateEvents,
		RateBytes:      s.RateBytes,
	}
}

// Equal reports whether two PVs with these settings are archived alike.
func (s Settings) Equal(t Settings) bool {
	return s.SamplingMethod == t.SamplingMethod && s.SamplingPeriod == t.SamplingPeriod && s.Policy == t.Policy &&
		s.ControllingPV == t.ControllingPV && slices.Equal(s.Stores, t.Stores) && slices.Equal(s.ArchiveFields, t.ArchiveFields) &&
		s.Deadband == t.Deadband && s.DriftPast == t.DriftPast && s.DriftFuture == t.DriftFuture &&
		s.RateEvents == t.RateEvents && s.RateBytes == t.RateBytes
}

// seconds rounds: 1.003 s times 1e9 lies just below the whole number.
func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }
