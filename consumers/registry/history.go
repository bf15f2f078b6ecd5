package registry

import (
	"context"
	"errors"
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
// Alias). cursor is the sequence of that event. A name that had no event since
// is taken as it is now; for the others the log is read again, from its
// beginning if they are many.
func (r *Registry) At(ctx context.Context, t time.Time) (infos []*schema.TypeInfo, cursor uint64, err error) {
	if cursor, err = r.newestAt(ctx, t); err != nil {
		return nil, 0, err
	}
	infos, others := r.unchangedSince(cursor)
	changed, err := r.recall(ctx, others, cursor)
	if err != nil {
		return nil, 0, err
	}
	for pv, rec := range changed {
		if rec.Info != nil && !pv.Beside() {
			infos = append(infos, rec.Info)
		}
	}
	slices.SortFunc(infos, func(a, b *schema.TypeInfo) int { return compareNames(a.PV, b.PV) })
	return infos, cursor, nil
}

// unchangedSince are the infos of the names without events behind a sequence,
// and the other names that had events; nil if the sequence is still to be
// applied here, so that nobody knows.
func (r *Registry) unchangedSince(seq uint64) (infos []*schema.TypeInfo, others map[schema.PVName]bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.meta.Cursor < seq {
		return nil, nil
	}
	others = map[schema.PVName]bool{}
	for pv, h := range r.state.records {
		switch {
		case pv.Beside():
		case h.Sequence > seq:
			others[pv] = true
		case h.Info != nil:
			infos = append(infos, h.Info)
		}
	}
	return infos, others
}

// recall reads what names were after the event of a sequence; nil: all names.
func (r *Registry) recall(ctx context.Context, names map[schema.PVName]bool, seq uint64) (map[schema.PVName]record, error) {
	s := newSum(nil, func(followed, string) {}) // told when it was followed
	if names == nil || len(names) >= manyNames {
		err := r.scan(ctx, 1, seq, func(at uint64, e *logpb.RegistryEvent) error {
			if names == nil || names[schema.PVName(e.GetPv())] {
				s.add(followed{at, e})
			}
			return nil
		})
		return s.records, err
	}
	for pv := range names {
		s.last = followed{} // each name's events begin anew
		err := r.events.History(ctx, pv, 0, func(at uint64, e *logpb.RegistryEvent) error {
			if at > seq {
				return errEnd
			}
			s.add(followed{at, e})
			return nil
		})
		if err != nil && !errors.Is(err, errEnd) {
			return nil, notStored(err)
		}
	}
	return s.records, nil
}

// newestAt is the newest event that was made at or before a time. Events are
// made shortly before they are stored, and not quite in the log's order. It is
// looked for from the end, in steps that grow: of a bulk command there may be
// many around that time.
func (r *Registry) newestAt(ctx context.Context, t time.Time) (newest uint64, err error) {
	from, err := r.events.Since(ctx, t.Add(-clockSlack))
	if err != nil {
		return 0, err
	}
	end, err := r.events.Since(ctx, t.Add(clockSlack))
	if err != nil {
		return 0, err
	}
	from = max(from, 1)
	for step := uint64(10); newest == 0 && end > from && err == nil; step *= 10 {
		begin := max(from, end-min(step, end))
		err = r.scan(ctx, begin, end-1, func(seq uint64, e *logpb.RegistryEvent) error {
			if e.GetTime() <= t.UnixNano() {
				newest = seq
			}
			return nil
		})
		end = begin
	}
	return max(newest, from-1), err
}
