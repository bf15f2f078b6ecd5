package policy

import (
	"slices"

	"pvlog/schema"
)

// streamFields are archived within the stream of their PV unless a file says
// otherwise (Appliance 3.5).
var streamFields = []string{"DRVH", "DRVL", "HIGH", "HIHI", "HOPR", "LOLO", "LOPR", "LOW"}

// Bounds of what a file may answer: an error in it must not become a flood of
// PVs.
const (
	maxFields = 500
	maxStores = 20
	maxName   = 200 // bytes of a policy's name
	maxURL    = 4096
)

// checkFields refuses what cannot be the field of a record.
func checkFields(fields []string) error {
	if len(fields) > maxFields {
		return schema.Errorf(schema.Invalid, "%d archive fields; %d are allowed", len(fields), maxFields)
	}
	for _, f := range fields {
		if _, err := schema.ParsePVName("X." + f); err != nil {
			return schema.Errorf(schema.Invalid, "archive field %.40q is no field of a record", f)
		}
	}
	return nil
}

// splitFields parts a policy's archive fields into those of the stream and
// PVs of their own. A PV that is a field itself has neither: its fields are
// its record's. VAL is the PV.
func splitFields(pv schema.PVName, fields, stream []string) (within []string, extra []schema.PVName) {
	if pv.Field() != "" {
		return nil, nil
	}
	for _, f := range fields {
		switch {
		case f == "VAL":
		case slices.Contains(stream, f):
			within = append(within, f)
		default:
			extra = append(extra, schema.PVName(pv.Record()+"."+f))
		}
	}
	slices.Sort(within)
	slices.Sort(extra)
	return slices.Compact(within), slices.Compact(extra)
}

func checkStores(stores []string) error {
	if len(stores) > maxStores {
		return schema.Errorf(schema.Invalid, "%d stores; %d are allowed", len(stores), maxStores)
	}
	for _, s := range stores {
		if !printable(s, maxURL) {
			return schema.Errorf(schema.Invalid, "store %.60q: a plugin URL or the name of a store is printable and has 1 to %d bytes", s, maxURL)
		}
	}
	return nil
}

func checkName(name string) error {
	if !printable(name, maxName) {
		return schema.Errorf(schema.Invalid, "policy name %.60q: it is printable and has 1 to %d bytes", name, maxName)
	}
	return nil
}
