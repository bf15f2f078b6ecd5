package policy

import (
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Bounds of a policies.py, far above what a site's file needs (a decision of
// the Appliance's own file takes about 300 steps).
const (
	maxSteps     = 2_000_000 // with maxSize: at most 128 MB made in one run
	bytesPerStep = 64
	maxSize      = 1 << 20 // bytes of one string
	maxItems     = 1 << 17 // of one list
	maxIntBits   = 4096
	maxCalls     = 200    // nested
	maxTuple     = 10_000 // values in a tuple of tuples
	maxNotes     = 20     // of one decision
	maxNote      = 300    // bytes
)

// charge counts what was made as steps, so that memory has the same bound as
// time.
func charge(thread *starlark.Thread, bytes int) { thread.Steps += uint64(bytes / bytesPerStep) }

// sizeOf gives the bytes that a value holds itself, without what its elements
// hold.
func sizeOf(v starlark.Value) int {
	switch v := v.(type) {
	case starlark.String:
		return len(v)
	case starlark.Int:
		if _, small := v.Int64(); !small {
			return v.BigInt().BitLen() / 8
		}
	case *starlark.Dict, *starlark.Set:
		return 64 * starlark.Len(v)
	case *starlark.List, starlark.Tuple:
		return 16 * starlark.Len(v)
	}
	return 0
}

// within refuses a value that an operation would make too large: growth is
// what it adds to v, in bytes of a string or elements.
func within(thread *starlark.Thread, v starlark.Value, growth int) error {
	limit, what := maxItems, "elements"
	if _, ok := v.(starlark.String); ok {
		limit, what = maxSize, "bytes"
	}
	if growth > limit-max(starlark.Len(v), 0) {
		return fmt.Errorf("a %s of more than %d %s: more than a policy may make", v.Type(), limit, what)
	}
	charge(thread, 16*growth)
	return nil
}

// operation is a builtin of two values.
func operation(name string, f func(thread *starlark.Thread, x, y starlark.Value) (starlark.Value, error)) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		if len(args) != 2 {
			return nil, fmt.Errorf("%s wants two values", name)
		}
		return f(thread, args[0], args[1])
	})
}

func add(thread *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	if n := starlark.Len(y); n > 0 {
		if err := within(thread, x, n); err != nil {
			return nil, err
		}
	}
	return starlark.Binary(syntax.PLUS, x, y)
}

// grow gives y, to be added to x in place.
func grow(thread *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	if n := starlark.Len(y); n > 0 {
		return y, within(thread, x, n)
	}
	return y, nil
}

func multiply(thread *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	if err := repeats(thread, x, y); err != nil {
		return nil, err
	}
	if err := repeats(thread, y, x); err != nil {
		return nil, err
	}
	if a, ok := x.(starlark.Int); ok {
		if b, ok := y.(starlark.Int); ok && a.BigInt().BitLen()+b.BigInt().BitLen() > maxIntBits {
			return nil, fmt.Errorf("a number of more than %d bits", maxIntBits)
		}
	}
	return starlark.Binary(syntax.STAR, x, y)
}

// repeats checks the size of x repeated n times.
func repeats(thread *starlark.Thread, x, n starlark.Value) error {
	times, ok := n.(starlark.Int)
	size := starlark.Len(x)
	if !ok || size <= 0 {
		return nil
	}
	many, small := times.Int64()
	if !small || many > maxSize {
		many = maxSize + 1
	}
	return within(thread, x, size*int(max(many-1, 0)))
}

func shift(_ *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	if a, ok := x.(starlark.Int); ok && a.BigInt().BitLen() > maxIntBits {
		return nil, fmt.Errorf("a number of more than %d bits", maxIntBits)
	}
	return starlark.Binary(syntax.LTLT, x, y)
}

// divide is Python 2's: two integers give an integer.
func divide(_ *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	_, a := x.(starlark.Int)
	_, b := y.(starlark.Int)
	if a && b {
		return starlark.Binary(syntax.SLASHSLASH, x, y)
	}
	return starlark.Binary(syntax.SLASH, x, y)
}

func modulo(thread *starlark.Thread, x, y starlark.Value) (starlark.Value, error) {
	if format, ok := x.(starlark.String); ok {
		return percent(thread, string(format), y)
	}
	return starlark.Binary(syntax.PERCENT, x, y)
}

// count charges a value that was just made, and gives it.
func count(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	charge(thread, sizeOf(args[0]))
	if budget := maxTuple; !flat(args[0], &budget) {
		return nil, fmt.Errorf("a tuple of more than %d values within values", maxTuple)
	}
	return args[0], nil
}

// flat reports whether the tuples within a value hold few values: a tuple of
// tuples of tuples can be small and yet take ages to hash.
func flat(v starlark.Value, budget *int) bool {
	tuple, ok := v.(starlark.Tuple)
	if list, is := v.(*starlark.List); is && list.Len() > 0 {
		tuple, ok = starlark.Tuple{list.Index(0)}, true
	}
	if !ok {
		return true
	}
	for _, x := range tuple {
		if *budget--; *budget < 0 || !flat(x, budget) {
			return false
		}
	}
	return true
}

func enter(thread *starlark.Thread, _ *starlark.Builtin, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if thread.CallStackDepth() > maxCalls {
		return nil, fmt.Errorf("calls are nested more than %d deep", maxCalls)
	}
	return starlark.None, nil
}

func second(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[1], nil
}

// remove is "del d[key]".
func remove(thread *starlark.Thread, x, key starlark.Value) (starlark.Value, error) {
	with, ok := x.(starlark.HasAttrs)
	if !ok {
		return nil, fmt.Errorf("del wants an element of a dict or list, not of a %s", x.Type())
	}
	pop, err := with.Attr("pop")
	if err != nil || pop == nil {
		return nil, fmt.Errorf("del wants an element of a dict or list, not of a %s", x.Type())
	}
	return starlark.Call(thread, pop, starlark.Tuple{key}, nil)
}

func assert(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	switch {
	case len(args) == 0:
		return nil, fmt.Errorf("assert wants a condition")
	case bool(args[0].Truth()):
		return starlark.None, nil
	case len(args) == 1:
		return nil, fmt.Errorf("the assertion failed")
	}
	what, err := rendered(thread, args[1])
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("the assertion failed: %s", clip(what, maxNote))
}
