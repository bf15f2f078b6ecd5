package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestDBRNamesMayBeShort(t *testing.T) {
	for given, want := range map[string]string{"scalar_int": "DBR_SCALAR_INT", "DBR_WAVEFORM_DOUBLE": "DBR_WAVEFORM_DOUBLE", " dbr_scalar_enum ": "DBR_SCALAR_ENUM"} {
		if got := dbrName(given); got != want {
			t.Errorf("%q is %q, want %q", given, got, want)
		}
	}
}

func TestAChangeOfTypeIsTold(t *testing.T) {
	for answer, want := range map[string]string{
		`{"pv":"A","type":"DBR_SCALAR_INT","was":"DBR_SCALAR_DOUBLE","files":3,"samples":12345,"lost":0,"losses":[],"seq":7}`: "A: 12,345 samples in 3 files were converted from SCALAR_DOUBLE to SCALAR_INT (pvlog registry undo 7 brings the old files back)\n",
		`{"pv":"A","type":"DBR_SCALAR_INT","was":"DBR_SCALAR_DOUBLE","dry_run":true,"files":1,"samples":9,"lost":3,"losses":[{"file":"f.pb","line":4,"time":"T","problem":"2.5 is none"}]}`: "f.pb line 4 (T): 2.5 is none\nand 2 more\n" +
			"A: 9 samples in 1 files would be converted from SCALAR_DOUBLE to SCALAR_INT, 3 with another value\n",
	} {
		var change typeChange
		var out bytes.Buffer
		if err := json.Unmarshal([]byte(answer), &change); err != nil {
			t.Fatal(err)
		}
		if err := change.print(&out); err != nil || out.String() != want {
			t.Errorf("%v\n%s\n%s", err, out.String(), want)
		}
	}
}
