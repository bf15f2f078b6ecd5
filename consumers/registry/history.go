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
		rec := records[pv].step(seq, e)
		if rec.mayBeTooLong() {
			rec, _, _ = stepEncoded(records[pv], followed{seq, e})
		}
		records[pv] = rec
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

// mayBeTooLong reports whether the encoding of a record could be beyond its
// bound: a byte takes six at most, a number fewer than 40.
func (r record) mayBeTooLong() bool {
	n := 40 * (30 + 2*len(r.Generations))
	if i := r.Info; i != nil {
		n += 6 * (len(i.PV) + len(i.AliasOf) + len(i.SamplingMethod) + len(i.Policy) + len(i.ControllingPV) + len(i.AskedPolicy) +
			len(i.ChunkKey) + len(i.Host) + len(i.Units) + len(i.State))
		for _, list := range [][]string{i.Stores, i.ArchiveFields} {
			for _, s := range list {
				n += 6*len(s) + 3
			}
		}
		for name := range i.Limits {
			n += 6*len(name) + 40
		}
		for name, v := range i.Fields {
			n += 6*(len(name)+len(v)) + 6
		}
	}
	return n+1000 > maxRecordBytes
}
