package policy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"pvlog/schema"
)

// rule is one rule of a YAML file, checked.
type rule struct {
	number     int    // from 1
	place      string // file:line
	conditions []condition
	asked      []string // the condition asked, nil where it is left out
	gives      Decision // but for ArchiveFields, ExtraPVs and Why
	fields     []string
}

// rules decide by the first that matches.
type rules struct {
	all    []rule
	stream []string
}

func (p *Policies) readRules() (*Policies, error) {
	f, root, prefix, err := decodeRules(p.name, p.text)
	if err != nil {
		return nil, err
	}
	if len(f.Rules) == 0 { // as is a file that is being written
		return nil, schema.Errorf(schema.Invalid, "%s: it has no rules", p.name)
	}
	p.stream = streamFields
	if f.StreamFields != nil {
		if err := checkFields(f.StreamFields); err != nil {
			return nil, schema.Errorf(schema.Invalid, "%s:%s: %w", p.name, place(root, ".stream_fields"), err)
		}
		p.stream = sorted(f.StreamFields)
	}
	from := rules{stream: p.stream}
	for i := range f.Rules {
		r, key, err := newRule(&f.Rules[i])
		if err == nil {
			key, err = p.add(&from, &f.Rules[i], r)
		}
		if err != nil {
			return nil, p.wrong(root, fmt.Sprintf("%s[%d]", prefix, i), key, i, err)
		}
		last := &from.all[i]
		line, _, _ := strings.Cut(place(root, fmt.Sprintf("%s[%d]", prefix, i)), ":")
		last.number, last.place = i+1, p.name+":"+line
	}
	p.from = from
	return p, nil
}

func (p *Policies) wrong(root *ast.File, path, key string, i int, err error) error {
	if key != "" {
		path += "." + key
	}
	return schema.Errorf(schema.Invalid, "%s:%s: rule %d: %w", p.name, place(root, path), i+1, err)
}

// newRule checks one rule; key is the one that is wrong.
func newRule(f *ruleFile) (r rule, key string, err error) {
	for _, group := range []func(*ruleFile) ([]condition, string, error){named, typed, rated} {
		cs, key, err := group(f)
		if err != nil {
			return r, key, err
		}
		r.conditions = append(r.conditions, cs...)
	}
	r.asked = f.Asked
	r.gives = Decision{Policy: f.Name, Overrides: f.Overrides == nil || *f.Overrides, Deadband: f.Deadband, Stores: f.Stores}
	if err := checkName(f.Name); err != nil {
		return r, "name", err
	}
	if err := checkFields(f.Fields); err != nil {
		return r, "fields", err
	}
	r.fields = f.Fields
	if err := checkStores(f.Stores); err != nil {
		return r, "stores", err
	}
	if !(f.Deadband >= 0) || math.IsInf(f.Deadband, 0) {
		return r, "deadband", fmt.Errorf("a deadband is 0 or more")
	}
	key, err = r.sample(f)
	return r, key, err
}

// sample fills in method, period and controlling PV.
func (r *rule) sample(f *ruleFile) (key string, err error) {
	m, period, key, err := f.sampling()
	if err != nil {
		return key, err
	}
	r.gives.Period, r.gives.DontArchive = period, m == dontArchive
	if m != dontArchive {
		r.gives.Method = m
	}
	if f.ControllingPV != "" {
		r.gives.ControllingPV, err = schema.ParsePVName(f.ControllingPV)
	}
	return "controlling_pv", err
}

// add takes a rule in, if it says the same as earlier ones of its name.
func (p *Policies) add(to *rules, f *ruleFile, r rule) (key string, err error) {
	for _, earlier := range to.all {
		if earlier.gives.Policy != r.gives.Policy {
			continue
		}
		if key := differs(earlier.gives, r.gives); key != "" {
			return key, fmt.Errorf("policy %q has another %s in rule %d: rules that share a name may differ in conditions and fields only", f.Name, key, earlier.number)
		}
		break
	}
	p.list(f)
	for _, a := range f.Asked {
		if err := checkName(a); err != nil {
			return "asked", err
		}
		if !p.has(a) {
			p.listed = append(p.listed, Named{a, f.Description})
		}
	}
	to.all = append(to.all, r)
	return "", nil
}

func (p *Policies) list(f *ruleFile) {
	i := slices.IndexFunc(p.listed, func(n Named) bool { return n.Name == f.Name })
	switch {
	case i < 0:
		p.listed = append(p.listed, Named{f.Name, f.Description})
	case p.listed[i].Description == "":
		p.listed[i].Description = f.Description
	}
}

// differs gives the key in which two rules of one name do not agree.
func differs(a, b Decision) string {
	switch {
	case a.Method != b.Method || a.DontArchive != b.DontArchive:
		return "method"
	case a.Period != b.Period:
		return "period"
	case !slices.Equal(a.Stores, b.Stores):
		return "stores"
	case a.Deadband != b.Deadband:
		return "deadband"
	case a.ControllingPV != b.ControllingPV:
		return "controlling_pv"
	case a.Overrides != b.Overrides:
		return "overrides"
	}
	return ""
}

func (s rules) needsRate() bool {
	for _, r := range s.all {
		for _, c := range r.conditions {
			if c.key == "rate_above" || c.key == "rate_below" {
				return true
			}
		}
	}
	return false
}

// determine takes the first rule that matches. One before it of which that is
// not known yet makes the decision wait: it may turn out to be the first.
func (s rules) determine(pv PV) (Decision, bool, error) {
	named := -1
	for i := range s.all {
		r := &s.all[i]
		byName := pv.Policy != "" && r.gives.Policy == pv.Policy
		if byName {
			named = i
		}
		switch v, key := r.matches(pv, byName); v {
		case unknown:
			return Decision{Later: true, Why: fmt.Sprintf("%s: rule %d, %s: %s is not known yet", r.place, r.number, r.gives.Policy, key)}, false, nil
		case yes:
			return r.decide(pv, s.stream, r.fields, r.because(pv, byName)), true, nil
		}
	}
	if named >= 0 { // asked for by name, and none of its rules is for this record type
		r := &s.all[named]
		return r.decide(pv, s.stream, nil, "asked for by name; no fields, since none of its rules is for rtyp "+strconv.Quote(pv.Fields["RTYP"])), true, nil
	}
	return Decision{Why: "no rule of the policy file matches: archived as asked for"}, false, nil
}

// matches judges all conditions; one that fails outweighs those not known yet.
// A user's choice by name replaces the conditions that choose.
func (r *rule) matches(pv PV, byName bool) (v verdict, key string) {
	if !byName && (pv.Policy != "" || r.asked != nil) && !slices.Contains(r.asked, pv.Policy) {
		return no, "asked"
	}
	v = yes
	for _, c := range r.conditions {
		if byName && c.choosing {
			continue
		}
		switch c.holds(pv) {
		case no:
			return no, c.key
		case unknown:
			v, key = unknown, c.key
		}
	}
	return v, key
}

func (r *rule) decide(pv PV, stream, fields []string, why string) Decision {
	d := r.gives
	d.Stores = slices.Clone(d.Stores)
	d.ArchiveFields, d.ExtraPVs = splitFields(pv.Name, fields, stream)
	d.Why = fmt.Sprintf("%s: rule %d, %s: %s", r.place, r.number, d.Policy, why)
	return d
}

// because lists the conditions that held.
func (r *rule) because(pv PV, byName bool) string {
	var held []string
	if byName {
		held = append(held, "asked for by name")
	} else if r.asked != nil {
		held = append(held, "asked")
	}
	for _, c := range r.conditions {
		if !byName || !c.choosing {
			held = append(held, c.key)
		}
	}
	if held == nil {
		return "it has no conditions"
	}
	if slices.Contains(held, "rtyp") {
		held[slices.Index(held, "rtyp")] = "rtyp " + pv.Fields["RTYP"]
	}
	return "matches by " + strings.Join(held, ", ")
}
