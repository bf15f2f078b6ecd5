package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAMistakenDeleteIsTakenBack: somebody archives 2,000 PVs from a file,
// somebody else deletes them by mistake; one command brings all of them back
// as they were, and the registry is still what its log gives.
func TestAMistakenDeleteIsTakenBack(t *testing.T) {
	_, s := simulated(t)
	s.start()
	const pvs = 2000
	list := "pv,samplingmethod,samplingperiod,deadband\n# a shift's work\n"
	for i := range pvs {
		list += fmt.Sprintf("OLD:%04d,SCAN,%d,\n", i, i%60+1)
	}
	file := filepath.Join(t.TempDir(), "pvs.csv")
	if err := os.WriteFile(file, []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	s.says("2,000 of 2,000 PVs archived", "archive", "--file", file, "--reason", "new machine")
	s.says("2,000 of 2,000 PVs paused", "pause", "OLD:*")
	before := s.registered("OLD:*")
	if len(before) != pvs || before[7] != `OLD:0007 paused SCAN 8` {
		t.Fatalf("%d PVs, %q", len(before), before[:min(len(before), 10)])
	}
	s.says("would be deleted", "delete", "OLD:*", "--dry-run")
	out := s.says("2,000 of 2,000 PVs deleted", "delete", "OLD:*", "--reason", "clean-up")
	if left := s.registered("OLD:*"); len(left) != 0 {
		t.Fatalf("%d PVs are left", len(left))
	}
	id := regexp.MustCompile(`\(change (\S+)\)`).FindStringSubmatch(out)
	if id == nil {
		t.Fatalf("no change is named: %s", out)
	}
	s.says(id[1], "registry", "changes")
	s.says("2,000 of 2,000 PVs would be taken back", "registry", "undo", id[1], "--dry-run")
	s.says("2,000 of 2,000 PVs taken back", "registry", "undo", id[1], "--reason", "that was a mistake")
	if after := s.registered("OLD:*"); !slices.Equal(after, before) {
		t.Errorf("%d PVs came back, not as they were: %q", len(after), after[:min(len(after), 3)])
	}
	s.says("what its log gives", "registry", "verify")
	export := filepath.Join(t.TempDir(), "pvs.json")
	s.says("", "registry", "export", export, "OLD:001?")
	s.says("10 of 10 PVs deleted", "delete", "OLD:001?")
	s.says("10 PVs and 0 aliases imported", "registry", "import", export, "--reason", "from the export")
	if after := s.registered("OLD:*"); !slices.Equal(after, before) {
		t.Errorf("%d PVs after the import, not as they were", len(after))
	}
	s.says("clean-up", "history", "OLD:0007")
	s.says("that was a mistake", "history", "OLD:0007")
	s.stop()
}

// says runs a command that must succeed and print something.
func (s *server) says(want string, args ...string) string {
	s.t.Helper()
	out, code := s.cli("", args...)
	if code != 0 || !strings.Contains(out, want) {
		s.t.Fatalf("pvlog %s: exit %d, want %q:\n%.2000s", strings.Join(args, " "), code, want, out)
	}
	return out
}

// registered gives the PVs of a glob with what an operator chose for them.
func (s *server) registered(glob string) []string {
	s.t.Helper()
	var list []string
	for line := range strings.Lines(s.says("", "registry", "at", "now", glob, "--format", "json")) {
		var pv struct {
			PV, State, Method string
			Period            float64
		}
		if err := json.Unmarshal([]byte(line), &pv); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		list = append(list, fmt.Sprintf("%s %s %s %v", pv.PV, pv.State, pv.Method, pv.Period))
	}
	return list
}
