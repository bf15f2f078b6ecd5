package policy

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"go.starlark.net/starlark"
)

// pattern is a compiled regular expression. It is RE2's: what Python has
// beyond that, look-around and references back, is an error that says so.
type pattern struct {
	source string
	re     *regexp.Regexp // as written
	start  *regexp.Regexp // at the start only
	whole  *regexp.Regexp
}

// cache keeps patterns between runs of all files: each run compiles the same
// few. It starts anew when it is full.
var cache struct {
	sync.Mutex
	patterns map[string]*regexp.Regexp
}

const maxCached = 1000

// compiled gives an expression from the cache.
func compiled(thread *starlark.Thread, source string) (*regexp.Regexp, error) {
	if len(source) > 10_000 {
		return nil, fmt.Errorf("a regular expression of %d bytes", len(source))
	}
	cache.Lock()
	re := cache.patterns[source]
	cache.Unlock()
	if re != nil {
		return re, nil
	}
	charge(thread, 100*len(source))
	re, err := regexp.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("%w (expressions are RE2's)", err)
	}
	cache.Lock()
	defer cache.Unlock()
	if len(cache.patterns) >= maxCached || cache.patterns == nil {
		cache.patterns = map[string]*regexp.Regexp{}
	}
	cache.patterns[source] = re
	return re, nil
}

// newPattern compiles a pattern under Python's flags I (2), M (8) and S (16).
func newPattern(thread *starlark.Thread, source string, flags int) (*pattern, error) {
	mode := ""
	for _, f := range []struct {
		bit  int
		name string
	}{{2, "i"}, {8, "m"}, {16, "s"}} {
		if flags&f.bit != 0 {
			mode += f.name
		}
	}
	if flags &^= 2 | 4 | 8 | 16 | 32; flags != 0 { // 4 and 32: locale and Unicode mean nothing here
		return nil, fmt.Errorf("re: the flags I, M and S are available, no others")
	}
	inner := source
	if mode != "" {
		inner = "(?" + mode + ")" + source
	}
	p := &pattern{source: source}
	for _, c := range []struct {
		to   **regexp.Regexp
		from string
	}{{&p.re, inner}, {&p.start, `\A(?:` + inner + `)`}, {&p.whole, `\A(?:` + inner + `)\z`}} {
		re, err := compiled(thread, c.from)
		if err != nil {
			return nil, err
		}
		*c.to = re
	}
	return p, nil
}

var _ starlark.HasAttrs = (*pattern)(nil)

func (p *pattern) String() string        { return "re.compile(" + starlark.String(p.source).String() + ")" }
func (p *pattern) Type() string          { return "pattern" }
func (p *pattern) Freeze()               {}
func (p *pattern) Truth() starlark.Bool  { return true }
func (p *pattern) Hash() (uint32, error) { return starlark.String(p.source).Hash() }
func (p *pattern) AttrNames() []string {
	return []string{"findall", "fullmatch", "match", "pattern", "search", "split", "sub"}
}

// Attr gives the methods of a compiled pattern.
func (p *pattern) Attr(name string) (starlark.Value, error) {
	if name == "pattern" {
		return starlark.String(p.source), nil
	}
	f := patternMethods[name]
	if f == nil {
		return nil, nil
	}
	return builtin(name, func(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return f(thread, p, args)
	}), nil
}

// patternMethods take what follows the pattern.
var patternMethods = map[string]func(thread *starlark.Thread, p *pattern, args starlark.Tuple) (starlark.Value, error){
	"match": func(t *starlark.Thread, p *pattern, a starlark.Tuple) (starlark.Value, error) {
		return find(t, p.start, a)
	},
	"search": func(t *starlark.Thread, p *pattern, a starlark.Tuple) (starlark.Value, error) {
		return find(t, p.re, a)
	},
	"fullmatch": func(t *starlark.Thread, p *pattern, a starlark.Tuple) (starlark.Value, error) {
		return find(t, p.whole, a)
	},
	"findall": findAll,
	"split":   splitBy,
	"sub":     substitute,
}

// subject gives the string argument i.
func subject(thread *starlark.Thread, args starlark.Tuple, i int) (string, error) {
	if i >= len(args) {
		return "", fmt.Errorf("re: a string is missing")
	}
	s, ok := starlark.AsString(args[i])
	if !ok {
		return "", fmt.Errorf("re: expected a string, not a %s", args[i].Type())
	}
	charge(thread, 4*len(s))
	return s, nil
}

func find(thread *starlark.Thread, re *regexp.Regexp, args starlark.Tuple) (starlark.Value, error) {
	s, err := subject(thread, args, 0)
	if err != nil {
		return nil, err
	}
	at := re.FindStringSubmatchIndex(s)
	if at == nil {
		return starlark.None, nil
	}
	return &match{re, s, at}, nil
}

func findAll(thread *starlark.Thread, p *pattern, args starlark.Tuple) (starlark.Value, error) {
	s, err := subject(thread, args, 0)
	if err != nil {
		return nil, err
	}
	all := starlark.NewList(nil)
	for _, at := range p.re.FindAllStringSubmatchIndex(s, maxItems) {
		m := &match{p.re, s, at}
		v := m.groups(starlark.String(""))
		switch len(v) {
		case 0:
			err = all.Append(m.group(0, starlark.None))
		case 1:
			err = all.Append(v[0])
		default:
			err = all.Append(v)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func splitBy(thread *starlark.Thread, p *pattern, args starlark.Tuple) (starlark.Value, error) {
	s, err := subject(thread, args, 0)
	if err != nil {
		return nil, err
	}
	all := starlark.NewList(nil)
	for _, part := range p.re.Split(s, maxItems) {
		if err := all.Append(starlark.String(part)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// substitute is sub(replacement, string): \1 and \g<name> stand for groups.
func substitute(thread *starlark.Thread, p *pattern, args starlark.Tuple) (starlark.Value, error) {
	to, err := subject(thread, args, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (functions as replacement are not available)", err)
	}
	s, err := subject(thread, args, 1)
	if err != nil {
		return nil, err
	}
	if len(args) > 2 {
		return nil, fmt.Errorf("re.sub: count is not available")
	}
	n := len(p.re.FindAllStringIndex(s, -1))
	if err := fits(thread, len(s)+n*(len(to)+len(s)*strings.Count(to, `\`))); err != nil {
		return nil, err
	}
	to = backReference.ReplaceAllString(strings.ReplaceAll(to, "$", "$$"), "$${$1$2}")
	return starlark.String(p.re.ReplaceAllString(s, to)), nil
}

var backReference = regexp.MustCompile(`\\(?:(\d)|g<(\w+)>)`)
