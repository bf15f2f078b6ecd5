package appliance

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/rs/zerolog"
	slogzerolog "github.com/samber/slog-zerolog/v2"
	"golang.org/x/term"
)

// NewLogger writes lines for people if w is a terminal, JSON otherwise. level
// is debug, info, warn or error.
func NewLogger(w io.Writer, level string) *slog.Logger {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly + ".000"}
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	zerolog.TimeFieldFormat = time.RFC3339Nano
	backend := zerolog.New(w).Level(zerolog.DebugLevel)
	return slog.New(slogzerolog.Option{Level: l, Logger: &backend, ReplaceAttr: readable}.NewZerologHandler())
}

// readable writes errors and durations as people read them.
func readable(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case error:
		return slog.String(a.Key, v.Error())
	case map[string]any: // what the handler has made of an error by now
		if text, ok := v["error"].(string); ok {
			return slog.String(a.Key, text)
		}
	case time.Duration:
		return slog.String(a.Key, v.String())
	}
	return a
}

// version is set by the linker (Makefile).
var version string

// Version is the version of the build: its tag or commit, "unknown" for one
// that was made without make.
func Version() string {
	if version == "" {
		return "unknown"
	}
	return version
}
