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
	id     string // of its change
	words  string // of the newest event, for people

	aliases []string // that went with the PV, if it deleted one
	data    bool     // its data was to go, too
}

// past is the history of a name around one of its events.
type past struct {
	seq     uint64               // the event
	event   *logpb.RegistryEvent // the event; nil: there is none of this sequence
	before  record               // before the deed that it belongs to
	after   record               // after the event
	started bool                 // an IOC was heard of since
	aliases []string             // that the deed took along
	data    bool                 // the deed was to take the data along
	last    uint64               // newest event of the name

	deeds map[uint64]*deed // by the sequence of its first event
	roots map[uint64]*deed // by the sequence of any event of it
}

// pastOf reads the history of a name.
func (r *Registry) pastOf(ctx context.Context, pv schema.PVName, seq uint64) (*past, error) {
	p := &past{seq: seq, deeds: map[uint64]*deed{}, roots: map[uint64]*deed{}}
	var now, before record
	var newest *deed
	err := r.events.History(ctx, pv, 0, func(at uint64, e *logpb.RegistryEvent) error {
		was := now
		now, _, _ = stepEncoded(now, followed{at, e})
		p.last = at
		if e.GetStarted() != nil || e.GetPv() == "" {
			p.started = p.started || p.event != nil
			if at != seq {
				return nil
			}
		}
		d, joined := p.deed(at, e, newest)
		if !joined {
			before = was
		}
		if at == seq {
			p.event, p.before, p.after = e, before, now
			p.aliases, p.data = d.aliases, d.data
		}
		newest = d
		return nil
	})
	if err != nil {
		return nil, notStored(err)
	}
	return p, nil
}

// deed finds or makes the deed that an event belongs to. Events of one change
// that follow each other on a name are one.
func (p *past) deed(at uint64, e *logpb.RegistryEvent, newest *deed) (d *deed, joined bool) {
	d = p.roots[e.GetUndoes()]
	switch {
	case d != nil:
		d.live = !d.live
		d.id = ""
	case newest != nil && newest.id != "" && newest.id == e.GetChangeId():
		d, joined = newest, true
	default:
		d = &deed{first: at, live: true, id: e.GetChangeId()}
		p.deeds[at] = d
	}
	if !joined {
		d.aliases, d.data = nil, false
	}
	d.aliases = append(d.aliases, e.GetDeleted().GetAliases()...)
	d.data = d.data || e.GetDeleted().GetData()
	d.latest, d.words = at, describe(e)
	p.roots[at] = d
	return d, joined
}

// deeds are what commands do to a PV, in words.
var deeds = map[string]string{
	commandArchive: "requested", commandPause: "paused", commandResume: "resumed", commandStop: "stopped", commandDelete: "deleted",
	commandChange: "configured", commandDefine: "defined", commandAlias: "made an alias", commandUnalias: "no alias any more", commandFlag: "set",
}

// describe says of an event what, who and when.
func describe(e *logpb.RegistryEvent) string {
	what := deeds[commandOf(e)]
	switch {
	case e.GetUndoes() != 0:
		what = fmt.Sprintf("event %d undone", e.GetUndoes())
	case what == "":
		what = "changed"
	}
	return fmt.Sprintf("%s by %q at %s", what, e.GetActor(), time.Unix(0, e.GetTime()).UTC().Format(time.RFC3339))
}

// refusal is why the event cannot be undone as things stand, or nil.
func (p *past) refusal(pv schema.PVName) error {
	if p.event == nil {
		return schema.Errorf(schema.NotFound, "PV %s has no event %d", pv, p.seq)
	}
	if p.event.GetStarted() != nil {
		return schema.Errorf(schema.Invalid, "event %d of PV %s is what its IOC said: there is nothing to undo", p.seq, pv)
	}
	own := p.roots[p.seq]
	if own.latest != p.seq {
		return schema.Errorf(schema.Conflict, "PV %s: event %d is not the last word on what it did: event %d is (%s): undo that one", pv, p.seq, own.latest, own.words)
	}
	var newer *deed
	for _, d := range p.deeds {
		// One that was done and taken back after the event changes nothing now.
		if d == own || d.latest < p.seq || !d.live && d.first > p.seq {
			continue
		}
		if newer == nil || d.latest > newer.latest {
			newer = d
		}
	}
	if newer != nil {
		return schema.Errorf(schema.Conflict, "PV %s was changed since event %d: undo event %d first (%s)", pv, p.seq, newer.latest, newer.words)
	}
	return nil
}
