package policy

import (
	"fmt"
	"math/big"
	"strings"

	"go.starlark.net/starlark"
)

// conversion is one "%-8.3f" of a format.
type conversion struct {
	key       string // of %(key)s
	keyed     bool
	flags     string
	precision bool
	verb      byte
	length    int // bytes in the format
}

// percent is Python's "format % values", which knows flags, width and
// precision; Starlark's own does not.
func percent(thread *starlark.Thread, format string, values starlark.Value) (starlark.Value, error) {
	args, isTuple := values.(starlark.Tuple)
	if !isTuple {
		args = starlark.Tuple{values}
	}
	var out strings.Builder
	used, keyed := 0, false
	for {
		before, rest, found := strings.Cut(format, "%")
		out.WriteString(before)
		if !found {
			break
		}
		c, err := parseConversion(rest)
		if err != nil {
			return nil, err
		}
		format = rest[c.length:]
		if c.verb == '%' {
			out.WriteByte('%')
			continue
		}
		v, err := c.value(values, args, &used)
		if err != nil {
			return nil, err
		}
		keyed = keyed || c.keyed
		s, err := c.format(thread, v)
		if err != nil {
			return nil, err
		}
		if out.WriteString(s); out.Len() > maxSize {
			return nil, fmt.Errorf("a text of more than %d bytes", maxSize)
		}
	}
	if _, isMap := values.(starlark.Mapping); used < len(args) && !keyed && !isMap {
		return nil, fmt.Errorf("the format has %d conversions, there are %d values", used, len(args))
	}
	charge(thread, out.Len())
	return starlark.String(out.String()), nil
}

// parseConversion reads what follows a '%'.
func parseConversion(s string) (c conversion, err error) {
	i := 0
	if strings.HasPrefix(s, "(") {
		end := strings.IndexByte(s, ')')
		if end < 0 {
			return c, fmt.Errorf("a %%( in a format is not closed")
		}
		c.key, c.keyed, i = s[1:end], true, end+1
	}
	start := i
	for i < len(s) && strings.IndexByte("-+ #0", s[i]) >= 0 {
		i++
	}
	digits := i
	for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
		c.precision = c.precision || s[i] == '.'
		i++
	}
	c.flags = s[start:i]
	if i-digits > 6 || strings.Count(c.flags, ".") > 1 || digits-start > 5 {
		return c, fmt.Errorf("the width %.20q in a format makes no sense", c.flags)
	}
	for i < len(s) && (s[i] == 'l' || s[i] == 'h' || s[i] == 'L') { // of no meaning in Python
		i++
	}
	if i == len(s) {
		return c, fmt.Errorf("a format ends after its %%")
	}
	c.verb, c.length = s[i], i+1
	return c, nil
}

func (c conversion) value(values starlark.Value, args starlark.Tuple, used *int) (starlark.Value, error) {
	if c.keyed {
		m, ok := values.(starlark.Mapping)
		if !ok {
			return nil, fmt.Errorf("%%(%s) wants a dict, not a %s", c.key, values.Type())
		}
		v, found, err := m.Get(starlark.String(c.key))
		if err == nil && !found {
			err = fmt.Errorf("key %q of a format is not in the dict", c.key)
		}
		return v, err
	}
	if *used++; *used > len(args) {
		return nil, fmt.Errorf("not enough values for the format: it wants more than %d", len(args))
	}
	return args[*used-1], nil
}

func (c conversion) format(thread *starlark.Thread, v starlark.Value) (string, error) {
	switch c.verb {
	case 's', 'r':
		s, err := rendered(thread, v)
		if _, isString := v.(starlark.String); isString && c.verb == 'r' {
			s = v.String()
		}
		return fmt.Sprintf("%"+c.flags+"s", s), err
	case 'd', 'i', 'u', 'o', 'x', 'X':
		n, err := integer(v)
		if err != nil {
			return "", fmt.Errorf("%%%c wants a number: %w", c.verb, err)
		}
		return fmt.Sprintf("%"+c.flags+string(strings.NewReplacer("i", "d", "u", "d").Replace(string(c.verb))), n), nil
	case 'e', 'E', 'f', 'F', 'g', 'G':
		f, ok := starlark.AsFloat(v)
		if !ok {
			return "", fmt.Errorf("%%%c wants a number, not a %s", c.verb, v.Type())
		}
		if !c.precision {
			c.flags += ".6"
		}
		return fmt.Sprintf("%"+c.flags+string(c.verb), f), nil
	case 'c':
		if s, ok := v.(starlark.String); ok {
			return fmt.Sprintf("%"+c.flags+"s", string(s)), nil
		}
		n, err := starlark.AsInt32(v)
		return fmt.Sprintf("%"+c.flags+"c", rune(n)), err
	}
	return "", fmt.Errorf("a format has no %%%c", c.verb)
}

func integer(v starlark.Value) (*big.Int, error) {
	if b, ok := v.(starlark.Bool); ok {
		if b {
			return big.NewInt(1), nil
		}
		return new(big.Int), nil
	}
	n, err := starlark.NumberToInt(v)
	if err != nil {
		return nil, err
	}
	return n.BigInt(), nil
}
