package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pvlog/schema"
)

// An IOC answers a subscription at once with the present value, or with the
// reason why there is none. One that answers nothing has refused it in a way
// that ends nothing (an ERROR message and no more), and is asked again (S33).
const (
	silenceLook = 5 * time.Second
	silenceMin  = 30 * time.Second // a booting IOC may be slow
	silenceMax  = 10 * time.Minute
)

var errSilent = errors.New("the IOC did not answer the subscription; asking again")

// watchSilence looks at all channels now and then until ctx ends.
func (e *Engine) watchSilence(ctx context.Context) {
	ticker := time.NewTicker(silenceLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, c := range e.running() {
				e.calmly(c.pv, func() { c.askAgain(now) })
			}
		}
	}
}

// askAgain renews a subscription that was not answered in time.
func (c *Channel) askAgain(now time.Time) {
	c.mu.Lock()
	link, waited := c.online, now.Sub(c.asked)
	reads := c.settings.Load().method == schema.ScanGet
	due := link != nil && c.subscribed && !reads && !c.closed.Load() && !c.answered.Load() && waited >= c.patience
	if due {
		c.asked, c.patience = now, min(2*c.patience, silenceMax)
	}
	c.mu.Unlock()
	if !due {
		return
	}
	c.history.transientErrors.Add(1)
	c.engine.metrics.transientErrors.Inc()
	c.engine.log.Warn("no update", slog.String("pv", string(c.pv)), slog.Duration("waited", waited), slog.Any("err", errSilent))
	link.Unsubscribe()
	c.subscribe(link)
}
