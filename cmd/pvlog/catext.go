package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// escaped writes what a terminal would not show as C writes it.
func escaped(s string) string {
	const plain, letters = "\a\b\f\n\r\t\v\\'\"", "abfnrtv\\'\""
	var b strings.Builder
	for _, c := range []byte(s) {
		switch i := strings.IndexByte(plain, c); {
		case i >= 0:
			b.WriteByte('\\')
			b.WriteByte(letters[i])
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, "\\x%02x", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// shown is text as it is, but for what would control a terminal.
func shown(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c == 0x7f {
			fmt.Fprintf(&b, "\\x%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescaped reads C's escapes, the inverse of [escaped].
func unescaped(s string) string {
	const plain, letters = "\a\b\f\n\r\t\v\\'\"\x00", "abfnrtv\\'\"0"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == 'x' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		if at := strings.IndexByte(letters, s[i]); at >= 0 {
			b.WriteByte(plain[at])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func rawText(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	return text
}

var alarmStatuses = strings.Fields("NO_ALARM READ WRITE HIHI HIGH LOLO LOW STATE COS COMM TIMEOUT HWLIMIT CALC SCAN LINK SOFT BAD_SUB UDF DISABLE SIMM READ_ACCESS WRITE_ACCESS")

var alarmSeverities = strings.Fields("NO_ALARM MINOR MAJOR INVALID")

func statusName(n int) string   { return nameOf(alarmStatuses, n) }
func severityName(n int) string { return nameOf(alarmSeverities, n) }

func nameOf(names []string, n int) string {
	if n < 0 || n >= len(names) {
		return "??"
	}
	return names[n]
}

// caTrouble words why there is no value.
func caTrouble(err error) string {
	refused, ok := errors.AsType[*caclient.StatusError](err)
	switch {
	case ok && refused.Status == ca.StatusNoReadAccess:
		return "*** no read access"
	case ok:
		return "*** CA error " + statusText(refused)
	case errors.Is(err, ca.ErrGetTimeout):
		return "*** no data available (timeout)"
	case errors.Is(err, errNotFound):
		return notFound
	case errors.Is(err, ca.ErrNotConnected):
		return "*** disconnected"
	}
	return "*** " + err.Error()
}

// caMessages are libca's words for what a server can answer.
var caMessages = map[uint32]string{
	ca.StatusAllocMem:      "Unable to allocate additional dynamic memory",
	ca.StatusTooLarge:      "The requested data transfer is greater than available memory or EPICS_CA_MAX_ARRAY_BYTES",
	ca.StatusTimeout:       "User specified timeout on IO operation expired",
	ca.StatusBadType:       "The data type specifed is invalid", // sic
	ca.StatusInternal:      "Channel Access Internal Failure",
	ca.StatusGetFail:       "Channel read request failed",
	ca.StatusPutFail:       "Channel write request failed",
	ca.StatusBadCount:      "Invalid element count requested",
	ca.StatusDisconnected:  "Virtual circuit disconnect",
	ca.StatusNoWriteAccess: "Write access denied",
	ca.StatusNoConvert:     "No reasonable data conversion between client and server types",
	ca.StatusUnavailable:   "Not supported by attached service",
}

// statusText is libca's message, else the name, and what the server adds.
func statusText(e *caclient.StatusError) string {
	text, ok := caMessages[e.Status]
	if !ok {
		text = ca.StatusName(e.Status)
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// plainTrouble is what stands for a value that is printed without a stamp.
func plainTrouble(err error) string {
	if errors.Is(err, errNotFound) || errors.Is(err, ca.ErrNotConnected) {
		return "*** not connected"
	}
	return caTrouble(err)
}

// stampedTrouble has the time at which it was noticed, but for a PV that was
// never there.
func (f caFormat) stampedTrouble(err error, at time.Time) string {
	if errors.Is(err, errNotFound) {
		return notFound
	}
	return f.stamp(schema.TimeOf(at)) + " " + caTrouble(err)
}

// notFound is the line of a PV that nobody has.
const notFound = "*** Not connected (PV not found)"

// errNotFound says that a PV did not connect in time.
var errNotFound = errors.New("PV not found")
