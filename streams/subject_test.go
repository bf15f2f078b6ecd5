package streams

import (
	"strings"
	"testing"

	"pvlog/schema"
)

func TestSubject(t *testing.T) {
	for pv, want := range map[schema.PVName]string{
		"a:b":                "samples.a.b",
		"LINAC:BPM1:X":       "samples.LINAC.BPM1.X",
		"plain":              "samples.plain",
		"rec.VAL":            "samples.rec%2EVAL",
		"a b":                "samples.a%20b",
		"50%":                "samples.50%25",
		"x*>":                "samples.x%2A%3E",
		"":                   "samples.%",
		":":                  "samples.%.%",
		"a::b:":              "samples.a.%.b.%",
		"a{b}[0]<c>;/,#^":    "samples.a{b}[0]<c%3E;/,#^",
		"\x00\t\x7f":         "samples.%00%09%7F",
		"Temp\u00e9rature":   "samples.Temp\u00e9rature",
		"a\xe9":              "samples.a%E9",
		"a\u00a0b":           "samples.a%C2%A0b",
		"$SYS:x":             "samples.$SYS.x",
		"rec.{\"dbnd\":{}}":  "samples.rec%2E{\"dbnd\".{}}",
		"S:D-1:rec.FLD[0:3]": "samples.S.D-1.rec%2EFLD[0.3]",
	} {
		if got := Subject(SamplesPrefix, pv); got != want {
			t.Errorf("%q: %s, want %s", pv, got, want)
		}
	}
}

func TestParseSubject(t *testing.T) {
	for subject, want := range map[string][2]string{
		"samples.a.b":            {"samples", "a:b"},
		"registry.a.%.b":         {"registry", "a::b"},
		"drops.order.a.b%2EDESC": {"drops.order", "a:b.DESC"},
	} {
		prefix, pv, err := ParseSubject(subject)
		if err != nil || prefix != want[0] || string(pv) != want[1] {
			t.Errorf("%s: %s %s %v", subject, prefix, pv, err)
		}
	}
	for _, subject := range []string{
		"", "samples", "samples.", "samples.a..b", "samples.a%2eb", "samples.%41", "samples.a%", "samples.a%2", "samples.a%zz",
		"samples.a b", "samples.a*", "drops.order", "drops", "samples.%%",
	} {
		if prefix, pv, err := ParseSubject(subject); err == nil {
			t.Errorf("%q was read as %s %q", subject, prefix, pv)
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, pv := range []string{"a:b", "", ":", "%", "a\xff", "rec.VAL", " ", "\u2028", "a:%:b", "\u00c3"} {
		f.Add(pv)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, prefix := range []string{SamplesPrefix, RegistryPrefix, DropsPrefix + ".order"} {
			subject := Subject(prefix, schema.PVName(name))
			for token := range strings.SplitSeq(subject, ".") {
				if token == "" || strings.ContainsAny(token, " *>\t\r\n\x00") {
					t.Fatalf("%q: %q is no legal subject", name, subject)
				}
			}
			gotPrefix, pv, err := ParseSubject(subject)
			if err != nil || gotPrefix != prefix || string(pv) != name {
				t.Fatalf("%q: %s came back as %s %q, %v", name, subject, gotPrefix, pv, err)
			}
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{"samples.a.b", "drops.x.y", "samples.%", "samples.%41", "registry.\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		prefix, pv, err := ParseSubject(subject)
		if err == nil && Subject(prefix, pv) != subject {
			t.Fatalf("%q and %q are both %q", subject, Subject(prefix, pv), pv)
		}
	})
}
