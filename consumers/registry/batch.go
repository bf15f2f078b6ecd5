package registry

import (
	"context"
	"errors"
	"slices"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// maxRounds bounds how often a batch is decided anew because others changed
// PVs of it at the same time.
const maxRounds = 10

// change is a step that became an event, perhaps with some of other names.
type change struct {
	index     int // of the step and its result
	proposals []streams.Proposal
	seq       uint64 // of the last of them, once they are in the log
}

// batches works through steps, at most maxAtomic at a time; while a batch is
// applied the next one is decided and appended. PVs are claimed by the batch,
// so that other commands get through between. An error means that what is open
// could not be tried.
func (r *Registry) batches(ctx context.Context, s *submission, todo []int) error {
	var settled chan error // of the batch before
	wait := func() error {
		if settled == nil {
			return nil
		}
		err := <-settled
		settled = nil
		return err
	}
	for len(todo) > 0 {
		n, apart := s.next(todo)
		if apart {
			if err := wait(); err != nil {
				return err
			}
		}
		batch := todo[:n]
		stored, release, err := r.batch(ctx, s, batch)
		err = errors.Join(wait(), err)
		settled = make(chan error, 1)
		go func(out chan error) {
			err := r.settle(ctx, s, batch, stored)
			release()
			out <- err
		}(settled)
		if err != nil {
			return errors.Join(err, wait())
		}
		todo = todo[n:]
	}
	return wait()
}

// next is how many steps make the next batch. One that builds on the batch
// before waits for it: aliases need the PVs that an undo brings back.
func (s *submission) next(todo []int) (n int, apart bool) {
	n = min(len(todo), maxAtomic)
	if s.later > 0 && todo[0] < s.later {
		for n > 1 && todo[n-1] >= s.later {
			n--
		}
	}
	return n, s.later > 0 && todo[0] >= s.later
}

// batch claims and stores at most maxAtomic steps. Whoever calls it releases.
func (r *Registry) batch(ctx context.Context, s *submission, todo []int) (stored []change, release func(), err error) {
	paths := make([]string, len(todo))
	for k, i := range todo {
		paths[k] = schema.ChunkKey(s.steps[i].pv)
	}
	busy, release, err := r.claims.take(ctx, s.command, paths)
	if err != nil {
		return nil, func() {}, err
	}
	free := make([]int, 0, len(todo))
	for k, i := range todo {
		if busy[paths[k]] {
			s.finish(i, s.busy(s.steps[i].pv, paths[k]))
			continue
		}
		free = append(free, i)
	}
	stored, err = r.rounds(ctx, s, free)
	return stored, release, err
}

// busy is why a PV cannot be archived just now; the other archive may be of
// this very call.
func (s *submission) busy(pv schema.PVName, path string) error {
	if _, ok := s.named[pv]; ok {
		return twice(pv)
	}
	if other, ok := s.taken[path]; ok {
		return samePath(view{pv: pv, owner: other})
	}
	return schema.Errorf(schema.Conflict, "PV %s: operation already in progress", pv)
}

// rounds decides and appends until nothing is left. Who loses a race is decided
// again with the state that the winner made, and refused at the second time.
func (r *Registry) rounds(ctx context.Context, s *submission, todo []int) (stored []change, err error) {
	lost := map[int]bool{}
	for range maxRounds {
		if todo, err = r.prepare(ctx, s, todo); err != nil {
			return stored, err
		}
		left := r.restore(ctx, s, r.decide(s, todo))
		n, err := r.append(ctx, left)
		stored, left = append(stored, left[:n]...), left[n:]
		if len(left) == 0 && err == nil {
			return stored, nil
		}
		if !errors.Is(err, streams.ErrConflict) {
			return stored, err
		}
		if err := r.catchUp(ctx); err != nil {
			return stored, err
		}
		todo = r.yield(s, left, lost)
	}
	for _, i := range todo {
		s.finish(i, changedMeanwhile(s.steps[i].pv))
	}
	return stored, nil
}

func changedMeanwhile(pv schema.PVName) error {
	return schema.Errorf(schema.Conflict, "PV %s was changed by somebody else at the same time: look at it and try again", pv)
}

// prepare leaves out the steps that have an event of this change already, and
// lets the others read what they need.
func (r *Registry) prepare(ctx context.Context, s *submission, todo []int) ([]int, error) {
	touched, err := r.touched(ctx, s, todo)
	if err != nil {
		return nil, err
	}
	rest := make([]int, 0, len(todo))
	for _, i := range todo {
		if seq, ok := touched[s.steps[i].pv]; ok {
			s.changed[i], s.results[i].Sequence = true, seq
			s.finish(i, nil)
			continue
		}
		rest = append(rest, i)
	}
	return rest, r.look(ctx, s, rest)
}

// touched finds the events that a change gave to PVs before this try of it.
func (r *Registry) touched(ctx context.Context, s *submission, todo []int) (map[schema.PVName]uint64, error) {
	if s.since == 0 {
		return nil, nil
	}
	var suspects []schema.PVName
	for _, i := range todo {
		if pv := s.steps[i].pv; r.sequence(pv) >= s.since {
			suspects = append(suspects, pv)
		}
	}
	found := map[schema.PVName]uint64{}
	note := func(seq uint64, e *logpb.RegistryEvent) error {
		if e.GetChangeId() == s.id && commandOf(e) == s.command {
			found[schema.PVName(e.GetPv())] = seq
		}
		return nil
	}
	if len(suspects) >= manyNames {
		return found, r.scan(ctx, s.since, r.Cursor(), note)
	}
	for _, pv := range suspects {
		if err := r.events.History(ctx, pv, s.since, note); err != nil {
			return nil, notStored(err)
		}
	}
	return found, nil
}

// commandOf is the command that an event came of. Several may have one id.
func commandOf(e *logpb.RegistryEvent) string {
	if e.GetUndoes() != 0 {
		return commandUndo
	}
	switch e.GetWhat().(type) {
	case *logpb.RegistryEvent_Requested:
		return commandArchive
	case *logpb.RegistryEvent_Started:
		return commandStarted
	case *logpb.RegistryEvent_Paused:
		return commandPause
	case *logpb.RegistryEvent_Resumed:
		return commandResume
	case *logpb.RegistryEvent_Stopped:
		return commandStop
	case *logpb.RegistryEvent_Deleted:
		return commandDelete
	case *logpb.RegistryEvent_Configured, *logpb.RegistryEvent_ParametersChanged:
		return commandChange
	case *logpb.RegistryEvent_Defined:
		return commandDefine
	case *logpb.RegistryEvent_AliasAdded:
		return commandAlias
	case *logpb.RegistryEvent_AliasRemoved:
		return commandUnalias
	case *logpb.RegistryEvent_FlagSet:
		return commandFlag
	case *logpb.RegistryEvent_Retyped:
		return commandRetype
	case *logpb.RegistryEvent_Joined:
		return commandJoin
	}
	return ""
}

func (r *Registry) sequence(pv schema.PVName) uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state.records[pv].Sequence
}

// append stores changes in atomic groups and returns how many. The error is
// streams.ErrConflict when the group behind those lost a race.
func (r *Registry) append(ctx context.Context, changes []change) (n int, err error) {
	for n < len(changes) {
		var proposals []streams.Proposal
		end := n
		for end < len(changes) && len(proposals)+len(changes[end].proposals) <= maxAtomic {
			proposals = append(proposals, changes[end].proposals...)
			end++
		}
		seqs, err := r.events.Append(ctx, proposals...)
		switch {
		case errors.Is(err, streams.ErrConflict):
			return n, err
		case err != nil:
			return n, notStored(err)
		case len(seqs) != len(proposals):
			return n, schema.Errorf(schema.Internal, "the event log stored %d of %d events", len(seqs), len(proposals))
		}
		for k := 0; n < end; n++ {
			k += len(changes[n].proposals)
			changes[n].seq = seqs[k-1]
		}
	}
	return n, nil
}

// notStored words a failure of the log. The event may stand in it all the
// same: then it comes into force like any other.
func notStored(err error) error {
	if schema.CodeOf(err) != schema.Internal {
		return err
	}
	return schema.Errorf(schema.Unavailable, "the event log did not confirm the change (look at the PV before trying again): %w", err)
}

// yield gives the steps of a group that lost a race and of those behind it; who
// has lost before is refused, and all are if nobody can be told to have lost.
func (r *Registry) yield(s *submission, left []change, lost map[int]bool) (todo []int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	told := false
	for _, c := range left {
		loser := false
		for _, p := range c.proposals {
			loser = loser || r.state.records[schema.PVName(p.Event.GetPv())].Sequence != p.Expect
		}
		told = told || loser
		if loser && lost[c.index] {
			s.finish(c.index, changedMeanwhile(s.steps[c.index].pv))
			continue
		}
		lost[c.index] = lost[c.index] || loser
		todo = append(todo, c.index)
	}
	if told {
		return todo
	}
	for _, i := range todo {
		s.finish(i, changedMeanwhile(s.steps[i].pv))
	}
	return nil
}

func twice(pv schema.PVName) error {
	return schema.Errorf(schema.Conflict, "PV %s stands twice in the request", pv)
}

// decide validates steps against the present state. What two steps of one call
// say about the same PV or path counts in their order; the later is refused.
func (r *Registry) decide(s *submission, todo []int) []change {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := r.now().UnixNano()
	changes := make([]change, 0, len(todo))
	for _, i := range todo {
		st := s.steps[i]
		if k, named := s.named[st.pv]; named && k != i {
			s.twins[i] = true
			s.finish(i, twice(st.pv))
			continue
		}
		v := r.view(st.pv)
		path := schema.ChunkKey(st.pv)
		if other, ok := s.taken[path]; ok && other != st.pv && v.owner == "" {
			v.owner = other
		}
		e, err := st.decide(v)
		if err != nil || e == nil {
			s.finish(i, err)
			continue
		}
		if e.GetRequested() != nil || e.GetDefined() != nil {
			s.taken[path] = st.pv
		}
		changes = append(changes, change{index: i, proposals: r.propose(s, i, v, e, now)})
	}
	return changes
}

// propose completes the event of a step and those that go with it, but for
// names that have a step of their own.
func (r *Registry) propose(s *submission, i int, v view, e *logpb.RegistryEvent, now int64) []streams.Proposal {
	st := s.steps[i]
	own := func(pv schema.PVName) bool {
		k, named := s.named[pv]
		return named && k != i
	}
	if d := e.GetDeleted(); d != nil {
		d.Aliases = slices.DeleteFunc(d.Aliases, func(alias string) bool { return own(schema.PVName(alias)) })
	}
	events := []aside{{st.pv, e}}
	for _, alias := range e.GetDeleted().GetAliases() {
		events = append(events, aside{schema.PVName(alias), removed(st.pv)})
	}
	if st.also != nil {
		events = append(events, slices.DeleteFunc(st.also(v), func(a aside) bool { return own(a.pv) })...)
	}
	proposals := make([]streams.Proposal, len(events))
	for k, a := range events {
		s.named[a.pv] = i
		s.complete(a.event, a.pv, now)
		proposals[k] = streams.Proposal{Event: a.event, Expect: r.state.records[a.pv].Sequence}
	}
	return proposals
}

func removed(pv schema.PVName) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_AliasRemoved{AliasRemoved: &logpb.AliasRemoved{Pv: string(pv)}}}
}

func (r *Registry) view(pv schema.PVName) view {
	v := view{
		pv: pv, info: r.state.records[pv].Info, flag: r.state.records[pv].Flag, sequence: r.state.records[pv].Sequence,
		lookup:  func(other schema.PVName) *schema.TypeInfo { return r.state.records[other].Info },
		aliases: func(of schema.PVName) []schema.PVName { return r.state.aliases[of] },
	}
	for _, other := range r.state.paths[schema.ChunkKey(pv)] {
		if other != pv {
			v.owner = other
		}
	}
	return v
}
