package policy

import (
	"fmt"
	"path"

	"go.starlark.net/starlark"
)

// osModule is what a policy needs of os: the environment, where it is given,
// and the joining of paths.
func osModule(env Env) *module {
	e := &environ{env}
	return &module{"os", starlark.StringDict{
		"environ": e,
		"getenv":  builtin("getenv", e.get),
		"sep":     starlark.String("/"),
		"linesep": starlark.String("\n"),
		"path": &module{"os.path", starlark.StringDict{
			"join":     builtin("join", paths(path.Join)),
			"basename": builtin("basename", paths(func(p ...string) string { return path.Base(p[0]) })),
			"dirname":  builtin("dirname", paths(func(p ...string) string { return path.Dir(p[0]) })),
			"sep":      starlark.String("/"),
		}, noFiles},
	}, noFiles}
}

func paths(f func(...string) string) func(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return func(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		var parts []string
		for _, a := range args {
			s, ok := starlark.AsString(a)
			if !ok {
				return nil, fmt.Errorf("a path is a string, not a %s", a.Type())
			}
			if err := fits(thread, len(s)); err != nil {
				return nil, err
			}
			parts = append(parts, s)
		}
		if len(parts) == 0 {
			return nil, fmt.Errorf("a path is needed")
		}
		return starlark.String(f(parts...)), nil
	}
}

// environ is os.environ. Without an environment each variable stands for
// itself as the macro ${NAME}, which is resolved where the store is opened.
type environ struct {
	lookup Env
}

var (
	_ starlark.Mapping  = (*environ)(nil)
	_ starlark.HasAttrs = (*environ)(nil)
)

func (e *environ) String() string        { return "environ" }
func (e *environ) Type() string          { return "environ" }
func (e *environ) Freeze()               {}
func (e *environ) Truth() starlark.Bool  { return true }
func (e *environ) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: environ") }
func (e *environ) AttrNames() []string   { return []string{"get"} }

// Get is environ[name].
func (e *environ) Get(key starlark.Value) (v starlark.Value, found bool, err error) {
	name, ok := starlark.AsString(key)
	if !ok {
		return nil, false, fmt.Errorf("the name of a variable is a string, not a %s", key.Type())
	}
	if e.lookup == nil {
		return starlark.String("${" + name + "}"), true, nil
	}
	value, set := e.lookup(name)
	return starlark.String(value), set, nil
}

// Attr gives the method get.
func (e *environ) Attr(name string) (starlark.Value, error) {
	if name == "get" {
		return builtin("get", e.get), nil
	}
	return nil, nil
}

// get is environ.get(name, default).
func (e *environ) get(_ *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	var otherwise starlark.Value = starlark.None
	if err := starlark.UnpackArgs("get", args, kwargs, "key", &name, "default?", &otherwise); err != nil {
		return nil, err
	}
	if e.lookup == nil {
		return otherwise, nil
	}
	if value, set := e.lookup(name); set {
		return starlark.String(value), nil
	}
	return otherwise, nil
}
