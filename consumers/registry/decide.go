package registry

import (
	"maps"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Bounds of a sampling period; the shortest is the Appliance's
// minimumSamplingPeriod.
const (
	MinPeriod = 100 * time.Millisecond
	MaxPeriod = 24 * time.Hour
)

// Bounds of what a command may carry.
const (
	defaultPeriod = time.Second
	maxDrift      = 100 * 366 * 24 * time.Hour
	maxTextBytes  = 1000 // of policy, host, units, one field, an actor's words
	maxStores     = 16
	maxStoreBytes = 2000
	maxEntries    = 100 // limits, fields
)

// view is what a decision may look at: the present state around one PV.
type view struct {
	pv    schema.PVName
	info  *schema.TypeInfo // nil: not registered
	owner schema.PVName    // another registered PV with the same path, "": none
	flag  *bool            // of a named flag, nil: never set

	sequence uint64 // of the newest event of the name

	lookup  func(schema.PVName) *schema.TypeInfo // another name, nil: not registered
	aliases func(schema.PVName) []schema.PVName  // the aliases of a PV; shared
}

// registered reports whether the name is that of a PV, and no alias.
func (v view) registered() bool { return v.info != nil && v.info.State != schema.Alias }

// The decisions are pure: the event that a command makes of a PV (without the
// words common to all events), nil if nothing has to change, or the refusal.

// decideArchive takes what is asked for from a function, since it is checked
// only for a PV that can be archived at all.
func decideArchive(v view, requested func() (*logpb.PVRequested, error)) (*logpb.RegistryEvent, error) {
	if err := checkName(v.pv); err != nil {
		return nil, err
	}
	switch {
	case v.info != nil && v.info.State == schema.Alias:
		return nil, already("PV %s is already being archived (it is an alias of %s)", v.pv, v.info.AliasOf)
	case v.info != nil && v.info.State == schema.Archiving:
		return nil, already("PV %s is already being archived", v.pv)
	case v.info != nil:
		return nil, already("PV %s is already being archived (it is %s: resume it)", v.pv, v.info.State)
	case v.owner != "":
		return nil, samePath(v)
	}
	q, err := requested()
	if err != nil {
		return nil, err
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Requested{Requested: q}}, nil
}

// checkName refuses a name that is not in its one form.
func checkName(pv schema.PVName) error {
	name, err := schema.ParsePVName(string(pv))
	if err == nil && name != pv {
		err = schema.Errorf(schema.Invalid, "PV %q: its name is %q", pv, name)
	}
	return err
}

func samePath(v view) error {
	return schema.Errorf(schema.Conflict,
		"PV %s cannot be archived: its files would be those of %s, which is registered (':', '-' and '/' all become folders)", v.pv, v.owner)
}

// request checks what is asked and completes it.
func request(pv schema.PVName, q Request) (*logpb.PVRequested, error) {
	if q.SamplingPeriod == 0 {
		q.SamplingPeriod = defaultPeriod
	}
	set, err := checkSettings(pv, q.Settings)
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(pv, q.AskedPolicy); err != nil {
		return nil, err
	}
	m := set.Message()
	requested := &logpb.PVRequested{
		SamplingMethod: m.SamplingMethod, SamplingPeriod: m.SamplingPeriod, Policy: m.Policy, ControllingPv: m.ControllingPv,
		Stores: m.Stores, ArchiveFields: m.ArchiveFields, Deadband: m.Deadband, DriftPast: m.DriftPast, DriftFuture: m.DriftFuture,
		RateEvents: m.RateEvents, RateBytes: m.RateBytes,
		AskedSampling: q.AskedSampling, AskedPolicy: q.AskedPolicy, SkipAliasCheck: q.SkipAliasCheck,
	}
	if !q.Expires.IsZero() {
		requested.Expires = q.Expires.UnixNano()
	}
	return requested, nil
}

func decidePause(v view) (*logpb.RegistryEvent, error) {
	switch {
	case !v.registered():
		return nil, unknown("pause", v.pv)
	case v.info.State == schema.Paused:
		return nil, already("PV %s is already paused", v.pv)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}, nil
}

func decideResume(v view) (*logpb.RegistryEvent, error) {
	switch {
	case !v.registered():
		return nil, unknown("resume", v.pv)
	case v.info.State == schema.Archiving:
		return nil, already("PV %s is not paused", v.pv)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Resumed{Resumed: &logpb.PVResumed{}}}, nil
}

func decideStop(v view) (*logpb.RegistryEvent, error) {
	switch {
	case !v.registered():
		return nil, unknown("stop", v.pv)
	case v.info.State == schema.Stopped:
		return nil, already("PV %s is already stopped", v.pv)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Stopped{Stopped: &logpb.PVStopped{}}}, nil
}

func decideDelete(v view, data bool) (*logpb.RegistryEvent, error) {
	switch {
	case !v.registered():
		return nil, unknown("delete", v.pv)
	case v.info.State == schema.Archiving:
		return nil, schema.Errorf(schema.Conflict,
			"We will not stop archiving PV %s if it is not paused. Please pause recording first.", v.pv)
	}
	return deleted(v, data)
}

// maxAliases bounds the aliases that go with a PV in one atomic step.
const maxAliases = maxAtomic - 1

// deleted ends a registration, and what stands for it.
func deleted(v view, data bool) (*logpb.RegistryEvent, error) {
	aliases := v.aliases(v.pv)
	if len(aliases) > maxAliases {
		return nil, schema.Errorf(schema.Conflict, "PV %s has %d aliases, more than can go with it at once (%d): remove some first", v.pv, len(aliases), maxAliases)
	}
	d := &logpb.PVDeleted{Data: data}
	for _, alias := range aliases {
		d.Aliases = append(d.Aliases, string(alias))
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Deleted{Deleted: d}}, nil
}

// decideStarted gives the event of a discovery. What keeps the settings from
// changing keeps it from nothing else.
func decideStarted(v view, d Discovery) (e *logpb.RegistryEvent, unsettled, err error) {
	if !v.registered() {
		return nil, nil, unknown("start", v.pv)
	}
	if !d.Type.Valid() || d.Count < 0 || d.Count > math.MaxInt32 {
		return nil, nil, schema.Errorf(schema.Invalid, "discovery of %s: type %d with %d elements is none", v.pv, d.Type, d.Count)
	}
	if len(d.Limits) > maxEntries || len(d.Fields) > maxEntries {
		return nil, nil, schema.Errorf(schema.Invalid, "discovery of %s: %d limits and %d fields, %d of each are allowed", v.pv, len(d.Limits), len(d.Fields), maxEntries)
	}
	if v.info.DBRType != schema.UnknownType && d.Type != v.info.DBRType {
		return nil, nil, schema.Errorf(schema.Conflict,
			"PV %s is registered as %v and its IOC %s now has %v: its samples go to the drop log until the type is changed", v.pv, v.info.DBRType, d.Host, d.Type)
	}
	next := discovered(v.info, d)
	set, unsettled := edited(v, d.Settle)
	if unsettled == nil && !set.Equal(v.info.Settings) {
		next.Settings = set.Message()
	}
	if next.Settings == nil && sameDiscovery(v.info, next) {
		return nil, unsettled, nil
	}
	e = &logpb.RegistryEvent{What: &logpb.RegistryEvent_Started{Started: next}}
	if next.Settings != nil {
		e.Reason = text(d.Why)
	}
	return e, unsettled, nil
}

// discovered joins a discovery with what is known: the event replaces all.
func discovered(info *schema.TypeInfo, d Discovery) *logpb.PVStarted {
	s := &logpb.PVStarted{
		Type:         uint32(d.Type),
		ElementCount: uint32(d.Count),
		Host:         text(d.Host),
		Units:        text(d.Units),
		Precision:    int32(min(max(d.Precision, math.MinInt16), math.MaxInt16)),
	}
	if d.Units == "" && d.Precision == 0 && d.Limits == nil {
		s.Units, s.Precision, d.Limits = info.Units, int32(info.Precision), info.Limits
	}
	if d.Host == "" { // the properties alone
		s.Host = info.Host
	}
	if len(d.Limits) > 0 {
		s.Limits = make(map[string]float64, len(d.Limits))
	}
	for name, v := range d.Limits {
		s.Limits[text(name)] = v
	}
	if len(info.Fields)+len(d.Fields) > 0 {
		s.Fields = make(map[string]string, len(info.Fields)+len(d.Fields))
	}
	maps.Copy(s.Fields, info.Fields)
	if _, labelled := d.Fields["ENUM_0"]; labelled { // the new labels may be fewer
		maps.DeleteFunc(s.Fields, func(name, _ string) bool { return strings.HasPrefix(name, "ENUM_") })
	}
	for name, v := range d.Fields {
		s.Fields[text(name)] = text(v)
	}
	return s
}

func sameDiscovery(info *schema.TypeInfo, s *logpb.PVStarted) bool {
	return info.DBRType == schema.DBRType(s.GetType()) &&
		info.ElementCount == int(s.GetElementCount()) &&
		info.Host == s.GetHost() &&
		info.Units == s.GetUnits() &&
		info.Precision == int(s.GetPrecision()) &&
		maps.EqualFunc(info.Limits, s.GetLimits(), sameFloat) &&
		maps.Equal(info.Fields, s.GetFields())
}

// sameFloat takes NaN for NaN: a limit that is not set must not make an event
// of every reconnect.
func sameFloat(a, b float64) bool { return a == b || a != a && b != b }

// text makes what came from a network fit for an event: UTF-8 (decoded from
// Latin-1 if it is not), of bounded length.
func text(s string) string {
	if !utf8.ValidString(s) {
		runes := make([]rune, len(s))
		for i := range len(s) {
			runes[i] = rune(s[i])
		}
		s = string(runes)
	}
	if len(s) > maxTextBytes {
		s = strings.ToValidUTF8(s[:maxTextBytes], "")
	}
	return s
}

func already(format string, args ...any) error {
	err := schema.Errorf(schema.Conflict, format, args...)
	err.Err = ErrAlready
	return err
}

// unknown words the refusal as the Appliance does.
func unknown(verb string, pv schema.PVName) error {
	return schema.Errorf(schema.NotFound, "Trying to %s PV %s that is not currently being archived or on an instance that is not active.", verb, pv)
}
