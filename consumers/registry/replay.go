package registry

import (
	"context"
	"errors"
	"math"
	"slices"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// commandReplay is the command of a change that replays samples: it changes
// nothing of how PVs are archived. What it has to do stands in the log before it
// begins, what became of a PV when that is done, and that it is through. Whoever
// replays goes on with it, by these events, after a crash.
const commandReplay = "replay"

// replayTries is how often an event of a PV is offered that others change.
const replayTries = 10

// OpenReplay notes that samples of so many PVs are to be replayed, under the id
// of the actor. An id that is known already gives the change of that id, with
// what it was asked for then; one of another command is a [schema.Conflict].
func (r *Registry) OpenReplay(ctx context.Context, actor Actor, order *logpb.ReplayOrder, pvs int) (Change, error) {
	if err := checkChangeID(actor.ChangeID); err != nil {
		return Change{}, err
	}
	if err := r.ready(); err != nil {
		return Change{}, err
	}
	if c, known := r.Change(actor.ChangeID); known {
		if c.Command != commandReplay {
			return c, schema.Errorf(schema.Conflict, "change %s is another one (%s of %d PVs): use an id of your own", c.ID, c.Command, c.PVs)
		}
		return c, nil
	}
	steps, err := pack(order)
	if err != nil {
		return Change{}, err
	}
	e := &logpb.RegistryEvent{What: &logpb.RegistryEvent_ChangeOpened{ChangeOpened: &logpb.ChangeOpened{Command: commandReplay, Pvs: uint32(pvs), Steps: steps}}}
	if _, err := r.note(ctx, replayOf(actor), e, 0); err != nil {
		return Change{}, err
	}
	c, _ := r.Change(actor.ChangeID)
	return c, nil
}

func replayOf(actor Actor) *submission {
	return newSubmission(order{command: commandReplay}, actor, nil)
}

func (c Change) byActor() Actor {
	return Actor{Name: c.Actor, Source: c.Source, Reason: c.Reason, ChangeID: c.ID}
}

// ReplayOrder is what a replay was asked for.
func (r *Registry) ReplayOrder(ctx context.Context, c Change) (*logpb.ReplayOrder, error) {
	order := &logpb.ReplayOrder{}
	err := r.events.History(ctx, schema.ChangeName(c.ID), 0, func(_ uint64, e *logpb.RegistryEvent) error {
		if opened := e.GetChangeOpened(); opened != nil {
			return unpack(opened.GetSteps(), order)
		}
		return nil
	})
	if err != nil {
		return nil, notStored(err)
	}
	return order, nil
}

// NoteReplayed notes what a replay has made of a PV, durably. A PV that is
// deleted meanwhile has no such event, which is no error.
func (r *Registry) NoteReplayed(ctx context.Context, c Change, pv schema.PVName, done *logpb.SamplesReplayed) error {
	for range replayTries {
		if _, registered := r.Get(pv); !registered {
			return nil
		}
		e := &logpb.RegistryEvent{What: &logpb.RegistryEvent_Replayed{Replayed: done}}
		replayOf(c.byActor()).complete(e, pv, r.now().UnixNano())
		seqs, err := r.events.Append(ctx, streams.Proposal{Event: e, Expect: r.sequence(pv)})
		if err == nil && len(seqs) == 1 {
			return r.await(ctx, seqs[0])
		}
		if !errors.Is(err, streams.ErrConflict) {
			return notStored(err)
		}
		if err := r.catchUp(ctx); err != nil {
			return err
		}
	}
	return schema.Errorf(schema.Conflict, "PV %s is being changed all the time: try again", pv)
}

// Replayed is what a replay has made of PVs until now.
func (r *Registry) Replayed(ctx context.Context, c Change) (map[schema.PVName]*logpb.SamplesReplayed, error) {
	found, _, err := r.eventsOf(ctx, c.ID, c.Opened)
	if err != nil {
		return nil, err
	}
	done := make(map[schema.PVName]*logpb.SamplesReplayed, len(found))
	for pv, t := range found {
		if replayed := t.event.GetReplayed(); replayed != nil {
			done[pv] = replayed
		}
	}
	return done, nil
}

// CloseReplay notes that a replay is through: so many PVs got samples, and so
// many have some that could not be placed.
func (r *Registry) CloseReplay(ctx context.Context, c Change, changed, failed int) error {
	e := &logpb.RegistryEvent{What: &logpb.RegistryEvent_ChangeClosed{ChangeClosed: &logpb.ChangeClosed{Changed: uint32(changed), Failed: uint32(failed)}}}
	_, err := r.note(ctx, replayOf(c.byActor()), e, r.sequence(schema.ChangeName(c.ID)))
	return err
}

// Replays are the replays that were ever begun, newest first.
func (r *Registry) Replays() []Change {
	return slices.DeleteFunc(r.Changes(math.MaxInt), func(c Change) bool { return c.Command != commandReplay })
}
