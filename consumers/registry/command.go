package registry

import (
	"context"
	"errors"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// ErrAlready is in the chain of a [schema.Conflict] result when the PV is in
// the asked state already and nothing was done: archive of a registered PV,
// pause of a paused one, resume of a running one, stop of a stopped one. Who
// wants commands that may be repeated takes it for success.
var ErrAlready = errors.New("nothing to do")

// ErrChanged is in the chain of a [schema.Conflict] result when the PV has
// changed since whoever asked had looked at it (see Edit.Expect).
var ErrChanged = errors.New("changed by somebody else")

// Actor is who asked for a command, for the history.
type Actor struct {
	Name   string // user name, "http", "engine"
	Source string // address it came from
	Reason string // free text

	// ChangeID is common to all events of the command: letters, digits, '.',
	// '_' and '-', at most 100, as of [NewChangeID]; "": one is made. A command
	// that is repeated with its id, because its answer was lost, goes on where it
	// was and gives the same results without second events. Two commands with one
	// id are one change to [Registry.UndoChange], if each names at most 1,000 PVs.
	ChangeID string

	// Progress is told the results of each batch once it is in force: how many
	// of all PVs are through, and those that just came through. It is called from
	// another goroutine, never from two at once, and never after the command
	// returned. nil: nobody wants to know.
	Progress func(done, total int, finished []Result)

	// DryRun lets the results say what would become of each PV, and changes
	// nothing. Whoever else is at work may make it come out differently.
	DryRun bool
}

// Request asks for a PV to be archived. Of its settings, the zero value of the
// method is Monitor, of the period 1 s (0.1 s to 24 h are allowed).
type Request struct {
	PV schema.PVName
	schema.Settings
	AskedSampling  bool      // method or period were asked for by somebody
	AskedPolicy    string    // policy that was asked for by name
	Expires        time.Time // given up if it has not connected by then; zero: never
	SkipAliasCheck bool      // what the IOC says of the PV's name does not matter
}

// Parameters are new sampling parameters of a PV; zero values keep the old.
type Parameters struct {
	PV     schema.PVName
	Method schema.SamplingMethod
	Period time.Duration
}

// Edit changes the settings of a PV. Change is given a copy of the present
// ones, perhaps more than once, and may refuse; nil changes none of them.
type Edit struct {
	PV             schema.PVName
	Change         func(*schema.Settings) error
	SkipAliasCheck *bool  // nil keeps what is
	Expect         uint64 // Sequence that the PV must have, or the result is a Conflict with [ErrChanged]; 0: any
}

// Definition states everything about a PV at once. With Override it replaces a
// registered PV, else it must not be registered yet.
type Definition struct {
	Info     schema.TypeInfo
	From     schema.PVName // former name, for a PV that was renamed
	Override bool
}

// Discovery is what a PV's IOC says of it.
type Discovery struct {
	PV    schema.PVName
	Type  schema.DBRType
	Count int    // elements of the native channel
	Host  string // address of the IOC

	// Metadata; if Units is "", Precision 0 and Limits nil it is not known and
	// what was known stays.
	Units     string
	Precision int
	Limits    map[string]float64 // LOPR, HOPR, LOLO, LOW, HIGH, HIHI, DRVL, DRVH

	Fields map[string]string // RTYP, NAME ...; others that are known stay

	// Settle changes the settings by the same event, if anything: what a policy
	// makes of a PV that connects for the first time. It is called as Edit.Change
	// is. What it may not do is told by Result.Unsettled, and the rest is recorded.
	Settle func(*schema.Settings) error
	Why    string // it settles, for the history; "": the actor's reason alone
}

// Result is what became of one PV of a command. Err is nil when the event is
// durable and applied, or when nothing had to change; otherwise a
// [schema.Error] that says why the PV was left as it is.
type Result struct {
	PV       schema.PVName
	Err      error
	Sequence uint64 // of the event that came of it; 0: none
	Would    bool   // of a dry run: an event would have come of it

	Unsettled error // of Started: why the settings stay as they are
}

// Names of commands: labels of the metric.
const (
	commandArchive = "archive"
	commandPause   = "pause"
	commandResume  = "resume"
	commandStop    = "stop"
	commandDelete  = "delete"
	commandChange  = "configure"
	commandStarted = "started"
	commandDefine  = "define"
	commandAlias   = "add_alias"
	commandUnalias = "remove_alias"
	commandFlag    = "set_flag"
	commandExpire  = "expire"
	commandUndo    = "undo"
	commandRetype  = "retype"
	commandJoin    = "join"
)

// Of all commands: more than 1,000 PVs are one change that goes in batches,
// each stored together or not at all (see [Registry.Changes]). A change is gone
// on with after a crash, after its caller went away and when a fault is over;
// what was left of it then has an [schema.Unavailable] result that says so.

// Archive registers PVs. A PV that is registered already gives a Conflict with
// [ErrAlready] ("already being archived"); one whose files would be those of
// another registered PV (A:B, A-B, A/B) a Conflict naming that one; a PV that
// another archive command is working on just now a Conflict, too.
func (r *Registry) Archive(ctx context.Context, actor Actor, requests ...Request) []Result {
	steps := make([]step, len(requests))
	for i, q := range requests {
		requested := func() (*logpb.PVRequested, error) { return request(q.PV, q) }
		steps[i] = step{
			pv:     q.PV,
			decide: func(v view) (*logpb.RegistryEvent, error) { return decideArchive(v, requested) },
			write: func(v view) (it item, err error) {
				it.request, err = requested()
				return it, err
			},
		}
	}
	return r.command(ctx, order{command: commandArchive}, actor, steps)
}

// Pause ends the sampling of PVs until they are resumed.
func (r *Registry) Pause(ctx context.Context, actor Actor, pvs ...schema.PVName) []Result {
	return r.each(ctx, order{command: commandPause}, actor, pvs)
}

// Resume lets paused or stopped PVs be sampled again.
func (r *Registry) Resume(ctx context.Context, actor Actor, pvs ...schema.PVName) []Result {
	return r.each(ctx, order{command: commandResume}, actor, pvs)
}

// Stop ends the sampling of PVs; registration and data stay.
func (r *Registry) Stop(ctx context.Context, actor Actor, pvs ...schema.PVName) []Result {
	return r.each(ctx, order{command: commandStop}, actor, pvs)
}

// Delete ends the registration of paused or stopped PVs; their aliases go with
// them. deleteData is carried in the event for whoever owns the files.
func (r *Registry) Delete(ctx context.Context, actor Actor, deleteData bool, pvs ...schema.PVName) []Result {
	return r.each(ctx, order{command: commandDelete, data: deleteData}, actor, pvs)
}

// each is a command that needs nothing but names.
func (r *Registry) each(ctx context.Context, o order, actor Actor, pvs []schema.PVName) []Result {
	steps := make([]step, len(pvs))
	for i, pv := range pvs {
		steps[i] = r.stepOf(o, item{pv: pv})
		steps[i].write = func(view) (item, error) { return item{}, nil }
	}
	return r.command(ctx, o, actor, steps)
}

// ChangeParameters changes sampling method and period. Asking for what is
// already so succeeds without an event.
func (r *Registry) ChangeParameters(ctx context.Context, actor Actor, changes ...Parameters) []Result {
	edits := make([]Edit, len(changes))
	for i, p := range changes {
		edits[i] = Edit{PV: p.PV, Change: p.change}
	}
	return r.Configure(ctx, actor, edits...)
}

func (p Parameters) change(s *schema.Settings) error {
	if p.Method != "" {
		s.SamplingMethod = p.Method
	}
	if p.Period != 0 {
		s.SamplingPeriod = p.Period
	}
	return nil
}

// Configure changes the settings of PVs. An edit that changes nothing succeeds
// without an event. Of more than 1,000 the edits are made at once, and of each
// PV what they changed is set when its turn comes.
func (r *Registry) Configure(ctx context.Context, actor Actor, edits ...Edit) []Result {
	steps := make([]step, len(edits))
	for i, e := range edits {
		steps[i] = step{
			pv:     e.PV,
			decide: func(v view) (*logpb.RegistryEvent, error) { return decideConfigure(v, e) },
			write:  func(v view) (item, error) { return writeEdit(v, e) },
		}
	}
	return r.command(ctx, order{command: commandChange}, actor, steps)
}

// Define states everything about PVs: an import, or a new name of a PV. In a
// call on more than 1,000 PVs all or none override.
func (r *Registry) Define(ctx context.Context, actor Actor, definitions ...Definition) []Result {
	o := order{command: commandDefine}
	steps := make([]step, len(definitions))
	for i, d := range definitions {
		o.override = definitions[0].Override
		define := func() (*logpb.PVDefined, error) { return definition(d.Info.PV, d) }
		steps[i] = step{
			pv: d.Info.PV, exact: true,
			decide: func(v view) (*logpb.RegistryEvent, error) { return decideDefine(v, d.Override, define) },
			write: func(view) (it item, err error) {
				if d.Override != o.override {
					return it, schema.Errorf(schema.Invalid, "definition of %s: in one command on many PVs all or none override", d.Info.PV)
				}
				it.definition, err = define()
				return it, err
			},
		}
	}
	return r.command(ctx, o, actor, steps)
}

// AddAlias lets names stand for registered PVs. The name of a PV that was
// requested and never connected becomes an alias, that of another one is a
// Conflict.
func (r *Registry) AddAlias(ctx context.Context, actor Actor, aliases ...Alias) []Result {
	return r.alias(ctx, order{command: commandAlias}, actor, aliases)
}

// RemoveAlias lets names stand for nothing any more.
func (r *Registry) RemoveAlias(ctx context.Context, actor Actor, aliases ...Alias) []Result {
	return r.alias(ctx, order{command: commandUnalias}, actor, aliases)
}

func (r *Registry) alias(ctx context.Context, o order, actor Actor, aliases []Alias) []Result {
	steps := make([]step, len(aliases))
	for i, a := range aliases {
		steps[i] = r.stepOf(o, item{pv: a.Alias, target: a.PV})
		steps[i].write = func(view) (item, error) { return item{target: a.PV}, nil }
	}
	return r.command(ctx, o, actor, steps)
}

// SetFlag sets a named flag, which stays over restarts.
func (r *Registry) SetFlag(ctx context.Context, actor Actor, name string, value bool) error {
	return r.command(ctx, order{command: commandFlag}, actor, []step{{pv: schema.FlagName(name), exact: true, decide: func(v view) (*logpb.RegistryEvent, error) {
		return decideFlag(v, name, value)
	}}})[0].Err
}

// Started records what the IOCs say of PVs that connected. There is an event
// only if the PV's type was not known or something differs from what is. A PV
// whose type is another one than the registered is a Conflict and left as it
// is: one odd IOC does not flip a type.
func (r *Registry) Started(ctx context.Context, actor Actor, found ...Discovery) []Result {
	steps := make([]step, len(found))
	unsettled := make([]error, len(found))
	for i, d := range found {
		steps[i] = step{pv: d.PV, decide: func(v view) (e *logpb.RegistryEvent, err error) {
			e, unsettled[i], err = decideStarted(v, d)
			return e, err
		}}
	}
	results := r.command(ctx, order{command: commandStarted}, actor, steps)
	for i := range results {
		results[i].Unsettled = unsettled[i]
	}
	return results
}
