package partition

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pvlog/schema"
)

func TestAFilesHeaderIsTypeNameAndYear(t *testing.T) {
	got := AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "LN-AM{RadMon:2}DoseRate-I", Year: 2014})
	want := "\x08\x06\x12\x19LN-AM{RadMon:2}DoseRate-I\x18\xde\x0f\n"
	if string(got) != want {
		t.Errorf("%x, want %x", got, want)
	}
	scalar := AppendHeader(nil, Header{Type: schema.ScalarString, PV: "X", Year: 1991})
	if string(scalar) != "\x08\x00\x12\x01X\x18\xc7\x0f\n" { // required, so written although 0
		t.Errorf("%x", scalar)
	}
}

func TestHeadersSurviveTheirLine(t *testing.T) {
	for _, h := range []Header{
		{Type: schema.ScalarString, PV: "a", Year: 1991},
		{Type: schema.WaveformShort, PV: "ten\x0achars", Year: 2026}, // type 8, and LF in the name
		{Type: schema.WaveformEnum, PV: "0123456789", Year: 2570},    // type 10, length 10, year 0x0a0a
		{Type: schema.WaveformDouble, PV: "w", Year: 2026, ElementCount: 1 << 30, Fields: []schema.FieldValue{{Name: "EGU", Val: "\r\n\x1b"}, {Name: "", Val: ""}, {Name: "EGU", Val: "again"}}},
		{Type: schema.V4GenericBytes, PV: "v", Year: 9999},
	} {
		line := AppendHeader(nil, h)
		if bytes.Count(line, []byte{'\n'}) != 1 {
			t.Errorf("%+v is written as %q", h, line)
		}
		if got, err := ParseHeader(line[:len(line)-1]); err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%+v came back as %+v, %v", h, got, err)
		}
	}
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	for name, line := range map[string]string{
		"empty":           "",
		"zeros":           "\x00\x00\x00\x00",
		"a sample":        "\x08\xd3\xd1\x87\x0e\x10\xe9\xe5\xd3\x9e\x02\x19\x00\x00\x00\x00\x00\x00\x00\x00",
		"unknown type":    "\x08\x0f\x12\x01X\x18\xde\x0f",
		"no type":         "\x12\x01X\x18\xde\x0f",
		"no name":         "\x08\x06\x18\xde\x0f",
		"empty name":      "\x08\x06\x12\x00\x18\xde\x0f",
		"no year":         "\x08\x06\x12\x01X",
		"year 0":          "\x08\x06\x12\x01X\x18\x00",
		"year 10000":      "\x08\x06\x12\x01X\x18\x90\x4e",
		"negative year":   "\x08\x06\x12\x01X\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"huge length":     "\x08\x06\x12\xff\xff\xff\xff\x07X\x18\xde\x0f",
		"escape at end":   "\x08\x06\x12\x01X\x18\xde\x0f\x1b",
		"negative number": "\x08\x06\x12\x01X\x18\xde\x0f\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	} {
		if h, err := ParseHeader([]byte(line)); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: %+v, %v, want ErrHeader", name, h, err)
		}
	}
}

func TestRetiredHeaderNumbersAreReadOver(t *testing.T) {
	// unused00 = 5 as a double, unused09 = 14 as a string.
	line := "\x08\x06\x12\x01X\x18\xde\x0f\x29\x00\x00\x00\x00\x00\x00\xf0\x3f\x72\x03old"
	if h, err := ParseHeader([]byte(line)); err != nil || h.PV != "X" || h.Year != 2014 {
		t.Errorf("%+v, %v", h, err)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte("\x08\x06\x12\x19LN-AM{RadMon:2}DoseRate-I\x18\xde\x0f\x20\x01\x7a\x0b\x1b\x02\x03EGU\x12\x04mR/h"))
	f.Add([]byte("\x08\x06\x12\x01X\x18\xde\x0f"))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, err := ParseHeader(line)
		if err != nil {
			return
		}
		again := AppendHeader(nil, h)
		if back, err := ParseHeader(again[:len(again)-1]); err != nil || !reflect.DeepEqual(back, h) {
			t.Fatalf("%+v came back as %+v, %v", h, back, err)
		}
	})
}
