package policy_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pvlog/ingest/policy"
	"pvlog/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follow runs a source on a file until the test ends.
func follow(t *testing.T, path string) *policy.Source {
	t.Helper()
	s := policy.New(policy.Options{Path: path, Interval: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

// replace writes a file as editors do: a new one under the old name.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func changed(t *testing.T, s *policy.Source) string {
	t.Helper()
	select {
	case <-s.Changed():
	case <-t.Context().Done():
		t.Fatal("no change was told")
	}
	return s.Current().List()[0].Name
}

func TestSourceFollowsItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.yaml")
	write(t, path, "- name: a\n")
	s := follow(t, path)
	if got := changed(t, s); got != "a" {
		t.Fatalf("first: %s", got)
	}
	replace(t, path, "- name: b\n") // same size, maybe the same time, another file
	if got := changed(t, s); got != "b" {
		t.Errorf("replaced: %s", got)
	}
	write(t, path, "- name: c\n") // same size and file
	if got := changed(t, s); got != "c" {
		t.Errorf("overwritten: %s", got)
	}
	if s.Fault() != nil {
		t.Errorf("fault: %v", s.Fault())
	}
}

func TestWrongFileLeavesTheOldPoliciesInForce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.yaml")
	s := policy.New(policy.Options{Path: path})
	if err := s.Reload(); err == nil || s.Current() != nil || s.Fault() == nil {
		t.Fatalf("no file: %v, %v, fault %v", err, s.Current(), s.Fault())
	}
	write(t, path, "- name: a\n")
	if err := s.Reload(); err != nil || changed(t, s) != "a" {
		t.Fatalf("first: %v", err)
	}
	for what, break_ := range map[string]func(){
		"wrong":    func() { replace(t, path, "- name: a\n  method: ?\n") },
		"vanished": func() { _ = os.Remove(path) },
		"folder":   func() { _ = os.Remove(path); _ = os.Mkdir(path, 0o700) },
	} {
		break_()
		for range 2 { // a second look does not heal it
			if err := s.Reload(); err == nil || s.Fault() == nil || s.Current().List()[0].Name != "a" {
				t.Errorf("%s: %v, fault %v", what, err, s.Fault())
			}
		}
		if what == "wrong" && (schema.CodeOf(s.Fault()) != schema.Invalid || !strings.Contains(s.Fault().Error(), "site.yaml:2:11: ")) {
			t.Errorf("%s: fault %v", what, s.Fault())
		}
		_ = os.Remove(path)
		write(t, path, "- name: a\n") // right again, and what is in force already
		if err := s.Reload(); err != nil || s.Fault() != nil {
			t.Errorf("%s, then right: %v, fault %v", what, err, s.Fault())
		}
	}
	select {
	case <-s.Changed():
		t.Error("the same policies were told as a change")
	default:
	}
}

func TestSourceWithoutAFileGivesTheDefault(t *testing.T) {
	s := policy.New(policy.Options{})
	if err := s.Reload(); err != nil || changed(t, s) != "Default" {
		t.Errorf("reload: %v", err)
	}
}
