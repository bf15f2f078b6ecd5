package policy

import (
	"go.starlark.net/syntax"
)

// expr gives what stands for an expression, nil for nil.
func (w *rewriter) expr(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.BinaryExpr:
		return w.binary(e)
	case *syntax.CallExpr:
		return w.call(e)
	case *syntax.Comprehension:
		return w.comprehension(e)
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = w.expr(e.Cond), w.expr(e.True), w.expr(e.False)
	case *syntax.DictEntry:
		e.Key, e.Value = w.expr(e.Key), w.expr(e.Value)
	case *syntax.DictExpr:
		w.list(e.List)
		lastOfKey(e)
	case *syntax.DotExpr:
		if e.X = w.expr(e.X); methods[e.Name.Name] != nil {
			return called(e.Dot, "__bound", text(e.NamePos, e.Name.Name), e.X)
		}
	case *syntax.IndexExpr:
		e.X, e.Y = w.expr(e.X), w.expr(e.Y)
	case *syntax.LambdaExpr:
		w.parameters(e.Params)
		e.Body = called(e.Lambda, "__second", called(e.Lambda, "__enter"), w.expr(e.Body))
	case *syntax.ListExpr:
		w.list(e.List)
	case *syntax.ParenExpr:
		e.X = w.expr(e.X)
	case *syntax.SliceExpr:
		e.X, e.Lo, e.Hi, e.Step = w.expr(e.X), w.expr(e.Lo), w.expr(e.Hi), w.expr(e.Step)
		return called(e.Lbrack, "__count", e)
	case *syntax.TupleExpr:
		w.list(e.List)
		if len(e.List) > 0 {
			return called(e.Lparen, "__count", e)
		}
	case *syntax.UnaryExpr:
		e.X = w.expr(e.X)
	}
	return e
}

func (w *rewriter) list(es []syntax.Expr) {
	for i := range es {
		es[i] = w.expr(es[i])
	}
}

func (w *rewriter) binary(e *syntax.BinaryExpr) syntax.Expr {
	if e.Op == syntax.EQ { // name=value in a call
		e.Y = w.expr(e.Y)
		return e
	}
	e.X, e.Y = w.expr(e.X), w.expr(e.Y)
	if name := operations[e.Op]; name != "" && !(name == "__divide" && w.divides) {
		return called(e.OpPos, name, e.X, e.Y)
	}
	return e
}

// call has the size of the result counted, and turns methods that Starlark's
// types lack, or that can make large values, into functions.
func (w *rewriter) call(e *syntax.CallExpr) syntax.Expr {
	if id, ok := e.Fn.(*syntax.Ident); ok && id.Name == "__delete" {
		return w.deletion(e)
	}
	w.list(e.Args)
	dot, ok := e.Fn.(*syntax.DotExpr)
	if !ok || methods[dot.Name.Name] == nil {
		e.Fn = w.expr(e.Fn)
		return called(e.Lparen, "__count", e)
	}
	args := append([]syntax.Expr{text(dot.NamePos, dot.Name.Name), w.expr(dot.X)}, e.Args...)
	return called(e.Lparen, "__count", called(e.Lparen, "__method", args...))
}

// deletion is "del d[key]".
func (w *rewriter) deletion(e *syntax.CallExpr) syntax.Expr {
	if len(e.Args) == 1 {
		if x, ok := e.Args[0].(*syntax.IndexExpr); ok {
			e.Args = []syntax.Expr{w.expr(x.X), w.expr(x.Y)}
			return e
		}
	}
	w.wrong(e.Lparen, "del takes one element of a dict or list: del d[key]")
	return e
}

func (w *rewriter) comprehension(e *syntax.Comprehension) syntax.Expr {
	e.Body = w.expr(e.Body)
	for _, c := range e.Clauses {
		switch c := c.(type) {
		case *syntax.ForClause:
			w.target(c.Vars)
			c.X = w.expr(c.X)
		case *syntax.IfClause:
			c.Cond = w.expr(c.Cond)
		}
	}
	return e
}

// lastOfKey leaves each literal key of a dict once, with its last value, as
// Python has it; Starlark refuses a key that stands twice.
func lastOfKey(d *syntax.DictExpr) {
	first := map[any]*syntax.DictEntry{}
	kept := d.List[:0]
	for _, e := range d.List {
		entry, ok := e.(*syntax.DictEntry)
		if key, literal := entry.Key.(*syntax.Literal); ok && literal {
			if earlier := first[key.Value]; earlier != nil {
				earlier.Value = entry.Value
				continue
			}
			first[key.Value] = entry
		}
		kept = append(kept, e)
	}
	d.List = kept
}

// assignsTo gives the place where a function that holds the line assigns to a
// name that it declared global.
func assignsTo(f *syntax.File, line int32, name string) (at syntax.Position, assigned bool) {
	for _, s := range f.Stmts {
		def, ok := s.(*syntax.DefStmt)
		if !ok {
			continue
		}
		start, end := def.Span()
		if line < start.Line || line > end.Line {
			continue
		}
		syntax.Walk(def, func(n syntax.Node) bool {
			if a, ok := n.(*syntax.AssignStmt); ok && !assigned && binds(a.LHS, name) {
				at, assigned = a.OpPos, true
			}
			return true
		})
	}
	return at, assigned
}

func binds(e syntax.Expr, name string) bool {
	switch e := e.(type) {
	case *syntax.Ident:
		return e.Name == name
	case *syntax.ParenExpr:
		return binds(e.X, name)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			if binds(x, name) {
				return true
			}
		}
	}
	return false
}
