package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// method replaces or guards a method of Starlark's types. ok is false where
// the receiver is of another type, whose own method is called then.
type method func(thread *starlark.Thread, x starlark.Value, args starlark.Tuple, kwargs []starlark.Tuple) (v starlark.Value, ok bool, err error)

// methods that Python's types have and Starlark's do not, and those that can
// make large values. Filled by init, since some call methods in turn.
var methods map[string]method

func init() {
	methods = map[string]method{
		"has_key": hasKey, "copy": copyOf, "sort": sortList, "reverse": reverseList, "count": countIn,
		"iteritems": renamed("items"), "iterkeys": renamed("keys"), "itervalues": renamed("values"),
		"viewitems": renamed("items"), "viewkeys": renamed("keys"), "viewvalues": renamed("values"),
		"isdecimal": renamed("isdigit"), "isnumeric": renamed("isdigit"),
		"encode": itself, "decode": itself,
		"zfill": padded, "ljust": padded, "rjust": padded, "center": padded,
		"join": joinStrings, "replace": replaceAll, "format": formatted,
		"extend": extended, "update": extended, "insert": extended,
	}
}

// callMethod is x.name(args...) for a name in methods.
func callMethod(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	name, x := string(args[0].(starlark.String)), args[1]
	if v, ok, err := methods[name](thread, x, append(starlark.Tuple{args[0]}, args[2:]...), kwargs); ok || err != nil {
		return v, err
	}
	return callOwn(thread, x, name, args[2:], kwargs)
}

// bound is x.name without a call.
func bound(_ *starlark.Thread, name, x starlark.Value) (starlark.Value, error) {
	if m, ok := x.(*module); ok {
		return m.Attr(string(name.(starlark.String)))
	}
	return starlark.NewBuiltin(string(name.(starlark.String)), func(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return callMethod(thread, b, append(starlark.Tuple{name, x}, args...), kwargs)
	}), nil
}

func callOwn(thread *starlark.Thread, x starlark.Value, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if with, ok := x.(starlark.HasAttrs); ok {
		f, err := with.Attr(name)
		if err != nil {
			return nil, err
		}
		if f != nil {
			return starlark.Call(thread, f, args, kwargs)
		}
	}
	return nil, fmt.Errorf("a %s has no method %s", x.Type(), name)
}

func renamed(name string) method {
	return func(thread *starlark.Thread, x starlark.Value, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, bool, error) {
		v, err := callOwn(thread, x, name, args[1:], kwargs)
		return v, true, err
	}
}

func itself(_ *starlark.Thread, x starlark.Value, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	_, ok := x.(starlark.String)
	return x, ok, nil
}

func hasKey(_ *starlark.Thread, x starlark.Value, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	m, ok := x.(starlark.Mapping)
	if !ok || len(args) != 2 {
		return nil, false, nil
	}
	_, found, err := m.Get(args[1])
	return starlark.Bool(found), true, err
}

func copyOf(thread *starlark.Thread, x starlark.Value, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	charge(thread, sizeOf(x))
	switch x := x.(type) {
	case *starlark.List:
		return starlark.NewList(slices.Collect(starlark.Elements(x))), true, nil
	case starlark.IterableMapping:
		d := starlark.NewDict(starlark.Len(x))
		for _, pair := range x.Items() {
			if err := d.SetKey(pair[0], pair[1]); err != nil {
				return nil, true, err
			}
		}
		return d, true, nil
	}
	return nil, false, nil
}

// sortList is list.sort(key, reverse): in place.
func sortList(thread *starlark.Thread, x starlark.Value, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, bool, error) {
	list, ok := x.(*starlark.List)
	if !ok {
		return nil, false, nil
	}
	sorted, err := starlark.Call(thread, starlark.Universe["sorted"], append(starlark.Tuple{list}, args[1:]...), kwargs)
	if err != nil {
		return nil, true, err
	}
	return starlark.None, true, fill(list, slices.Collect(starlark.Elements(sorted.(starlark.Iterable))))
}

func reverseList(_ *starlark.Thread, x starlark.Value, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	list, ok := x.(*starlark.List)
	if !ok {
		return nil, false, nil
	}
	all := slices.Collect(starlark.Elements(list))
	slices.Reverse(all)
	return starlark.None, true, fill(list, all)
}

func fill(list *starlark.List, all []starlark.Value) error {
	for i, v := range all {
		if err := list.SetIndex(i, v); err != nil {
			return err
		}
	}
	return nil
}

func countIn(_ *starlark.Thread, x starlark.Value, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	all, ok := x.(starlark.Sequence)
	if !ok || len(args) != 2 {
		return nil, false, nil
	}
	n := 0
	for v := range starlark.Elements(all) {
		same, err := starlark.Compare(syntax.EQL, v, args[1])
		if err != nil {
			return nil, true, err
		}
		if same {
			n++
		}
	}
	return starlark.MakeInt(n), true, nil
}

// padded is zfill, ljust, rjust and center.
func padded(_ *starlark.Thread, x starlark.Value, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	s, ok := x.(starlark.String)
	if !ok || len(args) < 2 {
		return nil, false, nil
	}
	width, err := starlark.AsInt32(args[1])
	if err != nil {
		return nil, true, err
	}
	pad := " "
	if len(args) > 2 {
		with, _ := starlark.AsString(args[2])
		if pad = cmp.Or(with, pad); len(pad) != 1 {
			return nil, true, fmt.Errorf("the fill character must be exactly one character long")
		}
	}
	n := min(width, 1000) - len(s)
	if n <= 0 {
		return s, true, nil
	}
	switch name, _ := starlark.AsString(args[0]); name {
	case "ljust":
		return s + starlark.String(strings.Repeat(pad, n)), true, nil
	case "center":
		return starlark.String(strings.Repeat(pad, n/2)) + s + starlark.String(strings.Repeat(pad, n-n/2)), true, nil
	case "zfill":
		digits := strings.TrimLeft(string(s), "+-")
		return s[:len(s)-len(digits)] + starlark.String(strings.Repeat("0", n)+digits), true, nil
	}
	return starlark.String(strings.Repeat(pad, n)) + s, true, nil
}
