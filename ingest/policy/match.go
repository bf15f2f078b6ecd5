package policy

import (
	"fmt"
	"regexp"

	"go.starlark.net/starlark"
)

// match is what re.match and re.search find.
type match struct {
	re *regexp.Regexp
	s  string
	at []int // offsets of the groups in s, -1 where one took no part
}

var _ starlark.HasAttrs = (*match)(nil)

func (m *match) String() string {
	return "<match " + starlark.String(m.s[m.at[0]:m.at[1]]).String() + ">"
}
func (m *match) Type() string          { return "match" }
func (m *match) Freeze()               {}
func (m *match) Truth() starlark.Bool  { return true }
func (m *match) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: match") }
func (m *match) AttrNames() []string {
	return []string{"end", "group", "groupdict", "groups", "span", "start"}
}

// Attr gives the methods of a match.
func (m *match) Attr(name string) (starlark.Value, error) {
	var f func(thread *starlark.Thread, args starlark.Tuple) (starlark.Value, error)
	switch name {
	case "group":
		f = m.callGroup
	case "groups":
		f = func(_ *starlark.Thread, args starlark.Tuple) (starlark.Value, error) {
			return m.groups(first(args)), nil
		}
	case "groupdict":
		f = m.callGroupDict
	case "start", "end", "span":
		f = func(_ *starlark.Thread, args starlark.Tuple) (starlark.Value, error) { return m.place(name, args) }
	default:
		return nil, nil
	}
	return builtin(name, func(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return f(thread, args)
	}), nil
}

func (m *match) group(i int, otherwise starlark.Value) starlark.Value {
	if m.at[2*i] < 0 {
		return otherwise
	}
	return starlark.String(m.s[m.at[2*i]:m.at[2*i+1]])
}

func (m *match) groups(otherwise starlark.Value) starlark.Tuple {
	var all starlark.Tuple
	for i := 1; i < len(m.at)/2; i++ {
		all = append(all, m.group(i, otherwise))
	}
	return all
}

// index finds a group by number or name.
func (m *match) index(v starlark.Value) (int, error) {
	if name, ok := starlark.AsString(v); ok {
		if i := m.re.SubexpIndex(name); i >= 0 {
			return i, nil
		}
	} else if i, err := starlark.AsInt32(v); err == nil && i >= 0 && i < len(m.at)/2 {
		return i, nil
	}
	return 0, fmt.Errorf("re: the pattern has no group %s", short(v))
}

func (m *match) callGroup(_ *starlark.Thread, args starlark.Tuple) (starlark.Value, error) {
	if len(args) == 0 {
		return m.group(0, starlark.None), nil
	}
	var all starlark.Tuple
	for _, a := range args {
		i, err := m.index(a)
		if err != nil {
			return nil, err
		}
		all = append(all, m.group(i, starlark.None))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

func (m *match) callGroupDict(*starlark.Thread, starlark.Tuple) (starlark.Value, error) {
	d := starlark.NewDict(len(m.at) / 2)
	for i, name := range m.re.SubexpNames() {
		if name == "" {
			continue
		}
		if err := d.SetKey(starlark.String(name), m.group(i, starlark.None)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (m *match) place(name string, args starlark.Tuple) (starlark.Value, error) {
	i := 0
	if len(args) > 0 {
		var err error
		if i, err = m.index(args[0]); err != nil {
			return nil, err
		}
	}
	start, end := starlark.MakeInt(m.at[2*i]), starlark.MakeInt(m.at[2*i+1])
	switch name {
	case "start":
		return start, nil
	case "end":
		return end, nil
	}
	return starlark.Tuple{start, end}, nil
}

// reModule is Python's re over RE2.
func reModule() *module {
	m := &module{"re", starlark.StringDict{
		"I": starlark.MakeInt(2), "IGNORECASE": starlark.MakeInt(2), "M": starlark.MakeInt(8), "MULTILINE": starlark.MakeInt(8),
		"S": starlark.MakeInt(16), "DOTALL": starlark.MakeInt(16), "U": starlark.MakeInt(32), "UNICODE": starlark.MakeInt(32),
		"escape": builtin("escape", func(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			s, err := subject(thread, args, 0)
			return starlark.String(regexp.QuoteMeta(s)), err
		}),
		"compile": builtin("compile", func(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			var source string
			var flags int
			if err := starlark.UnpackArgs("compile", args, kwargs, "pattern", &source, "flags?", &flags); err != nil {
				return nil, err
			}
			return newPattern(thread, source, flags)
		}),
	}, "pvlog knows match, search, fullmatch, findall, split, sub, compile and escape"}
	for name, f := range patternMethods {
		m.members[name] = builtin(name, func(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			return callPattern(thread, name, f, args, kwargs)
		})
	}
	return m
}

// callPattern is re.name(pattern, ..., flags): flags follow what the method
// takes.
func callPattern(thread *starlark.Thread, name string, f func(*starlark.Thread, *pattern, starlark.Tuple) (starlark.Value, error), args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if p, ok := first(args).(*pattern); ok {
		return f(thread, p, args[1:])
	}
	source, err := subject(thread, args, 0)
	if err != nil {
		return nil, err
	}
	flags, takes := 0, 2
	if name == "sub" {
		takes = 3
	}
	if len(args) == takes+1 && name != "sub" && name != "split" {
		if flags, err = starlark.AsInt32(args[takes]); err != nil {
			return nil, err
		}
		args = args[:takes]
	}
	for _, pair := range kwargs {
		if k, _ := starlark.AsString(pair[0]); k != "flags" {
			return nil, fmt.Errorf("re.%s: the argument %s is not available", name, pair[0])
		}
		if flags, err = starlark.AsInt32(pair[1]); err != nil {
			return nil, err
		}
	}
	p, err := newPattern(thread, source, flags)
	if err != nil {
		return nil, err
	}
	return f(thread, p, args[1:])
}
