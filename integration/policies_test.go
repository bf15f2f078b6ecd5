package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

const slowRules = `
- name: never
  glob: "sim:junk*"
  method: DONT_ARCHIVE
- name: slow
  description: once in two seconds
  rtyp: ai
  method: SCAN
  period: 2s
  fields: [HIHI]
`

// await waits until the command line says something.
func (s *server) await(words string, args ...string) {
	s.t.Helper()
	s.waitUntil(startTimeout, strings.Join(args, " "), func() error {
		if out, _ := s.cli("", args...); !strings.Contains(out, words) {
			return fmt.Errorf("%q does not say %q", out, words)
		}
		return nil
	})
}

// TestPoliciesDecideAndAreAppliedAgain_S14_S15: a policy file decides when a PV
// connects; when it is changed, an operator looks at what would change, lets it
// happen, and takes it back.
func TestPoliciesDecideAndAreAppliedAgain_S14_S15(t *testing.T) {
	_, s := simulated(t, simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 1.0, RTYP: "ai"})
	file := filepath.Join(t.TempDir(), "rules.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(slowRules)
	s.args = append(s.args, "--policies", file)
	s.start()
	if out, code := s.cli("", "archive", "sim:junk1"); code != 1 || !strings.Contains(out, "never") || !strings.Contains(out, "rules.yaml") {
		t.Errorf("a PV that a policy keeps out: exit %d: %s", code, out)
	}
	s.archive("sim:a")
	s.await("policy slow", "history", "sim:a")
	s.await("SCAN 2s", "registry", "at", "now")

	write(strings.Replace(slowRules, "2s", "what", 1))
	s.await("rules.yaml:9", "policy", "list")
	if _, code := s.cli("", "policy", "check", file); code != 1 {
		t.Errorf("a wrong file is found right: exit %d", code)
	}
	write(strings.Replace(slowRules, "2s", "5s", 1))
	s.await("period 2s -> 5s", "policy", "preview")
	s.await("SCAN 2s", "registry", "at", "now")
	if out, code := s.cli("", "policy", "apply", "sim:*", "--reason", "slower"); code != 0 || !strings.Contains(out, "1 PVs changed") {
		t.Errorf("apply: exit %d: %s", code, out)
	}
	s.await("SCAN 5s", "registry", "at", "now")
	out, _ := s.cli("", "history", "sim:a", "--format", "json")
	change := out[strings.LastIndex(out, `"change_id":"`)+len(`"change_id":"`):]
	if out, code := s.cli("", "registry", "undo", change[:strings.Index(change, `"`)]); code != 0 {
		t.Fatalf("undo: exit %d: %s", code, out)
	}
	s.await("SCAN 2s", "registry", "at", "now")
	s.stop()
}
