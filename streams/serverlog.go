package streams

import (
	"fmt"
	"log/slog"
	"strings"
)

// serverLog sends the embedded server's lines through slog. Its notices (start
// banner, addresses) are debug lines here: the appliance says what matters.
type serverLog struct {
	log *slog.Logger
}

// Noticef logs at debug level.
func (l serverLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Warnf logs at warning level. That passwords are not hashed is no matter: they
// are made at random for each session and stand in no file.
func (l serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Plaintext passwords") {
		return
	}
	l.log.Warn(fmt.Sprintf(format, v...))
}

// Fatalf logs at error level; the server does not end the process.
func (l serverLog) Fatalf(format string, v ...any) { l.log.Error(fmt.Sprintf(format, v...)) }

// Errorf logs at error level, but what a visitor may not do is its own fault.
func (l serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, visitorUser) && strings.Contains(text, "Violation") {
		l.log.Info(text)
		return
	}
	l.log.Error(text)
}

// Debugf logs at debug level.
func (l serverLog) Debugf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }

// Tracef logs nothing: the server's trace shows every byte.
func (l serverLog) Tracef(string, ...any) {}
