package registry

import (
	"context"
	"slices"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// History visits every event of a name, oldest first: of a PV or an alias that
// is or was, or of "$flag:NAME" and "$change:ID" ([schema.FlagName],
// [schema.ChangeName]). A name without events is no error. It ends with visit's
// first error.
func (r *Registry) History(ctx context.Context, pv schema.PVName, visit func(seq uint64, e *logpb.RegistryEvent) error) error {
	return r.events.History(ctx, pv, 0, visit)
}

// At is the state at a time: what the events up to the newest that was made at
// or before t add up to, in the order of the names, aliases included (in state
// Alias). cursor is the sequence of that event. The log is replayed from its
// beginning; memory is needed for the state only.
func (r *Registry) At(ctx context.Context, t time.Time) (infos []*schema.TypeInfo, cursor uint64, err error) {
	if cursor, err = r.newestAt(ctx, t); err != nil {
		return nil, 0, err
	}
	records := map[schema.PVName]record{}
	err = r.scan(ctx, 1, cursor, func(seq uint64, e *logpb.RegistryEvent) error {
		pv := schema.PVName(e.GetPv())
		if pv == "" || len(pv) > maxNameBytes || pv.Beside() {
			return nil
		}
		records[pv], _ = stepChecked(records[pv], followed{seq, e})
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	for _, rec := range records {
		if rec.Info != nil {
			infos = append(infos, rec.Info)
		}
	}
	slices.SortFunc(infos, func(a, b *schema.TypeInfo) int { return compareNames(a.PV, b.PV) })
	return infos, cursor, nil
}

// newestAt is the newest event that was made at or before a time. Events are
// made shortly before they are stored, and not quite in the log's order.
func (r *Registry) newestAt(ctx context.Context, t time.Time) (uint64, error) {
	from, err := r.events.Since(ctx, t.Add(-clockSlack))
	if err != nil {
		return 0, err
	}
	to, err := r.events.Since(ctx, t.Add(clockSlack))
	if err != nil {
		return 0, err
	}
	from = max(from, 1)
	newest := from - 1
	err = r.scan(ctx, from, to-1, func(seq uint64, e *logpb.RegistryEvent) error {
		if e.GetTime() <= t.UnixNano() {
			newest = seq
		}
		return nil
	})
	return newest, err
}
