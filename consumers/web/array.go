package web

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
)

// arrayBuffer is how much of a list is gathered before it is written.
const arrayBuffer = 64 << 10

// array writes a JSON array element by element, so that a list of all PVs
// needs no memory for all of it. Errors of the client stick to the writer.
type array struct {
	w      *bufio.Writer
	closed byte         // what ends it
	item   bytes.Buffer // of one element, reused
	coder  *json.Encoder
	n      int
}

// texts are the keys and values of an object, one after the other: what a row
// of a report says, all of it text.
type texts []string

func newArray(w http.ResponseWriter) *array { return begun(w, '[', ']') }

// newObject writes a JSON object in place of an array.
func newObject(w http.ResponseWriter) *array { return begun(w, '{', '}') }

func begun(w http.ResponseWriter, open, closed byte) *array {
	w.Header().Set("Content-Type", "application/json")
	a := &array{w: bufio.NewWriterSize(w, arrayBuffer), closed: closed}
	a.coder = json.NewEncoder(&a.item)
	a.coder.SetEscapeHTML(false)
	_ = a.w.WriteByte(open)
	return a
}

// add writes one element; v is what encoding/json can encode.
func (a *array) add(v any) {
	a.item.Reset()
	if err := a.coder.Encode(v); err != nil { // cannot happen with what this package encodes
		return
	}
	a.separate()
	_, _ = a.w.Write(bytes.TrimRight(a.item.Bytes(), "\n"))
}

// addTexts writes an object: ten times as fast as add.
func (a *array) addTexts(row texts) {
	a.separate()
	a.object(row)
}

// addText writes a string.
func (a *array) addText(s string) {
	a.separate()
	a.text(s)
}

// addNamed writes an object under a key.
func (a *array) addNamed(key string, row texts) {
	a.separate()
	a.text(key)
	_ = a.w.WriteByte(':')
	a.object(row)
}

func (a *array) separate() {
	if a.n > 0 {
		_, _ = a.w.WriteString(",\n")
	}
	a.n++
}

func (a *array) object(row texts) {
	_ = a.w.WriteByte('{')
	for i := 0; i+1 < len(row); i += 2 {
		if i > 0 {
			_ = a.w.WriteByte(',')
		}
		a.text(row[i])
		_ = a.w.WriteByte(':')
		a.text(row[i+1])
	}
	_ = a.w.WriteByte('}')
}

// text writes a JSON string. Most need no escapes.
func (a *array) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			a.item.Reset()
			if a.coder.Encode(s) == nil { // a string always can be
				_, _ = a.w.Write(bytes.TrimRight(a.item.Bytes(), "\n"))
			}
			return
		}
	}
	_ = a.w.WriteByte('"')
	_, _ = a.w.WriteString(s)
	_ = a.w.WriteByte('"')
}

// end completes the answer. A client that went away gets none.
func (a *array) end() {
	_ = a.w.WriteByte(a.closed)
	_ = a.w.WriteByte('\n')
	_ = a.w.Flush()
}

// writeList answers a list that is at hand.
func writeList[T any](w http.ResponseWriter, list []T) error {
	a := newArray(w)
	for _, v := range list {
		a.add(v)
	}
	a.end()
	return nil
}
