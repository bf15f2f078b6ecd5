package registry

import (
	"context"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// The history of one name is found by the log's index, of many by reading the
// log once: what many is was measured (an index look-up passes over 10 million
// events in a second, a reader over 100,000).
const (
	manyNames = 100
	maxLooked = 50_000 // histories that are held at once
)

// look gives the steps that take something back the history of their names, as
// it is now.
func (r *Registry) look(ctx context.Context, s *submission, todo []int) error {
	var stale []int
	for _, i := range todo {
		if p := s.steps[i].past; p != nil && ((*p).last == 0 || (*p).last != r.sequence(s.steps[i].pv)) {
			stale = append(stale, i)
		}
	}
	if len(stale) >= manyNames {
		return r.lookAhead(ctx, s, stale)
	}
	for _, i := range stale {
		p, err := r.pastOf(ctx, s.steps[i].pv, (*s.steps[i].past).seq)
		if err != nil {
			return err
		}
		*s.steps[i].past = p
	}
	return nil
}

// lookAhead reads the log once for many names: those that are due, and those of
// the next batches.
func (r *Registry) lookAhead(ctx context.Context, s *submission, stale []int) error {
	last, err := r.events.Last(ctx)
	if err != nil {
		return notStored(err)
	}
	wanted := make(map[schema.PVName]*past)
	want := func(i int) {
		p := &past{seq: (*s.steps[i].past).seq}
		*s.steps[i].past, wanted[s.steps[i].pv] = p, p
	}
	for _, i := range stale {
		want(i)
	}
	for i := stale[len(stale)-1] + 1; i < len(s.steps) && len(wanted) < maxLooked; i++ {
		if p := s.steps[i].past; p != nil && (*p).last == 0 && wanted[s.steps[i].pv] == nil {
			want(i)
		}
	}
	return r.scan(ctx, 1, last, func(seq uint64, e *logpb.RegistryEvent) error {
		if p := wanted[schema.PVName(e.GetPv())]; p != nil {
			return p.visit(seq, e)
		}
		return nil
	})
}
