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
	w     *bufio.Writer
	item  bytes.Buffer // of one element, reused
	coder *json.Encoder
	n     int
}

func newArray(w http.ResponseWriter) *array {
	w.Header().Set("Content-Type", "application/json")
	a := &array{w: bufio.NewWriterSize(w, arrayBuffer)}
	a.coder = json.NewEncoder(&a.item)
	a.coder.SetEscapeHTML(false)
	_ = a.w.WriteByte('[')
	return a
}

// add writes one element; v is what encoding/json can encode.
func (a *array) add(v any) {
	a.item.Reset()
	if err := a.coder.Encode(v); err != nil { // cannot happen with what this package encodes
		return
	}
	if a.n > 0 {
		_, _ = a.w.WriteString(",\n")
	}
	a.n++
	_, _ = a.w.Write(bytes.TrimRight(a.item.Bytes(), "\n"))
}

// end completes the answer. A client that went away gets none.
func (a *array) end() {
	_, _ = a.w.WriteString("]\n")
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
