package policy

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"
)

// joinStrings, replaceAll, formatted and extended only check that Starlark's
// own methods will not make too much.
func joinStrings(thread *starlark.Thread, x starlark.Value, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	sep, ok := x.(starlark.String)
	if !ok || len(args) != 2 {
		return nil, false, nil
	}
	all, ok := args[1].(starlark.Iterable)
	if !ok {
		return nil, false, nil
	}
	total := 0
	for v := range starlark.Elements(all) {
		total += len(sep) + max(starlark.Len(v), 0)
	}
	return nil, false, fits(thread, total)
}

func fits(thread *starlark.Thread, bytes int) error {
	if bytes > maxSize {
		return fmt.Errorf("a text of more than %d bytes", maxSize)
	}
	charge(thread, bytes)
	return nil
}

func replaceAll(thread *starlark.Thread, x starlark.Value, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	s, ok := x.(starlark.String)
	if !ok || len(args) < 3 {
		return nil, false, nil
	}
	from, _ := starlark.AsString(args[1])
	to, _ := starlark.AsString(args[2])
	return nil, false, fits(thread, len(s)+strings.Count(string(s), from)*len(to))
}

// formatted is str.format. Each of its fields shows a value at most once, but
// a format can have as many fields as it has bytes.
func formatted(thread *starlark.Thread, x starlark.Value, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, bool, error) {
	s, ok := x.(starlark.String)
	if !ok {
		return nil, false, nil
	}
	largest := 0
	values := args[1:]
	for _, pair := range kwargs {
		values = append(values, pair[1])
	}
	for _, v := range values {
		shown, err := rendered(thread, v)
		if err != nil {
			return nil, false, err
		}
		largest = max(largest, len(shown))
	}
	return nil, false, fits(thread, len(s)+strings.Count(string(s), "{")*largest)
}

// extended is list.extend, list.insert and the update of dicts and sets.
func extended(thread *starlark.Thread, x starlark.Value, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, bool, error) {
	growth := 1
	for _, v := range args[1:] {
		if _, isString := v.(starlark.String); !isString {
			growth += max(starlark.Len(v), 0)
		}
	}
	if starlark.Len(x) < 0 {
		return nil, false, nil
	}
	return nil, false, within(thread, x, growth)
}
