package partition

import (
	"bytes"
	"fmt"
)

// A line is a message in which these three bytes are replaced by the escape
// byte and a digit, so that LF only ever ends a line (Appliance: LineEscaper).
const (
	escape   = 0x1B
	newline  = 0x0A
	carriage = 0x0D
	codeEsc  = 1
	codeLF   = 2
	codeCR   = 3
)

// AppendLine adds a message as a line: escaped, with its LF.
func AppendLine(b, event []byte) []byte {
	return append(appendEscaped(b, event), newline)
}

func appendEscaped(b, message []byte) []byte {
	from := 0
	for i, c := range message {
		if c > escape {
			continue
		}
		var code byte
		switch c {
		case escape:
			code = codeEsc
		case newline:
			code = codeLF
		case carriage:
			code = codeCR
		default:
			continue
		}
		b = append(append(b, message[from:i]...), escape, code)
		from = i + 1
	}
	return append(b, message[from:]...)
}

// AppendUnescaped adds the message of a line without its LF. A digit that is
// none of ours stands for itself, as the Appliance reads it; only an escape
// byte at the very end is an error.
func AppendUnescaped(dst, line []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(line, escape)
		if i < 0 {
			return append(dst, line...), nil
		}
		if i+1 == len(line) {
			return dst, fmt.Errorf("%w: it ends in the middle of an escape", ErrLine)
		}
		dst = append(append(dst, line[:i]...), unescaped(line[i+1]))
		line = line[i+2:]
	}
}

func unescaped(code byte) byte {
	switch code {
	case codeEsc:
		return escape
	case codeLF:
		return newline
	case codeCR:
		return carriage
	}
	return code
}
