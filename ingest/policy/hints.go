package policy

import (
	"strings"
)

// hints say what to do about messages of Starlark that name its own words.
var hints = []struct{ message, hint string }{
	{"does not associate with", "comparisons do not chain: write a < b and b < c"},
	{"too many steps", "it takes too many steps or too much memory; does a loop never end?"},
	{"out of time", "it runs for more than 2 s; does a loop never end?"},
	{"got '=', want newline", "assignments do not chain: write each in a line of its own"},
	{"frozen", "what a module or a constant of pvlog holds cannot be changed: copy it"},
	{"string value is not iterable", "the letters of a text are s.elems()"},
	{"got string, want iterable", "the letters of a text are s.elems()"},
	{"format spec features not supported", "write \"%5.2f\" % x"},
	{"got else, want", "else belongs to if only, not to for or while"},
	{"got '**', want", "dicts are joined by dict(a, **b) or a.update(b)"},
}

// hinted adds the hint to a message, where there is one.
func hinted(message string) string {
	message = clip(message, 1000)
	if name, ok := strings.CutPrefix(message, "internal error: predeclared variable "); ok {
		return "undefined: " + strings.TrimSuffix(name, " is uninitialized")
	}
	for _, h := range hints {
		if strings.Contains(message, h.message) {
			return message + " (" + h.hint + ")"
		}
	}
	return message
}
