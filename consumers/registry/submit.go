package registry

import (
	"context"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// maxAtomic is how many events the log stores together or not at all. A
// command on more PVs is a change: see change.go.
const maxAtomic = 1000

// step is a command on one PV.
type step struct {
	pv     schema.PVName
	exact  bool // the command is about this name; else an alias stands for its PV
	decide func(view) (*logpb.RegistryEvent, error)

	// For some commands only.
	write   func(view) (item, error)                          // the step as a change holds it; nil: the command is never a change
	past    **past                                            // what decide needs beside the state; see look
	also    func(view) []aside                                // events of other names that go with the decided one
	restore func(context.Context, *logpb.RegistryEvent) error // before the decided event is stored
}

// aside is an event of another name than the step's.
type aside struct {
	pv    schema.PVName
	event *logpb.RegistryEvent
}

// submission is one command call on its way.
type submission struct {
	order
	actor    Actor
	id       string // common to all its events
	given    bool   // the id came from the caller: this may be a retry
	steps    []step
	results  []Result
	changed  []bool                // by step: an event was stored
	done     []bool                // by step: its result stands
	named    map[schema.PVName]int // PVs of which a step of this call made an event
	twins    map[int]bool          // later steps on those
	finished int                   // results that were reported as progress
	since    uint64                // behind this sequence may stand events of the same change; 0: nowhere

	// Paths that steps of this call registered, so that A:B and A-B of one call
	// are told apart before the first is applied.
	taken map[string]schema.PVName
}

func newSubmission(o order, actor Actor, steps []step) *submission {
	s := &submission{
		order: o, id: actor.ChangeID, given: actor.ChangeID != "", steps: steps,
		actor: Actor{Name: text(actor.Name), Source: text(actor.Source), Reason: text(actor.Reason), Progress: actor.Progress},
		taken: map[string]schema.PVName{}, named: map[schema.PVName]int{}, twins: map[int]bool{},
	}
	s.results = make([]Result, len(steps))
	s.changed, s.done = make([]bool, len(steps)), make([]bool, len(steps))
	for i := range steps {
		s.results[i].PV = steps[i].pv
	}
	return s
}

// command takes steps through validation, the log and Badger. It returns one
// result per step, in their order.
func (r *Registry) command(ctx context.Context, o order, actor Actor, steps []step) []Result {
	s := newSubmission(o, actor, steps)
	if s.id == "" {
		s.id = NewChangeID(r.now())
	}
	r.realNames(steps)
	if actor.DryRun {
		r.rehearse(ctx, s)
		return s.results
	}
	if len(steps) > 0 {
		r.submit(ctx, s)
	}
	r.count(s, s.every())
	return s.results
}

func (r *Registry) count(s *submission, steps []int) {
	for _, i := range steps {
		r.metrics.commands.WithLabelValues(s.command, outcome(s.results[i].Err, s.changed[i])).Inc()
	}
}

func (r *Registry) submit(ctx context.Context, s *submission) {
	if err := r.ready(); err != nil {
		s.fail(err)
		return
	}
	if err := checkChangeID(s.id); err != nil {
		s.fail(err)
		return
	}
	if len(s.steps) > maxAtomic && s.steps[0].write != nil {
		r.bulk(ctx, s)
		return
	}
	var err error
	if s.given {
		s.since, err = r.before(ctx, s.id)
	}
	if err == nil {
		err = r.batches(ctx, s, s.open())
	}
	if err != nil {
		s.fail(err)
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

// realNames puts PVs in the place of aliases; a name that is no alias stands
// for itself.
func (r *Registry) realNames(steps []step) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := range steps {
		if steps[i].exact {
			continue
		}
		if real, ok := r.state.real(steps[i].pv); ok {
			steps[i].pv = real
		}
	}
}

func (s *submission) every() []int {
	every := make([]int, len(s.steps))
	for i := range every {
		every[i] = i
	}
	return every
}

// finish is the last word on a step.
func (s *submission) finish(i int, err error) {
	s.done[i], s.results[i].Err = true, err
}

// open are the steps whose results do not stand yet.
func (s *submission) open() []int {
	var open []int
	for i, done := range s.done {
		if !done {
			open = append(open, i)
		}
	}
	return open
}

// fail is the result of all steps that have none.
func (s *submission) fail(err error) {
	for _, i := range s.open() {
		s.finish(i, err)
	}
}

// report tells who asked how far the command is. Calls come one at a time.
func (s *submission) report(batch []int) {
	finished := make([]Result, 0, len(batch))
	for _, i := range batch {
		if s.done[i] {
			finished = append(finished, s.results[i])
		}
	}
	s.finished += len(finished)
	if s.actor.Progress != nil && len(finished) > 0 {
		s.actor.Progress(s.finished, len(s.steps), finished)
	}
}

// complete adds what all events carry.
func (s *submission) complete(e *logpb.RegistryEvent, pv schema.PVName, now int64) {
	e.Version = 1
	e.Pv = string(pv)
	e.Time = now
	e.Actor, e.Source = s.actor.Name, s.actor.Source
	if e.Reason == "" {
		e.Reason = s.actor.Reason
	}
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
