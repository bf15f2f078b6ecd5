package ingest

import (
	"context"
	"log/slog"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Pauses before the registry is followed again after a fault.
const (
	followPause    = 100 * time.Millisecond
	followPauseMax = 10 * time.Second
)

// restore opens what was being archived when the registry's state was taken
// (S26).
func (e *Engine) restore(ctx context.Context) {
	infos, cursor := e.opt.Initial()
	e.cursor.Store(cursor)
	e.loadCounters(infos)
	for _, info := range infos {
		if ctx.Err() != nil {
			return
		}
		e.settle(info.PV, func(*schema.TypeInfo) *schema.TypeInfo { return info })
	}
	e.log.Info("channels opened", slog.Int("pvs", e.Counts().Total), slog.Int("registered", len(infos)), slog.Uint64("seq", cursor))
}

// follow applies the registry's events until ctx ends. A fault of the log is
// waited for: monitoring goes on, and the events come later.
func (e *Engine) follow(ctx context.Context) {
	pause := followPause
	for ctx.Err() == nil {
		before := e.Applied()
		err := e.opt.Follow(ctx, before+1, e.apply)
		if ctx.Err() != nil {
			return
		}
		if e.Applied() != before {
			pause = followPause
		}
		e.metrics.followErrors.Inc()
		e.log.Warn("following the registry failed; trying again", slog.Uint64("seq", e.Applied()), slog.Duration("after", pause), slog.Any("err", err))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, followPauseMax)
	}
}

// apply takes one event of the registry; one that was seen before changes
// nothing.
func (e *Engine) apply(seq uint64, event *logpb.RegistryEvent, _ bool) error {
	if event == nil || seq <= e.Applied() {
		return nil
	}
	pv := schema.PVName(event.GetPv())
	if pv != "" {
		e.settle(pv, func(old *schema.TypeInfo) *schema.TypeInfo { return slim(schema.Apply(old, seq, event)) })
	}
	e.cursor.Store(seq)
	e.log.Debug("registry event applied", slog.String("pv", string(pv)), slog.Uint64("seq", seq))
	return nil
}

// slim lets go of what only the registry's own copy is asked for: half a
// kilobyte a PV. info is nobody else's; nil stays nil.
func slim(info *schema.TypeInfo) *schema.TypeInfo {
	if info != nil {
		info.Limits, info.Fields, info.Host, info.Units = nil, nil, "", ""
	}
	return info
}

// settle makes the channels agree with what the registry says of a PV now; nil:
// it is not registered.
func (e *Engine) settle(pv schema.PVName, now func(old *schema.TypeInfo) *schema.TypeInfo) {
	e.settling.Lock()
	defer e.settling.Unlock()
	next := now(e.infos[pv])
	e.calmly(pv, func() { e.place(pv, next) })
}

// place settles a PV by what the registry and its gate say. settling is held.
func (e *Engine) place(pv schema.PVName, next *schema.TypeInfo) {
	wanted := e.admitted(pv, next)
	old, channel := e.infos[pv], e.channels[pv]
	again := old != nil && next != nil && !next.Created.Equal(old.Created) // registered anew
	if channel != nil && (!wanted || again) {
		e.end(pv, channel)
		channel = nil
	}
	if next == nil {
		delete(e.infos, pv)
		e.forget(pv)
		return
	}
	if again {
		e.forget(pv)
	}
	e.infos[pv] = next
	switch {
	case !wanted:
	case channel == nil:
		e.start(next)
	default:
		channel.configure(next)
	}
}

// start opens a channel for a PV.
func (e *Engine) start(info *schema.TypeInfo) {
	e.mu.Lock()
	h := e.histories[info.PV]
	if h == nil {
		h = newHistory(info.Created.UnixNano())
		e.histories[info.PV] = h
	}
	c := newChannel(e, info, h)
	e.channels[info.PV] = c
	e.mu.Unlock()
	c.open()
}

// end closes a channel and waits until it cannot append any more.
func (e *Engine) end(pv schema.PVName, c *Channel) {
	e.mu.Lock()
	delete(e.channels, pv)
	e.mu.Unlock()
	c.close()
	e.log.Debug("channel closed", slog.String("pv", string(pv)))
}

// forget drops the counters of a registration.
func (e *Engine) forget(pv schema.PVName) {
	e.mu.Lock()
	delete(e.histories, pv)
	e.mu.Unlock()
}
