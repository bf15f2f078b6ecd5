package appliance

import (
	"context"
	"maps"
	"slices"

	"pvlog/consumers/archive"
	"pvlog/consumers/web"
	"pvlog/schema"
	"pvlog/streams"
)

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
