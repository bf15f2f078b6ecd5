package integration

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// cli runs pvlog against the server and gives its output and exit code.
func (s *server) cli(stdin string, args ...string) (string, int) {
	s.t.Helper()
	binary, err := pvlogBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(cleanEnvironment(), "PVLOG_SERVER="+s.http)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), failed.ExitCode()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out), 0
}

func TestCommandLineManagesAndReads(t *testing.T) {
	_, s := simulated(t,
		simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 1.5, Rate: 10, Generate: nil, ADEL: -1, MDEL: -1},
		simioc.Record{Name: "b", Type: ca.DBRString, Value: "text"})
	s.start()
	for _, c := range []struct {
		stdin string
		args  string
		code  int
		says  string
	}{
		{"", "archive sim:a", 0, "sim:a: archived"},
		{"sim:b # a comment\n", "archive -", 0, "sim:b: archived"},
		{"", "archive -", 2, "no PV names"},
		{"", "archive sim:a sim..b", 3, "1 of 2 PVs failed"},
		{"", "archive sim..b", 1, "sim..b"},
		{"", "list sim:*", 0, "sim:a\nsim:b\n"},
		{"", "pause sim:b", 0, "sim:b: paused"},
		{"", "status sim:b", 3, "Paused"},
		{"", "resume sim:b", 0, "sim:b: resumed"},
		{"", "stop sim:b", 0, "sim:b: stopped"},
		{"", "resume sim:none", 1, "sim:none"},
		{"", "delete sim:a", 1, "paused"},
		{"", "stop sim:b", 0, "sim:b: unchanged"},
		{"", "configure sim:b --period 2s --reason slower", 0, "sim:b: configured"},
		{"", "configure sim:b", 2, "--period"},
		{"", "history sim:b", 0, "period 1s -> 2s"},
		{"", "history sim:none", 1, "sim:none"},
		{"", "alias add sim:c sim:b", 0, "sim:c is an alias of sim:b"},
		{"", "alias list sim:*", 0, "sim:c  sim:b"},
		{"", "alias remove sim:c", 0, "no alias"},
		{"", "alias remove sim:c", 1, "sim:c"},
		{"", "registry at now sim:b", 0, "sim:b  stopped"},
		{"", "registry at tomorrow", 2, "tomorrow"},
		{"", "registry verify", 0, "what its log gives"},
		{"", "registry undo 99999", 1, "99999"},
		{"", "registry changes nosuch", 1, "nosuch"},
		{"", "delete sim:b --dry-run", 0, "sim:b: would be deleted"},
		{"", "delete sim:b --data", 0, "sim:b: deleted"},
		{"", "get sim:none", 1, "sim:none"},
		{"", "get sim:a --from nonsense", 2, "nonsense"},
		{"", "get", 2, "pv"},
	} {
		out, code := s.cli(c.stdin, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("pvlog %s: exit %d, want %d with %q:\n%s", c.args, code, c.code, c.says, out)
		}
	}
	s.awaitConnected("sim:a")
	for format, says := range map[string]string{"table": "1.5 ", "csv": ",1.5,0,0,", "json": `"val": 1.5`, "raw": "sim:a"} {
		s.waitUntil(startTimeout, "samples as "+format, func() error {
			out, code := s.cli("", "get", "sim:a", "--from", "-1h", "--format", format)
			if code != 0 || !strings.Contains(out, says) {
				return errors.New(out)
			}
			return nil
		})
	}
	if out, code := s.cli("", "status", "sim:a"); code != 0 || !strings.Contains(out, "Being archived") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	s.stop()
}
