package integration

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// resemblance compares the shape of an answer with that of a recorded one: keys,
// kinds of values, and words to the letter. Numbers and times may be others.
type resemblance struct {
	path       string
	partial    bool // the lists hold other PVs, or more or fewer
	foreign    bool // the row at hand is of a PV that the recorded list does not hold: its words are its own
	complaints []string
}

func (j *resemblance) complain(format string, args ...any) {
	if len(j.complaints) < 20 {
		j.complaints = append(j.complaints, fmt.Sprintf(format, args...))
	}
}

// value compares what stands at a place of the answer.
func (j *resemblance) value(at string, want, got any) {
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			j.object(at, want, got)
			return
		}
	case []any:
		if got, ok := got.([]any); ok {
			j.list(at, want, got)
			return
		}
	case string:
		if got, ok := got.(string); ok {
			j.text(at, want, got)
			return
		}
	case float64:
		if _, ok := got.(float64); ok {
			return
		}
	case bool:
		if got == want {
			return
		}
	}
	j.complain("%s is %T %.100v, want %T %.100v", at, got, got, want, want)
}

func (j *resemblance) object(at string, want, got map[string]any) {
	if j.foreign && keyOf(at) == "extraFields" {
		return // which fields there are depends on the record
	}
	for _, key := range keysOf(want) {
		mine, ok := got[key]
		switch {
		case ok:
			j.value(at+"."+key, want[key], mine)
		case !j.foreign && !allowed(fewerKeys, key):
			j.complain("%s.%s is missing", at, key)
		}
	}
	for _, key := range keysOf(got) {
		if _, ok := want[key]; !ok && !allowed(moreKeys, key) {
			j.complain("%s.%s is more than the Appliance says", at, key)
		}
	}
}

// list compares a list of names as a set, details by their names, and PVs by
// theirs.
func (j *resemblance) list(at string, want, got []any) {
	if len(want) == 0 {
		if len(got) > 0 && !j.partial {
			j.complain("%s has %d elements, want none: %.200v", at, len(got), got)
		}
		return
	}
	first, objects := want[0].(map[string]any)
	switch {
	case strings.HasSuffix(at, ".data"): // samples: each as the first
		j.samples(at, want[0], got)
	case !objects:
		j.names(at, want, got)
	case first["value"] != nil && first["name"] != nil:
		j.details(at, want, got)
	case first["pvName"] != nil:
		j.rows(at, "pvName", want, got)
	case first["aliasName"] != nil:
		j.rows(at, "aliasName", want, got)
	default:
		j.samples(at, first, got)
	}
}

func (j *resemblance) samples(at string, like any, got []any) {
	if len(got) == 0 {
		j.complain("%s is empty", at)
	}
	for i, sample := range got {
		if m, ok := sample.(map[string]any); ok {
			delete(m, "fields") // markers and changed fields stand on the samples that have some
		}
		j.value(fmt.Sprintf("%s[%d]", at, i), like, sample)
	}
}

// names compares lists of words in any order, each once.
func (j *resemblance) names(at string, want, got []any) {
	if allowed(ourWords, keyOf(at)) {
		return
	}
	wanted, given := setOf(want), setOf(got)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if !given[name] {
			j.complain("%s: %q is missing", at, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !wanted[name] {
			j.complain("%s: %q is more than the Appliance says", at, name)
		}
	}
	if len(given) != len(got) {
		j.complain("%s names something twice", at)
	}
}

func setOf(list []any) map[string]bool {
	set := make(map[string]bool)
	for _, v := range list {
		set[fmt.Sprint(v)] = true
	}
	return set
}

// rows compares lists about PVs by their names, which stand under a key. Which PVs stand in a list with
// a limit depends on the moment.
func (j *resemblance) rows(at, key string, want, got []any) {
	partial := j.partial || strings.Contains(j.path, "limit=")
	if len(got) == 0 {
		j.complain("%s is empty", at)
	}
	wanted, mine := byKey(key, want), byKey(key, got)
	for name, row := range mine {
		like, known := wanted[name]
		switch {
		case known:
			j.value(at+"["+name+"]", like, row)
		case partial:
			j.foreign = true
			j.value(at+"["+name+"]", want[0], row)
			j.foreign = false
		default:
			j.complain("%s: the row of %s is more than the Appliance says", at, name)
		}
	}
	for name := range wanted {
		if mine[name] == nil && !partial {
			j.complain("%s: the row of %s is missing", at, name)
		}
	}
}

func byKey(key string, list []any) map[string]any {
	rows := make(map[string]any)
	for _, row := range list {
		if m, ok := row.(map[string]any); ok {
			rows[fmt.Sprint(m[key])] = m
		}
	}
	return rows
}

// details compares lists of name, value and source; further lines are ours.
func (j *resemblance) details(at string, want, got []any) {
	mine := byKey("name", got)
	for name, row := range byKey("name", want) {
		line, ok := mine[name].(map[string]any)
		if !ok {
			if !allowed(fewerLines, name) {
				j.complain("%s: the line %q is missing", at, name)
			}
			continue
		}
		wanted := row.(map[string]any)
		j.text(at+".source", fmt.Sprint(wanted["source"]), fmt.Sprint(line["source"]))
		j.text(at+"."+name, fmt.Sprint(wanted["value"]), fmt.Sprint(line["value"]))
	}
}

// keyOf is the last key of a place.
func keyOf(at string) string {
	key, _, _ := strings.Cut(at[strings.LastIndexByte(at, '.')+1:], "[")
	return key
}

var kinds = []struct {
	name string
	is   *regexp.Regexp
}{
	{"a condition", regexp.MustCompile(`^(true|false|yes|no|Yes|No)$`)},
	{"a time", regexp.MustCompile(`^(Never|[A-Z][a-z]{2}/\d\d/\d{4} \d\d:\d\d:\d\d [A-Z0-9+:-]+)$`)},
	{"an ISO time", regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)},
	{"a number", regexp.MustCompile(`^(NaN|-?\d+(\.\d+)?(E-?\d+)?)$`)},
	{"empty", regexp.MustCompile(`^$`)},
	{"words", regexp.MustCompile(`(?s).`)},
}

func kindOf(text string) string {
	for _, k := range kinds {
		if k.is.MatchString(text) {
			return k.name
		}
	}
	return "words"
}

// text compares texts: words to the letter, the others by their kind.
func (j *resemblance) text(at, want, got string) {
	kind, mine := kindOf(want), kindOf(got)
	if kind == mine && (kind != "words" || want == got) || j.foreign {
		return
	}
	if !allowed(ourWords, keyOf(at)) {
		j.complain("%s is %q, want %q", at, got, want)
	}
}

// usedAllowances tells which lines of the tables occur.
var usedAllowances = func() map[string]bool {
	used := make(map[string]bool)
	for _, table := range []map[string]string{moreKeys, fewerKeys, fewerLines, ourWords} {
		for name := range table {
			used[name] = false
		}
	}
	return used
}()

func allowed(table map[string]string, name string) bool {
	if _, ok := table[name]; !ok {
		return false
	}
	usedAllowances[name] = true
	return true
}
