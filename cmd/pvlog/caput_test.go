package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

func TestPutArgumentsAreAPVAndItsValues(t *testing.T) {
	for _, c := range []struct {
		array bool
		args  []string
		want  string
	}{
		{false, []string{"A", "-5"}, `A ["-5"]`},
		{false, []string{"--", "A", "some", "words"}, `A ["some words"]`},
		{true, []string{"A", "2", "-1", "x"}, `A ["-1" "x"]`},
		{true, []string{"A", "3", "1"}, `A ["1"]`},
		{true, []string{"A", "x", "1"}, "error"},
		{true, []string{"A", "0"}, "error"},
		{false, []string{"A"}, "error"},
		{false, nil, "error"},
	} {
		cmd := caPutCmd{Array: c.array, Args: c.args}
		pv, words, err := cmd.arguments()
		got := fmt.Sprintf("%s %q", pv, words)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.args, got, c.want)
		}
	}
}

func TestEnumsArePutByLabelOrNumber(t *testing.T) {
	labels, raw := []string{"Off", "On", "1", "f\u00e9hler"}, []string{"Off", "On", "1", "f\xe9hler"}
	for _, c := range []struct {
		cmd   caPutCmd
		words string
		want  string
	}{
		{caPutCmd{}, "On Off", "[1 0]"},
		{caPutCmd{}, "1", "[2]"}, // a label before a number
		{caPutCmd{EnumNumber: true}, "1", "[1]"},
		{caPutCmd{}, "0x7", "[7]"},
		{caPutCmd{}, "1.5e0 010", "[1.5 10]"}, // as strtod reads them
		{caPutCmd{}, "f\u00e9hler f\xe9hler", "[3 3]"},
		{caPutCmd{EnumLabel: true}, "0", "error"},
		{caPutCmd{}, "nan", "error"},
		{caPutCmd{EnumNumber: true}, "On", "error"},
		{caPutCmd{}, "Never", "error"},
		{caPutCmd{}, "-1", "error"},
		{caPutCmd{}, "65536", "error"},
	} {
		values, err := c.cmd.enums(labels, raw, strings.Fields(c.words))
		got := fmt.Sprint(values)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%+v %s: %s, want %s", c.cmd, c.words, got, c.want)
		}
	}
}

func TestEscapesAreReadBack(t *testing.T) {
	for _, text := range []string{"plain", "a\tb\n", `quote " ' \`, "\xb0C\x01\x00"} {
		if got := unescaped(escaped(text)); got != text {
			t.Errorf("%q became %q as %s", text, got, escaped(text))
		}
	}
	for text, want := range map[string]string{`\`: `\`, `a\`: `a\`, `\q`: "q", `\x4`: "x4", `\xzz`: "xzz", `\0`: "\x00"} {
		if got := unescaped(text); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestStringsThatWouldBeCutAreRefused(t *testing.T) {
	if err := checkStrings([]string{strings.Repeat("x", ca.MaxStringSize-1)}); err != nil {
		t.Error(err)
	}
	if err := checkStrings([]string{"short", strings.Repeat("x", ca.MaxStringSize)}); err == nil {
		t.Error("40 bytes were taken")
	}
}

func TestInfoPrintsAsCainfo(t *testing.T) {
	info := caclient.Info{Native: ca.DBRShort, Count: 3, Minor: 11, Addr: "192.0.2.1:5064", Readable: true}
	want := "A:B\n    State:            connected\n    Host:             ioc1:5064\n    Access:           read, no write\n" +
		"    Native data type: DBF_SHORT\n    Request type:     DBR_SHORT\n    Element count:    3\n"
	if got := (&caInfoCmd{}).text("A:B", "ioc1:5064", info, true); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	got := (&caInfoCmd{Status: 1}).text("A:B", "ioc1:5064", info, true)
	contains(t, got, want, "    Address:          192.0.2.1:5064\n    Protocol:         4.11\n")
	contains(t, (&caInfoCmd{}).text("A:B", "", caclient.Info{}, false), "never connected")
}

func TestHostsAreNamedOnce(t *testing.T) {
	names := hostNames{"192.0.2.1": "ioc1", "192.0.2.2": "192.0.2.2"}
	for addr, want := range map[string]string{"192.0.2.1:5064": "ioc1:5064", "192.0.2.2:5064": "192.0.2.2:5064", "odd": "odd"} {
		if got := names.of(t.Context(), addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestWaitIsANumberOfSeconds(t *testing.T) {
	for seconds, want := range map[float64]time.Duration{0: forever, 0.5: 500 * time.Millisecond} {
		if got, err := (caWait{seconds}).limit(); err != nil || got != want {
			t.Errorf("%v: %v, %v", seconds, got, err)
		}
	}
	for _, seconds := range []float64{-1, 1e12} {
		if _, err := (caWait{seconds}).limit(); err == nil {
			t.Errorf("%v: no error", seconds)
		}
	}
}
