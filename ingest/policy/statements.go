package policy

import (
	"strings"
)

// lacking are statements that have no counterpart, with what to do instead.
var lacking = map[string]string{
	"finally":  "try/finally is not available",
	"class":    "classes are not available: use functions and dicts",
	"with":     "with is not available: a policy can open nothing",
	"nonlocal": "nonlocal is not available: return the value instead",
	"exec":     "exec is not available in a policy",
	"async":    "async is not available in a policy",
}

// statement translates the statement that the name i begins. next is i where
// the statement needs nothing.
func (t *translation) statement(i int) (next int, err error) {
	tok := t.tokens[i]
	if what, ok := lacking[tok.text]; ok && t.text(i+1) != "=" && t.text(i+1) != "." {
		return 0, wrongAt(tok.start, "%s", what)
	}
	switch tok.text {
	case "import":
		return t.importNames(i)
	case "from":
		return t.fromImport(i)
	case "try":
		t.replace(tok.start, tok.end, "if __try")
		return i + 1, nil
	case "except":
		return t.except(i), nil
	case "print":
		return t.print(i), nil
	case "raise":
		return t.call(i, "fail"), nil
	case "assert":
		return t.call(i, "__assert"), nil
	case "del":
		return t.call(i, "__delete"), nil
	case "global":
		return t.global(i), nil
	}
	return i, nil
}

// call makes a statement "word a, b" the call "function(a, b)"; what stands in
// it is translated in its turn.
func (t *translation) call(i int, function string) (next int) {
	tok, last := t.tokens[i], t.tokens[t.end(i)-1]
	if last.start == tok.start {
		t.replace(tok.start, tok.end, function+"()")
		return i + 1
	}
	t.replace(tok.start, tok.end, function+"(")
	t.closeAt(last.end, ")")
	return i + 1
}

// except makes a handler the branch of an if that rewriter.try undoes:
// "except (A, B) as e" is "elif __except((A, B), "e")".
func (t *translation) except(i int) (next int) {
	t.replace(t.tokens[i].start, t.tokens[i].end, "elif __except")
	colon := i + 1
	for colon < t.end(i) && (t.tokens[colon].depth > 0 || t.text(colon) != ":") {
		colon++
	}
	if colon == i+1 {
		return colon
	}
	last := t.tokens[colon-1]
	t.replace(t.tokens[i].end, t.tokens[i].end, "(")
	if sep := colon - 2; sep > i && t.tokens[sep].depth == 0 && (t.text(sep) == "as" || t.text(sep) == ",") {
		t.replace(t.tokens[sep].start, last.end, `, "`+last.text+`")`)
		return i + 1
	}
	t.closeAt(last.end, ")")
	return i + 1
}

// print makes the statement of Python 2 a call, and leaves a call alone.
func (t *translation) print(i int) (next int) {
	end := t.end(i)
	switch after := t.text(i + 1); {
	case after == "(" && t.tokens[i+1].partner == end-1, after == "=", after == ".":
		return i + 1
	case after == ">>": // the stream that it goes to does not matter
		for j := i + 2; j < end; j++ {
			if t.tokens[j].depth == 0 && t.text(j) == "," {
				t.replace(t.tokens[i].end, t.tokens[j].end, "(")
				t.closeAt(t.tokens[end-1].end, ")")
				return j + 1
			}
		}
		t.replace(t.tokens[i].end, t.tokens[end-1].end, "()")
		return end
	}
	return t.call(i, "print")
}

// global turns into pass: reading needs no declaration, and rewrite refuses a
// function that assigns to such a name.
func (t *translation) global(i int) (next int) {
	end := t.end(i)
	for j := i + 1; j < end; j++ {
		if t.tokens[j].kind == nameToken {
			t.globals = append(t.globals, declared{t.text(j), t.tokens[j].start})
		}
	}
	t.replace(t.tokens[i].start, t.tokens[end-1].end, "pass"+strings.Repeat("\n", strings.Count(t.source[t.tokens[i].start:t.tokens[end-1].end], "\n")))
	return end
}

// importNames translates "import a, b.c as d": modules that policies know are
// always there; a new name for one is an assignment.
func (t *translation) importNames(i int) (next int, err error) {
	end := t.end(i)
	var assigned []string
	for j := i + 1; j < end; {
		module, after := t.dotted(j)
		name := strings.SplitN(module, ".", 2)[0]
		if t.text(after) == "as" {
			if name, after = t.text(after+1), after+2; modules[module] != nil {
				assigned = append(assigned, name+" = "+module)
			}
		}
		if modules[module] == nil {
			t.imports[name] = t.tokens[j].start
		}
		if after < end && t.text(after) != "," {
			return 0, wrongAt(t.tokens[after].start, "this import makes no sense")
		}
		j = after + 1
	}
	t.instead(i, end, assigned)
	return end, nil
}

// fromImport translates "from a import b as c, d".
func (t *translation) fromImport(i int) (next int, err error) {
	end := t.end(i)
	module, j := t.dotted(i + 1)
	if t.text(j) != "import" {
		return 0, wrongAt(t.tokens[i].start, "this import makes no sense")
	}
	if t.text(j+1) == "*" {
		return 0, wrongAt(t.tokens[i].start, "import * is not available: name what you need")
	}
	var assigned []string
	for j++; j < end; j++ {
		what := t.tokens[j]
		if what.kind != nameToken {
			continue
		}
		name := what.text
		if t.text(j+1) == "as" {
			name = t.text(j + 2)
			j += 2
		}
		switch {
		case module == "__future__":
			t.divides = t.divides || what.text == "division"
		case modules[module] == nil || !modules[module].has(what.text):
			t.imports[name] = what.start
		default:
			assigned = append(assigned, name+" = "+module+"."+what.text)
		}
	}
	t.instead(i, end, assigned)
	return end, nil
}

// dotted reads a module's name from token i on.
func (t *translation) dotted(i int) (module string, after int) {
	for ; i < len(t.tokens) && t.tokens[i].kind != newlineToken; i++ {
		if tok := t.tokens[i]; tok.text != "." && (tok.kind != nameToken || module != "" && !strings.HasSuffix(module, ".")) {
			break
		}
		module += t.tokens[i].text
	}
	return module, i
}

// instead puts assignments in the place of a statement.
func (t *translation) instead(i, end int, assigned []string) {
	start, stop := t.tokens[i].start, t.tokens[end-1].end
	text := strings.Join(assigned, "; ")
	if text == "" {
		text = "pass"
	}
	t.replace(start, stop, text+strings.Repeat("\n", strings.Count(t.source[start:stop], "\n")))
}

// unknownImports refuses modules that are not there, where they are used.
func (t *translation) unknownImports() error {
	for i, tok := range t.tokens {
		at, unknown := t.imports[tok.text]
		if !unknown || tok.kind != nameToken || tok.start == at || t.text(i-1) == "." || t.text(i+1) == "=" && tok.depth > 0 || t.imported(i) {
			continue
		}
		line, _ := lineColumn(t.source, at)
		return wrongAt(tok.start, "%s, imported in line %d, is not available in a policy; there are %s", tok.text, line, moduleNames())
	}
	return nil
}

// imported reports whether token i belongs to an import statement.
func (t *translation) imported(i int) bool {
	for i > 0 && !t.begins(i) {
		i--
	}
	return t.text(i) == "import" || t.text(i) == "from"
}
