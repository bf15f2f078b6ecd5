package policy

import (
	"strconv"

	"go.starlark.net/syntax"
)

// try gives the statements that stand for a try: Starlark has no exceptions,
// but a builtin can call a function and tell that it failed. Each expression
// of the body becomes such a function, and once one has failed, the rest of
// the body is passed over:
//
//	__ok = True
//	__r = __attempt(lambda: EXPRESSION)
//	__ok = __r[0]
//	if __ok: VARIABLE = __r[1]
//	...
//	if not __ok:
//	    if __caught(__r, TYPES): HANDLER
//	    else: __again(__r)
func (w *rewriter) try(s *syntax.IfStmt) []syntax.Stmt {
	w.tries++
	a := attempts{w: w, at: s.If, ok: "__ok" + strconv.Itoa(w.tries), result: "__r" + strconv.Itoa(w.tries)}
	out := []syntax.Stmt{a.set(a.ok, name(s.If, "True"))}
	out = append(out, a.block(s.True)...)
	failed := &syntax.UnaryExpr{OpPos: s.If, Op: syntax.NOT, X: name(s.If, a.ok)}
	return append(out, &syntax.IfStmt{If: s.If, Cond: failed, True: a.handlers(s.If, s.False)})
}

// attempts are the statements of one try.
type attempts struct {
	w          *rewriter
	at         syntax.Position
	ok, result string // names of its variables
}

func name(at syntax.Position, s string) *syntax.Ident { return &syntax.Ident{NamePos: at, Name: s} }

func (a attempts) set(variable string, e syntax.Expr) syntax.Stmt {
	return &syntax.AssignStmt{OpPos: a.at, Op: syntax.EQ, LHS: name(a.at, variable), RHS: e}
}

// part is element i of the result of the last attempt.
func (a attempts) part(i int64) syntax.Expr {
	number := &syntax.Literal{Token: syntax.INT, TokenPos: a.at, Raw: strconv.FormatInt(i, 10), Value: i}
	return &syntax.IndexExpr{X: name(a.at, a.result), Lbrack: a.at, Y: number, Rbrack: a.at}
}

// whenOK runs statements unless the body has failed.
func (a attempts) whenOK(s ...syntax.Stmt) syntax.Stmt {
	return &syntax.IfStmt{If: a.at, Cond: name(a.at, a.ok), True: s}
}

// attempt evaluates an expression, and runs then if that went well.
func (a attempts) attempt(e syntax.Expr, then ...syntax.Stmt) []syntax.Stmt {
	out := []syntax.Stmt{
		a.set(a.result, called(a.at, "__attempt", &syntax.LambdaExpr{Lambda: syntax.Start(e), Body: e})),
		a.set(a.ok, a.part(0)),
	}
	if len(then) > 0 {
		out = append(out, a.whenOK(then...))
	}
	return out
}

// block guards each statement of a block.
func (a attempts) block(block []syntax.Stmt) []syntax.Stmt {
	var out []syntax.Stmt
	for _, s := range block {
		a.at = syntax.Start(s)
		out = append(out, a.whenOK(a.statement(s)...))
	}
	return out
}

func (a attempts) statement(s syntax.Stmt) []syntax.Stmt {
	switch s := s.(type) {
	case *syntax.AssignStmt:
		return a.attempt(s.RHS, &syntax.AssignStmt{OpPos: s.OpPos, Op: s.Op, LHS: s.LHS, RHS: a.part(1)})
	case *syntax.ExprStmt:
		return a.attempt(s.X)
	case *syntax.ReturnStmt:
		if s.Result != nil {
			return a.attempt(s.Result, &syntax.ReturnStmt{Return: s.Return, Result: a.part(1)})
		}
	case *syntax.IfStmt:
		if isName(s.Cond, "__try") {
			a.w.wrong(s.If, "a try within a try is not available: put the inner one into a function")
			return nil
		}
		return a.attempt(s.Cond, &syntax.IfStmt{If: s.If, Cond: a.part(1), True: a.block(s.True), ElsePos: s.ElsePos, False: a.block(s.False)})
	case *syntax.ForStmt:
		failed := &syntax.UnaryExpr{OpPos: a.at, Op: syntax.NOT, X: name(a.at, a.ok)}
		leave := &syntax.IfStmt{If: a.at, Cond: failed, True: []syntax.Stmt{&syntax.BranchStmt{Token: syntax.BREAK, TokenPos: a.at}}}
		return a.attempt(s.X, &syntax.ForStmt{For: s.For, Vars: s.Vars, X: a.part(1), Body: append(a.block(s.Body), leave)})
	case *syntax.WhileStmt:
		a.w.wrong(s.While, "a while within a try is not available: put it into a function")
	}
	return []syntax.Stmt{s}
}

// handlers are the except branches, in order; a failure that none of them
// names goes on.
func (a attempts) handlers(at syntax.Position, branches []syntax.Stmt) []syntax.Stmt {
	again := []syntax.Stmt{&syntax.ExprStmt{X: called(at, "__again", name(at, a.result))}}
	if len(branches) == 0 {
		return again
	}
	f, ok := branches[0].(*syntax.IfStmt)
	if !ok || len(branches) > 1 {
		a.w.wrong(syntax.Start(branches[0]), "else after except is not available")
		return again
	}
	cond, variable := called(f.If, "__caught", name(f.If, a.result)), ""
	if call, ok := f.Cond.(*syntax.CallExpr); ok && isName(call.Fn, "__except") {
		cond.Args = append(cond.Args, call.Args[:1]...)
		if len(call.Args) > 1 {
			variable, _ = call.Args[1].(*syntax.Literal).Value.(string)
		}
	} else if !isName(f.Cond, "__except") {
		a.w.wrong(f.If, "else after except is not available")
		return again
	}
	body := f.True
	if variable != "" {
		body = append([]syntax.Stmt{&syntax.AssignStmt{OpPos: f.If, Op: syntax.EQ, LHS: name(f.If, variable), RHS: a.part(2)}}, body...)
	}
	return []syntax.Stmt{&syntax.IfStmt{If: f.If, Cond: cond, True: body, ElsePos: f.ElsePos, False: a.handlers(f.If, f.False)}}
}
