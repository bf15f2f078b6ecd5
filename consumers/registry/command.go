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

// Actor is who asked for a command, for the history.
type Actor struct {
	Name   string // user name, "http", "engine"
	Source string // address it came from
	Reason string // free text
}

// Request asks for a PV to be archived.
type Request struct {
	PV            schema.PVName
	Method        schema.SamplingMethod // "": Monitor
	Period        time.Duration         // 0: 1 s; 0.1 s to 24 h
	Policy        string
	ControllingPV schema.PVName // "": none
	Stores        []string      // plugin URLs; none: the configured stores
}

// Parameters are new sampling parameters of a PV; zero values keep the old.
type Parameters struct {
	PV     schema.PVName
	Method schema.SamplingMethod
	Period time.Duration
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
}

// Result is what became of one PV of a command. Err is nil when the event is
// durable and applied, or when nothing had to change; otherwise a
// [schema.Error] that says why the PV was left as it is.
type Result struct {
	PV  schema.PVName
	Err error
}

// Names of commands: labels of the metric.
const (
	commandArchive = "archive"
	commandPause   = "pause"
	commandResume  = "resume"
	commandStop    = "stop"
	commandDelete  = "delete"
	commandChange  = "change_parameters"
	commandStarted = "started"
)

// Archive registers PVs. A PV that is registered already gives a Conflict with
// [ErrAlready] ("already being archived"); one whose files would be those of
// another registered PV (A:B, A-B, A/B) a Conflict naming that one; a PV that
// another archive command is working on just now a Conflict, too.
func (r *Registry) Archive(ctx context.Context, actor Actor, requests ...Request) []Result {
	steps := make([]step, len(requests))
	for i, q := range requests {
		steps[i] = step{pv: q.PV, decide: func(v view) (*logpb.RegistryEvent, error) { return decideArchive(v, q) }}
	}
	return r.command(ctx, commandArchive, actor, steps)
}

// Pause ends the sampling of PVs until they are resumed.
func (r *Registry) Pause(ctx context.Context, actor Actor, pvs ...schema.PVName) []Result {
	return r.command(ctx, commandPause, actor, each(pvs, decidePause))
}

// Resume lets paused or stopped PVs be sampled again.
func (r *Registry) Resume(ctx context.Context, actor Actor, pvs ...schema.PVName) []Result {
	return r.command(ctx, commandResume, actor, each(pvs, decideResume))
}

// Stop ends the sampling of PVs; registration and data stay.
func (r *Registry) Stop(ctx context.Context, actor Actor, pvs ...schema.PVName) []Result {
	return r.command(ctx, commandStop, actor, each(pvs, decideStop))
}

// Delete ends the registration of paused or stopped PVs. deleteData is carried
// in the event for whoever owns the files.
func (r *Registry) Delete(ctx context.Context, actor Actor, deleteData bool, pvs ...schema.PVName) []Result {
	return r.command(ctx, commandDelete, actor, each(pvs, func(v view) (*logpb.RegistryEvent, error) {
		return decideDelete(v, deleteData)
	}))
}

// ChangeParameters changes sampling method and period. Asking for what is
// already so succeeds without an event.
func (r *Registry) ChangeParameters(ctx context.Context, actor Actor, changes ...Parameters) []Result {
	steps := make([]step, len(changes))
	for i, p := range changes {
		steps[i] = step{pv: p.PV, decide: func(v view) (*logpb.RegistryEvent, error) { return decideParameters(v, p) }}
	}
	return r.command(ctx, commandChange, actor, steps)
}

// Started records what the IOCs say of PVs that connected. There is an event
// only if the PV's type was not known or something differs from what is. A PV
// whose type is another one than the registered is a Conflict and left as it
// is: one odd IOC does not flip a type.
func (r *Registry) Started(ctx context.Context, actor Actor, found ...Discovery) []Result {
	steps := make([]step, len(found))
	for i, d := range found {
		steps[i] = step{pv: d.PV, decide: func(v view) (*logpb.RegistryEvent, error) { return decideStarted(v, d) }}
	}
	return r.command(ctx, commandStarted, actor, steps)
}

func each(pvs []schema.PVName, decide func(view) (*logpb.RegistryEvent, error)) []step {
	steps := make([]step, len(pvs))
	for i, pv := range pvs {
		steps[i] = step{pv: pv, decide: decide}
	}
	return steps
}
