package policy

import (
	"strings"
)

// strings translates a run of string literals, which Python joins, from token
// i on.
func (t *translation) strings(i int) (next int, err error) {
	last := i
	for last < len(t.tokens) && t.tokens[last].kind == stringToken {
		last++
	}
	joined := last > i+1
	if joined { // one value, whatever operator or method follows
		t.replace(t.tokens[i].start, t.tokens[i].start, "(")
	}
	for j := i; j < last; j++ {
		if j > i {
			t.replace(t.tokens[j].start, t.tokens[j].start, "+ ")
		}
		if err := t.literal(t.tokens[j]); err != nil {
			return 0, err
		}
	}
	if joined {
		t.closeAt(t.tokens[last-1].end, ")")
	}
	return last, nil
}

// literal translates the prefix and the escapes of one string.
func (t *translation) literal(tok token) error {
	n := strings.IndexAny(tok.text, `"'`)
	prefix := strings.ToLower(tok.text[:n])
	if strings.Contains(prefix, "f") {
		return wrongAt(tok.start, "f-strings are not available: write \"...%%s\" %% value")
	}
	if prefix != "" && prefix != "r" {
		keep := ""
		if strings.Contains(prefix, "r") {
			keep = "r"
		}
		t.replace(tok.start, tok.start+n, keep)
	}
	if !strings.Contains(prefix, "r") {
		t.escapes(tok, n)
	}
	return nil
}

// escapes doubles the backslash of escapes that Python leaves as they are
// ("\d") and Starlark refuses.
func (t *translation) escapes(tok token, n int) {
	for i := n; i+1 < len(tok.text); i++ {
		if tok.text[i] != '\\' {
			continue
		}
		if !strings.ContainsRune("abfnrtvxuU01234567\\'\"\n", rune(tok.text[i+1])) {
			t.replace(tok.start+i, tok.start+i, `\`)
		}
		i++
	}
}
