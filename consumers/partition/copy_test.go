package partition

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pvlog/schema"
)

// TestACopyHasAnotherHeaderAndTheSameLines copies a file of the Java Appliance
// with a torn end: header fields stay, the torn line does not come along.
func TestACopyHasAnotherHeaderAndTheSameLines(t *testing.T) {
	original, err := os.ReadFile("testdata/pb/sig1-wo-adel.pb")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from.pb"), filepath.Join(dir, "to.pb")
	if err := os.WriteFile(from, append(bytes.Clone(original), "torn"...), 0o644); err != nil {
		t.Fatal(err)
	}
	const was, as = "TST-CT{}Sig:1-I", "ANOTHER:much:longer{name}with\x1bescape"
	c, err := PlanCopy(from, was, as)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Write(context.Background(), OSFS{}, to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := bytes.Cut(original, []byte("\n"))
	header, lines, _ := bytes.Cut(got, []byte("\n"))
	if !bytes.Equal(lines, want) || int64(len(got)) != c.Size() {
		t.Errorf("%d bytes of lines are not the %d of the original", len(lines), len(want))
	}
	h, err := ParseHeader(header)
	if err != nil || h.PV != as || h.Type != schema.ScalarDouble || h.Year != 2014 || h.ElementCount != 1 || len(h.Fields) != 1 {
		t.Errorf("header %+v, %v", h, err)
	}
	for name, cut := range map[string]int{"all": len(got), "a part": len(got) / 2, "the header": len(header) + 1, "nothing": 0} {
		begins(t, c, got[:cut], true, name)
	}
	begins(t, c, append(bytes.Clone(got), got[len(got)-1]), false, "more")
	begins(t, c, append(got[:20:20], 'x'), false, "another byte")
	if err := c.Write(context.Background(), OSFS{}, to); !errors.Is(err, os.ErrExist) {
		t.Errorf("a copy over an existing file: %v", err)
	}
}

func begins(t *testing.T, c Copy, content []byte, want bool, name string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "there.pb")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := c.BeginsWith(context.Background(), path); got != want || err != nil {
		t.Errorf("%s: %v, %v", name, got, err)
	}
}

func TestACopyOfWhatCannotBeCopiedIsRefused(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from.pb")
	good := AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "A", Year: 2026})
	good = AppendLine(good, schema.AppendDouble(schema.AppendHead(nil, schema.Time{Sec: schema.YearStart(2026) + 5}), 1))
	for name, c := range map[string]struct {
		content string
		says    string // "": no error, and nothing to copy
	}{
		"of another PV":    {strings.ReplaceAll(string(good), "A", "B"), "is of PV B"},
		"garbage":          {"no header\n", "header"},
		"empty":            {"", ""},
		"a torn header":    {string(good[:4]), ""},
		"header and sound": {string(good), "-"},
	} {
		if err := os.WriteFile(from, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		plan, err := PlanCopy(from, "A", "C")
		switch c.says {
		case "":
			if err != nil || plan.Size() != 0 {
				t.Errorf("%s: %d bytes, %v", name, plan.Size(), err)
			}
		case "-":
			if err != nil || plan.Size() != int64(len(good)) {
				t.Errorf("%s: %d bytes of %d, %v", name, plan.Size(), len(good), err)
			}
		default:
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %q", name, err, c.says)
			}
		}
	}
}

func TestACopyTellsOfAFullDiskAndOfAnEnd(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join(dir, "from.pb")
	content := AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "A", Year: 2026})
	content = AppendLine(content, schema.AppendDouble(schema.AppendHead(nil, schema.Time{Sec: schema.YearStart(2026) + 5}), 1))
	if err := os.WriteFile(from, content, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := PlanCopy(from, "A", "C")
	if err != nil {
		t.Fatal(err)
	}
	full := NewFaultFS(OSFS{})
	full.Fail(Fault{Op: OpWrite, Skip: 1, Err: syscall.ENOSPC})
	if err := c.Write(context.Background(), full, filepath.Join(dir, "to.pb")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Write(ended, OSFS{}, filepath.Join(dir, "other.pb")); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	if err := os.Truncate(from, 10); err != nil {
		t.Fatal(err)
	}
	if err := c.Write(context.Background(), OSFS{}, filepath.Join(dir, "third.pb")); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("source cut: %v", err)
	}
}
