package registry

import (
	"context"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// sum is what events add up to, on top of what was there before them.
type sum struct {
	before  map[schema.PVName]held // not changed
	refused func(f followed, problem string)

	records map[schema.PVName]record // of the names that had events
	added   int                      // of these, names that had none before
	last    followed
}

func newSum(before map[schema.PVName]held, refused func(followed, string)) *sum {
	return &sum{before: before, refused: refused, records: map[schema.PVName]record{}}
}

// add takes the next event; one that was handed out before changes nothing.
func (s *sum) add(f followed) {
	if f.seq <= s.last.seq {
		return
	}
	s.last = f
	pv := schema.PVName(f.event.GetPv())
	if pv == "" || len(pv) > maxNameBytes {
		s.refused(f, "the PV's name is empty or too long")
		return
	}
	old, known := s.records[pv]
	if !known {
		var h held
		h, known = s.before[pv]
		old = h.record
	}
	if !known {
		s.added++
	}
	rec, problem := stepChecked(old, f)
	if problem != "" {
		s.refused(f, problem)
	}
	s.records[pv] = rec
}

// meta is what stands beside the records after the last event, but for the sum
// of their hashes.
func (s *sum) meta(before meta) meta {
	before.Version = encodingVersion
	before.Records += s.added
	if s.last.seq != 0 {
		before.Cursor, before.Event = s.last.seq, fingerprint(s.last.event)
	}
	return before
}

// replay adds up the log from its first event to one.
func (r *Registry) replay(ctx context.Context, to uint64, refused func(followed, string)) (*sum, error) {
	s := newSum(nil, refused)
	return s, r.scan(ctx, 1, to, func(seq uint64, e *logpb.RegistryEvent) error {
		s.add(followed{seq, e})
		return nil
	})
}

// fill makes the state of an empty registry from the log's events up to last.
// They are added up in memory and written once for each name: a transaction for
// each thousand events, as when following, takes several times as long. The
// cursor is written last, so that what an interrupted one leaves is no state.
func (r *Registry) fill(ctx context.Context, last uint64) error {
	began := r.now()
	s, err := r.replay(ctx, last, r.refused)
	if err != nil {
		return err
	}
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	if err := r.room(); err != nil {
		return err
	}
	if err := r.store.fill(s.records, s.meta(meta{}), r.room); err != nil {
		return err
	}
	s = nil // what follows takes as much memory again
	st, m, err := r.store.load()
	if err != nil {
		return err
	}
	r.replace(st, m)
	r.metrics.applied.Add(float64(last))
	r.log.Info("the registry's state was made from its log", "events", last, "pvs", st.registered(), "took", r.now().Sub(began).Round(time.Millisecond))
	return nil
}
