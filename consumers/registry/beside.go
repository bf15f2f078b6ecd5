package registry

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// Change is a command on many PVs: opened before the first of its events is
// stored, closed when it is through. One that is not closed is gone on with at
// the next start.
type Change struct {
	ID      string    `json:"id"`
	Command string    `json:"command"` // archive, pause, ...
	Actor   string    `json:"actor,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Source  string    `json:"source,omitempty"`
	PVs     int       `json:"pvs"`              // that it was asked for
	Opened  uint64    `json:"opened"`           // registry sequence of the opening event
	Time    time.Time `json:"time"`             // of that event
	Closed  uint64    `json:"closed,omitempty"` // registry sequence of the closing event; 0: not yet
	Changed int       `json:"changed,omitempty"`
	Failed  int       `json:"failed,omitempty"`
	Parts   int       `json:"parts,omitempty"` // of the opening event, if it has several
	Have    int       `json:"have,omitempty"`  // of those, in the log
}

// begun reports whether all of what is to do is in the log.
func (c Change) begun() bool { return c.Have == c.Parts }

// stepBeside is record.step for a name that is no PV's.
func (r record) stepBeside(seq uint64, e *logpb.RegistryEvent) record {
	next := r
	next.Sequence = seq
	switch {
	case e.GetChangeOpened() != nil && r.Change != nil:
		more := *r.Change
		more.Have++
		next.Change = &more
	case e.GetChangeOpened() != nil:
		id, _ := schema.PVName(e.GetPv()).ChangeID()
		parts := int(e.GetChangeOpened().GetParts())
		next.Change = &Change{
			Parts: parts, Have: min(parts, 1),
			ID: id, Command: e.GetChangeOpened().GetCommand(), PVs: int(e.GetChangeOpened().GetPvs()),
			Actor: e.GetActor(), Reason: e.GetReason(), Source: e.GetSource(),
			Opened: seq, Time: time.Unix(0, e.GetTime()).UTC(),
		}
	case e.GetChangeClosed() != nil && r.Change != nil:
		closed := *r.Change
		closed.Closed, closed.Changed, closed.Failed = seq, int(e.GetChangeClosed().GetChanged()), int(e.GetChangeClosed().GetFailed())
		next.Change = &closed
	case e.GetFlagSet() != nil:
		value := e.GetFlagSet().GetValue()
		next.Flag = &value
	}
	return next
}

// putBeside keeps the lists of what is no PV.
func (s *state) putBeside(name schema.PVName, old, next record) {
	if flag, ok := name.Flag(); ok && next.Flag != nil {
		s.flags[flag] = *next.Flag
	}
	id, ok := name.ChangeID()
	if !ok || next.Change == nil {
		return
	}
	if old.Change == nil {
		s.changes = append(s.changes, id)
	}
	if next.Change.Closed == 0 {
		s.openChanges[id] = true
	} else {
		delete(s.openChanges, id)
	}
}

// Flags are the named flags that were ever set.
func (r *Registry) Flags() map[string]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return maps.Clone(r.state.flags)
}

// Change is what is known of a command on many PVs by its id. One on at most
// 1,000 PVs is not known by itself; its events carry the id all the same.
func (r *Registry) Change(id string) (Change, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := r.state.records[schema.ChangeName(id)].Change
	if c == nil {
		return Change{}, false
	}
	return *c, true
}

// openChanges are the ids of the changes that are not closed, oldest first.
func (r *Registry) openChanges() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Keys(r.state.openChanges), func(a, b string) int {
		return cmp.Compare(r.state.records[schema.ChangeName(a)].Change.Opened, r.state.records[schema.ChangeName(b)].Change.Opened)
	})
}

// Changes are the newest commands on many PVs, newest first, at most limit.
func (r *Registry) Changes(limit int) []Change {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var list []Change
	for _, id := range r.state.changes {
		list = append(list, *r.state.records[schema.ChangeName(id)].Change)
	}
	slices.SortFunc(list, func(a, b Change) int { return cmp.Compare(b.Opened, a.Opened) })
	return list[:min(len(list), max(limit, 0))]
}
