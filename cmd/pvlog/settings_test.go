package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"pvlog/cmd/pvlog/appliance"
)

// loaded gives the configuration that a command line makes.
func loaded(t *testing.T, args ...string) (appliance.Config, error) {
	t.Helper()
	var c configCmd
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		return appliance.Config{}, err
	}
	return c.load()
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pvlog.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAFlagBeatsTheEnvironmentTheFileAndTheDefault goes through all settings
// that have all four.
func TestAFlagBeatsTheEnvironmentTheFileAndTheDefault(t *testing.T) {
	file := write(t, "data: /file\nhttp: file:1\nnats: file:2\nopen_writes: true\nlog: {keep: 2h}\n")
	for _, s := range []struct {
		flag, env, byFlag, byEnv, byFile, byDefault string
		get                                         func(appliance.Config) string
	}{
		{"--data=/flag", "PVLOG_DATA=/env", "/flag", "/env", "/file", "./pvlog-data", func(c appliance.Config) string { return c.Data }},
		{"--http=flag:1", "PVLOG_HTTP=env:1", "flag:1", "env:1", "file:1", "127.0.0.1:17665", func(c appliance.Config) string { return c.HTTP }},
		{"--nats=off", "PVLOG_NATS=env:2", "off", "env:2", "file:2", "127.0.0.1:4222", func(c appliance.Config) string { return c.NATS }},
		{"--open-writes", "PVLOG_OPEN_WRITES=false", "true", "false", "true", "false", func(c appliance.Config) string { return map[bool]string{true: "true", false: "false"}[c.OpenWrites] }},
	} {
		t.Run(s.flag, func(t *testing.T) {
			check := func(want string, args ...string) {
				t.Helper()
				c, err := loaded(t, args...)
				if err != nil || s.get(c) != want {
					t.Errorf("%q gave %q, %v, want %q", args, s.get(c), err, want)
				}
			}
			check(s.byDefault)
			check(s.byFile, "--config="+file)
			name, value, _ := strings.Cut(s.env, "=")
			t.Setenv(name, value)
			check(s.byEnv)
			check(s.byEnv, "--config="+file)
			check(s.byFlag, "--config="+file, s.flag)
			check(s.byFlag, s.flag)
		})
	}
}

func TestTheFileIsNamedByTheEnvironmentToo(t *testing.T) {
	t.Setenv("PVLOG_CONFIG", write(t, "identity: by-env\n"))
	if c, err := loaded(t); err != nil || c.Identity != "by-env" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := loaded(t, "--config="+write(t, "identity: by-flag\n")); err != nil || c.Identity != "by-flag" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestAWrongConfigurationIsToldWithItsFile(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent.yaml")
	wrong := write(t, "htpp: 1\n")
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"absent":       {[]string{"--config=" + absent}, []string{absent}},
		"unknown name": {[]string{"--config=" + wrong}, []string{wrong, "htpp"}},
		"wrong flag":   {[]string{"--http=nowhere"}, []string{"nowhere", "host:port"}},
		"wrong value":  {[]string{"--config=" + write(t, "drift: {past: 0s}\n")}, []string{"drift.past"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loaded(t, test.args...)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want something of %q", err, want)
				}
			}
		})
	}
}

func TestAProfileThatCannotBeWrittenIsAnError(t *testing.T) {
	if _, err := profile(filepath.Join(t.TempDir(), "absent", "cpu.out")); err == nil {
		t.Error("no error")
	}
	stop, err := profile("")
	if err != nil || stop() != nil {
		t.Errorf("no profile gave %v", err)
	}
	path := filepath.Join(t.TempDir(), "cpu.out")
	if stop, err = profile(path); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Errorf("%v, %v", info, err)
	}
}
