package partition

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"pvlog/schema"
)

func TestEscapesAreTheAppliances(t *testing.T) {
	for plain, line := range map[string]string{
		"":                         "\n",
		"abc":                      "abc\n",
		"\x1b":                     "\x1b\x01\n",
		"\n":                       "\x1b\x02\n",
		"\r":                       "\x1b\x03\n",
		"\x1b\n\r\x1b\x02":         "\x1b\x01\x1b\x02\x1b\x03\x1b\x01\x02\n",
		"a\nb\x0b\x0c\x0e\x1a\xff": "a\x1b\x02b\x0b\x0c\x0e\x1a\xff\n",
	} {
		if got := AppendLine([]byte("before"), []byte(plain)); string(got) != "before"+line {
			t.Errorf("%q is escaped as %q, want %q", plain, got[6:], line)
		}
		if got, err := AppendUnescaped([]byte("before"), []byte(line[:len(line)-1])); err != nil || string(got) != "before"+plain {
			t.Errorf("%q is unescaped as %q, %v", line, got, err)
		}
	}
}

// TestTheByteExactFile is the whole of lrm01_raw.pb's sample, whose double has
// two bytes 0x0A.
func TestTheByteExactFile(t *testing.T) {
	at := schema.Time{Sec: second(t, "2014-12-08T06:21:07Z"), Nsec: 601158377}
	got := AppendLine(nil, schema.AppendDouble(schema.AppendHead(nil, at), -0.09))
	want := "\x08\xd3\xd1\x87\x0e\x10\xe9\xe5\xd3\x9e\x02\x19\x1b\x02\xd7\xa3\x70\x3d\x1b\x02\xb7\xbf\n"
	if string(got) != want {
		t.Errorf("%x, want %x", got, want)
	}
	inf := AppendLine(nil, schema.AppendDouble(schema.AppendHead(nil, at), math.Inf(1)))
	if bytes.Count(inf, []byte{'\n'}) != 1 {
		t.Errorf("%x", inf)
	}
}

func TestUnknownEscapesStandForThemselves(t *testing.T) {
	if got, err := AppendUnescaped(nil, []byte("a\x1b\x04\x1b\x1bz")); err != nil || string(got) != "a\x04\x1bz" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := AppendUnescaped(nil, []byte("ab\x1b")); !errors.Is(err, ErrLine) {
		t.Errorf("an escape at the end gives %q, %v", got, err)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add([]byte("\x1b\n\r\x1b"))
	f.Add([]byte("\x1b\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		line := AppendLine(nil, b)
		if bytes.IndexByte(line, '\n') != len(line)-1 || bytes.IndexByte(line, '\r') >= 0 {
			t.Fatalf("%q holds LF or CR", line)
		}
		if back, err := AppendUnescaped(nil, line[:len(line)-1]); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q came back as %q, %v", b, back, err)
		}
		// The same bytes as a line that somebody else wrote.
		if plain, err := AppendUnescaped(nil, b); err == nil && len(plain) > len(b) {
			t.Fatalf("%q grew to %q", b, plain)
		}
	})
}

func BenchmarkAppendLine(b *testing.B) {
	scalar := schema.AppendDouble(schema.AppendHead(nil, schema.Time{Sec: 1795420800, Nsec: 601158377}), -0.09)
	waveform := schema.AppendHead(nil, schema.Time{Sec: 1795420800})
	waveform = schema.AppendDoubles(waveform, 100_000, func(i int) float64 { return float64(i) })
	for name, event := range map[string][]byte{"double": scalar, "waveform800kB": waveform} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			var line []byte
			for b.Loop() {
				line = AppendLine(line[:0], event)
			}
		})
	}
}
