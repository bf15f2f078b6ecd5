package registry

import (
	"context"
	"fmt"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// deed is what one command did to a name, and whether it is in force: an undo
// takes it back, the undo of that one puts it in force again.
type deed struct {
	first  uint64 // its first event
	latest uint64 // the newest event that did it, took it back or did it again
	live   bool
	id     string // of its change; "" once it was taken back

	// Of the newest event, for people.
	command, actor string
	undoes         uint64
	time           int64

	aliases []string // that went with the PV, if it deleted one
	data    bool     // its data was to go, too
}

// past is the history of a name around one of its events, gathered by visit.
type past struct {
	seq     uint64               // the event
	event   *logpb.RegistryEvent // the event; nil: there is none of this sequence
	before  record               // before the deed that it belongs to
	after   record               // after the event
	started bool                 // an IOC was heard of since
	aliases []string             // that the deed took along
	data    bool                 // the deed was to take the data along
	last    uint64               // newest event of the name
	deeds   []*deed              // in the order of their first events
	own     *deed                // that the event belongs to

	undone      map[uint64]*deed // deeds by the undos of them
	top         uint64           // newest event that was a deed or undid one
	now, newest record           // at the newest event, and before its deed
}

// pastOf reads the history of a name.
func (r *Registry) pastOf(ctx context.Context, pv schema.PVName, seq uint64) (*past, error) {
	p := &past{seq: seq}
	if err := r.events.History(ctx, pv, 0, p.visit); err != nil {
		return nil, notStored(err)
	}
	return p, nil
}

// visit takes the next event of the name.
func (p *past) visit(at uint64, e *logpb.RegistryEvent) error {
	was := p.now
	p.now, _ = stepChecked(p.now, followed{at, e})
	p.last = at
	if e.GetReplayed() != nil { // changes nothing of the PV
		if at == p.seq {
			p.event = e
		}
		return nil
	}
	if e.GetStarted() != nil {
		p.started = p.started || p.event != nil
	}
	if heard(e) || e.GetPv() == "" {
		if at == p.seq {
			p.event = e
		}
		return nil
	}
	d, joined := p.deed(at, e)
	if !joined {
		p.newest = was
		d.aliases, d.data = nil, false
	}
	d.aliases = append(d.aliases, e.GetDeleted().GetAliases()...)
	d.data = d.data || e.GetDeleted().GetData()
	d.latest, d.command, d.actor, d.undoes, d.time = at, commandOf(e), e.GetActor(), e.GetUndoes(), e.GetTime()
	p.top = at
	if at == p.seq {
		p.event, p.own, p.before, p.after = e, d, p.newest, p.now
		p.aliases, p.data = d.aliases, d.data
	}
	return nil
}

// heard reports whether an event is only what an IOC said. One that holds what a
// policy made of that, too, can be undone, as far as the settings go.
func heard(e *logpb.RegistryEvent) bool {
	return e.GetStarted() != nil && e.GetStarted().GetSettings() == nil
}

// deed finds or makes the deed that an event belongs to. Events of one change
// that follow each other on a name are one.
func (p *past) deed(at uint64, e *logpb.RegistryEvent) (d *deed, joined bool) {
	if d = p.find(e.GetUndoes()); d != nil {
		d.live = !d.live
		d.id = ""
		if p.undone == nil {
			p.undone = map[uint64]*deed{}
		}
		p.undone[at] = d
		return d, false
	}
	if n := len(p.deeds); n > 0 && p.deeds[n-1].id != "" && p.deeds[n-1].id == e.GetChangeId() && p.deeds[n-1].latest == p.top {
		return p.deeds[n-1], true
	}
	d = &deed{first: at, live: true, id: e.GetChangeId()}
	p.deeds = append(p.deeds, d)
	return d, false
}

// find is the deed of an event; nil: none is of this sequence.
func (p *past) find(seq uint64) *deed {
	if d := p.undone[seq]; d != nil || seq == 0 {
		return d
	}
	for _, d := range p.deeds {
		if d.first == seq || d.latest == seq {
			return d
		}
	}
	return nil
}

// did is what commands do to a PV, in words.
var did = map[string]string{
	commandArchive: "requested", commandPause: "paused", commandResume: "resumed", commandStop: "stopped", commandDelete: "deleted",
	commandChange: "configured", commandStarted: "configured at its first connection", commandDefine: "defined", commandAlias: "made an alias", commandUnalias: "no alias any more", commandFlag: "set",
	commandRetype: "given another type", commandJoin: "joined with another PV",
}

// String says what was done, who did it and when.
func (d *deed) String() string {
	what := did[d.command]
	switch {
	case d.undoes != 0:
		what = fmt.Sprintf("event %d undone", d.undoes)
	case what == "":
		what = "changed"
	}
	return fmt.Sprintf("%s by %q at %s", what, d.actor, time.Unix(0, d.time).UTC().Format(time.RFC3339))
}

// refusal is why the event cannot be undone as things stand, or nil.
func (p *past) refusal(pv schema.PVName) error {
	if p.event == nil {
		return schema.Errorf(schema.NotFound, "PV %s has no event %d", pv, p.seq)
	}
	if heard(p.event) {
		return schema.Errorf(schema.Invalid, "event %d of PV %s is what its IOC said: there is nothing to undo", p.seq, pv)
	}
	if p.event.GetReplayed() != nil {
		return schema.Errorf(schema.Invalid, "event %d of PV %s tells of replayed samples, which stay in its files: there is nothing to undo", p.seq, pv)
	}
	if p.own.latest != p.seq {
		return schema.Errorf(schema.Conflict, "PV %s: event %d is not the last word on what it did: event %d is (%s): undo that one", pv, p.seq, p.own.latest, p.own)
	}
	var newer *deed
	for _, d := range p.deeds {
		// One that was done and taken back after the event changes nothing now, and
		// what a policy made of a PV ends with its registration.
		settled := d.command == commandStarted && p.before.Info == nil
		if d == p.own || d.latest < p.seq || !d.live && d.first > p.seq || settled {
			continue
		}
		if newer == nil || d.latest > newer.latest {
			newer = d
		}
	}
	if newer != nil {
		return schema.Errorf(schema.Conflict, "PV %s was changed since event %d: undo event %d first (%s)", pv, p.seq, newer.latest, newer)
	}
	return nil
}
