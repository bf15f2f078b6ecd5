package streams

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"pvlog/schema"
)

// maxSubjectBytes bounds a subject, well below the server's 4,096 bytes of a
// control line, which also holds a reply subject and numbers.
const maxSubjectBytes = 2048

const hexDigits = "0123456789ABCDEF"

// Subject maps a PV to the subject below prefix: ':' separates tokens, so that
// "LINAC:BPM1:X" under "samples" is samples.LINAC.BPM1.X and wildcards follow a
// device. What is illegal or ambiguous in a subject is percent-encoded; an
// empty token is "%". The mapping is total and [ParseSubject] reverses it.
func Subject(prefix string, pv schema.PVName) string {
	return string(appendSubject(make([]byte, 0, len(prefix)+len(pv)+8), prefix, pv))
}

func appendSubject(b []byte, prefix string, pv schema.PVName) []byte {
	b = append(b, prefix...)
	b = append(b, '.')
	start := len(b)
	for i := 0; i < len(pv); {
		c := pv[i]
		if c == ':' {
			b = endToken(b, start)
			b = append(b, '.')
			start = len(b)
			i++
			continue
		}
		n := plainBytes(string(pv[i:]))
		if n == 0 {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
			i++
			continue
		}
		b = append(b, pv[i:int(i)+n]...)
		i += n
	}
	return endToken(b, start)
}

func endToken(b []byte, start int) []byte {
	if len(b) == start {
		return append(b, '%')
	}
	return b
}

// plainBytes is how many bytes the first character of s has if it may stand in
// a subject as it is, else 0. A leading '$' is no special case: a PV's tokens
// never come first.
func plainBytes(s string) int {
	c := s[0]
	if c < utf8.RuneSelf {
		if c <= ' ' || c == 0x7f || c == '.' || c == '*' || c == '>' || c == '%' {
			return 0
		}
		return 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 || isSpaceOrControl(r) {
		return 0
	}
	return n
}

// isSpaceOrControl covers what clients trim or refuse beyond ASCII: C1 controls
// and the Unicode separators.
func isSpaceOrControl(r rune) bool {
	return r < 0xa1 || r == 0x1680 || r >= 0x2000 && r <= 0x200f || r >= 0x2028 && r <= 0x202f ||
		r >= 0x205f && r <= 0x206f || r == 0x3000 || r == 0xfeff
}

// ParseSubject reverses [Subject] for the subjects of our streams: prefix is
// "samples", "registry" or, for drops, "drops.<reason>". A subject that Subject
// cannot have made is refused, so that no two subjects mean one PV.
func ParseSubject(subject string) (prefix string, pv schema.PVName, err error) {
	prefix, rest, ok := strings.Cut(subject, ".")
	if ok && prefix == DropsPrefix {
		var reason string
		reason, rest, ok = strings.Cut(rest, ".")
		prefix += "." + reason
	}
	if !ok {
		return "", "", fmt.Errorf("subject %.100q: no PV stands in it", subject)
	}
	if plainTokens(rest) {
		return prefix, schema.PVName(strings.ReplaceAll(rest, ".", ":")), nil
	}
	name, err := parseTokens(rest)
	if err != nil {
		return "", "", fmt.Errorf("subject %.100q: %w", subject, err)
	}
	if Subject(prefix, schema.PVName(name)) != subject {
		return "", "", fmt.Errorf("subject %.100q: PV %.100q would be written in another way", subject, name)
	}
	return prefix, schema.PVName(name), nil
}

// plainTokens reports whether a PV's tokens are what Subject makes of a name in
// which nothing is encoded: ASCII without specials, no token empty.
func plainTokens(s string) bool {
	empty := true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.' && empty:
			return false
		case c == '.':
			empty = true
		case c == ':', c >= utf8.RuneSelf, plainBytes(s[i:i+1]) == 0:
			return false
		default:
			empty = false
		}
	}
	return !empty
}

func parseTokens(s string) (string, error) {
	if !strings.ContainsAny(s, "%") {
		return strings.ReplaceAll(s, ".", ":"), nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			b = append(b, ':')
		case c != '%':
			b = append(b, c)
		case i+1 == len(s) || s[i+1] == '.': // an empty token
		case i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			b = append(b, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			return "", fmt.Errorf("byte %d: '%%' and two hexadecimal digits belong together", i)
		}
	}
	return string(b), nil
}

func unhex(c byte) int { return strings.IndexByte(hexDigits, c) }

// checkSubject refuses a PV whose subject would be too long for the server.
func checkSubject(subject string, pv schema.PVName) error {
	if len(subject) > maxSubjectBytes {
		return schema.Errorf(schema.Invalid, "PV %.40q...: its subject has %d bytes, %d are allowed", pv, len(subject), maxSubjectBytes)
	}
	return nil
}
