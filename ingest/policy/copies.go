package policy

import (
	"fmt"

	"go.starlark.net/starlark"
)

// shallow is copy.copy.
func shallow(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if v, ok, err := copyOf(thread, first(args), nil, nil); ok || err != nil {
		return v, err
	}
	return first(args), nil
}

// deep is copy.deepcopy.
func deep(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	budget := maxSize
	if !measure(first(args), &budget, 0) {
		return nil, fmt.Errorf("the %s is too large to be copied", first(args).Type())
	}
	charge(thread, maxSize-budget)
	return deepCopy(first(args))
}

func deepCopy(v starlark.Value) (starlark.Value, error) {
	switch v := v.(type) {
	case *starlark.List:
		all := starlark.NewList(nil)
		for x := range starlark.Elements(v) {
			c, err := deepCopy(x)
			if err != nil {
				return nil, err
			}
			if err := all.Append(c); err != nil {
				return nil, err
			}
		}
		return all, nil
	case starlark.IterableMapping:
		d := starlark.NewDict(starlark.Len(v))
		for _, pair := range v.Items() {
			c, err := deepCopy(pair[1])
			if err != nil {
				return nil, err
			}
			if err := d.SetKey(pair[0], c); err != nil {
				return nil, err
			}
		}
		return d, nil
	}
	return v, nil
}
