package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

const golden = "../../consumers/partition/testdata/"

// inspected runs the command on arguments as a shell would give them.
func inspected(t *testing.T, args ...string) (text string, files, unsound int) {
	t.Helper()
	var c inspectCmd
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	files, unsound, err = c.inspect(&out)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), files, unsound
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}

func TestInspectShowsWhatAFileHolds(t *testing.T) {
	text, files, unsound := inspected(t, golden+"pb")
	if files != 2 || unsound != 0 {
		t.Errorf("%d files, %d unsound", files, unsound)
	}
	contains(t, text, "pv:       TST-CT{}Sig:1-I\n", "type:     DBR_SCALAR_DOUBLE\n", "year:     2014\n", "bytes:    870\n",
		"samples:  37\n", "first:    2014-12-10T19:10:33.256370038Z\n", "last:     2014-12-10T19:12:54.829288223Z\n",
		`field:    EGU = "mR/h"`, "samples:  1\n")
	if strings.Contains(text, "sev") {
		t.Error("samples are printed although nobody asked")
	}
}

func TestInspectPrintsSamples(t *testing.T) {
	text, _, _ := inspected(t, "--lines", golden+"pb/lrm01_raw.pb", golden+"pb/sig1-wo-adel.pb")
	contains(t, text, "2014-12-08T06:21:07.601158377Z  -0.09  sev 0 stat 0\n", "NaN  sev 3 stat 17", `cnxregainedepsecs="1418238776"`)
	if n := strings.Count(text, " stat "); n != 38 {
		t.Errorf("%d samples, want 38", n)
	}
}

// TestInspectTellsWhatIsWrongAndWhere has one file for each kind of damage.
func TestInspectTellsWhatIsWrongAndWhere(t *testing.T) {
	head := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: "X", Year: 2026})
	line := func(b []byte, sec int64) []byte {
		at := schema.Time{Sec: schema.YearStart(2026) + sec}
		return partition.AppendLine(b, schema.AppendDouble(schema.AppendHeadIn(nil, at, schema.YearStart(2026)), 1))
	}
	one := line(bytes.Clone(head), 1)
	for name, c := range map[string]struct {
		file []byte
		want []string
	}{
		"empty":        {nil, []string{"empty: 0 bytes"}},
		"torn header":  {head[:5], []string{"no_header: no complete header line", "bytes:    5\n"}},
		"no header":    {[]byte("some text\n"), []string{"byte 0: no_header: not a PB header"}},
		"torn line":    {line(one, 2)[:len(one)+5], []string{"samples:  1\n", "line 3, byte 23: torn: 5 bytes"}},
		"garbage":      {line(append(bytes.Clone(one), "rot\n"...), 2), []string{"line 3, byte 23: line: not a PB line", "samples:  2\n"}},
		"disorder":     {line(line(bytes.Clone(head), 5), 4), []string{"line 3, byte 23: order: 2026-01-01T00:00:04Z after 2026-01-01T00:00:05Z"}},
		"another year": {line(bytes.Clone(head), 366*86400), []string{"span: 2027-01-02T00:00:00Z is not in the file's span"}},
	} {
		path := filepath.Join(t.TempDir(), "X:2026.pb")
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		text, files, unsound := inspected(t, path)
		if files != 1 || unsound != 1 {
			t.Errorf("%s: %d files, %d unsound", name, files, unsound)
		}
		contains(t, text, append(c.want, path)...)
	}
}

func TestInspectFailsSoThatScriptsSee(t *testing.T) {
	for name, arg := range map[string]string{"absent": filepath.Join(t.TempDir(), "absent"), "no pb file": t.TempDir()} {
		if err := (&inspectCmd{partitionFiles: partitionFiles{Files: []string{arg}}}).Run(); err == nil || !strings.Contains(err.Error(), arg) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
