package appliance

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/registry"
	"pvlog/consumers/web"
	"pvlog/schema"
	"pvlog/streams"
)

// replays runs replays of samples, one at a time: their samples are in memory.
// What a replay is to do stands in the registry's log before it begins; of each
// PV an event says what was done, after its files are durable; a last one says
// that it is through. Whatever ends it in between, run goes on with it: a PV that
// has its event is not looked at again, and one that was merged and has none is
// merged again, which changes nothing.
type replays struct {
	// set by New, read-only
	registry *registry.Registry
	archive  *archive.Archive
	log      *streams.Log
	logger   *slog.Logger
	turn     chan struct{} // holds one while a replay runs
	wake     chan struct{} // holds one: a replay was handed over to run
	retry    time.Duration // first pause after a fault

	mu   sync.Mutex
	done map[string]int // guarded by mu; PVs that are through, of replays that run
}

func newReplays(r *registry.Registry, a *archive.Archive, log *streams.Log, logger *slog.Logger) *replays {
	return &replays{registry: r, archive: a, log: log, logger: logger, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		retry: time.Second, done: map[string]int{}}
}

// run goes on with replays that are open at the start or are handed over, and
// tries again those that meet a fault, until ctx ends.
func (r *replays) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.registry.CaughtUp():
	}
	pause := r.retry
	for {
		failed := false
		for _, c := range slices.Backward(r.registry.Replays()) {
			if c.Closed != 0 || ctx.Err() != nil {
				continue
			}
			if err := r.resume(ctx, c); err != nil && ctx.Err() == nil {
				failed = true
				r.logger.Warn("a replay is not through and will be tried again", "change", c.ID, "err", err)
			}
		}
		var again <-chan time.Time
		wake := r.wake
		if failed {
			again, wake = time.After(pause), nil
			pause = min(2*pause, time.Minute)
		} else {
			pause = r.retry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-wake:
		}
	}
}

// resume goes on with an interrupted replay.
func (r *replays) resume(ctx context.Context, c registry.Change) error {
	release, err := r.myTurn(ctx)
	if err != nil {
		return err
	}
	defer release()
	if now, _ := r.registry.Change(c.ID); now.Closed != 0 {
		return nil
	}
	r.logger.Info("a replay goes on", "change", c.ID, "pvs", c.PVs)
	run, err := r.again(ctx, c)
	if err != nil {
		return err
	}
	_, err = run.all(ctx)
	return err
}

func (r *replays) myTurn(ctx context.Context) (release func(), err error) {
	select {
	case r.turn <- struct{}{}:
		return func() { <-r.turn }, nil
	case <-ctx.Done():
		return nil, schema.Errorf(schema.Unavailable, "another replay runs, and the request ended before its turn: %w", ctx.Err())
	}
}

// Replay runs a replay to its end.
func (r *replays) Replay(ctx context.Context, actor registry.Actor, order web.ReplayOrder, begun func(int), each func(web.ReplayedPV)) (web.ReplaySummary, error) {
	release, err := r.myTurn(ctx)
	if err != nil {
		return web.ReplaySummary{}, err
	}
	defer release()
	if order.Until.IsZero() {
		order.Until = time.Now() // what comes later is not part of it, whenever it goes on
	}
	run, err := r.first(ctx, actor, order)
	if err != nil {
		return web.ReplaySummary{}, err
	}
	run.each = each
	begun(len(run.pvs))
	sum, err := run.all(ctx)
	if err != nil && !actor.DryRun {
		r.handOver()
		return sum, schema.Errorf(schema.Unavailable, "not yet: replay %s goes on by itself as soon as it can (%w)", actor.ChangeID, err)
	}
	return sum, err
}

func (r *replays) handOver() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// first opens a replay, or takes up one of the same id.
func (r *replays) first(ctx context.Context, actor registry.Actor, order web.ReplayOrder) (*replayRun, error) {
	if c, known := r.registry.Change(actor.ChangeID); known && !actor.DryRun {
		if _, err := r.registry.OpenReplay(ctx, actor, nil, 0); err != nil { // it is another command's
			return nil, err
		}
		return r.again(ctx, c)
	}
	run := &replayRun{replays: r, order: order, sum: web.ReplaySummary{ChangeID: actor.ChangeID, DryRun: actor.DryRun}}
	var err error
	if run.pvs, err = r.pvs(ctx, order); err != nil || actor.DryRun {
		return run, err
	}
	run.change, err = r.registry.OpenReplay(ctx, actor, orderMessage(order), len(run.pvs))
	return run, err
}

// again takes up a replay as its events have it.
func (r *replays) again(ctx context.Context, c registry.Change) (*replayRun, error) {
	message, err := r.registry.ReplayOrder(ctx, c)
	if err != nil {
		return nil, err
	}
	run := &replayRun{replays: r, order: orderOf(message), change: c, resumed: true, sum: web.ReplaySummary{ChangeID: c.ID}}
	if run.before, err = r.registry.Replayed(ctx, c); err != nil {
		return nil, err
	}
	if c.Closed != 0 {
		run.pvs = slices.Sorted(maps.Keys(run.before))
		return run, nil
	}
	run.pvs, err = r.pvs(ctx, run.order)
	for pv := range run.before {
		run.pvs = append(run.pvs, pv)
	}
	slices.Sort(run.pvs)
	run.pvs = slices.Compact(run.pvs)
	return run, err
}

// List are all replays, newest first.
func (r *replays) List() []registry.Change { return r.registry.Replays() }

// Show is a replay as the log has it.
func (r *replays) Show(ctx context.Context, id string) (web.ReplayRecord, error) {
	c, known := r.registry.Change(id)
	if !known || !slices.ContainsFunc(r.registry.Replays(), func(other registry.Change) bool { return other.ID == id }) {
		return web.ReplayRecord{}, schema.Errorf(schema.NotFound, "there is no replay %s", id)
	}
	message, err := r.registry.ReplayOrder(ctx, c)
	if err != nil {
		return web.ReplayRecord{}, err
	}
	events, err := r.registry.Replayed(ctx, c)
	if err != nil {
		return web.ReplayRecord{}, err
	}
	record := web.ReplayRecord{Change: c, Events: []web.ReplayedPV{}}
	record.SetOrder(orderOf(message))
	for _, pv := range slices.Sorted(maps.Keys(events)) {
		record.Events = append(record.Events, told(pv, events[pv]))
	}
	r.mu.Lock()
	record.Done = r.done[id]
	r.mu.Unlock()
	return record, nil
}
