package registry

import (
	"context"
	"crypto/rand"
	"errors"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// maxAtomic is how many events the log stores together or not at all.
const maxAtomic = 1000

// step is a command on one PV.
type step struct {
	pv     schema.PVName
	exact  bool // the command is about this name; else an alias stands for its PV
	decide func(view) (*logpb.RegistryEvent, error)
}

// change is a step that became an event.
type change struct {
	index    int // of the step and its result
	proposal streams.Proposal
	seq      uint64 // once it is in the log
}

// submission is one command call on its way.
type submission struct {
	command string
	actor   Actor
	id      string // common to all its events
	steps   []step
	results []Result
	changed []bool // by step: an event was stored
}

// command takes steps through validation, the log and Badger. It returns one
// result per step, in their order.
func (r *Registry) command(ctx context.Context, command string, actor Actor, steps []step) []Result {
	s := &submission{
		command: command, id: rand.Text(), steps: steps,
		actor:   Actor{Name: text(actor.Name), Source: text(actor.Source), Reason: text(actor.Reason)},
		results: make([]Result, len(steps)),
		changed: make([]bool, len(steps)),
	}
	for i := range steps {
		s.results[i].PV = steps[i].pv
		if !steps[i].exact {
			steps[i].pv = r.realName(steps[i].pv)
		}
	}
	if len(steps) > 0 {
		r.submit(ctx, s)
	}
	for i := range steps {
		r.metrics.commands.WithLabelValues(command, outcome(s.results[i].Err, s.changed[i])).Inc()
	}
	return s.results
}

func (r *Registry) submit(ctx context.Context, s *submission) {
	if err := r.ready(); err != nil {
		s.fail(err)
		return
	}
	paths := make([]string, len(s.steps))
	for i, st := range s.steps {
		paths[i] = schema.ChunkKey(st.pv)
	}
	busy, release, err := r.claims.take(ctx, s.command, paths)
	if err != nil {
		s.fail(err)
		return
	}
	defer release()
	var todo []int
	for i, path := range paths {
		if busy[path] {
			s.results[i].Err = schema.Errorf(schema.Conflict, "PV %s: operation already in progress", s.steps[i].pv)
			continue
		}
		todo = append(todo, i)
	}
	// A lost race is tried once more against the state that the winner made.
	todo = r.attempt(ctx, s, todo, false)
	if len(todo) == 0 {
		return
	}
	if err := r.catchUp(ctx); err != nil {
		s.failThese(todo, err)
		return
	}
	for _, i := range r.attempt(ctx, s, todo, true) {
		s.results[i].Err = schema.Errorf(schema.Conflict, "PV %s was changed by somebody else at the same time: look at it and try again", s.steps[i].pv)
	}
}

// ready refuses commands that could not be applied.
func (r *Registry) ready() error {
	select {
	case <-r.stopped:
		return schema.Errorf(schema.Unavailable, "pvlog is stopping")
	case <-r.caughtUp:
	default:
		return schema.Errorf(schema.Unavailable, "the registry is still reading its log: try again in a moment")
	}
	if err := r.Fault(); err != nil {
		return schema.Errorf(schema.Unavailable, "the registry cannot take commands now: %w", err)
	}
	return r.checkRoom()
}

// attempt decides, appends and awaits; it returns the steps that lost a race.
// singly tells losers and the others of their batch apart.
func (r *Registry) attempt(ctx context.Context, s *submission, todo []int, singly bool) []int {
	changes := r.decide(s, todo)
	var lost []int
	var done []change
	for len(changes) > 0 {
		n := min(len(changes), maxAtomic)
		stored, losers, err := r.appendBatch(ctx, changes[:n], singly)
		done = append(done, stored...)
		lost = append(lost, losers...)
		if err != nil {
			s.failUnstored(changes, err)
			break
		}
		changes = changes[n:]
	}
	r.settle(ctx, s, done)
	return lost
}

// appendBatch stores at most maxAtomic changes: all, or none of those it
// returns as lost. singly, those that lose are told from the others by
// appending one by one. With an error the rest of the batch is undecided.
func (r *Registry) appendBatch(ctx context.Context, batch []change, singly bool) (stored []change, lost []int, err error) {
	proposals := make([]streams.Proposal, len(batch))
	for i, c := range batch {
		proposals[i] = c.proposal
	}
	seqs, err := r.events.Append(ctx, proposals...)
	switch {
	case err == nil && len(seqs) == len(batch):
		for i := range batch {
			batch[i].seq = seqs[i]
		}
		return batch, nil, nil
	case err == nil:
		return nil, nil, schema.Errorf(schema.Internal, "the event log stored %d of %d events", len(seqs), len(batch))
	case !errors.Is(err, streams.ErrConflict):
		return nil, nil, notStored(err)
	case !singly || len(batch) == 1:
		for _, c := range batch {
			lost = append(lost, c.index)
		}
		return nil, lost, nil
	}
	for i := range batch {
		one, loser, err := r.appendBatch(ctx, batch[i:i+1], true)
		stored, lost = append(stored, one...), append(lost, loser...)
		if err != nil {
			return stored, lost, err
		}
	}
	return stored, lost, nil
}

// notStored words a failure of the log. The event may stand in it all the
// same: then it comes into force like any other.
func notStored(err error) error {
	if schema.CodeOf(err) != schema.Internal {
		return err
	}
	return schema.Errorf(schema.Unavailable, "the event log did not confirm the change (look at the PV before trying again): %w", err)
}

// decide validates steps against the present state. What two steps of one call
// say about the same PV or path counts in their order; the later is refused.
func (r *Registry) decide(s *submission, todo []int) []change {
	r.mu.RLock()
	defer r.mu.RUnlock()
	now := r.now().UnixNano()
	taken := map[string]schema.PVName{} // paths that an earlier step of this call archives
	named := map[schema.PVName]bool{}
	var changes []change
	for _, i := range todo {
		pv := s.steps[i].pv
		if named[pv] {
			s.results[i].Err = schema.Errorf(schema.Conflict, "PV %s stands twice in the request", pv)
			continue
		}
		v := r.view(pv)
		if other, ok := taken[schema.ChunkKey(pv)]; ok && v.owner == "" {
			v.owner = other
		}
		e, err := s.steps[i].decide(v)
		s.results[i].Err = err
		if err != nil || e == nil {
			continue
		}
		named[pv] = true
		if s.command == commandArchive || s.command == commandDefine {
			taken[schema.ChunkKey(pv)] = pv
		}
		s.complete(e, pv, now)
		changes = append(changes, change{index: i, proposal: streams.Proposal{Event: e, Expect: r.state.records[pv].Sequence}})
	}
	return changes
}

// realName is the PV that a name stands for; a name that is no alias stands
// for itself.
func (r *Registry) realName(pv schema.PVName) schema.PVName {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if real, ok := r.state.real(pv); ok {
		return real
	}
	return pv
}

func (r *Registry) view(pv schema.PVName) view {
	v := view{
		pv: pv, info: r.state.records[pv].Info, flag: r.state.records[pv].Flag,
		lookup:  func(other schema.PVName) *schema.TypeInfo { return r.state.records[other].Info },
		aliases: func(of schema.PVName) int { return len(r.state.aliases[of]) },
	}
	for _, other := range r.state.paths[schema.ChunkKey(pv)] {
		if other != pv {
			v.owner = other
		}
	}
	return v
}

// complete adds what all events carry.
func (s *submission) complete(e *logpb.RegistryEvent, pv schema.PVName, now int64) {
	e.Version = 1
	e.Pv = string(pv)
	e.Time = now
	e.Actor, e.Source, e.Reason = s.actor.Name, s.actor.Source, s.actor.Reason
	e.ChangeId = s.id
}

// catchUp awaits everything that is in the log now.
func (r *Registry) catchUp(ctx context.Context) error {
	last, err := r.events.Last(ctx)
	if err != nil {
		return notStored(err)
	}
	return r.await(ctx, last)
}

func (s *submission) fail(err error) {
	for i := range s.results {
		s.results[i].Err = err
	}
}

func (s *submission) failThese(indices []int, err error) {
	for _, i := range indices {
		s.results[i].Err = err
	}
}

// failUnstored is for changes whose batch failed or that come after it.
func (s *submission) failUnstored(changes []change, err error) {
	for _, c := range changes {
		if c.seq == 0 {
			s.results[c.index].Err = err
		}
	}
}
