package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLinesOfTheLogAreJSONWithReadableErrorsAndDurations(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(&out, "info")
	log.Info("hello", "err", fmt.Errorf("open %s: %w", "X", errors.New("denied")), "after", 1500*time.Millisecond, "pv", "A:B", "n", 3)
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	for key, want := range map[string]any{"message": "hello", "level": "info", "err": "open X: denied", "after": "1.5s", "pv": "A:B", "n": 3.0} {
		if line[key] != want {
			t.Errorf("%s is %v, want %v", key, line[key], want)
		}
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["time"])); err != nil {
		t.Error(err)
	}
}

func TestTheLevelDecidesWhatIsWritten(t *testing.T) {
	for level, want := range map[string]string{
		"debug": "debug info warn error", "info": "info warn error", "warn": "warn error", "error": "error", "nonsense": "info warn error",
	} {
		var out bytes.Buffer
		log := NewLogger(&out, level)
		log.Debug("debug")
		log.Info("info")
		log.Warn("warn")
		log.Error("error")
		var got []string
		for line := range strings.Lines(out.String()) {
			var l struct{ Message string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l.Message)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("level %s wrote %q, want %q", level, got, want)
		}
	}
}

func TestThePromiseNamesWhatACrashMayCost(t *testing.T) {
	for durability, want := range map[string]string{"flush": "20ms", "async": "may lose", "always": "neither"} {
		if got := (LogConfig{Durability: durability, SyncInterval: 20 * time.Millisecond}).promise(); !strings.HasPrefix(got, durability+":") || !strings.Contains(got, want) {
			t.Errorf("%s promises %q", durability, got)
		}
	}
}
