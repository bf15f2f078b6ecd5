package registry

import (
	"math"
	"unicode/utf8"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// decideDefine takes the definition from a function, like decideArchive.
func decideDefine(v view, override bool, define func() (*logpb.PVDefined, error)) (*logpb.RegistryEvent, error) {
	if err := checkName(v.pv); err != nil {
		return nil, err
	}
	switch {
	case v.info != nil && v.info.State == schema.Alias:
		return nil, schema.Errorf(schema.Conflict, "PV %s is an alias of %s: remove the alias first", v.pv, v.info.AliasOf)
	case v.info != nil && !override:
		return nil, already("PV %s is registered already", v.pv)
	case v.owner != "":
		return nil, samePath(v)
	}
	defined, err := define()
	if err != nil {
		return nil, err
	}
	if typ := schema.DBRType(defined.GetType()); v.info != nil && v.info.DBRType != schema.UnknownType && typ != v.info.DBRType {
		return nil, schema.Errorf(schema.Conflict, "PV %s has samples of type %v: its type cannot become %v here", v.pv, v.info.DBRType, typ)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Defined{Defined: defined}}, nil
}

// definition checks what a definition states.
func definition(pv schema.PVName, d Definition) (*logpb.PVDefined, error) {
	i := d.Info
	switch i.State {
	case schema.Archiving, schema.Paused, schema.Stopped:
	default:
		return nil, schema.Errorf(schema.Invalid, "definition of %s: state %q: use archiving, paused or stopped", pv, i.State)
	}
	if i.DBRType != schema.UnknownType && !i.DBRType.Valid() || i.ElementCount < 0 || i.ElementCount > math.MaxInt32 {
		return nil, schema.Errorf(schema.Invalid, "definition of %s: type %d with %d elements is none", pv, i.DBRType, i.ElementCount)
	}
	if len(i.Limits) > maxEntries || len(i.Fields) > maxEntries {
		return nil, schema.Errorf(schema.Invalid, "definition of %s: %d limits and %d fields, %d of each are allowed", pv, len(i.Limits), len(i.Fields), maxEntries)
	}
	if err := checkPolicy(pv, i.AskedPolicy); err != nil {
		return nil, err
	}
	set, err := checkSettings(pv, i.Settings)
	if err != nil {
		return nil, err
	}
	return &logpb.PVDefined{
		Settings: set.Message(), State: string(i.State), Type: int32(i.DBRType), ElementCount: uint32(i.ElementCount),
		Host: text(i.Host), Units: text(i.Units), Precision: int32(min(max(i.Precision, math.MinInt16), math.MaxInt16)),
		Limits: texts(i.Limits, func(v float64) float64 { return v }), Fields: texts(i.Fields, text),
		Created: i.Created.UnixNano(), From: string(d.From),
		AskedSampling: i.AskedSampling, AskedPolicy: i.AskedPolicy, SkipAliasCheck: i.SkipAliasCheck,
	}, nil
}

// texts makes a map fit for an event; an empty one is nil.
func texts[V any](m map[string]V, fit func(V) V) map[string]V {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]V, len(m))
	for name, v := range m {
		out[text(name)] = fit(v)
	}
	return out
}

func decideAlias(v view, a Alias) (*logpb.RegistryEvent, error) {
	if err := checkName(v.pv); err != nil {
		return nil, err
	}
	target := v.lookup(a.PV)
	switch {
	case a.PV == a.Alias:
		return nil, schema.Errorf(schema.Invalid, "PV %s cannot be an alias of itself", a.PV)
	case target == nil:
		return nil, schema.Errorf(schema.NotFound, "alias %s: PV %s is not being archived", a.Alias, a.PV)
	case target.State == schema.Alias:
		return nil, schema.Errorf(schema.Conflict, "alias %s: %s is itself an alias of %s: name that one", a.Alias, a.PV, target.AliasOf)
	case len(v.aliases(v.pv)) > 0:
		return nil, schema.Errorf(schema.Conflict, "PV %s has aliases of its own and cannot become one", v.pv)
	case v.info == nil:
	case v.info.State == schema.Alias && v.info.AliasOf == a.PV:
		return nil, already("%s is already an alias of %s", a.Alias, a.PV)
	case v.info.State == schema.Alias:
		return nil, schema.Errorf(schema.Conflict, "%s is already an alias of %s: remove that alias first", a.Alias, v.info.AliasOf)
	case v.info.DBRType != schema.UnknownType:
		return nil, schema.Errorf(schema.Conflict, "PV %s is being archived itself and cannot become an alias of %s", a.Alias, a.PV)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_AliasAdded{AliasAdded: &logpb.AliasAdded{Pv: string(a.PV)}}}, nil
}

func decideUnalias(v view, a Alias) (*logpb.RegistryEvent, error) {
	isAlias := v.info != nil && v.info.State == schema.Alias
	switch {
	case !isAlias && a.PV == "":
		return nil, schema.Errorf(schema.NotFound, "%s is not an alias", a.Alias)
	case !isAlias || a.PV != "" && v.info.AliasOf != a.PV:
		return nil, schema.Errorf(schema.NotFound, "%s is not an alias of %s", a.Alias, a.PV)
	}
	return removed(v.info.AliasOf), nil
}

// maxFlagBytes bounds the name of a flag, which is part of a subject.
const maxFlagBytes = 200

func decideFlag(v view, name string, value bool) (*logpb.RegistryEvent, error) {
	if name == "" || len(name) > maxFlagBytes || !utf8.ValidString(name) {
		return nil, schema.Errorf(schema.Invalid, "flag %.60q: 1 to %d bytes of UTF-8 name a flag", name, maxFlagBytes)
	}
	if v.flag != nil && *v.flag == value {
		return nil, nil
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_FlagSet{FlagSet: &logpb.FlagSet{Value: value}}}, nil
}
