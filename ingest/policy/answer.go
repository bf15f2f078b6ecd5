package policy

import (
	"fmt"
	"math"
	"time"

	"go.starlark.net/starlark"

	"pvlog/schema"
)

// decision checks what determinePolicy gave. Keys that pvlog does not know
// (appliance) are passed over.
func (p *program) decision(pv PV, v starlark.Value) (Decision, error) {
	dict, ok := v.(starlark.Mapping)
	if !ok {
		return Decision{}, fmt.Errorf("determinePolicy gives a %s, not a dict", v.Type())
	}
	d := Decision{Policy: pv.Policy}
	why := fmt.Sprintf("%s:%d: determinePolicy", p.name, p.decides)
	for _, take := range []func(starlark.Mapping, *Decision, *string) error{takeName, takePeriod, takeMethod, takeStores, takeControl} {
		if err := take(dict, &d, &why); err != nil {
			return Decision{}, err
		}
	}
	fields, err := list(dict, "archiveFields")
	if err == nil {
		err = checkFields(fields)
	}
	if err != nil {
		return Decision{}, err
	}
	d.ArchiveFields, d.ExtraPVs = splitFields(pv.Name, fields, p.stream)
	d.Why = why
	return d, nil
}

// at gives the value of a key, nil where it is absent or None.
func at(dict starlark.Mapping, key string) starlark.Value {
	v, found, err := dict.Get(starlark.String(key))
	if err != nil || !found || v == starlark.None {
		return nil
	}
	return v
}

func takeName(dict starlark.Mapping, d *Decision, why *string) error {
	if v := at(dict, "policyName"); v != nil {
		name, ok := starlark.AsString(v)
		if !ok {
			return fmt.Errorf("determinePolicy gives a %s as policyName, not a string", v.Type())
		}
		if err := checkName(name); err != nil {
			return err
		}
		d.Policy = name
	}
	if d.Policy != "" {
		*why += " chose " + d.Policy
	}
	return nil
}

// takePeriod wants a float, as the Appliance does. An int, which fails there,
// means the same here and is told.
func takePeriod(dict starlark.Mapping, d *Decision, why *string) error {
	v := at(dict, "samplingPeriod")
	if v == nil {
		return fmt.Errorf("determinePolicy gives no samplingPeriod (a float, in seconds)")
	}
	seconds, ok := starlark.AsFloat(v)
	if !ok || !(seconds > 0) || seconds > math.MaxInt32 {
		return fmt.Errorf("determinePolicy gives %s as samplingPeriod, not a float above 0, in seconds", short(v))
	}
	if _, isInt := v.(starlark.Int); isInt {
		*why += "; its samplingPeriod is an int, which the Appliance refuses: write " + fmt.Sprintf("%.1f", seconds)
	}
	d.Period = max(time.Duration(math.Round(seconds*float64(time.Second))), 1)
	return nil
}

// short is a value for a message: itself where it is small by its nature.
func short(v starlark.Value) string {
	switch v := v.(type) {
	case starlark.String, starlark.Float, starlark.Int, starlark.Bool:
		return clip(v.String(), 40)
	}
	return "a " + v.Type()
}

func takeMethod(dict starlark.Mapping, d *Decision, _ *string) error {
	v := at(dict, "samplingMethod")
	name, _ := starlark.AsString(v)
	switch m := schema.SamplingMethod(name); m {
	case schema.Monitor, schema.Scan:
		d.Method = m
	case dontArchive:
		d.DontArchive = true
	default:
		return fmt.Errorf("determinePolicy gives %.40q as samplingMethod: use 'MONITOR', 'SCAN' or 'DONT_ARCHIVE'", name)
	}
	return nil
}

func takeStores(dict starlark.Mapping, d *Decision, _ *string) (err error) {
	if d.Stores, err = list(dict, "dataStores"); err != nil {
		return err
	}
	if len(d.Stores) == 0 && !d.DontArchive {
		return fmt.Errorf("determinePolicy gives no dataStores (a list of plugin URLs)")
	}
	return checkStores(d.Stores)
}

func takeControl(dict starlark.Mapping, d *Decision, _ *string) error {
	v := at(dict, "controlPV")
	if v == nil {
		return nil
	}
	name, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("determinePolicy gives a %s as controlPV, not a string", v.Type())
	}
	if name == "" {
		return nil
	}
	pv, err := schema.ParsePVName(name)
	if err != nil {
		return fmt.Errorf("determinePolicy: controlPV: %w", err)
	}
	d.ControllingPV = pv
	return nil
}

func list(dict starlark.Mapping, key string) ([]string, error) {
	v := at(dict, key)
	if v == nil {
		return nil, nil
	}
	return texts("determinePolicy: "+key, v)
}

// texts reads a list, tuple or set of strings.
func texts(what string, v starlark.Value) ([]string, error) {
	all, ok := v.(starlark.Iterable)
	if _, isDict := v.(starlark.Mapping); !ok || isDict {
		return nil, fmt.Errorf("%s is a %s, not a list of strings", what, v.Type())
	}
	out := []string{}
	for x := range starlark.Elements(all) {
		s, ok := starlark.AsString(x)
		if !ok {
			return nil, fmt.Errorf("%s holds a %s, not only strings", what, x.Type())
		}
		if out = append(out, s); len(out) > maxFields {
			return nil, fmt.Errorf("%s has more than %d elements", what, maxFields)
		}
	}
	return out, nil
}
