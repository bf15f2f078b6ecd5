package policy

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// tokenKind tells apart what Python's grammar tells apart, as far as the
// translation needs it.
type tokenKind int

const (
	nameToken tokenKind = iota
	numberToken
	stringToken
	operatorToken
	newlineToken // ends a logical line
)

// token is a piece of Python source: text is source[start:end].
type token struct {
	kind       tokenKind
	text       string
	start, end int // byte offsets
	depth      int // open brackets around it; a bracket itself counts as outside
	partner    int // of a bracket: index of the other one
}

// scanner cuts Python source into tokens.
type scanner struct {
	source string
	at     int
	tokens []token
	open   []int // indices of open brackets
}

// placed is an error at a byte offset of the source.
type placed struct {
	at   int
	what string
}

func (e *placed) Error() string { return e.what }

func wrongAt(at int, format string, args ...any) error {
	return &placed{at, fmt.Sprintf(format, args...)}
}

// operators of more than one byte, longest first.
var operators = []string{"**=", "//=", ">>=", "<<=", "...", "**", "//", ">>", "<<", "<=", ">=", "==", "!=", "<>", "->", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", ":="}

// tokenize cuts the source, whose lines end in "\n".
func tokenize(source string) ([]token, error) {
	s := scanner{source: source}
	for s.at < len(s.source) {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	if len(s.open) > 0 {
		t := s.tokens[s.open[len(s.open)-1]]
		return nil, wrongAt(t.start, "%q is never closed", t.text)
	}
	s.newline()
	return s.tokens, nil
}

func (s *scanner) next() error {
	rest := s.source[s.at:]
	c := rest[0]
	switch {
	case c == '\n':
		s.newline()
		s.at++
	case c == ' ' || c == '\t' || c == '\f':
		s.at++
	case c == '#':
		s.at += lineLength(rest)
	case c == '\\' && strings.HasPrefix(rest, "\\\n"):
		s.at += 2
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		s.add(numberToken, numberLength(rest))
	default:
		return s.word(rest)
	}
	return nil
}

func (s *scanner) word(rest string) error {
	n := nameLength(rest)
	if n < len(rest) && (rest[n] == '"' || rest[n] == '\'') && n <= 2 && isPrefix(rest[:n]) {
		return s.str(rest, n)
	}
	if n > 0 {
		s.add(nameToken, n)
		return nil
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			s.add(operatorToken, len(op))
			return nil
		}
	}
	if rest[0] < utf8.RuneSelf && !strings.ContainsRune("()[]{}:;,.=+-*/%<>&|^~@!`", rune(rest[0])) {
		return wrongAt(s.at, "%q stands for nothing here", rest[:1])
	}
	return s.operator(rest)
}

func (s *scanner) operator(rest string) error {
	_, n := utf8.DecodeRuneInString(rest)
	s.add(operatorToken, n)
	i := len(s.tokens) - 1
	switch rest[0] {
	case '(', '[', '{':
		s.open = append(s.open, i)
		if len(s.open) > maxDepth {
			return wrongAt(s.at-n, "brackets are nested more than %d deep", maxDepth)
		}
	case ')', ']', '}':
		if len(s.open) == 0 || closing[s.tokens[s.open[len(s.open)-1]].text] != rest[:1] {
			return wrongAt(s.at-n, "%q closes nothing", rest[:1])
		}
		first := s.open[len(s.open)-1]
		s.open = s.open[:len(s.open)-1]
		s.tokens[first].partner, s.tokens[i].partner = i, first
		s.tokens[i].depth--
	}
	return nil
}

var closing = map[string]string{"(": ")", "[": "]", "{": "}"}

func (s *scanner) add(kind tokenKind, n int) {
	s.tokens = append(s.tokens, token{kind: kind, text: s.source[s.at : s.at+n], start: s.at, end: s.at + n, depth: len(s.open)})
	s.at += n
}

// newline ends a logical line; within brackets lines go on.
func (s *scanner) newline() {
	if n := len(s.tokens); len(s.open) == 0 && n > 0 && s.tokens[n-1].kind != newlineToken {
		s.tokens = append(s.tokens, token{kind: newlineToken, start: s.at, end: s.at})
	}
}

// str takes a string whose prefix has n bytes.
func (s *scanner) str(rest string, n int) error {
	quote := rest[n : n+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(rest[n:], triple) {
		quote = triple
	}
	for i := n + len(quote); i < len(rest); i++ {
		switch {
		case rest[i] == '\\':
			i++
		case strings.HasPrefix(rest[i:], quote):
			s.add(stringToken, i+len(quote))
			return nil
		case rest[i] == '\n' && len(quote) == 1:
			return wrongAt(s.at, "the string is not closed on its line")
		}
	}
	return wrongAt(s.at, "the string is never closed")
}

func isPrefix(s string) bool {
	return strings.Trim(strings.ToLower(s), "urbf") == ""
}

func lineLength(s string) int {
	if n := strings.IndexByte(s, '\n'); n >= 0 {
		return n
	}
	return len(s)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// nameLength counts the bytes of the name that s begins with.
func nameLength(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return i
		}
	}
	return len(s)
}

func numberLength(s string) int {
	i := 0
	for i < len(s) && (isDigit(s[i]) || s[i] == '.' || s[i] == '_' || unicode.IsLetter(rune(s[i])) && s[i] < utf8.RuneSelf) {
		if (s[i] == 'e' || s[i] == 'E') && i+1 < len(s) && (s[i+1] == '+' || s[i+1] == '-') && !strings.HasPrefix(s, "0x") {
			i++
		}
		i++
	}
	return i
}
