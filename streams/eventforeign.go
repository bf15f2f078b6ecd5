package streams

import (
	"context"
	"errors"
	"slices"

	"pvlog/schema"
)

// foreignTries is how often a group is tried again behind messages that are no
// events: more may come meanwhile, but whoever floods a subject is not outrun.
const foreignTries = 3

// errIsEvent ends the reading of a subject at an event.
var errIsEvent = errors.New("an event of the PV came")

// behindForeign gives the group with the sequences that its PVs' subjects have
// now, if nothing but messages that are no events (garbage, events of another
// PV) stands between those and the expected ones: what the proposals were
// decided on holds still. Whoever follows the log counts and tells such a
// message and makes nothing of it, so no command could know its sequence, and
// each on that PV would be refused for ever. ok is false for a true race, and if
// the subjects cannot be read.
func (e *EventLog) behindForeign(ctx context.Context, group []Proposal, newest map[string]uint64) (behind []Proposal, ok bool) {
	behind = slices.Clone(group)
	for i, p := range group {
		pv := schema.PVName(p.Event.GetPv())
		last := newest[Subject(RegistryPrefix, pv)]
		if last == p.Expect {
			continue
		}
		if last < p.Expect || !e.onlyForeign(ctx, pv, p.Expect+1) {
			return nil, false
		}
		e.log.metrics.foreign.Inc()
		e.log.log.Warn("messages that are no events of the PV stand on its subject of REGISTRY; a change goes behind them: somebody else has pvlog's credential or wrote into its files",
			"pv", pv, "from", p.Expect+1, "to", last)
		behind[i].Expect, ok = last, true
	}
	return behind, ok
}

// onlyForeign reports whether no message on a PV's subject from a sequence on
// is an event of the PV.
func (e *EventLog) onlyForeign(ctx context.Context, pv schema.PVName, from uint64) bool {
	subject := Subject(RegistryPrefix, pv)
	read := func(_ uint64, data []byte) error {
		if _, err := eventOn(subject, data); err == nil {
			return errIsEvent
		}
		return nil
	}
	for more := true; more; {
		var err error
		if from, more, err = e.readSubject(ctx, subject, from, read); err != nil {
			return false
		}
	}
	return true
}
