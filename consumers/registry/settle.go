package registry

import (
	"context"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// settle awaits the stored changes of a batch and notes their results. The
// error is why they are not in force yet.
func (r *Registry) settle(ctx context.Context, s *submission, batch []int, stored []change) (err error) {
	if len(stored) > 0 {
		err = r.await(ctx, stored[len(stored)-1].seq)
	}
	for _, c := range stored {
		s.changed[c.index] = true
		s.results[c.index].Sequence = c.seq - uint64(len(c.proposals)-1)
		s.finish(c.index, err)
	}
	if err == nil && s.command == commandArchive {
		r.withdraw(ctx, s, stored)
	}
	s.report(batch)
	return err
}

// withdraw undoes an archive that lost a race the log cannot see: another
// server registered a PV of the same path (A:B, A-B) at the same time. Their
// subjects differ, so both were stored; the later one yields.
func (r *Registry) withdraw(ctx context.Context, s *submission, done []change) {
	for _, c := range done {
		pv := s.steps[c.index].pv
		winner := r.elder(pv, c.seq)
		if winner == "" {
			continue
		}
		e := &logpb.RegistryEvent{What: &logpb.RegistryEvent_Deleted{Deleted: &logpb.PVDeleted{}}}
		s.complete(e, pv, r.now().UnixNano())
		e.Reason = text("its files are those of " + string(winner) + ", which was requested at the same time")
		seqs, err := r.events.Append(ctx, streams.Proposal{Event: e, Expect: c.seq})
		if err == nil && len(seqs) == 1 {
			err = r.await(ctx, seqs[0])
		}
		if err != nil {
			r.log.Error("two registered PVs have the same files: delete one of them", "pv", pv, "other", winner, "err", err)
		}
		s.changed[c.index] = false
		s.finish(c.index, schema.Errorf(schema.Conflict,
			"PV %s cannot be archived: its files would be those of %s, which was requested at the same time", pv, winner))
	}
}

// elder names a registered PV of the same path that was requested before seq.
func (r *Registry) elder(pv schema.PVName, seq uint64) schema.PVName {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, other := range r.state.paths[schema.ChunkKey(pv)] {
		if other != pv && r.state.records[other].Requested < seq {
			return other
		}
	}
	return ""
}
