package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"pvlog/schema"
)

// maxTime bounds one run of a policies.py, which takes a tenth of a
// millisecond as a rule.
const maxTime = 2 * time.Second

// program is a compiled policies.py. Each run executes the file anew, so that
// runs share nothing and a decision depends on no decision before it.
type program struct {
	name    string
	code    *starlark.Program
	names   starlark.StringDict
	columns mapped
	decides int // line of determinePolicy
	stream  []string

	warnings []string
}

// run is one execution of the file.
type run struct {
	names starlark.StringDict
	notes []string
}

func runOf(thread *starlark.Thread) *run { return thread.Local("run").(*run) }

// note keeps what the file printed, as far as a person would read it.
func (r *run) note(what string) {
	if len(r.notes) < maxNotes {
		r.notes = append(r.notes, clip(what, maxNote))
	}
}

func (p *Policies) readPython(env Env) (*Policies, error) {
	prog := &program{name: p.name, names: predeclared(env)}
	if err := prog.compile(normal(p.text)); err != nil {
		return nil, prog.located("", err)
	}
	err := prog.run("", func(thread *starlark.Thread, _ *run, globals starlark.StringDict) (err error) {
		if prog.decides, err = decides(globals); err != nil {
			return err
		}
		if p.listed, err = listed(thread, globals); err != nil {
			return err
		}
		p.stream, err = standardFields(thread, globals)
		prog.stream = p.stream
		return err
	})
	if err != nil {
		return nil, err
	}
	p.from, p.warnings = prog, prog.warnings
	return p, nil
}

// stated is an error at a "line:column" of the file as it was written.
type stated struct{ at, what string }

func (e *stated) Error() string { return e.at + ": " + e.what }

// compile translates, parses, rewrites and compiles the file.
func (p *program) compile(source string) error {
	translated, t, err := translate(source)
	if err != nil {
		if at, ok := err.(*placed); ok {
			line, column := lineColumn(source, at.at)
			return &stated{fmt.Sprintf("%d:%d", line, column), at.what}
		}
		return err
	}
	p.columns = translated
	if err := p.link(source, t, p.names.Has); err == nil || !p.onlyUndefined(err) {
		return err
	}
	// Python finds a name when it needs it: such a file works for most PVs
	return p.link(source, t, func(string) bool { return true })
}

// link parses, rewrites and compiles the translated file.
func (p *program) link(source string, t *translation, known func(string) bool) error {
	options := &syntax.FileOptions{Set: true, While: true, TopLevelControl: true, GlobalReassign: true, Recursion: true}
	f, err := options.Parse(p.name, p.columns.text, 0)
	if err != nil {
		return err
	}
	for _, g := range t.globals {
		line, _ := lineColumn(source, g.at)
		if at, assigned := assignsTo(f, int32(line), g.name); assigned {
			return &wrongPlace{at, fmt.Sprintf("a function cannot assign to the global %s: return the value instead", g.name)}
		}
	}
	w := rewriter{divides: t.divides}
	if f.Stmts = w.statements(f.Stmts); w.err != nil {
		return w.err
	}
	p.code, err = starlark.FileProgram(f, known)
	return err
}

// onlyUndefined reports whether all that is wrong are names that are nowhere
// defined, and keeps them as warnings.
func (p *program) onlyUndefined(err error) bool {
	all, ok := err.(resolve.ErrorList)
	if !ok {
		return false
	}
	for _, e := range all {
		if !strings.HasPrefix(e.Msg, "undefined: ") {
			p.warnings = nil
			return false
		}
		if len(p.warnings) < maxNotes {
			p.warnings = append(p.warnings, fmt.Sprintf("%s:%s: %s", p.name, p.at(e.Pos), e.Msg))
		}
	}
	return true
}

// run executes the file and hands over its globals. Errors name the place, and
// the PV that was asked about.
func (p *program) run(pv schema.PVName, with func(thread *starlark.Thread, r *run, globals starlark.StringDict) error) error {
	r := &run{names: p.names}
	thread := &starlark.Thread{Name: p.name}
	thread.SetMaxExecutionSteps(maxSteps)
	thread.SetLocal("run", r)
	timer := time.AfterFunc(maxTime, func() { thread.Cancel("out of time") })
	defer timer.Stop()
	globals, err := p.code.Init(thread, p.names)
	if err == nil {
		err = with(thread, r, globals)
	}
	return p.located(pv, err)
}

// decides gives the line of determinePolicy.
func decides(globals starlark.StringDict) (line int, err error) {
	f, ok := globals["determinePolicy"].(*starlark.Function)
	if !ok {
		return 0, fmt.Errorf("it defines no function determinePolicy(pvInfo)")
	}
	return int(f.Position().Line), nil
}

func listed(thread *starlark.Thread, globals starlark.StringDict) ([]Named, error) {
	v, err := answer(thread, globals, "getPolicyList")
	if err != nil {
		return nil, err
	}
	d, ok := v.(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("getPolicyList gives a %s, not a dict of names and descriptions", v.Type())
	}
	all := map[string]string{}
	for _, pair := range d.Items() {
		name, _ := starlark.AsString(pair[0])
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("getPolicyList: %w", err)
		}
		all[name], err = rendered(thread, pair[1])
		if err != nil {
			return nil, fmt.Errorf("getPolicyList: %w", err)
		}
	}
	var list []Named
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, Named{name, all[name]})
	}
	return list, nil
}

func standardFields(thread *starlark.Thread, globals starlark.StringDict) ([]string, error) {
	v, err := answer(thread, globals, "getFieldsArchivedAsPartOfStream")
	if err != nil {
		return nil, err
	}
	fields, err := texts("getFieldsArchivedAsPartOfStream", v)
	if err != nil {
		return nil, err
	}
	return sorted(fields), checkFields(fields)
}

// answer calls a function of the file that takes nothing.
func answer(thread *starlark.Thread, globals starlark.StringDict, name string) (starlark.Value, error) {
	f, ok := globals[name].(*starlark.Function)
	if !ok {
		return nil, fmt.Errorf("it defines no function %s()", name)
	}
	return starlark.Call(thread, f, nil, nil)
}

func (p *program) needsRate() bool { return true }

// determine asks the file, once the PV has connected. A file that looks at
// rates which were not measured yet is asked again when they were.
func (p *program) determine(pv PV) (d Decision, matched bool, err error) {
	if !pv.Connected {
		return Decision{Later: true, Why: p.name + ": it is asked when the PV has connected"}, false, nil
	}
	in := newInfo(pv)
	err = p.run(pv.Name, func(thread *starlark.Thread, r *run, globals starlark.StringDict) error {
		v, err := starlark.Call(thread, globals["determinePolicy"], starlark.Tuple{in}, nil)
		if err != nil {
			return err
		}
		if d, err = p.decision(pv, v); err != nil {
			return err
		}
		d.Notes = r.notes
		return nil
	})
	if in.rated && !pv.RateKnown { // what it said, it said of a rate of 0
		return Decision{Later: true, Why: p.name + ": it asks for the event rate, which is not known yet"}, false, nil
	}
	if err != nil {
		return Decision{}, false, err
	}
	return d, true, nil
}

// located puts file, line, column and PV before an error.
func (p *program) located(pv schema.PVName, err error) error {
	if err == nil {
		return nil
	}
	about := ""
	if pv != "" {
		about = "PV " + string(pv) + ": "
	}
	at, what := p.place(err)
	if at == "" {
		return schema.Errorf(schema.Invalid, "%s%s: %s", about, p.name, what)
	}
	return schema.Errorf(schema.Invalid, "%s%s:%s: %s", about, p.name, at, what)
}

// place gives "line:column" of an error in the file as it was written.
func (p *program) place(err error) (at, what string) {
	switch e := err.(type) {
	case *stated:
		return e.at, e.what
	case *wrongPlace:
		return p.at(e.at), e.what
	case syntax.Error:
		return p.at(e.Pos), hinted(e.Msg)
	case resolve.ErrorList:
		return p.at(e[0].Pos), hinted(e[0].Msg)
	case *starlark.EvalError:
		for i := range len(e.CallStack) {
			if frame := e.CallStack.At(i); frame.Pos.Line > 0 {
				return p.at(frame.Pos), "in " + frame.Name + ": " + hinted(e.Msg)
			}
		}
		return "", hinted(e.Msg)
	}
	return "", err.Error()
}

func (p *program) at(pos syntax.Position) string {
	return fmt.Sprintf("%d:%d", pos.Line, p.columns.column(int(pos.Line), int(pos.Col)))
}
