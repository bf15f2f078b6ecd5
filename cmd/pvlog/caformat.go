package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// caFormat is how values are printed: the flags that caget and camonitor share.
type caFormat struct {
	EnumNumber bool   `short:"n" name:"enum-number" help:"Enums as numbers, not labels."`
	AsString   bool   `short:"s" name:"as-string" help:"Floating point values as strings, with the IOC's precision."`
	CharText   bool   `short:"S" name:"char-text" help:"Arrays of char as text."`
	Count      uint32 `short:"#" name:"count" placeholder:"N" help:"At most N elements of an array."`
	Separator  string `short:"F" default:" " placeholder:"C" help:"Field separator, one character."`
	E          int    `short:"e" name:"exponent" default:"-1" placeholder:"DIGITS" help:"Floating point values as 1.5e+00."`
	F          int    `short:"f" name:"fixed" default:"-1" placeholder:"DIGITS" help:"Floating point values as 1.50."`
	G          int    `short:"g" name:"general" default:"-1" placeholder:"DIGITS" help:"Floating point values in the shorter form, 6 digits else."`

	zone *time.Location // of time stamps; nil is the local one
}

// maxDigits is what a double can show.
const maxDigits = 18

func (f caFormat) check() error {
	if utf8.RuneCountInString(f.Separator) != 1 {
		return exitError{exitUsage, fmt.Errorf("-F %q: one character is expected", f.Separator)}
	}
	if max(f.E, f.F, f.G) > maxDigits {
		return exitError{exitUsage, fmt.Errorf("-e, -f and -g take 0 to %d digits", maxDigits)}
	}
	return nil
}

// caReading is a value as it came, and what helps to print it.
type caReading struct {
	name      string
	data      ca.DBR // of the payload
	count     uint32
	payload   []byte
	array     bool     // its count is told
	labels    []string // of an enum that came as a number
	precision int      // of a floating point value that is to be printed as a string; -1: it is not
}

// elements prints each element, no more than the format allows.
func (f caFormat) elements(r caReading) []string {
	n := r.count
	if f.Count > 0 {
		n = min(n, f.Count)
	}
	values := make([]string, n)
	for i := range values {
		values[i] = f.element(r, r.payload[r.data.ValueOffset()+i*r.data.ElementSize():])
	}
	return values
}

func (f caFormat) element(r caReading, b []byte) string {
	switch r.data.Native() {
	case ca.DBRString:
		return escaped(rawText(b[:ca.MaxStringSize]))
	case ca.DBRShort:
		return strconv.Itoa(int(int16(binary.BigEndian.Uint16(b))))
	case ca.DBRFloat:
		return f.float(r, float64(math.Float32frombits(binary.BigEndian.Uint32(b))))
	case ca.DBREnum:
		return f.enum(r, int(binary.BigEndian.Uint16(b)))
	case ca.DBRChar:
		return strconv.Itoa(int(int8(b[0]))) // signed, as caget has it
	case ca.DBRLong:
		return strconv.Itoa(int(int32(binary.BigEndian.Uint32(b))))
	}
	return f.float(r, math.Float64frombits(binary.BigEndian.Uint64(b)))
}

func (f caFormat) enum(r caReading, n int) string {
	switch {
	case f.EnumNumber || r.labels == nil:
		return strconv.Itoa(n)
	case n >= ca.MaxEnumStates:
		return fmt.Sprintf("Illegal Value (%d)", n)
	case n >= len(r.labels):
		return fmt.Sprintf("Enum Index Overflow (%d)", n)
	}
	return escaped(r.labels[n])
}

// float prints as C's %g does where nothing else is asked for.
func (f caFormat) float(r caReading, v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 0):
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+"))
	case r.precision >= 0:
		return withPrecision(v, r.precision)
	case f.E >= 0:
		return strconv.FormatFloat(v, 'e', f.E, 64)
	case f.F >= 0:
		return strconv.FormatFloat(v, 'f', f.F, 64)
	case f.G >= 0:
		return fmt.Sprintf("%.*g", max(f.G, 1), v)
	}
	return fmt.Sprintf("%.6g", v)
}

// withPrecision writes a number as an IOC does that is asked for a string:
// halves are rounded up, large numbers and many digits have an exponent.
func withPrecision(v float64, digits int) string {
	switch {
	case digits > 8 || math.Abs(v) > 1e16:
		return fmt.Sprintf("%*.*e", digits+7, digits, v)
	case math.Abs(v) > 1e7:
		return strconv.FormatFloat(v, 'f', min(digits, 3), 64)
	}
	unit := math.Pow10(digits)
	return strconv.FormatFloat(math.Round(v*unit)/unit, 'f', digits, 64)
}

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

// value is all elements on one line, the count of an array before them.
func (f caFormat) value(r caReading) string {
	if f.CharText && r.data.Native() == ca.DBRChar && (r.array || f.Count > 0) {
		return f.text(r)
	}
	values := f.elements(r)
	if r.array || f.Count > 0 {
		values = append([]string{strconv.Itoa(len(values))}, values...)
	}
	return strings.Join(values, f.Separator)
}

// text is an array of char up to its first NUL.
func (f caFormat) text(r caReading) string {
	b := r.payload[r.data.ValueOffset():][:r.count]
	if f.Count > 0 {
		b = b[:min(len(b), int(f.Count))]
	}
	return escaped(rawText(b))
}

func rawText(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	return text
}

// label is a PV's name with the separator behind it.
func (f caFormat) label(name string, array bool) string {
	if !array && f.Separator == " " {
		return fmt.Sprintf("%-30s ", name)
	}
	return name + f.Separator
}

// wide is the line "name stamp value status severity"; stamp is text.
func (f caFormat) wide(r caReading, stamp string) string {
	status, severity := r.alarm()
	alarm := f.Separator
	if status != 0 || severity != 0 {
		alarm = statusName(status) + f.Separator + severityName(severity)
	}
	return f.label(r.name, r.array) + stamp + f.Separator + f.value(r) + f.Separator + alarm
}

// alarm is what stands before the value of all types but the plain ones.
func (r caReading) alarm() (status, severity int) {
	if r.data.Class() == ca.Plain || r.data == ca.DBRClassName {
		return 0, 0
	}
	return int(int16(binary.BigEndian.Uint16(r.payload))), int(int16(binary.BigEndian.Uint16(r.payload[2:])))
}

// time is the stamp of a TIME type.
func (r caReading) time() schema.Time {
	return schema.Time{Sec: schema.EPICSEpoch + int64(binary.BigEndian.Uint32(r.payload[4:])), Nsec: binary.BigEndian.Uint32(r.payload[8:])}
}

// stamp prints a time as EPICS tools do, to the microsecond.
func (f caFormat) stamp(t schema.Time) string {
	if t.Sec == schema.EPICSEpoch && t.Nsec == 0 {
		return "<undefined>"
	}
	at := time.Unix(t.Sec, int64(t.Nsec)).In(f.location())
	// Rounded, but never into the next second.
	return fmt.Sprintf("%s.%06d", at.Format(time.DateTime), min((at.Nanosecond()+500)/1000, 999_999))
}

func (f caFormat) location() *time.Location {
	if f.zone == nil {
		return time.Local
	}
	return f.zone
}

// enumLabels reads the labels of an enum's GR or CTRL payload as the IOC sent
// them: [ca.DecodeCtrl] turns Latin-1 into UTF-8, and labels would differ from
// strings.
func enumLabels(payload []byte) []string {
	labels := make([]string, min(max(int(int16(binary.BigEndian.Uint16(payload[4:]))), 0), ca.MaxEnumStates))
	for i := range labels {
		labels[i] = rawText(payload[6+i*ca.EnumStringSize:][:ca.EnumStringSize])
	}
	return labels
}

var alarmStatuses = strings.Fields("NO_ALARM READ WRITE HIHI HIGH LOLO LOW STATE COS COMM TIMEOUT HWLIMIT CALC SCAN LINK SOFT BAD_SUB UDF DISABLE SIMM READ_ACCESS WRITE_ACCESS")

var alarmSeverities = strings.Fields("NO_ALARM MINOR MAJOR INVALID")

func statusName(n int) string   { return nameOf(alarmStatuses, n, "Illegal Status") }
func severityName(n int) string { return nameOf(alarmSeverities, n, "Illegal Severity") }

func nameOf(names []string, n int, otherwise string) string {
	if n < 0 || n >= len(names) {
		return fmt.Sprintf("%s (%d)", otherwise, n)
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
		return "*** CA error " + strings.TrimPrefix(refused.Error(), "the server answered ")
	case errors.Is(err, ca.ErrGetTimeout):
		return "*** no data available (timeout)"
	case errors.Is(err, errNotFound):
		return "*** Not connected (PV not found)"
	case errors.Is(err, ca.ErrNotConnected):
		return "*** disconnected"
	}
	return "*** " + err.Error()
}

// errNotFound says that a PV did not connect in time.
var errNotFound = errors.New("PV not found")
