package registry

import (
	"context"
	"fmt"
	"slices"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Undo takes one event back: the PV becomes again what it was before. It is an
// event itself, which can be undone too. What its IOC said of the PV in the
// meantime stays. If another command changed the PV since, the result is a
// Conflict that says which event to undo first. Deleted aliases come back with
// their PV; data that was deleted with it does if [Options.Restore] is set.
func (r *Registry) Undo(ctx context.Context, actor Actor, seq uint64) Result {
	e, err := r.event(ctx, seq)
	if err != nil {
		return Result{Err: err}
	}
	pv := schema.PVName(e.GetPv())
	if _, own := pv.ChangeID(); own || pv == "" {
		return Result{PV: pv, Err: schema.Errorf(schema.Invalid, "event %d changed no PV: undo the change %s instead", seq, e.GetChangeId())}
	}
	return r.undo(ctx, order{command: commandUndo}, actor, []item{{pv: pv, undoes: seq}})[0]
}

// event reads one event of the log.
func (r *Registry) event(ctx context.Context, seq uint64) (e *logpb.RegistryEvent, err error) {
	last, err := r.events.Last(ctx)
	if err != nil {
		return nil, notStored(err)
	}
	if seq == 0 || seq > last {
		return nil, schema.Errorf(schema.NotFound, "there is no event %d: the newest is %d", seq, last)
	}
	err = r.scan(ctx, seq, seq, func(_ uint64, found *logpb.RegistryEvent) error {
		e = found
		return nil
	})
	return e, err
}

// UndoChange takes all events of a command back, each as [Registry.Undo] does;
// one result for each PV that the command changed. That of many PVs is a
// command on many PVs itself. The error says why nothing was tried: no event
// has this id, or the command is not through yet.
func (r *Registry) UndoChange(ctx context.Context, actor Actor, id string) ([]Result, error) {
	if err := checkChangeID(id); err != nil {
		return nil, err
	}
	if err := r.ready(); err != nil {
		return nil, err
	}
	from, err := r.before(ctx, id)
	if err != nil {
		return nil, err
	}
	if c, known := r.Change(id); known {
		if c.Closed == 0 {
			return nil, schema.Errorf(schema.Conflict, "change %s is not through yet: wait until it is", id)
		}
		from = c.Opened
	}
	found, _, err := r.eventsOf(ctx, id, from)
	if err != nil {
		return nil, err
	}
	items, later := undoItems(found)
	if len(items) == 0 {
		return nil, schema.Errorf(schema.NotFound, "no event has the change id %s", id)
	}
	return r.undo(ctx, order{command: commandUndo, undone: id, later: later}, actor, items), nil
}

// undoItems are the steps that take events back, newest first. Aliases that
// went or came with their PV do so again by themselves; the others come last,
// from later on, since a PV must be there before its alias is.
func undoItems(found map[schema.PVName]touched) (items []item, later int) {
	var aliases []item
	for pv, t := range found {
		it := item{pv: pv, undoes: t.last}
		target := schema.PVName(t.event.GetAliasRemoved().GetPv() + t.event.GetAliasAdded().GetPv())
		if target == "" || t.registers {
			items = append(items, it)
			continue
		}
		if !found[target].registers {
			aliases = append(aliases, it)
		}
	}
	newestFirst := func(a, b item) int { return int(int64(b.undoes) - int64(a.undoes)) }
	slices.SortFunc(items, newestFirst)
	slices.SortFunc(aliases, newestFirst)
	if len(items) > 0 && len(aliases) > 0 {
		later = len(items)
	}
	return append(items, aliases...), later
}

func (r *Registry) undo(ctx context.Context, o order, actor Actor, items []item) []Result {
	steps := make([]step, len(items))
	for i, it := range items {
		steps[i] = r.undoStep(it)
		steps[i].write = func(view) (item, error) { return it, nil }
	}
	return r.command(ctx, o, actor, steps)
}

// undoStep takes one event of a name back.
func (r *Registry) undoStep(it item) step {
	p := &past{seq: it.undoes}
	st := step{pv: it.pv, exact: true, past: &p}
	st.decide = func(v view) (*logpb.RegistryEvent, error) {
		if p.last != v.sequence {
			return nil, changedMeanwhile(it.pv)
		}
		e, err := decideUndo(v, p)
		if e != nil {
			e.Undoes = it.undoes
		}
		return e, err
	}
	st.also = func(v view) []aside { return backAgain(v, p) }
	st.restore = func(ctx context.Context, e *logpb.RegistryEvent) error { return r.bringBack(ctx, it.pv, p, e) }
	return st
}

// bringBack brings back the data that an event had taken away or converted,
// before the event e takes it back.
func (r *Registry) bringBack(ctx context.Context, pv schema.PVName, p *past, e *logpb.RegistryEvent) (err error) {
	switch {
	case e.GetRetyped() != nil && r.opt.Revert != nil:
		e.GetRetyped().Kept, err = r.opt.Revert(ctx, pv, p.event.GetRetyped().GetKept(), schema.DBRType(e.GetRetyped().GetType()))
		if err != nil {
			return schema.Errorf(schema.CodeOf(err), "PV %s keeps its type: %w", pv, err)
		}
	case e.GetDefined() != nil && p.event.GetJoined() != nil && r.opt.Unjoin != nil:
		if err = r.opt.Unjoin(ctx, pv, p.event.GetJoined().GetKept()); err != nil {
			return schema.Errorf(schema.CodeOf(err), "PV %s stays an alias: its data could not be brought back: %w", pv, err)
		}
	case e.GetDefined() != nil && p.data && r.opt.Restore != nil:
		if err = r.opt.Restore(ctx, pv); err != nil {
			return schema.Errorf(schema.Unavailable, "PV %s stays deleted: its data could not be brought back: %w", pv, err)
		}
	}
	return nil
}

// decideUndo gives the event that makes a name what it was before.
func decideUndo(v view, p *past) (*logpb.RegistryEvent, error) {
	if err := p.refusal(v.pv); err != nil {
		return nil, err
	}
	if p.event.GetFlagSet() != nil {
		return undoFlag(v, p)
	}
	before, after := p.before.Info, p.after.Info
	switch {
	case before == nil && after == nil:
		return nil, already("PV %s: event %d changed nothing", v.pv, p.seq)
	case before == nil && after.State == schema.Alias:
		return removed(after.AliasOf), nil
	case before == nil:
		return deleted(v, false)
	case before.State == schema.Alias && v.registered() && v.info.DBRType != schema.UnknownType:
		return nil, schema.Errorf(schema.Conflict, "PV %s has data of its own again: join it with %s again instead", v.pv, before.AliasOf)
	case before.State == schema.Alias:
		return undoUnalias(v, before.AliasOf)
	case after == nil || after.State == schema.Alias:
		return redefine(v, before)
	}
	return undoBetween(v, p, before, after)
}

func undoFlag(v view, p *past) (*logpb.RegistryEvent, error) {
	value := p.before.Flag != nil && *p.before.Flag
	if v.flag != nil && *v.flag == value {
		return nil, already("event %d changed nothing", p.seq)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_FlagSet{FlagSet: &logpb.FlagSet{Value: value}}}, nil
}

// undoUnalias is decideAlias but for the name, which was good before.
func undoUnalias(v view, target schema.PVName) (*logpb.RegistryEvent, error) {
	if info := v.lookup(target); info == nil || info.State == schema.Alias {
		return nil, schema.Errorf(schema.Conflict, "%s was an alias of %s, which is not being archived any more", v.pv, target)
	}
	return aliasOf(target), nil
}

func aliasOf(target schema.PVName) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_AliasAdded{AliasAdded: &logpb.AliasAdded{Pv: string(target)}}}
}

// redefine registers a PV as it was.
func redefine(v view, was *schema.TypeInfo) (*logpb.RegistryEvent, error) {
	if v.owner != "" {
		return nil, samePath(v)
	}
	d, err := definition(v.pv, Definition{Info: *was})
	if err != nil {
		return nil, fmt.Errorf("PV %s cannot be what it was: %w", v.pv, err)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Defined{Defined: d}}, nil
}

// undoBetween takes back an event of a PV that was registered before and after.
func undoBetween(v view, p *past, before, after *schema.TypeInfo) (*logpb.RegistryEvent, error) {
	e := p.event
	switch {
	case e.GetRetyped() != nil:
		return undoRetype(v, before)
	case e.GetDefined() != nil || e.GetRequested() != nil:
		was := *before
		if p.started || was.DBRType == schema.UnknownType && after.DBRType == schema.UnknownType {
			discovery(&was, v.info)
		}
		return redefine(v, &was)
	case e.GetConfigured() != nil || e.GetParametersChanged() != nil || e.GetStarted() != nil:
		if before.Settings.Equal(v.info.Settings) && before.SkipAliasCheck == v.info.SkipAliasCheck {
			return nil, already("PV %s: event %d changed nothing", v.pv, p.seq)
		}
		return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Configured{Configured: &logpb.PVConfigured{
			Settings: before.Settings.Message(), SkipAliasCheck: before.SkipAliasCheck,
		}}}, nil
	}
	if before.State == v.info.State {
		return nil, already("PV %s: event %d changed nothing", v.pv, p.seq)
	}
	return stateEvent(before.State), nil
}

// stateEvent puts a registered PV into a state.
func stateEvent(s schema.State) *logpb.RegistryEvent {
	switch s {
	case schema.Paused:
		return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}
	case schema.Stopped:
		return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Stopped{Stopped: &logpb.PVStopped{}}}
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Resumed{Resumed: &logpb.PVResumed{}}}
}

// discovery copies what an IOC said of a PV.
func discovery(to, from *schema.TypeInfo) {
	to.DBRType, to.ElementCount, to.Host, to.Units = from.DBRType, from.ElementCount, from.Host, from.Units
	to.Precision, to.Limits, to.Fields = from.Precision, from.Limits, from.Fields
}

// backAgain are the aliases that went with a deleted PV and are free still.
func backAgain(v view, p *past) (events []aside) {
	if info := p.before.Info; info == nil || info.State == schema.Alias {
		return nil
	}
	for _, alias := range p.aliases {
		if name := schema.PVName(alias); v.lookup(name) == nil && name != v.pv {
			events = append(events, aside{name, aliasOf(v.pv)})
		}
	}
	return events
}

// restore lets steps bring back what belongs to a PV; those that cannot are
// refused.
func (r *Registry) restore(ctx context.Context, s *submission, changes []change) []change {
	return slices.DeleteFunc(changes, func(c change) bool {
		st := s.steps[c.index]
		if st.restore == nil {
			return false
		}
		err := st.restore(ctx, c.proposals[0].Event)
		if err != nil {
			s.finish(c.index, err)
		}
		return err != nil
	})
}
