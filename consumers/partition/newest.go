package partition

import (
	"bytes"
	"fmt"

	"pvlog/schema"
)

// newest is the latest sample of those that came: what the next is compared with.
type newest struct {
	any   bool
	at    schema.Time
	bytes []byte // its message
}

// compare tells how a sample stands to those before it, "" if it is later than
// all of them, and remembers it then.
func (n *newest) compare(f readable) (Kind, string) {
	at := f.line.Time
	switch {
	case !n.any || at.After(n.at):
		n.set(at, f.line.Event)
		return "", ""
	case n.at.After(at):
		return Order, fmt.Sprintf("%v after %v", at, n.at)
	case n.repeats(f.line.Event, f.event):
		return Duplicate, fmt.Sprintf("the sample of %v again", at)
	}
	return Conflict, fmt.Sprintf("another sample of %v", at)
}

// set remembers a sample; its message is copied.
func (n *newest) set(at schema.Time, message []byte) {
	n.any, n.at = true, at
	n.bytes = append(n.bytes[:0], message...)
}

// repeats reports whether a message of the same instant says nothing that the
// newest does not: the same value, severity and status, and no field values of
// its own.
func (n *newest) repeats(message []byte, e schema.Event) bool {
	if bytes.Equal(n.bytes, message) {
		return true
	}
	mine, err := schema.ScanEvent(n.bytes)
	return err == nil && mine.Same(e) && len(e.Fields) == 0
}
