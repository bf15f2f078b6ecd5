package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/registry"
	"pvlog/consumers/web"
	"pvlog/schema"
	"pvlog/schema/logpb"
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
		if !slices.Contains(run.pvs, pv) {
			run.pvs = append(run.pvs, pv)
		}
	}
	return run, err
}

// pvs are those that a replay is about, in the order of their names.
func (r *replays) pvs(ctx context.Context, o web.ReplayOrder) ([]schema.PVName, error) {
	found := map[schema.PVName]bool{}
	if o.FromLog || o.Rebuild {
		for _, pv := range r.registry.Match(o.PV, 0) {
			if _, registered := r.registry.Get(pv); registered {
				found[pv] = true
			}
		}
		return slices.Sorted(maps.Keys(found)), nil
	}
	counts, err := r.log.Drops().Count(ctx, dropsOf(o, o.PV))
	for _, c := range counts {
		found[c.PV] = true
	}
	return slices.Sorted(maps.Keys(found)), err
}

func dropsOf(o web.ReplayOrder, pv string) streams.DropFilter {
	return streams.DropFilter{PV: pv, Reasons: o.Reasons, Since: o.Since, Until: o.Until}
}

// rebuild compares a PV's files with what the raw log gives, and merges in what is
// missing unless the run is dry.
func (run *replayRun) rebuild(ctx context.Context, pv schema.PVName) (archive.Rebuilt, error) {
	state, err := run.log.State(ctx)
	if err != nil {
		return archive.Rebuilt{}, err
	}
	return run.archive.Rebuild(ctx, pv, archive.Rebuild{
		Since: run.order.Since, Until: run.order.Until, UpTo: state.Floor, LogStart: state.Samples.FirstTime, Write: !run.sum.DryRun,
		Log: func(each func(streams.Message) error) error {
			return run.log.Samples().Read(ctx, streams.RawFilter{PV: pv}, each)
		},
		Dropped: func(each func(streams.Position) error) error {
			return run.log.Drops().Read(ctx, streams.DropFilter{PV: string(pv)}, func(d streams.StoredDrop) error { return each(d.Position) })
		},
	})
}

// candidates reads what a replay is to look at of one PV.
func (r *replays) candidates(ctx context.Context, o web.ReplayOrder, pv schema.PVName) func(func(archive.Candidate) error) error {
	return func(each func(archive.Candidate) error) error {
		if !o.FromLog {
			return r.log.Drops().Read(ctx, dropsOf(o, string(pv)), func(d streams.StoredDrop) error {
				return each(archive.Candidate{Sample: d.Sample, Raw: d.Raw})
			})
		}
		f := streams.RawFilter{PV: pv, Since: o.Since, Until: o.Until}
		return r.log.Samples().Read(ctx, f, func(m streams.Message) error {
			if m.Err != nil {
				return each(archive.Candidate{Raw: m.Raw})
			}
			for i := range m.Samples {
				if err := each(archive.Candidate{Sample: &m.Samples[i]}); err != nil {
					return err
				}
			}
			return nil
		})
	}
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

func orderMessage(o web.ReplayOrder) *logpb.ReplayOrder {
	m := &logpb.ReplayOrder{Pv: o.PV, Reasons: o.Reasons, FromLog: o.FromLog, Rebuild: o.Rebuild, Until: o.Until.UnixNano(),
		DriftPast: uint32(o.DriftPast / time.Second), DriftFuture: uint32(o.DriftFuture / time.Second)}
	if !o.Since.IsZero() {
		m.Since = o.Since.UnixNano()
	}
	return m
}

func orderOf(m *logpb.ReplayOrder) web.ReplayOrder {
	o := web.ReplayOrder{PV: m.GetPv(), Reasons: m.GetReasons(), FromLog: m.GetFromLog(), Rebuild: m.GetRebuild(), Until: time.Unix(0, m.GetUntil()),
		DriftPast: time.Duration(m.GetDriftPast()) * time.Second, DriftFuture: time.Duration(m.GetDriftFuture()) * time.Second}
	if m.GetSince() != 0 {
		o.Since = time.Unix(0, m.GetSince())
	}
	return o
}

// replayRun is one replay.
type replayRun struct {
	*replays
	order   web.ReplayOrder
	change  registry.Change // zero for a dry run
	resumed bool            // it was begun before: files may hold what no event tells
	before  map[schema.PVName]*logpb.SamplesReplayed
	pvs     []schema.PVName
	each    func(web.ReplayedPV) // may be nil
	sum     web.ReplaySummary
	failed  int // PVs with samples that could not be placed
}

// all takes the PVs one after the other and closes the replay.
func (run *replayRun) all(ctx context.Context) (web.ReplaySummary, error) {
	defer run.progress(-1)
	for i, pv := range run.pvs {
		done, err := run.one(ctx, pv)
		if err != nil {
			return run.sum, err
		}
		run.add(done)
		run.progress(i + 1)
	}
	if run.sum.DryRun || run.change.Closed != 0 {
		return run.sum, nil
	}
	if err := run.registry.CloseReplay(ctx, run.change, run.sum.Changed, run.failed); err != nil {
		return run.sum, err
	}
	run.logger.Info("a replay is through", "change", run.change.ID, "pvs", run.sum.Total, "added", run.sum.Added, "there", run.sum.There)
	return run.sum, nil
}

// progress notes how many PVs are through; below 0: it has ended.
func (run *replayRun) progress(done int) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.done[run.change.ID] = done; done < 0 {
		delete(run.done, run.change.ID)
	}
}

// one takes a PV. The error ends the replay; what is wrong with this PV alone is
// told of it.
func (run *replayRun) one(ctx context.Context, pv schema.PVName) (web.ReplayedPV, error) {
	if m := run.before[pv]; m != nil {
		return told(pv, m), nil
	}
	overrides := archive.Overrides{DriftPast: run.order.DriftPast, DriftFuture: run.order.DriftFuture, Former: !run.order.FromLog}
	done, err := archive.Rebuilt{}, error(nil)
	if run.order.Rebuild {
		done, err = run.rebuild(ctx, pv)
	} else {
		done.Replayed, err = run.archive.Replay(ctx, pv, overrides, run.sum.DryRun, run.candidates(ctx, run.order, pv))
	}
	out := web.ReplayedPV{Additional: done.Additional, PV: pv, Added: done.Added, There: done.There, Differs: done.Differs, Refused: done.Refused, Why: done.Why}
	if done.Added > 0 {
		out.First, out.Last = done.First.String(), done.Last.String()
	}
	for _, f := range done.Findings {
		out.Findings = append(out.Findings, web.FindingJSON{Kind: f.Kind, Time: f.Time.String(), Path: f.Path, Offset: f.Offset})
	}
	switch code := schema.CodeOf(err); {
	case err == nil:
	case ctx.Err() != nil, code == schema.Unavailable, code == schema.Internal && !errors.Is(err, context.Canceled):
		return out, fmt.Errorf("replay samples of %s: %w", pv, err)
	default:
		out.Err = err
	}
	// A PV whose files have samples that no event tells of gets one, also if an
	// earlier run put them there and was killed before it could say so.
	if run.sum.DryRun || done.Added == 0 && !(run.resumed && !run.order.Rebuild && done.There > 0) {
		return out, nil
	}
	return out, run.registry.NoteReplayed(ctx, run.change, pv, message(done.Replayed, overrides))
}

func message(done archive.Replayed, o archive.Overrides) *logpb.SamplesReplayed {
	m := &logpb.SamplesReplayed{Added: uint32(done.Added), There: uint32(done.There), Differs: uint32(done.Differs), Overrides: o.String()}
	for reason, n := range done.Refused {
		if m.Refused == nil {
			m.Refused = map[string]uint32{}
		}
		m.Refused[reason] = uint32(n)
	}
	if done.Added > 0 {
		m.First, m.Last = done.First.Go().UnixNano(), done.Last.Go().UnixNano()
	}
	return m
}

// told is what an event says.
func told(pv schema.PVName, m *logpb.SamplesReplayed) web.ReplayedPV {
	out := web.ReplayedPV{PV: pv, Added: int(m.GetAdded()), There: int(m.GetThere()), Differs: int(m.GetDiffers())}
	for reason, n := range m.GetRefused() {
		if out.Refused == nil {
			out.Refused = map[string]int{}
		}
		out.Refused[reason] = int(n)
	}
	if out.Added > 0 {
		out.First, out.Last = schema.TimeOf(time.Unix(0, m.GetFirst())).String(), schema.TimeOf(time.Unix(0, m.GetLast())).String()
	}
	return out
}

// add sums up a PV and tells of it.
func (run *replayRun) add(pv web.ReplayedPV) {
	s := &run.sum
	s.Total++
	switch {
	case pv.Err != nil:
		pv.Status = "failed"
		s.Failed++
	case pv.Added > 0:
		pv.Status = "changed"
		s.Changed++
	default:
		pv.Status = "unchanged"
		s.Unchanged++
	}
	if pv.Err != nil || pv.Differs > 0 || len(pv.Refused) > 0 {
		run.failed++
	}
	s.Additional += pv.Additional
	s.Added, s.There, s.Differs = s.Added+pv.Added, s.There+pv.There, s.Differs+pv.Differs
	if s.Refused == nil {
		s.Refused = map[string]int{}
	}
	for reason, n := range pv.Refused {
		s.Refused[reason] += n
	}
	if run.each != nil {
		run.each(pv)
	}
}
