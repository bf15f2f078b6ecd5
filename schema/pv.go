package schema

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// PVName is the name of a process variable as the registry, the log and the
// files know it: without protocol prefix and without ".VAL".
type PVName string

// Bounds of names: CA servers and PB folders both refuse more.
const (
	maxNameBytes      = 500 // practical limit of a CA channel name
	maxComponentBytes = 230 // a file name's 255 less ":2026_11_23_10_05.pb"
)

var (
	recordSyntax   = regexp.MustCompile(`^[a-zA-Z0-9_\-+:\[\]<>;/,#{}^]+$`)
	fieldSyntax    = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*\$?$|^\$$`)
	modifierSyntax = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*\$?)?(\{.*\}|\[-?\d*(:-?\d*){0,2}\])$`)
)

// ParsePVName checks a name that came from outside against the Appliance's
// syntax (record characters, an optional .FIELD, .{json} or .[a:b]) and
// against what would leave a store's root. The prefix "ca://" and the field
// ".VAL" are removed, as the Appliance does. The error is an [Error] with
// code [Invalid].
func ParsePVName(s string) (PVName, error) {
	name := strings.TrimPrefix(strings.TrimSpace(s), "ca://")
	if strings.HasPrefix(name, "pva://") {
		return "", Errorf(Invalid, "PV %q: pvlog reads Channel Access only, not pva://", s)
	}
	if name == "" {
		return "", Errorf(Invalid, "the PV name is empty")
	}
	if len(name) > maxNameBytes {
		return "", Errorf(Invalid, "PV %.40q...: the name has %d bytes, %d are allowed", name, len(name), maxNameBytes)
	}
	name = strings.TrimSuffix(name, ".VAL")
	if err := checkSyntax(name); err != nil {
		return "", Errorf(Invalid, "PV %q: %v", s, err)
	}
	pv := PVName(name)
	if err := checkPath(ChunkKey(pv)); err != nil {
		return "", Errorf(Invalid, "PV %q: %v", s, err)
	}
	return pv, nil
}

// Record is the part of the name before its field.
func (pv PVName) Record() string {
	record, _, _ := strings.Cut(string(pv), ".")
	return record
}

// Field is the part of the name after the first dot, "" for the value itself.
func (pv PVName) Field() string {
	_, field, _ := strings.Cut(string(pv), ".")
	return field
}

// ChunkKey is the PV's path below the root of a store: ':' and '-' become
// folders and ':' ends the key (Appliance: ConvertPVNameToKey).
func ChunkKey(pv PVName) string {
	return strings.Map(func(r rune) rune {
		if r == ':' || r == '-' {
			return '/'
		}
		return r
	}, string(pv)) + ":"
}

func checkSyntax(name string) error {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) { // a {json} filter could hold them
		return fmt.Errorf("a name is UTF-8 without control characters")
	}
	record, field, dotted := strings.Cut(name, ".")
	if !recordSyntax.MatchString(record) {
		return fmt.Errorf("letters, digits and _-+:[]<>;/,#{}^ make a record name")
	}
	if dotted && !fieldSyntax.MatchString(field) && !modifierSyntax.MatchString(field) {
		return fmt.Errorf("after the dot stands a FIELD, a {json} filter or an [a:b] slice")
	}
	return nil
}

// checkPath refuses keys that could leave the store's root, hide a file or be
// too long for a file system.
func checkPath(key string) error {
	for part := range strings.SplitSeq(strings.TrimSuffix(key, ":"), "/") {
		switch {
		case part == "":
			return fmt.Errorf("':', '-' and '/' separate folders and cannot stand first, last or together")
		case part == "." || part == "..":
			return fmt.Errorf("%q cannot be a folder", part)
		case len(part) > maxComponentBytes:
			return fmt.Errorf("the part %.30q... has %d bytes, %d are allowed between separators", part, len(part), maxComponentBytes)
		}
	}
	return nil
}
