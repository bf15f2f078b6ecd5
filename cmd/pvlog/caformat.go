package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// caFormat is how values are printed: the flags that caget and camonitor share.
type caFormat struct {
	EnumNumber  bool   `short:"n" name:"enum-number" help:"Enums as numbers, not labels."`
	AsString    bool   `short:"s" name:"as-string" help:"Floating point values as strings, with the IOC's precision."`
	CharText    bool   `short:"S" name:"char-text" help:"Arrays of char as text."`
	Count       uint32 `short:"#" name:"count" placeholder:"N" help:"At most N elements of an array."`
	Separator   string `short:"F" default:" " placeholder:"C" help:"Field separator, one character."`
	E           int    `short:"e" name:"exponent" default:"-1" placeholder:"DIGITS" help:"Floating point values as 1.5e+00."`
	F           int    `short:"f" name:"fixed" default:"-1" placeholder:"DIGITS" help:"Floating point values as 1.50."`
	G           int    `short:"g" name:"general" default:"-1" placeholder:"DIGITS" help:"Floating point values in the shorter form, 6 digits else."`
	FloatBase   string `short:"l" name:"float-base" placeholder:"x|o|b" help:"Floating point values as integers: -lx hexadecimal, -lo octal, -lb binary."`
	IntegerBase string `short:"0" name:"integer-base" placeholder:"x|o|b" help:"Integers: -0x hexadecimal, -0o octal, -0b binary."`

	zone *time.Location // of time stamps; nil is the local one
}

// maxDigits is what a double can show.
const maxDigits = 18

func (f caFormat) check() error {
	switch {
	case utf8.RuneCountInString(f.Separator) != 1:
		return exitError{exitUsage, fmt.Errorf("-F %q: one character is expected", f.Separator)}
	case max(f.E, f.F, f.G) > maxDigits || min(f.E, f.F, f.G) < -1:
		return exitError{exitUsage, fmt.Errorf("-e, -f and -g take 0 to %d digits", maxDigits)}
	case f.E >= 0 && f.F >= 0 || f.F >= 0 && f.G >= 0 || f.E >= 0 && f.G >= 0:
		return exitError{exitUsage, errors.New("-e, -f and -g: one of them is possible")}
	case !isBase(f.FloatBase):
		return exitError{exitUsage, fmt.Errorf("-l %q: x, o or b is expected", f.FloatBase)}
	case !isBase(f.IntegerBase):
		return exitError{exitUsage, fmt.Errorf("-0 %q: x, o or b is expected", f.IntegerBase)}
	}
	return nil
}

func isBase(letter string) bool {
	return letter == "" || letter == "x" || letter == "o" || letter == "b"
}

// counted tells whether the number of elements is printed, too.
func (f caFormat) counted(r caReading) bool { return f.Count > 0 || r.count > 1 }

// items is what stands between separators: the elements, the count of an array
// before them.
func (f caFormat) items(r caReading) []string {
	switch {
	case f.CharText && r.data.Native() == ca.DBRChar && f.counted(r):
		return []string{r.text()}
	case f.counted(r):
		return append([]string{strconv.Itoa(int(r.count))}, f.elements(r)...)
	}
	return f.elements(r)
}

// value is all items on one line.
func (f caFormat) value(r caReading) string {
	items := f.items(r)
	if len(items) == 1 && r.count == 0 && f.counted(r) {
		return items[0] + f.Separator // as caget counts the elements of an empty array
	}
	return strings.Join(items, f.Separator)
}

// label is a PV's name with the separator behind it.
func (f caFormat) label(name string, count uint32) string {
	if count <= 1 && f.Separator == " " {
		return fmt.Sprintf("%-30s ", name)
	}
	return name + f.Separator
}

// wide is the line "name stamp value status severity"; stamp is text.
func (f caFormat) wide(r caReading, stamp string) string {
	status, severity := r.alarm()
	alarm := []string{"", ""}
	if status != 0 || severity != 0 {
		alarm = []string{statusName(status), severityName(severity)}
	}
	fields := append([]string{stamp}, f.items(r)...)
	return f.label(r.name, r.count) + strings.Join(append(fields, alarm...), f.Separator)
}

// stamp prints a time as EPICS tools do, to the microsecond.
func (f caFormat) stamp(t schema.Time) string {
	if t.Sec == schema.EPICSEpoch && t.Nsec == 0 {
		return "<undefined>"
	}
	second := time.Unix(t.Sec, 0).In(f.location()).Format(time.DateTime)
	if t.Nsec > 999_999_999 {
		return second + ".OVF"
	}
	// Rounded, but never into the next second.
	return fmt.Sprintf("%s.%06d", second, min((t.Nsec+500)/1000, 999_999))
}

func (f caFormat) location() *time.Location {
	if f.zone == nil {
		return time.Local
	}
	return f.zone
}
