package policy

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// translation turns Python (of Jython 2.7 or 3) into Starlark by its tokens,
// line for line. What has no counterpart is an error at its place.
type translation struct {
	source  string
	tokens  []token
	edits   []edit
	globals []declared // names of global statements
	imports map[string]int
	divides bool // "from __future__ import division"
}

// declared is a name in a global statement, at an offset.
type declared struct {
	name string
	at   int
}

// translate gives the Starlark text of a Python source, and what it found on
// the way.
func translate(source string) (mapped, *translation, error) {
	source, err := skipMain(source)
	if err != nil {
		return mapped{}, nil, err
	}
	tokens, err := tokenize(source)
	if err != nil {
		return mapped{}, nil, err
	}
	t := &translation{source: source, tokens: tokens, imports: map[string]int{}}
	for i := range tokens {
		t.indent(i)
	}
	for i := 0; i < len(tokens); {
		next, err := t.one(i)
		if err != nil {
			return mapped{}, nil, err
		}
		i = next
	}
	if err := t.unknownImports(); err != nil {
		return mapped{}, nil, err
	}
	return apply(source, t.edits), t, nil
}

// normal gives the text as UTF-8 with "\n" at line ends. Old files are Latin-1.
func normal(text []byte) string {
	s := string(text)
	if !utf8.ValidString(s) {
		runes := make([]rune, len(text))
		for i, b := range text {
			runes[i] = rune(b)
		}
		s = string(runes)
	}
	s = strings.TrimPrefix(s, "\ufeff")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.ReplaceAll(s, "\r", "\n")
}

// skipMain blanks what a file does only when it is run by itself.
func skipMain(source string) (string, error) {
	tokens, err := tokenize(source)
	if err != nil {
		return "", err
	}
	for i := 0; i+4 < len(tokens); i++ {
		if !startsLine(source, tokens, i) || tokens[i].text != "if" || tokens[i+1].text != "__name__" || tokens[i+2].text != "==" || tokens[i+4].text != ":" {
			continue
		}
		end := len(source)
		for j := i + 1; j < len(tokens); j++ {
			if startsLine(source, tokens, j) && tokens[j].text != "else" {
				end = tokens[j].start
				break
			}
		}
		source = source[:tokens[i].start] + blank(source[tokens[i].start:end]) + source[end:]
	}
	return source, nil
}

// startsLine reports whether a token begins a statement of the top level.
func startsLine(source string, tokens []token, i int) bool {
	t := tokens[i]
	return t.kind != newlineToken && t.depth == 0 && (i == 0 || tokens[i-1].kind == newlineToken) && (t.start == 0 || source[t.start-1] == '\n')
}

func blank(s string) string {
	b := bytes.Repeat([]byte{' '}, len(s))
	for i := range b {
		if s[i] == '\n' {
			b[i] = '\n'
		}
	}
	return string(b)
}

// indent makes the tabs before a logical line spaces, up to the next column
// that 8 divides, as Python 2 reads them.
func (t *translation) indent(i int) {
	if i > 0 && t.tokens[i-1].kind != newlineToken || t.tokens[i].kind == newlineToken {
		return
	}
	end := t.tokens[i].start
	start := strings.LastIndexByte(t.source[:end], '\n') + 1
	before := t.source[start:end]
	if !strings.Contains(before, "\t") || strings.Trim(before, " \t") != "" {
		return
	}
	width := 0
	for _, c := range before {
		width++
		for c == '\t' && width%8 != 0 {
			width++
		}
	}
	t.replace(start, end, strings.Repeat(" ", width))
}

func (t *translation) replace(start, end int, text string) {
	t.edits = append(t.edits, edit{start, end, text, len(t.edits)})
}

// closeAt inserts what closes something that was opened: what was opened last
// is closed first, and before anything else at that offset.
func (t *translation) closeAt(at int, text string) {
	t.edits = append(t.edits, edit{at, at, text, -1 - len(t.edits)})
}

// one translates the token i, or the statement that it begins, and gives the
// next token to look at.
func (t *translation) one(i int) (next int, err error) {
	tok := t.tokens[i]
	if tok.kind == nameToken && t.begins(i) {
		if next, err := t.statement(i); next > i || err != nil {
			return next, err
		}
	}
	switch tok.kind {
	case stringToken:
		return t.strings(i)
	case numberToken:
		if strings.HasSuffix(tok.text, "L") || strings.HasSuffix(tok.text, "l") {
			t.replace(tok.end-1, tok.end, "")
		}
	case nameToken:
		return t.name(i)
	case operatorToken:
		return i + 1, t.operator(i)
	}
	return i + 1, nil
}

// begins reports whether token i begins a statement.
func (t *translation) begins(i int) bool {
	if t.tokens[i].depth > 0 {
		return false
	}
	return i == 0 || t.tokens[i-1].kind == newlineToken || t.tokens[i-1].text == ";" || t.tokens[i-1].text == ":"
}

// end gives the index of the token that ends the statement of token i.
func (t *translation) end(i int) int {
	for ; i < len(t.tokens); i++ {
		if t.tokens[i].kind == newlineToken || t.tokens[i].depth == 0 && t.tokens[i].text == ";" {
			return i
		}
	}
	return len(t.tokens) - 1
}

func (t *translation) name(i int) (next int, err error) {
	tok, after := t.tokens[i], t.text(i+1)
	attribute := i > 0 && t.tokens[i-1].text == "."
	switch {
	case strings.HasPrefix(tok.text, "__") && !strings.HasSuffix(tok.text, "__"):
		t.replace(tok.start, tok.start, "own") // "__" begins the names of rewriter
	case attribute:
	case tok.text == "is":
		return t.is(i)
	case tok.text == "yield" || tok.text == "await" || tok.text == "async":
		return 0, wrongAt(tok.start, "%s is not available in a policy", tok.text)
	case tok.text == "load" && after != "=":
		t.replace(tok.start, tok.end, "load_")
	}
	return i + 1, nil
}

func (t *translation) text(i int) string {
	if i < len(t.tokens) && i >= 0 {
		return t.tokens[i].text
	}
	return ""
}

// is translates "is None" and "is not None": identity with a singleton is
// equality. Identity with anything else has no meaning in Starlark.
func (t *translation) is(i int) (next int, err error) {
	op, last := "==", i
	if t.text(i+1) == "not" {
		op, last = "!=", i+1
	}
	switch t.text(last + 1) {
	case "None", "True", "False":
		t.replace(t.tokens[i].start, t.tokens[last].end, op)
		return last + 1, nil
	}
	return 0, wrongAt(t.tokens[i].start, "\"is\" compares with None, True or False only: write ==")
}

func (t *translation) operator(i int) error {
	tok := t.tokens[i]
	switch tok.text {
	case "<>":
		t.replace(tok.start, tok.end, "!=")
	case "`":
		return wrongAt(tok.start, "backquotes are not available: write repr(x)")
	case ":=":
		return wrongAt(tok.start, ":= is not available: assign in a line of its own")
	case "**":
		if before := t.text(i - 1); before != "(" && before != "," {
			return wrongAt(tok.start, "** is not available: write pow(x, y)")
		}
	case "@":
		return wrongAt(tok.start, "decorators are not available in a policy")
	case "(":
		if t.has(i, "for") {
			t.replace(tok.end, tok.end, "[")
			t.closeAt(t.tokens[tok.partner].start, "]")
		}
	case "{":
		if tok.partner > i+1 && !t.has(i, ":") && !t.has(i, "**") {
			t.replace(tok.start, tok.end, "set([")
			t.replace(t.tokens[tok.partner].start, t.tokens[tok.partner].end, "])")
		}
	}
	return nil
}

// has reports whether a bracket holds a token directly, in no inner bracket.
func (t *translation) has(bracket int, text string) bool {
	for i := bracket + 1; i < t.tokens[bracket].partner; i++ {
		if tok := t.tokens[i]; tok.text == text && tok.depth == t.tokens[bracket].depth+1 {
			return true
		}
	}
	return false
}
