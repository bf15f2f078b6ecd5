package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// begin marks a change as being at work in this process, until end. If it is
// already, running is closed when that has ended.
func (r *Registry) begin(id string) (end func(), running <-chan struct{}) {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	if other := r.working[id]; other != nil {
		return nil, other
	}
	done := make(chan struct{})
	r.working[id] = done
	return func() {
		r.workMu.Lock()
		defer r.workMu.Unlock()
		delete(r.working, id)
		close(done)
	}, nil
}

// handOver leaves a change to Run.
func (r *Registry) handOver(ids ...string) {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	for _, id := range ids {
		r.waiting[id] = true
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// handedOver takes the changes that wait.
func (r *Registry) handedOver() []string {
	r.workMu.Lock()
	defer r.workMu.Unlock()
	var ids []string
	for id := range r.waiting {
		ids = append(ids, id)
	}
	clear(r.waiting)
	return ids
}

// resumeLoop goes on with changes that are open at the start or are handed
// over, and tries again those that meet a fault, until ctx ends.
func (r *Registry) resumeLoop(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-r.caughtUp:
	}
	open := r.openChanges()
	retry := r.retry
	for {
		failed := false
		for _, id := range append(open, r.handedOver()...) {
			err := r.resume(ctx, id, nil)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				failed = true
				r.handOver(id)
				r.log.Warn("a command on many PVs is not through and will be tried again", "change", id, "err", err)
			}
		}
		open = nil
		var again <-chan time.Time
		if failed {
			again = time.After(retry)
			retry = min(2*retry, time.Minute)
		} else {
			retry = r.retry
		}
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-r.handedIn(failed):
		}
	}
}

// handedIn wakes the loop, but not out of a pause after a failure.
func (r *Registry) handedIn(failed bool) <-chan struct{} {
	if failed {
		return nil
	}
	return r.wake
}

// resume carries out what is left of a change; nil if nothing is.
func (r *Registry) resume(ctx context.Context, id string, progress func(int, int, []Result)) error {
	end, err := r.turn(ctx, id)
	if err != nil {
		return err
	}
	defer end()
	if err := r.ready(); err != nil {
		return err
	}
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	c, known := r.Change(id)
	if !known || c.Closed != 0 || c.Command == commandReplay { // which whoever has the samples goes on with
		return nil
	}
	s, err := r.readChange(ctx, c)
	if err != nil {
		return err
	}
	s.actor.Progress = progress
	if c.begun() {
		r.log.Info("a command on many PVs goes on", "change", id, "command", c.Command, "pvs", c.PVs, "left", len(s.open()))
	} else {
		r.log.Warn("a command on many PVs had not begun and is given up", "change", id, "command", c.Command, "pvs", c.PVs)
	}
	open := s.open()
	if err := r.carryOut(ctx, s); err != nil {
		return err
	}
	r.count(s, open)
	return nil
}

// turn waits until nobody else is at work on a change.
func (r *Registry) turn(ctx context.Context, id string) (end func(), err error) {
	for {
		end, running := r.begin(id)
		if running == nil {
			return end, nil
		}
		select {
		case <-running:
		case <-ctx.Done():
			return nil, schema.Errorf(schema.Unavailable, "change %s is at work: %w", id, context.Cause(ctx))
		}
	}
}

// readChange makes the submission of a change again, from the log. PVs that
// have an event of it count as done.
func (r *Registry) readChange(ctx context.Context, c Change) (*submission, error) {
	o := order{command: c.Command}
	var items []item
	refused := map[schema.PVName]error{}
	err := r.events.History(ctx, schema.ChangeName(c.ID), 0, func(_ uint64, e *logpb.RegistryEvent) error {
		if e.GetChangeOpened() == nil || !c.begun() {
			return nil
		}
		m := &logpb.ChangeSteps{}
		if err := unpack(e.GetChangeOpened().GetSteps(), m); err != nil {
			return err
		}
		part, err := itemsOf(c.Command, m)
		items = append(items, part...)
		o.data, o.override, o.undone, o.later = m.GetData(), m.GetOverride(), m.GetUndone(), int(m.GetLater())
		for pv, err := range failureErrors(m.GetRefused()) {
			refused[pv] = err
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the steps of change %s: %w", c.ID, err)
	}
	done, last, err := r.eventsOf(ctx, c.ID, c.Opened)
	if err != nil {
		return nil, err
	}
	s := r.submissionOf(o, c, items, refused)
	for i, st := range s.steps {
		if e, ok := done[st.pv]; ok && !s.done[i] {
			s.changed[i], s.results[i].Sequence = true, e.last
			s.finish(i, nil)
		}
	}
	s.since = last + 1
	return s, nil
}

func (r *Registry) submissionOf(o order, c Change, items []item, refused map[schema.PVName]error) *submission {
	steps := make([]step, 0, len(items)+len(refused))
	for _, it := range items {
		steps = append(steps, r.stepOf(o, it))
	}
	for _, res := range errorsOf(refused) {
		steps = append(steps, step{pv: res.PV})
	}
	s := newSubmission(o, Actor{Name: c.Actor, Source: c.Source, Reason: c.Reason, ChangeID: c.ID}, steps)
	for i := len(items); i < len(steps); i++ {
		s.finish(i, refused[steps[i].pv])
	}
	return s
}

// touched is what a change did to a name.
type touched struct {
	last      uint64               // its last event
	event     *logpb.RegistryEvent // the last one
	registers bool                 // one of them deleted or defined a PV of this name
}

// eventsOf finds the events of a change in the log, by the names of PVs and
// flags, from a sequence to the log's present end, which it gives too.
func (r *Registry) eventsOf(ctx context.Context, id string, from uint64) (found map[schema.PVName]touched, last uint64, err error) {
	found = map[schema.PVName]touched{}
	last, err = r.events.Last(ctx)
	if err != nil {
		return nil, 0, notStored(err)
	}
	err = r.scan(ctx, from, last, func(seq uint64, e *logpb.RegistryEvent) error {
		pv := schema.PVName(e.GetPv())
		if _, own := pv.ChangeID(); e.GetChangeId() != id || own || pv == "" {
			return nil
		}
		registers := found[pv].registers || e.GetDeleted() != nil || e.GetDefined() != nil
		found[pv] = touched{last: seq, event: e, registers: registers}
		return nil
	})
	return found, last, err
}

var errEnd = errors.New("end")

// scan visits the events from one sequence to another.
func (r *Registry) scan(ctx context.Context, from, to uint64, visit func(uint64, *logpb.RegistryEvent) error) error {
	if from > to {
		return nil
	}
	err := r.events.Follow(ctx, from, func(seq uint64, e *logpb.RegistryEvent, _ bool) error {
		if seq > to {
			return errEnd
		}
		if err := visit(seq, e); err != nil {
			return err
		}
		if seq == to {
			return errEnd
		}
		return nil
	})
	if errors.Is(err, errEnd) {
		return nil
	}
	return schema.Errorf(schema.Unavailable, "read events %d to %d: %w", from, to, errors.Join(err, ctx.Err()))
}
