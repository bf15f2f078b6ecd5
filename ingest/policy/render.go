package policy

import (
	"fmt"

	"go.starlark.net/starlark"
)

// rendered gives str(v) if it is not too large: a list of lists of lists can
// be small and yet print as more than there is memory.
func rendered(thread *starlark.Thread, v starlark.Value) (string, error) {
	if s, ok := v.(starlark.String); ok {
		return string(s), nil
	}
	budget := maxSize
	if !measure(v, &budget, 0) {
		return "", fmt.Errorf("the %s is too large to be shown", v.Type())
	}
	charge(thread, maxSize-budget)
	return v.String(), nil
}

// measure takes what a value needs to be shown off the budget.
func measure(v starlark.Value, budget *int, depth int) bool {
	if *budget -= 8; *budget < 0 || depth > 50 {
		return false
	}
	switch v := v.(type) {
	case starlark.String:
		*budget -= len(v)
	case starlark.Int:
		*budget -= sizeOf(v) * 3
	case starlark.IterableMapping:
		for _, pair := range v.Items() {
			if !measure(pair[0], budget, depth+1) || !measure(pair[1], budget, depth+1) {
				return false
			}
		}
	case starlark.Iterable:
		for x := range starlark.Elements(v) {
			if !measure(x, budget, depth+1) {
				return false
			}
		}
	}
	return *budget >= 0
}

// joined renders the arguments of print and fail.
func joined(thread *starlark.Thread, args starlark.Tuple) (string, error) {
	var all string
	for i, a := range args {
		s, err := rendered(thread, a)
		if err != nil {
			return "", err
		}
		if i > 0 {
			all += " "
		}
		if all = all + s; len(all) > maxNote {
			return clip(all, maxNote), nil
		}
	}
	return all, nil
}
