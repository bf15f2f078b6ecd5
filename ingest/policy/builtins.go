package policy

import (
	"fmt"
	"math"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// predeclared are the names that a policies.py finds beside Starlark's own:
// the functions that rewrite calls, Python's built-ins, its modules.
func predeclared(env Env) starlark.StringDict {
	d := starlark.StringDict{
		"__add": operation("+", add), "__grow": operation("+=", grow), "__multiply": operation("*", multiply),
		"__modulo": operation("%", modulo), "__divide": operation("/", divide), "__shift": operation("<<", shift),
		"__count": starlark.NewBuiltin("count", count), "__enter": starlark.NewBuiltin("enter", enter), "__second": starlark.NewBuiltin("second", second),
		"__delete": operation("del", remove), "__assert": starlark.NewBuiltin("assert", assert),
		"__method": starlark.NewBuiltin("method", callMethod), "__bound": operation("method", bound),
		"__attempt": builtin("try", attempt), "__caught": builtin("except", caught), "__again": builtin("raise", raiseAgain),
		"__name__": starlark.String("policies"),

		"range": builtin("range", boundedRange), "xrange": builtin("range", boundedRange),
		"str": builtin("str", str), "unicode": builtin("str", str), "repr": builtin("repr", repr), "fail": builtin("fail", fail), "print": builtin("print", show),
		"sum": builtin("sum", sum), "round": builtin("round", round), "pow": builtin("pow", power),
		"map": builtin("map", mapped_), "filter": builtin("filter", filter), "isinstance": builtin("isinstance", isInstance), "type": builtin("type", typeOf),
		"long": starlark.Universe["int"], "basestring": starlark.NewBuiltin("basestring", notCalled), "object": starlark.NewBuiltin("object", notCalled),
		"getattr": builtin("getattr", refused("getattr")), "hasattr": builtin("hasattr", refused("hasattr")), "dir": builtin("dir", refused("dir")),
		"open": builtin("open", refused("open")), "eval": builtin("eval", refused("eval")), "input": builtin("input", refused("input")),
	}
	for _, name := range []string{"Exception", "StandardError", "ValueError", "KeyError", "TypeError", "IndexError", "NameError", "AttributeError", "RuntimeError", "NotImplementedError", "IOError", "OSError", "LookupError", "ArithmeticError", "ZeroDivisionError"} {
		d[name] = builtin(name, func(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			what, err := joined(thread, args)
			return starlark.String(name + ": " + what), err
		})
	}
	for name, m := range modules {
		d[name] = m
	}
	if env != nil {
		d["os"] = osModule(env)
	}
	d.Freeze()
	return d
}

func refused(name string) func(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return func(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		return nil, fmt.Errorf("%s is not available in a policy", name)
	}
}

func notCalled(_ *starlark.Thread, b *starlark.Builtin, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return nil, fmt.Errorf("%s is a name for isinstance only", b.Name())
}

// boundedRange keeps all iteration bounded: every other value that can be
// iterated was made piece by piece.
func boundedRange(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	v, err := starlark.Call(thread, starlark.Universe["range"], args, kwargs)
	if err == nil && starlark.Len(v) > maxItems {
		return nil, fmt.Errorf("a range of more than %d numbers", maxItems)
	}
	return v, err
}

func str(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if len(args) == 0 {
		return starlark.String(""), nil
	}
	s, err := rendered(thread, args[0])
	return starlark.String(s), err
}

func repr(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if s, ok := first(args).(starlark.String); ok {
		return starlark.String(s.String()), fits(thread, 4*len(s))
	}
	s, err := rendered(thread, first(args))
	return starlark.String(s), err
}

// fail is what raise became.
func fail(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if b, ok := first(args).(*starlark.Builtin); ok { // raise ValueError, "text"
		args = append(starlark.Tuple{starlark.String(b.Name() + ":")}, args[1:]...)
	}
	what, err := joined(thread, args)
	if err == nil {
		err = fmt.Errorf("the file raises %s", what)
	}
	return nil, err
}

// show is print: what it prints becomes a note.
func show(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	what, err := joined(thread, args)
	if err != nil {
		return nil, err
	}
	runOf(thread).note(what)
	return starlark.None, nil
}

func sum(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var all starlark.Iterable
	var total starlark.Value = starlark.MakeInt(0)
	if err := starlark.UnpackArgs("sum", args, kwargs, "iterable", &all, "start?", &total); err != nil {
		return nil, err
	}
	for v := range starlark.Elements(all) {
		if b, ok := v.(starlark.Bool); ok {
			v = starlark.MakeInt(boolInt(bool(b)))
		}
		var err error
		if total, err = add(thread, total, v); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func round(_ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var v starlark.Value
	var digits int
	if err := starlark.UnpackArgs("round", args, kwargs, "number", &v, "ndigits?", &digits); err != nil {
		return nil, err
	}
	f, ok := starlark.AsFloat(v)
	if !ok {
		return nil, fmt.Errorf("round wants a number, not a %s", v.Type())
	}
	scale := math.Pow(10, float64(digits))
	return starlark.Float(math.Round(f*scale) / scale), nil
}

func power(_ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var x, y starlark.Value
	if err := starlark.UnpackArgs("pow", args, kwargs, "x", &x, "y", &y); err != nil {
		return nil, err
	}
	if n, ok := y.(starlark.Int); ok {
		if base, ok := x.(starlark.Int); ok && n.Sign() >= 0 {
			return intPower(base, n)
		}
	}
	a, isA := starlark.AsFloat(x)
	b, isB := starlark.AsFloat(y)
	if !isA || !isB {
		return nil, fmt.Errorf("pow wants numbers")
	}
	return starlark.Float(math.Pow(a, b)), nil
}

func intPower(base, n starlark.Int) (starlark.Value, error) {
	exponent, small := n.Int64()
	if !small || exponent > maxIntBits || int(exponent)*base.BigInt().BitLen() > maxIntBits {
		return nil, fmt.Errorf("a number of more than %d bits", maxIntBits)
	}
	var v starlark.Value = starlark.MakeInt(1)
	for range exponent {
		var err error
		if v, err = starlark.Binary(syntax.STAR, v, base); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// mapped_ is map, which gives a list as in Python 2.
func mapped_(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return each(thread, args, func(all *starlark.List, _, result starlark.Value) error { return all.Append(result) })
}

func filter(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return each(thread, args, func(all *starlark.List, v, result starlark.Value) error {
		if !result.Truth() {
			return nil
		}
		return all.Append(v)
	})
}

// each calls a function for each element; None is the element itself.
func each(thread *starlark.Thread, args starlark.Tuple, take func(all *starlark.List, v, result starlark.Value) error) (starlark.Value, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("a function and one list are needed")
	}
	over, ok := args[1].(starlark.Iterable)
	if !ok {
		return nil, fmt.Errorf("a %s is no list", args[1].Type())
	}
	all := starlark.NewList(nil)
	for v := range starlark.Elements(over) {
		result := v
		if args[0] != starlark.None {
			var err error
			if result, err = starlark.Call(thread, args[0], starlark.Tuple{v}, nil); err != nil {
				return nil, err
			}
		}
		if err := take(all, v, result); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// typeNames are the constructors that stand for types, by what their values
// call themselves.
var typeNames = map[string][]string{
	"string": {"str", "basestring", "object"}, "int": {"int", "object"}, "float": {"float", "object"}, "bool": {"bool", "int", "object"},
	"list": {"list", "object"}, "dict": {"dict", "object"}, "tuple": {"tuple", "object"}, "set": {"set", "object"},
}

func isInstance(_ *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("isinstance wants a value and a type")
	}
	types, ok := args[1].(starlark.Tuple)
	if !ok {
		types = starlark.Tuple{args[1]}
	}
	for _, t := range types {
		b, ok := t.(*starlark.Builtin)
		if !ok {
			return nil, fmt.Errorf("isinstance: %s is no type", t.Type())
		}
		if slices.Contains(typeNames[args[0].Type()], b.Name()) {
			return starlark.True, nil
		}
	}
	return starlark.False, nil
}

// typeOf gives the constructor, so that type(x) == str is as in Python.
func typeOf(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("type wants one value")
	}
	names := typeNames[args[0].Type()]
	if names == nil {
		return starlark.String(args[0].Type()), nil
	}
	if names[0] == "str" {
		return runOf(thread).names["str"], nil
	}
	return starlark.Universe[names[0]], nil
}
