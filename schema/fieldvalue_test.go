package schema

import (
	"fmt"
	"math"
	"testing"
)

func TestFormatFieldIsPlainAndExact(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 10: "10", -0.25: "-0.25", 1e6: "1000000", 1e-6: "0.000001", 1e-7: "1e-07", 1e21: "1e+21",
		0.1: "0.1", 123456789.125: "123456789.125", math.Inf(1): "+Inf",
	} {
		if got := FormatField(v); got != want {
			t.Errorf("%g is %q, want %q", v, got, want)
		}
	}
	if got := FormatField32(0.1); got != "0.1" {
		t.Errorf("got %q", got)
	}
}

func TestKnownFieldsAreThoseThatGoWithSamples(t *testing.T) {
	for _, tt := range []struct {
		info TypeInfo
		want string
	}{
		{TypeInfo{}, "[]"},
		{TypeInfo{Units: "mm", Precision: 2, Limits: map[string]float64{"HIHI": 9.5, "LOLO": math.NaN(), "HOPR": 1e6}, Fields: map[string]string{"RTYP": "ai", "DESC": "d", "MDEL": "1"}},
			"[{EGU mm} {PREC 2} {HOPR 1000000} {HIHI 9.5} {DESC d}]"},
		{TypeInfo{Settings: Settings{ArchiveFields: []string{"DESC", "HIHI", "MDEL", "SCAN"}}, Fields: map[string]string{"DESC": "d", "MDEL": "1", "ADEL": "2"}}, "[{DESC d} {MDEL 1}]"},
		{TypeInfo{Fields: map[string]string{"ENUM_1": "On", "ENUM_0": "Off", "ENUM_3": "lost", "DESC": ""}}, "[{ENUM_0 Off} {ENUM_1 On}]"},
	} {
		if got := fmt.Sprint(tt.info.KnownFields()); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.info, got, tt.want)
		}
	}
}

func TestHasFieldFindsNamesInRecords(t *testing.T) {
	event := AppendDouble(AppendHead(nil, Time{Sec: 1790000000}), 1)
	event = AppendField(AppendFieldsChanged(AppendField(event, "EGU", "HIHI"), true), "PREC", "")
	e, err := ScanEvent(event)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"EGU": true, "PREC": true, "HIHI": false, "EG": false, "": false} {
		if got := HasField(e.Fields, name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !e.Changed {
		t.Error("the event says that its fields have changed")
	}
}

func FuzzHasField(f *testing.F) {
	f.Add(AppendField(nil, "EGU", "mm"))
	f.Add([]byte{0x3a, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		HasField(b, "EGU")
		if ours := AppendField(nil, "EGU", string(b)); !HasField(ours, "EGU") || HasField(ours, "PREC") {
			t.Errorf("%q as a value hides its name", b)
		}
	})
}
