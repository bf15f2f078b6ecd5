package appliance

import (
	"context"
	"errors"
	"fmt"

	"pvlog/consumers/archive"
	"pvlog/consumers/registry"
	"pvlog/consumers/web"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

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
