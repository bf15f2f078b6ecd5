package registry

import (
	"context"
	"errors"
	"fmt"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// A command on more PVs than go into one atomic batch is a change: what is to
// be done stands in the log before the first batch, and that it is through
// after the last. Whatever ends the command in between (a crash, a caller who
// went away, a full disk), the steps that have no event yet are taken again
// under the same id and by the same actor, until the change is closed.

// bulk is submit for a command on many PVs.
func (r *Registry) bulk(ctx context.Context, s *submission) {
	if c, known := r.Change(s.id); known {
		r.again(ctx, s, c)
		return
	}
	if len(s.steps) > maxSteps {
		s.fail(schema.Errorf(schema.Invalid, "%d PVs in one command: ask for at most %d", len(s.steps), maxSteps))
		return
	}
	end, running := r.begin(s.id)
	if running != nil {
		s.fail(schema.Errorf(schema.Conflict, "change %s has just begun: try again in a moment", s.id))
		return
	}
	defer end()
	items := r.write(s)
	opened, err := r.openChange(ctx, s, items)
	if err != nil {
		s.fail(err)
		r.handOver(s.id) // it may stand in the log all the same
		return
	}
	s.since = opened + 1
	if err := r.carryOut(ctx, s); err != nil {
		r.handOver(s.id)
	}
}

// write gives the steps their lasting form, in which they are carried out too:
// what is done the first time is what is done after a crash. It holds the lock
// for a batch at a time.
func (r *Registry) write(s *submission) (items []item) {
	for todo := s.open(); len(todo) > 0; {
		n := min(len(todo), maxAtomic)
		r.mu.RLock()
		for _, i := range todo[:n] {
			pv := s.steps[i].pv
			it, err := s.steps[i].write(r.view(pv))
			if err != nil {
				s.finish(i, err)
				continue
			}
			it.pv = pv
			items = append(items, it)
			s.steps[i] = r.stepOf(s.order, it)
		}
		r.mu.RUnlock()
		todo = todo[n:]
	}
	return items
}

// openChange notes in the log what is to be done. It gives the sequence of the
// last event of it.
func (r *Registry) openChange(ctx context.Context, s *submission, items []item) (seq uint64, err error) {
	var refused []Result
	for i, done := range s.done {
		if done && !s.twins[i] {
			refused = append(refused, Result{PV: s.steps[i].pv, Err: s.results[i].Err})
		}
	}
	parts, err := packSteps(s.order, items, refused)
	if err != nil {
		return 0, err
	}
	for i, part := range parts {
		opened := &logpb.ChangeOpened{Command: s.command, Pvs: uint32(len(s.steps)), Steps: part}
		if len(parts) > 1 {
			opened.Part, opened.Parts = uint32(i), uint32(len(parts))
		}
		e := &logpb.RegistryEvent{What: &logpb.RegistryEvent_ChangeOpened{ChangeOpened: opened}}
		if seq, err = r.note(ctx, s, e, seq); err != nil {
			return 0, err
		}
	}
	return seq, nil
}

// note appends an event on the change's own name and awaits it.
func (r *Registry) note(ctx context.Context, s *submission, e *logpb.RegistryEvent, expect uint64) (uint64, error) {
	s.complete(e, schema.ChangeName(s.id), r.now().UnixNano())
	seqs, err := r.events.Append(ctx, streams.Proposal{Event: e, Expect: expect})
	if err != nil {
		if errors.Is(err, streams.ErrConflict) {
			return 0, schema.Errorf(schema.Conflict, "change %s is at work elsewhere: try again in a moment: %w", s.id, err)
		}
		return 0, notStored(err)
	}
	if len(seqs) != 1 {
		return 0, schema.Errorf(schema.Internal, "the event log stored %d of 1 events", len(seqs))
	}
	return seqs[0], r.await(ctx, seqs[0])
}

// carryOut takes the open steps of a change and closes it. An error says why it
// is not closed; open steps have it as their result.
func (r *Registry) carryOut(ctx context.Context, s *submission) error {
	err := r.batches(ctx, s, s.open())
	if err == nil {
		err = r.closeChange(ctx, s)
	}
	if err != nil {
		s.fail(goesOn(s.id, err))
	}
	return err
}

func goesOn(id string, err error) error {
	return schema.Errorf(schema.Unavailable, "not yet: change %s goes on by itself as soon as it can (%w)", id, err)
}

// closeChange notes that a change is through.
func (r *Registry) closeChange(ctx context.Context, s *submission) error {
	closed := &logpb.ChangeClosed{}
	var refused []Result
	for i, res := range s.results {
		if s.changed[i] {
			closed.Changed++
		} else if res.Err != nil && !s.twins[i] {
			refused = append(refused, Result{PV: s.steps[i].pv, Err: res.Err})
		}
	}
	closed.Failed = uint32(len(refused) + len(s.twins))
	var err error
	if closed.Failures, err = packFailures(refused); err != nil {
		return err
	}
	e := &logpb.RegistryEvent{What: &logpb.RegistryEvent_ChangeClosed{ChangeClosed: closed}}
	_, err = r.note(ctx, s, e, r.sequence(schema.ChangeName(s.id)))
	if schema.CodeOf(err) != schema.Conflict {
		return err
	}
	if err := r.catchUp(ctx); err != nil { // another server may have closed it
		return err
	}
	if c, _ := r.Change(s.id); c.Closed == 0 {
		return err
	}
	return nil
}

// again is a change that was asked for before: it is awaited or gone on with,
// and gives what it gave.
func (r *Registry) again(ctx context.Context, s *submission, c Change) {
	if c.Command != s.command || c.PVs != len(s.steps) {
		s.fail(schema.Errorf(schema.Conflict, "change %s is another one (%s of %d PVs): use an id of your own", s.id, c.Command, c.PVs))
		return
	}
	if err := r.resume(ctx, s.id, s.actor.Progress); err != nil {
		s.fail(goesOn(s.id, err))
		r.handOver(s.id)
		return
	}
	refused, err := r.refusals(ctx, s.id)
	if err != nil {
		s.fail(err)
		return
	}
	for _, i := range s.open() {
		s.finish(i, refused[s.steps[i].pv])
	}
}

// refusals are why a closed change left PVs as they are.
func (r *Registry) refusals(ctx context.Context, id string) (map[schema.PVName]error, error) {
	m := &logpb.ChangeFailures{}
	err := r.events.History(ctx, schema.ChangeName(id), 0, func(_ uint64, e *logpb.RegistryEvent) error {
		if b := e.GetChangeClosed().GetFailures(); len(b) > 0 {
			return unpack(b, m)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the refusals of change %s: %w", id, err)
	}
	return failureErrors(m), nil
}
