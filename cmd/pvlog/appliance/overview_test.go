package appliance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pvlog/consumers/archive"
	"pvlog/consumers/partition"
	"pvlog/schema"
)

func TestTheNewestSampleIsThatOfTheTailElseOfTheFile(t *testing.T) {
	at := schema.Time{Sec: 1700000000}
	older := schema.AppendAlarm(schema.AppendDouble(schema.AppendHead(nil, at), 1), 2, 3)
	newer := schema.AppendDouble(schema.AppendHead(nil, schema.Time{Sec: at.Sec + 1}), 2)
	path := filepath.Join(t.TempDir(), "P:2023_11_14_22.pb")
	file := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: "P", Year: at.Year()})
	if err := os.WriteFile(path, partition.AppendLine(file, older), 0o644); err != nil {
		t.Fatal(err)
	}
	tail := []archive.Unwritten{{Type: schema.ScalarDouble, Year: at.Year(), Event: older}, {Type: schema.ScalarDouble, Year: at.Year(), Event: newer}}
	for name, test := range map[string]struct {
		tail         []archive.Unwritten
		path         string
		value, alarm string
	}{
		"nothing":  {nil, "", "", ""},
		"tail":     {tail, path, "2", ""},
		"file":     {nil, path, "1", "MAJOR"},
		"no file":  {nil, path + "x", "no such file", ""},
		"bad tail": {[]archive.Unwritten{{Type: 99}}, "", "no type", ""},
	} {
		value, alarm := newest(test.tail, test.path)
		if !strings.Contains(value, test.value) || test.value == "" && value != "" || alarm != test.alarm {
			t.Errorf("%s: %q %q, want %q %q", name, value, alarm, test.value, test.alarm)
		}
	}
}

func TestValuesAreShortAndSteerNoTerminal(t *testing.T) {
	for want, value := range map[string]any{
		"":                  nil,
		"0.33333333":        1.0 / 3,
		"-7":                int32(-7),
		"200":               []byte{200},
		`"a\x1b[2J"`:        "a\x1b[2J",
		"[0]":               []float64{},
		"[2] 1.5 2.5":       []float64{1.5, 2.5},
		"[4] 1 2 3 ...":     []int32{1, 2, 3, 4},
		"[3] 1 2 3":         []byte{1, 2, 3},
		"[2] 0.5 1":         []float32{0.5, 1},
		`[2] "x y" "\x1bz"`: []string{"x y", "\x1bz"},
	} {
		if got := shorten(value); strings.TrimRight(got, " ") != want {
			t.Errorf("%v is shown as %q, want %q", value, got, want)
		}
	}
}

func TestTheTokenIsThatOfTheEnvironmentElseOfItsFile(t *testing.T) {
	dir := t.TempDir()
	c := Config{Data: dir}
	path := filepath.Join(dir, "token")
	check := func(want string) {
		t.Helper()
		if got, err := c.token(); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	t.Setenv("PVLOG_TOKEN", "")
	check("")
	if err := os.WriteFile(path, []byte("  of file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("of file")
	t.Setenv("PVLOG_TOKEN", "of env")
	check("of env")
	t.Setenv("PVLOG_TOKEN", "")
	if err := os.WriteFile(path, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := c.token(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("an empty token file gave %q, %v: it would open the door", got, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.token(); err == nil {
		t.Error("a token that cannot be read is none")
	}
}
