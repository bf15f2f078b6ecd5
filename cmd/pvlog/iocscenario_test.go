package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIocRunsAScenarioToItsEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.yaml")
	run := func(text string, list bool) error {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := iocCmd{Scenario: file, List: list}
		return c.Run(context.Background(), slog.New(slog.DiscardHandler))
	}
	const good = "iocs: [{records: [{name: a, type: double, value: 1}]}]\nsteps: [{at: 1ms, stop: true}]\n"
	for _, list := range []bool{true, false} {
		if err := run(good, list); err != nil {
			t.Error(err)
		}
	}
	if err := run("iocs: [{records: [{name: a, type: double, valeu: 1}]}]\n", false); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "valeu") {
		t.Errorf("a wrong key: %v", err)
	}
	if err := run("iocs: [{listen: nowhere}]\n", false); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a wrong address: %v", err)
	}
	none := iocCmd{Scenario: filepath.Join(t.TempDir(), "none.yaml")}
	if err := none.Run(context.Background(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there is read")
	}
}
