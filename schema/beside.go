package schema

import "strings"

// What stands beside the PVs in the registry has a name that no PV can have,
// since '$' is no character of a record name.
const (
	changePrefix = "$change:"
	flagPrefix   = "$flag:"
)

// ChangeName is the registry's name of a command on many PVs.
func ChangeName(id string) PVName { return PVName(changePrefix + id) }

// FlagName is the registry's name of a named flag.
func FlagName(name string) PVName { return PVName(flagPrefix + name) }

// ChangeID is the id of a command on many PVs, false for another name.
func (pv PVName) ChangeID() (string, bool) { return strings.CutPrefix(string(pv), changePrefix) }

// Flag is the name of a named flag, false for another name.
func (pv PVName) Flag() (string, bool) { return strings.CutPrefix(string(pv), flagPrefix) }

// Beside reports whether the name is that of something that is no PV.
func (pv PVName) Beside() bool { return strings.HasPrefix(string(pv), "$") }
