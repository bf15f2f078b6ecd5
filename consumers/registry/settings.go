package registry

import (
	"math"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

var fieldName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// maxFieldBytes bounds a field's name; most have four.
const maxFieldBytes = 60

// checkSettings gives the settings in their one form, or why they are none.
func checkSettings(pv schema.PVName, s schema.Settings) (schema.Settings, error) {
	var err error
	if s.SamplingMethod, err = schema.ParseSamplingMethod(string(s.SamplingMethod)); err != nil {
		return s, err
	}
	if s.SamplingPeriod < MinPeriod || s.SamplingPeriod > MaxPeriod {
		return s, schema.Errorf(schema.Invalid, "sampling period %v of %s: use %v to %v", s.SamplingPeriod, pv, MinPeriod, MaxPeriod)
	}
	if s.ControllingPV != "" {
		if s.ControllingPV, err = schema.ParsePVName(string(s.ControllingPV)); err != nil {
			return s, schema.Errorf(schema.Invalid, "controlling PV of %s: %w", pv, err)
		}
	}
	if err := checkPolicy(pv, s.Policy); err != nil {
		return s, err
	}
	if s.Deadband < 0 || math.IsNaN(s.Deadband) || math.IsInf(s.Deadband, 0) {
		return s, schema.Errorf(schema.Invalid, "deadband %v of %s: use 0 (every update) or more", s.Deadband, pv)
	}
	for _, drift := range []time.Duration{s.DriftPast, s.DriftFuture} {
		if drift < 0 || drift > maxDrift || drift%time.Second != 0 {
			return s, schema.Errorf(schema.Invalid, "drift window %v of %s: use whole seconds, or 0 for what is configured", drift, pv)
		}
	}
	if err := checkStores(pv, s.Stores); err != nil {
		return s, err
	}
	s.ArchiveFields, err = checkFields(pv, s.ArchiveFields)
	return s, err
}

func checkPolicy(pv schema.PVName, policy string) error {
	if len(policy) > maxTextBytes || !utf8.ValidString(policy) {
		return schema.Errorf(schema.Invalid, "policy of %s: at most %d bytes of UTF-8 name a policy", pv, maxTextBytes)
	}
	return nil
}

func checkStores(pv schema.PVName, stores []string) error {
	if len(stores) > maxStores {
		return schema.Errorf(schema.Invalid, "stores of %s: %d are given, %d are allowed", pv, len(stores), maxStores)
	}
	for _, url := range stores {
		if url == "" || len(url) > maxStoreBytes || !utf8.ValidString(url) {
			return schema.Errorf(schema.Invalid, "store %.60q of %s: it must be a plugin URL of at most %d bytes", url, pv, maxStoreBytes)
		}
	}
	return nil
}

// checkFields sorts the archive fields; VAL is the PV itself.
func checkFields(pv schema.PVName, fields []string) ([]string, error) {
	if len(fields) > maxEntries {
		return nil, schema.Errorf(schema.Invalid, "archive fields of %s: %d are given, %d are allowed", pv, len(fields), maxEntries)
	}
	for _, f := range fields {
		if !fieldName.MatchString(f) || len(f) > maxFieldBytes {
			return nil, schema.Errorf(schema.Invalid, "archive field %.60q of %s: a field is named in capitals, such as HIHI", f, pv)
		}
		if f == "VAL" {
			return nil, schema.Errorf(schema.Invalid, "archive field VAL of %s: that is the PV itself", pv)
		}
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return slices.Compact(slices.Sorted(slices.Values(fields))), nil
}

func decideConfigure(v view, e Edit) (*logpb.RegistryEvent, error) {
	if !v.registered() {
		return nil, schema.Errorf(schema.NotFound, "Unable to change the archival parameters for %s: it is not being archived", v.pv)
	}
	if e.Expect != 0 && e.Expect != v.info.Sequence {
		return nil, raced(v, e.Expect)
	}
	skip := v.info.SkipAliasCheck
	if e.SkipAliasCheck != nil {
		skip = *e.SkipAliasCheck
	}
	set, err := edited(v, e.Change)
	if err != nil {
		return nil, err
	}
	if set.Equal(v.info.Settings) && skip == v.info.SkipAliasCheck {
		return nil, nil
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Configured{Configured: &logpb.PVConfigured{
		Settings: set.Message(), SkipAliasCheck: skip,
	}}}, nil
}

// edited gives a PV's settings with a change, in their one form; nil changes
// nothing.
func edited(v view, change func(*schema.Settings) error) (schema.Settings, error) {
	set := v.info.Settings
	set.Stores, set.ArchiveFields = slices.Clone(set.Stores), slices.Clone(set.ArchiveFields)
	if change != nil {
		if err := change(&set); err != nil {
			return set, err
		}
	}
	return checkSettings(v.pv, set)
}

// raced tells who was too late what became of the PV.
func raced(v view, expect uint64) error {
	err := schema.Errorf(schema.Conflict, "PV %s was changed by somebody else: it is at event %d, and %d was expected", v.pv, v.info.Sequence, expect)
	err.Err = ErrChanged
	return err
}
