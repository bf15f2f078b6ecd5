package policy

import (
	"go.starlark.net/syntax"
)

// rewriter changes a Starlark syntax tree so that it means what Python means
// where the two differ, and so that what can grow is counted. The names of the
// functions that it calls begin with "__"; operations.go defines them.
type rewriter struct {
	divides bool  // 1/2 is 0.5, not 0 as in Python 2
	tries   int   // so far, which gives each its own names
	err     error // the first thing that cannot be said in Starlark
}

// wrongPlace is an error at a place of the translated text.
type wrongPlace struct {
	at   syntax.Position
	what string
}

func (e *wrongPlace) Error() string { return e.what }

func (w *rewriter) wrong(at syntax.Position, what string) {
	if w.err == nil {
		w.err = &wrongPlace{at, what}
	}
}

// called builds name(args...) at a place.
func called(at syntax.Position, name string, args ...syntax.Expr) *syntax.CallExpr {
	return &syntax.CallExpr{Fn: &syntax.Ident{NamePos: at, Name: name}, Lparen: at, Args: args, Rparen: at}
}

func text(at syntax.Position, s string) *syntax.Literal {
	return &syntax.Literal{Token: syntax.STRING, TokenPos: at, Raw: syntax.Quote(s, false), Value: s}
}

// statements rewrites a block, in place but for try.
func (w *rewriter) statements(block []syntax.Stmt) []syntax.Stmt {
	var out []syntax.Stmt
	for _, s := range block {
		if f, ok := s.(*syntax.IfStmt); ok && isName(f.Cond, "__try") {
			out = append(out, w.statements(w.try(f))...)
			continue
		}
		w.statement(s)
		out = append(out, s)
	}
	return out
}

func (w *rewriter) statement(s syntax.Stmt) {
	switch s := s.(type) {
	case *syntax.AssignStmt:
		w.assign(s)
	case *syntax.DefStmt:
		w.parameters(s.Params)
		// each call proves that it is not too deep
		s.Body = append([]syntax.Stmt{&syntax.ExprStmt{X: called(s.Def, "__enter")}}, w.statements(s.Body)...)
	case *syntax.ExprStmt:
		s.X = w.expr(s.X)
	case *syntax.IfStmt:
		s.Cond = w.expr(s.Cond)
		s.True, s.False = w.statements(s.True), w.statements(s.False)
	case *syntax.ForStmt:
		w.target(s.Vars)
		s.X, s.Body = w.expr(s.X), w.statements(s.Body)
	case *syntax.WhileStmt:
		s.Cond, s.Body = w.expr(s.Cond), w.statements(s.Body)
	case *syntax.ReturnStmt:
		s.Result = w.expr(s.Result)
	case *syntax.LoadStmt:
		w.wrong(s.Load, "load is not available in a policy")
	}
}

func isName(e syntax.Expr, name string) bool {
	id, ok := e.(*syntax.Ident)
	return ok && id.Name == name
}

// operations are the operators that mean another thing in Python, or that can
// make a large value of small ones.
var operations = map[syntax.Token]string{
	syntax.PLUS: "__add", syntax.STAR: "__multiply", syntax.PERCENT: "__modulo", syntax.SLASH: "__divide", syntax.LTLT: "__shift",
	syntax.PLUS_EQ: "__grow", syntax.STAR_EQ: "__multiply", syntax.PERCENT_EQ: "__modulo", syntax.SLASH_EQ: "__divide", syntax.LTLT_EQ: "__shift",
}

// assign keeps += as it is, which extends a list in place, and has its value
// counted; the other operations make a new value.
func (w *rewriter) assign(s *syntax.AssignStmt) {
	w.target(s.LHS)
	s.RHS = w.expr(s.RHS)
	name := operations[s.Op]
	if name == "" || name == "__divide" && w.divides {
		return
	}
	read := again(s.LHS)
	if read == nil {
		w.wrong(s.OpPos, "this operation wants a plain name, attribute or element on its left")
		return
	}
	s.RHS = called(s.OpPos, name, w.expr(read), s.RHS)
	if s.Op != syntax.PLUS_EQ {
		s.Op = syntax.EQ
	}
}

// again copies what can be evaluated twice, nil for anything else.
func again(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.Ident:
		return &syntax.Ident{NamePos: e.NamePos, Name: e.Name}
	case *syntax.Literal:
		return e
	case *syntax.DotExpr:
		if x := again(e.X); x != nil {
			return &syntax.DotExpr{X: x, Dot: e.Dot, NamePos: e.NamePos, Name: &syntax.Ident{NamePos: e.NamePos, Name: e.Name.Name}}
		}
	case *syntax.IndexExpr:
		if x, y := again(e.X), again(e.Y); x != nil && y != nil {
			return &syntax.IndexExpr{X: x, Lbrack: e.Lbrack, Y: y, Rbrack: e.Rbrack}
		}
	}
	return nil
}

// target rewrites what stands in an assigned place: only the parts that are
// read.
func (w *rewriter) target(e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		w.target(e.X)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			w.target(x)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			w.target(x)
		}
	case *syntax.IndexExpr:
		e.X, e.Y = w.expr(e.X), w.expr(e.Y)
	case *syntax.DotExpr:
		e.X = w.expr(e.X)
	}
}

// parameters rewrites the defaults.
func (w *rewriter) parameters(params []syntax.Expr) {
	for _, p := range params {
		if p, ok := p.(*syntax.BinaryExpr); ok && p.Op == syntax.EQ {
			p.Y = w.expr(p.Y)
		}
	}
}
