package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListsAreToldApart(t *testing.T) {
	for body, want := range map[string]string{
		"A\nB\n":                            "text/plain",
		"":                                  "text/plain",
		"A,B\n":                             "text/plain",
		"pv\nA\n":                           "text/csv",
		"\ufeffPV,samplingmethod\nA,SCAN\n": "text/csv",
		"# all\n\n\"pv\",policy\nA,x\n":     "text/csv",
		"samplingperiod, pv\n1,A\n":         "text/csv",
		"pv1\npv2\n":                        "text/plain",
		" [\"A\"]":                          "application/json",
		"{\"pvs\":[]}":                      "application/json",
	} {
		if got := listFormat([]byte(body)); got != want {
			t.Errorf("%q is %s, want %s", body, got, want)
		}
	}
}

func TestNamesAreReadWithComments(t *testing.T) {
	names, err := readNames(strings.NewReader("A B,C # not D\n#E\nF#1\t\r\n,,\n"))
	if want := "[A B C F#1]"; err != nil || fmt.Sprint(names) != want {
		t.Errorf("%v, %v, want %s", names, err, want)
	}
}

func TestPVsComeFromOnePlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(file, []byte("A # first\nB\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if typ, body, err := (pvInput{File: file}).body(); err != nil || typ != "text/plain" || !bytes.HasPrefix(body, []byte("A # first")) {
		t.Errorf("%s %q %v", typ, body, err)
	}
	if typ, body, err := (pvInput{PVs: []string{"A", "B:*"}}).body(); err != nil || typ != "application/json" || string(body) != `["A","B:*"]` {
		t.Errorf("%s %q %v", typ, body, err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("# nothing\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for says, in := range map[string]pvInput{"not both": {PVs: []string{"A"}, File: file}, "name PVs": {}, "no PV names in " + empty: {File: empty}, "no such file": {File: file + "x"}} {
		if _, _, err := in.body(); err == nil || !strings.Contains(err.Error(), says) || exitCode(err) != exitUsage {
			t.Errorf("%+v: %v, want %q", in, err, says)
		}
	}
}

const answerOfThree = `{"change":{"id":"c1","command":"pause","total":3,"dry_run":false}}
{"pv":"A","status":"changed"}
{"pv":"B","status":"unchanged"}
{"pv":"C","status":"failed","problem":{"detail":"PV C is not there","hint":"look"}}
{"progress":{"done":3,"total":3}}
{"summary":{"change_id":"c1","command":"pause","dry_run":false,"total":3,"changed":1,"unchanged":1,"failed":1}}
`

func TestOutcomesAreReported(t *testing.T) {
	many := `{"change":{"id":"c2","total":2000}}` + "\n"
	for i := range 1970 {
		many += fmt.Sprintf(`{"pv":"P%d","status":"changed"}`+"\n", i)
	}
	for i := range 30 {
		many += fmt.Sprintf(`{"pv":"Q%d","status":"failed","problem":{"detail":"no"}}`+"\n", i)
	}
	many += `{"summary":{"change_id":"c2","total":2000,"changed":1970,"failed":30}}` + "\n"
	for name, c := range map[string]struct {
		answer, out, err string
		lines            int // of err
		code             int
	}{
		"partial":     {answer: answerOfThree, out: "A: paused\nB: unchanged, it is paused already\n1 of 3 PVs paused, 1 unchanged (change c1)\n", err: "C: PV C is not there (look)\n", lines: 1, code: exitPartial},
		"one":         {answer: `{"pv":"A","status":"changed"}` + "\n" + `{"summary":{"change_id":"x","total":1,"changed":1}}`, out: "A: paused\n"},
		"dry":         {answer: `{"pv":"A","status":"changed"}` + "\n" + `{"summary":{"change_id":"x","dry_run":true,"total":1,"changed":1}}`, out: "A: would be paused\n"},
		"many":        {answer: many, out: "1,970 of 2,000 PVs paused (change c2)\n", err: "Q19: no\nand 10 more\n", lines: 21, code: exitPartial},
		"all failed":  {answer: `{"pv":"A","status":"failed","problem":{"detail":"no"}}` + "\n" + `{"summary":{"total":1,"failed":1}}`, err: "A: no\n", lines: 1, code: exitFailed, out: ""},
		"cut off":     {answer: `{"change":{"id":"c3","total":9}}` + "\n", code: exitFailed},
		"no document": {answer: "<html>", code: exitFailed},
		"as a whole":  {answer: `{"problem":{"detail":"no such change"}}` + "\n" + `{"summary":{"total":0}}`, code: exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			r := &bulkReport{out: &out, err: &errs, verb: "paused"}
			err := r.read(strings.NewReader(c.answer))
			code := 0
			if err != nil {
				code = exitCode(err)
			}
			if code != c.code || !strings.HasSuffix(errs.String(), c.err) || strings.Count(errs.String(), "\n") != c.lines {
				t.Errorf("exit %d %v, stderr %q", code, err, errs.String())
			}
			if c.code != exitFailed && out.String() != c.out {
				t.Errorf("stdout %q, want %q", out.String(), c.out)
			}
			if name == "cut off" && !strings.Contains(err.Error(), "--change-id c3") {
				t.Error(err)
			}
		})
	}
}

func TestProgramsGetTheLines(t *testing.T) {
	var out, errs bytes.Buffer
	r := &bulkReport{out: &out, err: &errs, json: true, verb: "paused"}
	if err := r.read(strings.NewReader(answerOfThree)); exitCode(err) != exitPartial || out.String() != answerOfThree {
		t.Errorf("%v, %q", err, out.String())
	}
}

func TestTheBarFitsATerminal(t *testing.T) {
	for p, want := range map[progress]string{
		{0, 2000}:            "archived [..............................] 0 of 2,000, 1.2s",
		{1000, 2000}:         "archived [###############...............] 1,000 of 2,000, 1.2s",
		{100_000, 100_000}:   "archived [##############################] 100,000 of 100,000, 1.2s",
		{100_001, 100_000}:   "archived [##############################] 100,001 of 100,000, 1.2s",
		{1234567, 123456789}: "archived [..............................] 1,234,567 of 123,456,789, 1.2s",
	} {
		if got := barText("archived", p, 1234*time.Millisecond); got != want || len(got) > 80 {
			t.Errorf("%q, want %q", got, want)
		}
	}
	(*bar)(nil).show(progress{1, 2}) // no terminal
	(*bar)(nil).end()
}

func TestAPersonIsAskedBeforeMuchIsDeleted(t *testing.T) {
	for _, c := range []struct {
		changed int
		answer  string
		asked   bool
		refused bool
	}{
		{100, "", false, false}, {101, "y\n", true, false}, {101, "Yes\n", true, false},
		{101, "\n", true, true}, {101, "", true, true}, {5000, "n\n", true, true},
	} {
		var out bytes.Buffer
		err := agree(strings.NewReader(c.answer), &out, changeSummary{Changed: c.changed}, true)
		if (err != nil) != c.refused || (out.Len() > 0) != c.asked || c.asked && !strings.Contains(out.String(), "with their data") {
			t.Errorf("%+v: %v, %q", c, err, out.String())
		}
	}
}

func TestSettingsBecomeParameters(t *testing.T) {
	f := settingsFlags{Method: "SCAN", Period: 1500 * time.Millisecond, Fields: "HIHI,LOLO", Deadband: "0", DriftPast: time.Hour}
	if got, want := f.settings().Encode(), "deadband=0&drift_past=3600&fields=HIHI%2CLOLO&method=SCAN&period=1.5"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (settingsFlags{}).settings(); len(got) != 0 {
		t.Errorf("nothing asked gives %v", got)
	}
}

func TestProblemsAreWordedForPeople(t *testing.T) {
	for body, want := range map[string]string{
		`{"detail":"PV A is not there","hint":"look","status":404}`:                                      "PV A is not there (look)",
		`{"detail":"PV A is not registered","code":"not_found","pv":"A","hint":"GET /api/v1/pvs lists"}`: "PV A is not registered (pvlog list shows what is registered)",
		`{"detail":"no change x","code":"not_found","hint":"GET /api/v1/changes lists them"}`:            "no change x",
		`{"error":"old","hint":"do"}`: "old (do)",
		`{"validation":"no"}`:         "no",
		`<html>`:                      "the server answered 502: <html>",
		`{}`:                          "the server answered 502: {}",
	} {
		if got := refusal("502", []byte(body)); got.Error() != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	if _, ok := errors.AsType[exitError](refusal("404", nil)); ok {
		t.Error("a refusal is no usage error")
	}
}
