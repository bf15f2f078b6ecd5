package policy

import (
	"strconv"

	"go.starlark.net/starlark"
)

// info is the dict that determinePolicy gets (Appliance 3.10). It notices
// whether the file looks at the rates.
type info struct {
	*starlark.Dict
	rated bool
}

var (
	_ starlark.IterableMapping = (*info)(nil)
	_ starlark.HasSetKey       = (*info)(nil)
	_ starlark.HasAttrs        = (*info)(nil)
)

// newInfo gives the inputs with the Appliance's keys and types. A key whose
// value is not known is absent, as there; aliasName is None.
func newInfo(pv PV) *info {
	in := &info{Dict: starlark.NewDict(16)}
	set := func(key string, v starlark.Value) {
		// cannot fail: the dict is new and its keys are strings
		_ = in.SetKey(starlark.String(key), v)
	}
	set("pvName", starlark.String(pv.Name))
	set("dbrtype", starlark.String(pv.Type.String()))
	set("elementCount", starlark.MakeInt(pv.Count))
	set("eventRate", starlark.Float(pv.EventRate))
	set("eventCount", starlark.MakeUint64(pv.EventCount))
	set("storageRate", starlark.Float(pv.StorageRate))
	set("aliasName", starlark.None)
	if pv.Alias != "" {
		set("aliasName", starlark.String(pv.Alias))
	}
	if pv.Policy != "" {
		set("policyName", starlark.String(pv.Policy))
	}
	if pv.ControllingPV != "" {
		set("controlPV", starlark.String(pv.ControllingPV))
	}
	for _, field := range []string{"MDEL", "ADEL"} {
		if f, err := strconv.ParseFloat(pv.Fields[field], 64); err == nil {
			set(field, starlark.Float(f))
		}
	}
	for _, field := range []string{"SCAN", "RTYP"} {
		if s := pv.Fields[field]; s != "" {
			set(field, starlark.String(s))
		}
	}
	return in
}

func (in *info) look(key starlark.Value) {
	switch key {
	case starlark.String("eventRate"), starlark.String("storageRate"), starlark.String("eventCount"):
		in.rated = true
	}
}

// Get is info[key].
func (in *info) Get(key starlark.Value) (starlark.Value, bool, error) {
	in.look(key)
	return in.Dict.Get(key)
}

// Items gives all pairs, and so the rates.
func (in *info) Items() []starlark.Tuple {
	in.rated = true
	return in.Dict.Items()
}

// Attr gives a dict's methods.
func (in *info) Attr(name string) (starlark.Value, error) {
	switch name {
	case "get", "pop", "setdefault":
		method, err := in.Dict.Attr(name)
		if err != nil {
			return nil, err
		}
		return builtin(name, func(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			in.look(first(args))
			return starlark.Call(thread, method, args, kwargs)
		}), nil
	case "items", "values", "popitem":
		in.rated = true
	}
	return in.Dict.Attr(name)
}
