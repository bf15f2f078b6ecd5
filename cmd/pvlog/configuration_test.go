package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAnExportIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pvs.json")
	if err := writeWhole(path, strings.NewReader("[]\n")); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "[]\n" {
		t.Errorf("%q %v", text, err)
	}
	cut := io.MultiReader(strings.NewReader("[{"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if err := writeWhole(path, cut); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an export that was cut off: %v", err)
	}
	text, err := os.ReadFile(path)
	entries, _ := os.ReadDir(dir)
	if err != nil || string(text) != "[]\n" || len(entries) != 1 {
		t.Errorf("it left %q, %v, %d files", text, err, len(entries))
	}
	if err := writeWhole(filepath.Join(dir, "absent", "x"), strings.NewReader("")); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

func TestAnImportIsReported(t *testing.T) {
	many := `{"imported":1,"aliases":0,"notes":["2 PVs (such as A): x"],"errors":[` + strings.TrimSuffix(strings.Repeat(`{"pv":"B","detail":"no"},`, 25), ",") + `]}`
	for name, c := range map[string]struct {
		answer, out, errs string
		code              int
	}{
		"all":  {`{"imported":1500,"aliases":2}`, "1,500 PVs and 2 aliases imported\n", "", 0},
		"none": {`{"errors":[{"pv":"A","detail":"is registered already"}]}`, "0 PVs and 0 aliases imported\n", "A: is registered already\n", exitFailed},
		"some": {many, "1 PVs and 0 aliases imported\nnote: 2 PVs (such as A): x\n", strings.Repeat("B: no\n", 20) + "and 5 more\n", exitPartial},
	} {
		var a importAnswer
		if err := json.Unmarshal([]byte(c.answer), &a); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		err := a.report(&out, &errs)
		code := 0
		if err != nil {
			code = exitCode(err)
		}
		if code != c.code || out.String() != c.out || errs.String() != c.errs {
			t.Errorf("%s: exit %d, %q, %q", name, code, out.String(), errs.String())
		}
	}
}
