package streams

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestServerLinesComeThroughOurs(t *testing.T) {
	var out bytes.Buffer
	l := serverLog{slog.New(slog.NewTextHandler(&out, nil))}
	l.Noticef("Listening on %s", "x")
	l.Tracef("bytes")
	l.Warnf("Plaintext passwords detected, use nkeys or bcrypt")
	l.Warnf("disk %d%% full", 99)
	l.Errorf("%s - Publish Violation - Subject %q", `"VISITORS/user:visitor"`, "samples.X")
	l.Errorf("write %s", "failed")
	l.Fatalf("end")
	text := out.String()
	for _, want := range []string{`level=WARN msg="disk 99% full"`, "level=INFO", `level=ERROR msg="write failed"`, "level=ERROR msg=end"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if strings.Count(text, "\n") != 4 {
		t.Errorf("lines:\n%s", text)
	}
}
