package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// attempt calls a function and gives (True, value), or (False, None, message)
// where it failed. What stops a whole run stops it here too.
func attempt(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	depth := thread.CallStackDepth()
	v, err := starlark.Call(thread, args[0], nil, nil)
	if err == nil {
		return starlark.Tuple{starlark.True, v}, nil
	}
	if e, ok := errors.AsType[*starlark.EvalError](err); ok && thread.CallStackDepth() == depth && !fatal(e.Msg) {
		return starlark.Tuple{starlark.False, starlark.None, starlark.String(clip(e.Msg, maxNote))}, nil
	}
	return nil, err
}

// fatal reports whether a failure is one that no handler of the file may keep:
// a bound of the run.
func fatal(message string) bool {
	return strings.Contains(message, "computation cancelled") || strings.Contains(message, "more than a policy may make") || strings.Contains(message, "nested more than")
}

// kinds tell by Starlark's messages which exception Python would raise.
var kinds = []struct{ message, name string }{
	{"not in dict", "KeyError"}, {"not in environ", "KeyError"}, {"missing key", "KeyError"}, {"of a format is not in the dict", "KeyError"},
	{"out of range", "IndexError"},
	{"division by zero", "ZeroDivisionError"}, {"modulo by zero", "ZeroDivisionError"},
	{"has no ", "AttributeError"},
	{"predeclared variable", "NameError"}, {"referenced before assignment", "NameError"},
	{"invalid literal", "ValueError"}, {"invalid float", "ValueError"}, {"not found", "ValueError"}, {"could not convert", "ValueError"},
	{"unknown binary op", "TypeError"}, {"not implemented", "TypeError"}, {"not iterable", "TypeError"}, {"unhashable", "TypeError"},
	{"want", "TypeError"}, {"cannot convert", "TypeError"}, {"not a ", "TypeError"}, {"missing argument", "TypeError"},
}

// kindOf names the exception; "" where no message tells.
func kindOf(message string) string {
	if raised, ok := strings.CutPrefix(message, "the file raises "); ok {
		name, _, _ := strings.Cut(raised, ":")
		return name
	}
	if strings.HasPrefix(message, "the assertion failed") {
		return "AssertionError"
	}
	for _, k := range kinds {
		if strings.Contains(message, k.message) {
			return k.name
		}
	}
	return ""
}

// families are exceptions that stand for others.
var families = map[string][]string{
	"LookupError": {"KeyError", "IndexError"}, "ArithmeticError": {"ZeroDivisionError"},
}

// caught reports whether a handler's types name the failure. A handler without
// types, or for Exception, takes any; one for a type takes only what is known
// to be of it.
func caught(_ *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if len(args) < 2 {
		return starlark.True, nil
	}
	message, _ := starlark.AsString(args[0].(starlark.Tuple)[2])
	kind := kindOf(message)
	types, ok := args[1].(starlark.Tuple)
	if !ok {
		types = starlark.Tuple{args[1]}
	}
	for _, t := range types {
		b, ok := t.(*starlark.Builtin)
		if !ok {
			return nil, fmt.Errorf("except: a %s is no exception", t.Type())
		}
		switch name := b.Name(); {
		case name == "Exception" || name == "StandardError", name == kind, slices.Contains(families[name], kind):
			return starlark.True, nil
		}
	}
	return starlark.False, nil
}

// raiseAgain is a failure that no handler took.
func raiseAgain(_ *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	message, _ := starlark.AsString(args[0].(starlark.Tuple)[2])
	return nil, errors.New(message)
}
