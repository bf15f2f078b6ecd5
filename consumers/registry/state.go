package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"pvlog/schema"
)

// held is a record with the hash of its encoding, which [meta] sums up.
type held struct {
	record
	hash uint64
}

// state is everything in memory, as Badger has it. It knows no lock.
type state struct {
	records map[schema.PVName]held
	paths   map[string][]schema.PVName // registered PVs by ChunkKey; more than one only after a race of two servers
	counts  map[schema.State]int
	sorted  []schema.PVName                   // names of registered PVs and aliases, but for what fresh and gone say
	fresh   []schema.PVName                   // names that came since, in no order
	gone    bool                              // names went since
	aliases map[schema.PVName][]schema.PVName // by the PV that they stand for, sorted
	flags   map[string]bool
	changes []string // ids of commands on many PVs, in no order

	openChanges map[string]bool // ids of those that are not closed
	deadlines   deadlines       // of requests with a time limit
}

func newState() state {
	return state{
		records: map[schema.PVName]held{},
		paths:   map[string][]schema.PVName{},
		counts:  map[schema.State]int{},
		aliases: map[schema.PVName][]schema.PVName{},
		flags:   map[string]bool{},

		openChanges: map[string]bool{},
	}
}

func (s *state) put(pv schema.PVName, h held) {
	old := s.records[pv]
	s.records[pv] = h
	if pv.Beside() {
		s.putBeside(pv, old.record, h.record)
		return
	}
	s.index(pv, old.Info, h.Info)
	s.limit(pv, old.Info, h.Info)
	switch {
	case old.Info == nil && h.Info != nil:
		s.fresh = append(s.fresh, pv)
	case old.Info != nil && h.Info == nil:
		s.gone = true
	}
}

// index moves a name from one place to another in the maps beside records.
func (s *state) index(pv schema.PVName, old, next *schema.TypeInfo) {
	if old != nil {
		s.counts[old.State]--
		if s.counts[old.State] == 0 {
			delete(s.counts, old.State)
		}
	}
	if next != nil {
		s.counts[next.State]++
	}
	oldPath, oldTarget := indexed(old)
	path, target := indexed(next)
	if oldPath != path {
		leave(s.paths, oldPath, pv)
		enter(s.paths, path, pv)
	}
	if oldTarget != target {
		leave(s.aliases, oldTarget, pv)
		enter(s.aliases, target, pv)
	}
}

// indexed is the path of a PV or the target of an alias.
func indexed(info *schema.TypeInfo) (path string, target schema.PVName) {
	switch {
	case info == nil:
		return "", ""
	case info.State == schema.Alias:
		return "", info.AliasOf
	}
	return info.ChunkKey, ""
}

func enter[K ~string](m map[K][]schema.PVName, place K, pv schema.PVName) {
	if place != "" {
		m[place] = append(m[place], pv)
		slices.Sort(m[place])
	}
}

func leave[K ~string](m map[K][]schema.PVName, place K, pv schema.PVName) {
	if place == "" {
		return
	}
	rest := slices.DeleteFunc(m[place], func(other schema.PVName) bool { return other == pv })
	if len(rest) == 0 {
		delete(m, place)
		return
	}
	m[place] = rest
}

func (s *state) registered() int {
	n := 0
	for state, c := range s.counts {
		if state != schema.Alias {
			n += c
		}
	}
	return n
}

// names are the registered PVs and the aliases in order. The slice is shared
// and never changed. What came or went since the last call is merged in: sorting
// all of them anew between the batches of a bulk command would cost more than
// the command.
func (s *state) names() []schema.PVName {
	if len(s.fresh) == 0 && !s.gone {
		return s.sorted
	}
	slices.Sort(s.fresh)
	merged := make([]schema.PVName, 0, len(s.sorted)+len(s.fresh))
	add := func(pv schema.PVName) {
		twice := len(merged) > 0 && merged[len(merged)-1] == pv // it went and came
		if !twice && (!s.gone || s.records[pv].Info != nil) {
			merged = append(merged, pv)
		}
	}
	fresh := s.fresh
	for _, pv := range s.sorted {
		for len(fresh) > 0 && fresh[0] <= pv {
			add(fresh[0])
			fresh = fresh[1:]
		}
		add(pv)
	}
	for _, pv := range fresh {
		add(pv)
	}
	s.sorted, s.fresh, s.gone = merged, nil, false
	return s.sorted
}

// newerThan lists the PVs with events beyond a sequence, for people.
func (s *state) newerThan(seq uint64) string {
	var pvs []string
	for pv, h := range s.records {
		if h.Sequence > seq {
			pvs = append(pvs, string(pv))
		}
	}
	slices.Sort(pvs)
	if n := len(pvs); n > maxListed {
		return fmt.Sprintf("%s and %d more PVs", strings.Join(pvs[:maxListed], " "), n-maxListed)
	}
	return strings.Join(pvs, " ")
}

// maxListed PVs stand in one line of the program's log.
const maxListed = 50

// Get is what is known of a registered PV of exactly this name; an alias is
// none (see [Registry.Resolve]). The TypeInfo is shared: read only.
func (r *Registry) Get(pv schema.PVName) (*schema.TypeInfo, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state.get(pv)
}

func (s *state) get(pv schema.PVName) (*schema.TypeInfo, bool) {
	info := s.records[pv].Info
	if info == nil || info.State == schema.Alias {
		return nil, false
	}
	return info, true
}

// Generations are the lives of a PV's samples, oldest first (the newest 64);
// deleting the PV keeps them.
func (r *Registry) Generations(pv schema.PVName) []Generation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.state.records[pv].Generations)
}

// Counts gives the number of registered PVs by state, and of aliases.
func (r *Registry) Counts() map[schema.State]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return maps.Clone(r.state.counts)
}

// Match lists the registered PVs and the aliases whose names fit a glob of '*' and '?', in
// order and at most limit of them; "" fits all, limit <= 0 is no limit.
func (r *Registry) Match(glob string, limit int) []schema.PVName {
	matched := []schema.PVName{}
	for _, pv := range r.names() {
		if limit > 0 && len(matched) == limit {
			break
		}
		if glob == "" || fits(glob, string(pv)) {
			matched = append(matched, pv)
		}
	}
	return matched
}

// All gives every registered PV, but no aliases, in the order of their names. The TypeInfos
// are shared: read only.
func (r *Registry) All() []*schema.TypeInfo {
	infos, _ := r.Snapshot()
	return infos
}

// Snapshot is All together with the sequence of the newest event in it: who
// follows the log from there on misses nothing and sees nothing twice.
func (r *Registry) Snapshot() (infos []*schema.TypeInfo, cursor uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	infos = make([]*schema.TypeInfo, 0, len(r.state.names()))
	for _, pv := range r.state.names() {
		if info, ok := r.state.get(pv); ok {
			infos = append(infos, info)
		}
	}
	return infos, r.meta.Cursor
}

func (r *Registry) names() []schema.PVName {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.names()
}

// Fits reports whether a name matches a glob as [Registry.Match] does.
func Fits(glob, name string) bool { return glob == "" || fits(glob, name) }

// fits reports whether a name matches a glob, in time of their product at most.
func fits(glob, name string) bool {
	g, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, mark = g, n
			g++
		case g < len(glob) && (glob[g] == '?' || glob[g] == name[n]):
			g++
			n++
		case star >= 0:
			mark++
			g, n = star+1, mark
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}
