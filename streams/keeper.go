package streams

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"time"
)

// How the keeper watches: every keeperPeriod; a restart is tried when the log
// could not store for restartAfter although it is not full, and again after
// pauses that double up to restartPause.
const (
	keeperPeriod = time.Second
	restartAfter = 3 * time.Second
	restartPause = 30 * time.Second
	restartSpace = 8 << 20
	notePeriods  = 10 // keeperPeriods between entries in the ledger
)

// runKeeper watches over the embedded server. The server gives JetStream up for
// good on a write error ("JetStream out of resources, will be DISABLED"), so
// when there is space again it is restarted: pvlog itself goes on.
func (l *Log) runKeeper(ctx context.Context) {
	tick := time.NewTicker(keeperPeriod)
	defer tick.Stop()
	pause, next := keeperPeriod, time.Time{}
	turn, durable := 0, State{}
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			l.samples.watchAge(now)
			l.lookAhead(ctx, now)
			if err := l.keepReserve(); err != nil {
				l.log.Debug("no reserve", "err", err)
			}
			if turn++; turn%notePeriods == 0 {
				durable = l.noteDurable(ctx, durable)
			}
			if !l.mustRestart() {
				pause = keeperPeriod
				continue
			}
			if now.Before(next) {
				continue
			}
			l.restart(ctx, l.mustRestart)
			next, pause = time.Now().Add(pause), min(2*pause, restartPause)
		}
	}
}

// noteDurable writes into the ledger what was stored a turn before: since then
// the server has synced it. It gives what is stored now.
func (l *Log) noteDurable(ctx context.Context, before State) State {
	if before.Samples.First > 0 && l.opt.SyncInterval < notePeriods*keeperPeriod {
		if err := l.noteStreams(before); err != nil {
			l.log.Warn("the ledger is behind", "err", err)
		}
	}
	now, err := l.State(ctx)
	if err != nil {
		return State{}
	}
	return now
}

// mustRestart reports whether only a new server can store again.
func (l *Log) mustRestart() bool {
	s, err := l.current()
	if err != nil {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return l.lock != nil
	}
	return s.fault() != nil || l.samples.failing(restartAfter)
}

// fault is what the server says of itself: JetStream is off, a stream could not
// be recovered, or a write failed; after that it stores nothing more.
func (s *session) fault() error {
	if !s.srv.JetStreamEnabled() {
		return errors.New("JetStream is off")
	}
	h := s.srv.Healthz(nil)
	if !strings.Contains(h.Error, "JetStream") {
		return nil
	}
	return errors.New(h.Error)
}

// restart replaces the session if that is still needed and the file system has
// room for one. Two servers on one directory would destroy it: one restart at a
// time.
func (l *Log) restart(ctx context.Context, needed func() bool) {
	l.restartMu.Lock()
	defer l.restartMu.Unlock()
	if !needed() {
		return
	}
	if err := l.roomToStart(); err != nil {
		l.log.Warn("the log's reserve cannot be given up", "err", err)
	}
	_, free, err := l.space(l.opt.Dir)
	if err != nil || free < restartSpace {
		l.log.Warn("the log's server cannot store and is not restarted yet: its file system is full",
			"dir", filepath.Join(l.opt.Dir, "nats"), "free", free, "err", err)
		return
	}
	l.mu.Lock()
	old := l.session
	l.session = nil
	number := l.number + 1
	l.mu.Unlock()
	if old != nil {
		old.close()
	}
	l.ledgerMu.Lock()
	led := l.ledger
	led.Gaps = maps.Clone(led.Gaps)
	l.ledgerMu.Unlock()
	found, err := l.examine(&led, false)
	if err != nil {
		l.log.Error("the log's files cannot be examined; trying again", "err", err)
		return
	}
	s, lim, err := l.start(ctx, number)
	if err != nil {
		l.log.Error("the log's server does not start; trying again", "err", err)
		return
	}
	l.mu.Lock()
	closed := l.lock == nil
	if !closed {
		l.session, l.lim, l.number = s, lim, number
	}
	l.mu.Unlock()
	if closed {
		s.close()
		return
	}
	l.metrics.restarts.Inc()
	if err := l.recovered(ctx, &led, found); err != nil && ctx.Err() == nil {
		l.log.Warn("what the log recovered could not be compared with the ledger", "err", err)
	}
	l.events.announce()
	l.log.Warn("the log's server was restarted", "life", number)
}
