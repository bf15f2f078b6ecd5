package caclient

import (
	"log/slog"
	"sync"
	"time"
)

// limiter writes warnings that outsiders can cause at will: one for each text
// in a while, with the number that was left out before.
type limiter struct {
	// set at creation, read-only
	log   *slog.Logger
	every time.Duration

	// guarded by mu
	mu   sync.Mutex
	seen map[string]*repeated
}

type repeated struct {
	last    time.Time
	skipped int
}

func (l *limiter) warn(text string, args ...any) {
	now := time.Now()
	l.mu.Lock()
	r := l.seen[text]
	if r == nil {
		if l.seen == nil {
			l.seen = map[string]*repeated{}
		}
		r = &repeated{}
		l.seen[text] = r
	}
	if now.Sub(r.last) < l.every {
		r.skipped++
		l.mu.Unlock()
		return
	}
	skipped := r.skipped
	r.last, r.skipped = now, 0
	l.mu.Unlock()
	if skipped > 0 {
		args = append(args, "more", skipped)
	}
	l.log.Warn(text, args...)
}
