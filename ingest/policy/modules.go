package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.starlark.net/lib/math"
	"go.starlark.net/starlark"
)

// module is what an import gives. Names that it does not have are errors that
// say why.
type module struct {
	name    string
	members starlark.StringDict
	why     string // why other names are missing
}

var _ starlark.HasAttrs = (*module)(nil)

func (m *module) has(name string) bool { return m.members[name] != nil }

func (m *module) String() string        { return "<module '" + m.name + "'>" }
func (m *module) Type() string          { return "module" }
func (m *module) Freeze()               { m.members.Freeze() }
func (m *module) Truth() starlark.Bool  { return true }
func (m *module) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: module") }
func (m *module) AttrNames() []string   { return slices.Sorted(maps.Keys(m.members)) }

// Attr gives a member.
func (m *module) Attr(name string) (starlark.Value, error) {
	if v := m.members[name]; v != nil {
		return v, nil
	}
	return nil, fmt.Errorf("%s.%s is not available in a policy: %s", m.name, name, m.why)
}

const (
	noFiles = "it can reach no file, process or network"
	noClock = "it must decide the same at any time"
	notHere = "pvlog knows no such name"
)

// modules are those that an import finds. os.environ is that of a file that
// has no environment.
var modules map[string]*module

func init() {
	modules = map[string]*module{
		"sys": {"sys", starlark.StringDict{
			"version": starlark.String("2.7"), "version_info": starlark.Tuple{starlark.MakeInt(2), starlark.MakeInt(7), starlark.MakeInt(0)},
			"maxint": starlark.MakeInt64(1<<63 - 1), "maxsize": starlark.MakeInt64(1<<63 - 1), "platform": starlark.String("java"),
			"argv": starlark.NewList(nil), "path": quiet{}, "stdout": quiet{}, "stderr": quiet{},
		}, noFiles},
		"os":     osModule(nil),
		"re":     reModule(),
		"string": stringModule(),
		"math":   {"math", math.Module.Members, notHere},
		"logging": {"logging", starlark.StringDict{
			"warning": builtin("warning", note), "warn": builtin("warn", note), "error": builtin("error", note),
			"critical": builtin("critical", note), "exception": builtin("exception", note),
			"debug": quiet{}, "info": quiet{}, "log": quiet{}, "basicConfig": quiet{}, "disable": quiet{}, "shutdown": quiet{},
			"DEBUG": starlark.MakeInt(10), "INFO": starlark.MakeInt(20), "WARNING": starlark.MakeInt(30), "ERROR": starlark.MakeInt(40), "CRITICAL": starlark.MakeInt(50),
			"Formatter": quiet{}, "StreamHandler": quiet{}, "FileHandler": quiet{}, "NullHandler": quiet{}, "handlers": quiet{},
			"setLevel": quiet{}, "addHandler": quiet{},
		}, notHere},
		"fnmatch":     fnmatchModule(),
		"collections": {"collections", starlark.StringDict{"OrderedDict": starlark.Universe["dict"]}, notHere},
		"copy":        {"copy", starlark.StringDict{"copy": builtin("copy", shallow), "deepcopy": builtin("deepcopy", deep)}, notHere},
		"time":        {"time", starlark.StringDict{}, noClock},
		"datetime":    {"datetime", starlark.StringDict{}, noClock},
		"random":      {"random", starlark.StringDict{}, noClock},
	}
	modules["os.path"] = modules["os"].members["path"].(*module)
	modules["logging.handlers"] = modules["logging"]
	modules["logging"].members["getLogger"] = builtin("getLogger", func(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		return modules["logging"], nil
	})
	for _, m := range modules {
		m.Freeze()
	}
}

func moduleNames() string { return strings.Join(slices.Sorted(maps.Keys(modules)), ", ") }

// builtin is a function of a module.
func builtin(name string, f func(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return f(thread, args, kwargs)
	})
}

// quiet takes any call and has any attribute: logging set-up, sys.path.
type quiet struct{}

var (
	_ starlark.Callable = quiet{}
	_ starlark.HasAttrs = quiet{}
)

func (quiet) String() string                      { return "<quiet>" }
func (quiet) Type() string                        { return "quiet" }
func (quiet) Freeze()                             {}
func (quiet) Truth() starlark.Bool                { return true }
func (quiet) Hash() (uint32, error)               { return 0, nil }
func (quiet) Name() string                        { return "quiet" }
func (quiet) AttrNames() []string                 { return nil }
func (quiet) Attr(string) (starlark.Value, error) { return quiet{}, nil }

// CallInternal does nothing.
func (quiet) CallInternal(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return quiet{}, nil
}

// note is logging.warning and the like: what a person should see.
func note(thread *starlark.Thread, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	what, err := joined(thread, args)
	if format, ok := first(args).(starlark.String); ok && len(args) > 1 {
		var v starlark.Value
		if v, err = percent(thread, string(format), args[1:]); err == nil {
			what = string(v.(starlark.String))
		}
	}
	if err != nil {
		return nil, err
	}
	runOf(thread).note(what)
	return starlark.None, nil
}

func first(args starlark.Tuple) starlark.Value {
	if len(args) == 0 {
		return starlark.None
	}
	return args[0]
}
