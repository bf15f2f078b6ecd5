package policy

import (
	"fmt"
	"regexp"
	"strings"

	"go.starlark.net/starlark"
)

// stringModule is Python 2's module string: the methods of strings as
// functions, and its constants.
func stringModule() *module {
	m := &module{"string", starlark.StringDict{
		"digits": starlark.String("0123456789"), "ascii_lowercase": starlark.String(lower), "lowercase": starlark.String(lower),
		"ascii_uppercase": starlark.String(strings.ToUpper(lower)), "uppercase": starlark.String(strings.ToUpper(lower)),
		"ascii_letters": starlark.String(lower + strings.ToUpper(lower)), "letters": starlark.String(lower + strings.ToUpper(lower)),
	}, notHere}
	for _, name := range []string{"lower", "upper", "strip", "lstrip", "rstrip", "split", "find", "rfind", "index", "replace", "count", "capitalize", "startswith", "endswith"} {
		m.members[name] = builtin(name, func(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			if len(args) == 0 {
				return nil, fmt.Errorf("string.%s wants a string", name)
			}
			return callAny(thread, args[0], name, args[1:], kwargs)
		})
	}
	m.members["join"] = builtin("join", func(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		switch len(args) {
		case 1:
			return callAny(thread, starlark.String(" "), "join", args, nil)
		case 2:
			return callAny(thread, args[1], "join", args[:1], nil)
		}
		return nil, fmt.Errorf("string.join wants a list and a separator")
	})
	return m
}

const lower = "abcdefghijklmnopqrstuvwxyz"

// callAny calls a method through its guard, where it has one.
func callAny(thread *starlark.Thread, x starlark.Value, name string, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if methods[name] == nil {
		return callOwn(thread, x, name, args, kwargs)
	}
	return callMethod(thread, nil, append(starlark.Tuple{starlark.String(name), x}, args...), kwargs)
}

// fnmatchModule matches shell patterns: * ? and [abc], [!abc].
func fnmatchModule() *module {
	matches := builtin("fnmatch", func(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var name, pattern string
		if err := starlark.UnpackArgs("fnmatch", args, kwargs, "name", &name, "pat", &pattern); err != nil {
			return nil, err
		}
		re, err := compiled(thread, `(?s)\A(?:`+shellPattern(pattern)+`)\z`)
		if err != nil {
			return nil, err
		}
		charge(thread, len(name))
		return starlark.Bool(re.MatchString(name)), nil
	})
	return &module{"fnmatch", starlark.StringDict{"fnmatch": matches, "fnmatchcase": matches}, notHere}
}

func shellPattern(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		end := 0
		if pattern[i] == '[' && i+2 < len(pattern) {
			end = strings.IndexByte(pattern[i+2:], ']')
		}
		switch {
		case pattern[i] == '*':
			b.WriteString(".*")
		case pattern[i] == '?':
			b.WriteByte('.')
		case pattern[i] == '[' && end > 0 || pattern[i] == '[' && i+2 < len(pattern) && pattern[i+2] == ']':
			set := strings.ReplaceAll(pattern[i+1:i+2+end], `\`, `\\`)
			b.WriteString("[" + strings.Replace(set, "!", "^", boolInt(set[0] == '!')) + "]")
			i += 2 + end
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	return b.String()
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
