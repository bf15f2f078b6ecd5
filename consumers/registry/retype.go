package registry

import (
	"context"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Retype is a new type of a PV whose files have been converted.
type Retype struct {
	PV    schema.PVName
	Type  schema.DBRType
	Kept  string // folder of the stores' trash with the files as they were
	Lossy bool
}

// Retype gives a paused or stopped PV another type. It begins a generation:
// samples that were received for the former one are never written to its files.
// It is for whoever has converted these, and is called when the new ones are in
// place. Asking for the type that the PV has is a Conflict with [ErrAlready].
func (r *Registry) Retype(ctx context.Context, actor Actor, t Retype) Result {
	return r.command(ctx, order{command: commandRetype}, actor, []step{{
		pv: t.PV, exact: true, decide: func(v view) (*logpb.RegistryEvent, error) { return decideRetype(v, t) },
	}})[0]
}

func decideRetype(v view, t Retype) (*logpb.RegistryEvent, error) {
	switch {
	case !v.registered():
		return nil, unknown("retype", v.pv)
	case !t.Type.Valid():
		return nil, schema.Errorf(schema.Invalid, "PV %s: there is no type %d", v.pv, t.Type)
	case v.info.DBRType == schema.UnknownType:
		return nil, schema.Errorf(schema.Conflict, "PV %s has never connected: it gets its type when it does", v.pv)
	case v.info.State == schema.Archiving:
		return nil, schema.Errorf(schema.Conflict, "Need to pause PV before changing type for %s", v.pv)
	case v.info.DBRType == t.Type:
		return nil, already("PV %s has type %v already", v.pv, t.Type)
	}
	count := 1
	if t.Type.Waveform() { // its IOC tells the number soon
		count = v.info.ElementCount
	}
	return retyped(t, count), nil
}

func retyped(t Retype, count int) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Retyped{Retyped: &logpb.PVRetyped{
		Type: uint32(t.Type), Kept: t.Kept, Lossy: t.Lossy, ElementCount: uint32(count),
	}}}
}

// undoRetype gives a PV the type that it had.
func undoRetype(v view, was *schema.TypeInfo) (*logpb.RegistryEvent, error) {
	if v.info.State == schema.Archiving {
		return nil, schema.Errorf(schema.Conflict, "PV %s is being archived: pause it before its type is changed back", v.pv)
	}
	return retyped(Retype{Type: was.DBRType}, was.ElementCount), nil
}

// Join is a PV that turned out to be another name of a PV.
type Join struct {
	PV   schema.PVName // its name becomes an alias
	Real schema.PVName
	Kept string // folder of the stores' trash with its files

	Pausing bool // of a dry run: the PV would be paused before
}

// Join ends the registration of a paused or stopped PV and lets its name stand
// for another one, whose files have its samples by then: one event, which undo
// takes back as one. A name that stands for that PV already is a Conflict with
// [ErrAlready].
func (r *Registry) Join(ctx context.Context, actor Actor, j Join) Result {
	return r.command(ctx, order{command: commandJoin}, actor, []step{{
		pv: j.PV, exact: true, decide: func(v view) (*logpb.RegistryEvent, error) { return decideJoin(v, j) },
	}})[0]
}

func decideJoin(v view, j Join) (*logpb.RegistryEvent, error) {
	real := v.lookup(j.Real)
	switch {
	case v.info != nil && v.info.State == schema.Alias && v.info.AliasOf == j.Real:
		return nil, already("%s is already an alias of %s", j.PV, j.Real)
	case !v.registered():
		return nil, unknown("join", v.pv)
	case j.Real == j.PV:
		return nil, schema.Errorf(schema.Invalid, "PV %s cannot be joined with itself", j.PV)
	case real == nil:
		return nil, schema.Errorf(schema.NotFound, "PV %s is not being archived: rename %s to it instead", j.Real, j.PV)
	case real.State == schema.Alias:
		return nil, schema.Errorf(schema.Conflict, "%s is itself an alias of %s: join %s with that one", j.Real, real.AliasOf, j.PV)
	case len(v.aliases(v.pv)) > 0:
		return nil, schema.Errorf(schema.Conflict, "PV %s has aliases of its own, such as %s, and cannot become one: remove them first", j.PV, v.aliases(v.pv)[0])
	case v.info.State == schema.Archiving && !j.Pausing:
		return nil, schema.Errorf(schema.Conflict, "PV %s is being archived: pause it before it is joined with %s", j.PV, j.Real)
	case v.info.DBRType != real.DBRType && v.info.DBRType != schema.UnknownType:
		return nil, schema.Errorf(schema.Conflict, "The PVs %s and %s are of different DBR Types (%v and %v): change the type of one first", j.PV, j.Real, v.info.DBRType, real.DBRType)
	}
	return &logpb.RegistryEvent{What: &logpb.RegistryEvent_Joined{Joined: &logpb.PVJoined{Pv: string(j.Real), Kept: j.Kept}}}, nil
}
