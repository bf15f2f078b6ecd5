package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pvlog/schema"
)

// verdict says whether a condition holds of a PV, as far as that is known.
type verdict int

const (
	no verdict = iota
	yes
	unknown // only a connection or a measured rate can tell
)

// condition is one key of a rule. choosing conditions are waived when the user
// asked for the policy by name.
type condition struct {
	key      string
	choosing bool
	holds    func(PV) verdict
}

func verdictOf(holds bool) verdict {
	if holds {
		return yes
	}
	return no
}

// named builds the conditions on a PV's name.
func named(f *ruleFile) (cs []condition, key string, err error) {
	if f.PV != nil {
		c, err := exactly(f.PV)
		if err != nil {
			return nil, "pv", err
		}
		cs = append(cs, c)
	}
	if f.Glob != nil {
		c, err := matching("glob", f.Glob, globPattern)
		if err != nil {
			return nil, "glob", err
		}
		cs = append(cs, c)
	}
	if f.Regex != nil {
		c, err := matching("regex", f.Regex, func(s string) string { return s })
		if err != nil {
			return nil, "regex", err
		}
		cs = append(cs, c)
	}
	return cs, "", nil
}

func exactly(names []string) (condition, error) {
	var pvs []schema.PVName
	for _, n := range names {
		pv, err := schema.ParsePVName(n)
		if err != nil {
			return condition{}, err
		}
		pvs = append(pvs, pv)
	}
	return condition{"pv", true, func(pv PV) verdict { return verdictOf(slices.Contains(pvs, pv.Name)) }}, nil
}

// matching is a condition on the whole name: any of the patterns.
func matching(key string, patterns []string, pattern func(string) string) (condition, error) {
	var all []*regexp.Regexp
	for _, p := range patterns {
		if _, err := regexp.Compile(pattern(p)); err != nil { // its own groups must close
			return condition{}, err
		}
		re, err := regexp.Compile(`\A(?:` + pattern(p) + `)\z`)
		if err != nil {
			return condition{}, err
		}
		all = append(all, re)
	}
	return condition{key, true, func(pv PV) verdict {
		return verdictOf(slices.ContainsFunc(all, func(re *regexp.Regexp) bool { return re.MatchString(string(pv.Name)) }))
	}}, nil
}

// globPattern knows * and ? only: brackets are letters of PV names.
func globPattern(glob string) string {
	var b strings.Builder
	b.WriteString("(?s)")
	for _, r := range glob {
		switch r {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return b.String()
}

// typed builds the conditions that only a connected PV can answer.
func typed(f *ruleFile) (cs []condition, key string, err error) {
	if f.RTYP != nil {
		cs = append(cs, condition{"rtyp", false, connected(func(pv PV) bool { return slices.Contains(f.RTYP, pv.Fields["RTYP"]) })})
	}
	if f.Type != nil {
		types, err := dbrTypes(f.Type)
		if err != nil {
			return nil, "type", err
		}
		cs = append(cs, condition{"type", true, connected(func(pv PV) bool { return slices.Contains(types, pv.Type) })})
	}
	if f.CountAbove != nil {
		cs = append(cs, condition{"count_above", true, connected(func(pv PV) bool { return pv.Count > *f.CountAbove })})
	}
	if f.CountBelow != nil {
		cs = append(cs, condition{"count_below", true, connected(func(pv PV) bool { return pv.Count < *f.CountBelow })})
	}
	return cs, "", nil
}

func connected(holds func(PV) bool) func(PV) verdict {
	return func(pv PV) verdict {
		if !pv.Connected {
			return unknown
		}
		return verdictOf(holds(pv))
	}
}

// rated builds the conditions on the event rate, in Hz.
func rated(f *ruleFile) (cs []condition, key string, err error) {
	for _, c := range []struct {
		key   string
		limit *float64
		holds func(rate, limit float64) bool
	}{
		{"rate_above", f.RateAbove, func(rate, limit float64) bool { return rate > limit }},
		{"rate_below", f.RateBelow, func(rate, limit float64) bool { return rate < limit }},
	} {
		if c.limit == nil {
			continue
		}
		if !(*c.limit >= 0) {
			return nil, c.key, fmt.Errorf("a rate is 0 or more events per second")
		}
		cs = append(cs, condition{c.key, true, func(pv PV) verdict {
			if !pv.RateKnown {
				return unknown
			}
			return verdictOf(c.holds(pv.EventRate, *c.limit))
		}})
	}
	return cs, "", nil
}

func dbrTypes(names []string) ([]schema.DBRType, error) {
	var types []schema.DBRType
	for _, n := range names {
		t := schema.ScalarString
		for t.Valid() && t.Payload() != strings.TrimPrefix(strings.ToUpper(n), "DBR_") {
			t++
		}
		if !t.Valid() {
			return nil, fmt.Errorf("%.40q is no DBR type; they are SCALAR_ or WAVEFORM_ and STRING, SHORT, FLOAT, ENUM, BYTE, INT or DOUBLE", n)
		}
		types = append(types, t)
	}
	return types, nil
}
