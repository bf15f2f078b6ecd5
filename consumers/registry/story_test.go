package registry

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

// told is what the oracle knows of a name: much less than the registry does.
type told struct {
	state  schema.State
	period time.Duration
	of     schema.PVName // of an alias
	known  bool          // it has connected
}

// oracle is a model of the registry that is simple enough to be believed.
type oracle map[schema.PVName]told

func (o oracle) real(pv schema.PVName) schema.PVName {
	if t := o[pv]; t.state == schema.Alias {
		return t.of
	}
	return pv
}

func (o oracle) aliases(pv schema.PVName) (n int) {
	for _, t := range o {
		if t.state == schema.Alias && t.of == pv {
			n++
		}
	}
	return n
}

func (o oracle) free(pv schema.PVName) bool {
	for other, t := range o {
		if t.state != schema.Alias && schema.ChunkKey(other) == schema.ChunkKey(pv) {
			return false
		}
	}
	_, taken := o[pv]
	return !taken
}

// story plays random commands against a registry and the oracle.
type story struct {
	*rig
	t       *testing.T
	dir     string
	log     *memLog
	clock   *clock
	random  *rand.Rand
	model   oracle
	deeds   []deedOf
	moments map[int64]string // state by time
}

// deedOf is a command that succeeded, and a name around it.
type deedOf struct {
	pv            schema.PVName
	seq           uint64
	before, after string
}

var storyNames = []schema.PVName{"S:1", "S:2", "S-2", "S:3", "S:4.HIHI", "S:5"}

func (s *story) pick() schema.PVName { return storyNames[s.random.IntN(len(storyNames))] }

// step plays one command; it must succeed exactly when the oracle says so.
func (s *story) step() {
	pv, o := s.pick(), s.model
	real := o.real(pv)
	t, known := o[real]
	active := known && t.state != schema.Alias
	before := s.essence(real)
	var results []Result
	var may bool
	actor := Actor{Name: "op"}
	heard := false
	switch command := s.random.IntN(9); command {
	case 0:
		may = s.model.free(pv)
		results, t = s.Archive(ctx, actor, Request{PV: pv}), told{state: schema.Archiving, period: time.Second}
	case 1:
		may = active && t.state != schema.Paused
		results, t.state = s.Pause(ctx, actor, pv), schema.Paused
	case 2:
		may = active && t.state != schema.Archiving
		results, t.state = s.Resume(ctx, actor, pv), schema.Archiving
	case 3:
		may = active && t.state != schema.Stopped
		results, t.state = s.Stop(ctx, actor, pv), schema.Stopped
	case 4:
		may = active && t.state != schema.Archiving
		results, t = s.Delete(ctx, actor, false, pv), told{}
	case 5:
		may = active
		t.period = time.Duration(1+s.random.IntN(3)) * time.Second
		results = s.ChangeParameters(ctx, actor, Parameters{PV: pv, Period: t.period})
	case 6:
		may = active
		d := Discovery{PV: pv, Type: schema.ScalarDouble, Count: 1}
		if old := t.period; s.random.IntN(2) == 0 { // its policy says something, too
			t.period = time.Duration(1+s.random.IntN(3)) * time.Second
			d.Settle = func(set *schema.Settings) error { set.SamplingPeriod = t.period; return nil }
			heard = t.period == old
		} else {
			heard = true
		}
		t.known = true
		results = s.Started(ctx, actor, d)
	case 7:
		target := s.pick()
		own, registered := o[pv]
		to, there := o[target]
		may = pv != target && there && to.state != schema.Alias && o.aliases(pv) == 0 && (!registered || own.state != schema.Alias && !own.known)
		real, before = pv, s.essence(pv)
		results, t = s.AddAlias(ctx, actor, Alias{pv, target}), told{state: schema.Alias, of: target}
	case 8:
		may = o[pv].state == schema.Alias
		real, before = pv, s.essence(pv)
		results, t = s.RemoveAlias(ctx, actor, Alias{Alias: pv}), told{}
	}
	if got := results[0].Err == nil; got != may {
		s.t.Fatalf("%v, the oracle says %v of %+v", results[0], may, o)
	}
	if !may {
		return
	}
	s.model.set(real, t)
	if seq := results[0].Sequence; seq != 0 && !heard {
		s.deeds = append(s.deeds, deedOf{real, seq, before, s.essence(real)})
	}
}

func (o oracle) set(pv schema.PVName, t told) {
	o[pv] = t
	if t.state == "" {
		delete(o, pv)
		for alias, of := range o {
			if of.of == pv {
				delete(o, alias)
			}
		}
	}
}

// undo takes a random event back: it succeeds only when the name is as that
// event left it, and gives what was before it.
func (s *story) undo() {
	if len(s.deeds) == 0 {
		return
	}
	d := s.deeds[max(0, len(s.deeds)-1-s.random.IntN(6))]
	was := s.essence(d.pv)
	newest, _ := s.newest(d.pv)
	res := s.Undo(ctx, operator, d.seq)
	now := s.essence(d.pv)
	switch {
	case res.Err != nil && now != was:
		s.t.Fatalf("%v, but %s became %s", res.Err, was, now)
	case res.Err != nil && newest == d.seq && !strings.Contains(res.Err.Error(), "files would be") && !strings.Contains(res.Err.Error(), "not being archived any more"):
		s.t.Fatalf("the newest event %d of %s cannot be undone: %v", d.seq, d.pv, res.Err)
	case res.Err != nil:
		return
	case undiscovered(was) != undiscovered(d.after) && d.before != "none" || undiscovered(now) != undiscovered(d.before):
		s.t.Fatalf("undo of event %d of %s\nfrom %s\n  to %s\nit came\nfrom %s\n  to %s", d.seq, d.pv, was, now, d.before, d.after)
	}
	s.deeds = append(s.deeds, deedOf{d.pv, res.Sequence, was, now})
	s.relearn()
}

// undiscovered is an essence without what an IOC said, and without aliases,
// which are names of their own.
func undiscovered(essence string) string {
	words := strings.Fields(essence)
	if words[0] == string(schema.Alias) || !strings.Contains(essence, "{") {
		return strings.Join(words[:min(2, len(words))], " ")
	}
	return words[0] + strings.Split(strings.SplitN(essence, "{", 2)[1], "}")[0]
}

// relearn takes the registry's word for what an undo did to names.
func (s *story) relearn() {
	clear(s.model)
	for _, pv := range s.Match("", 0) {
		s.mu.RLock()
		i := s.rig.Registry.state.records[pv].Info
		s.mu.RUnlock()
		s.model[pv] = told{i.State, i.SamplingPeriod, i.AliasOf, i.DBRType != schema.UnknownType}
	}
	for pv, t := range s.model {
		if t.state == schema.Alias && s.model[t.of].state == "" {
			s.t.Fatalf("%s is an alias of %s, which is gone", pv, t.of)
		}
	}
}

// check compares the registry with the oracle.
func (s *story) check() {
	if got := s.Match("", 0); len(got) != len(s.model) {
		s.t.Fatalf("names %v, the oracle has %+v", got, s.model)
	}
	for pv, t := range s.model {
		s.mu.RLock()
		i := s.rig.Registry.state.records[pv].Info
		s.mu.RUnlock()
		if got := (told{i.State, i.SamplingPeriod, i.AliasOf, i.DBRType != schema.UnknownType}); got != t {
			s.t.Fatalf("%s is %+v, the oracle says %+v", pv, got, t)
		}
	}
	s.moments[s.clock.nanos.Load()] = s.everything()
	s.clock.advance(time.Minute)
}

func (s *story) everything() string {
	infos := []string{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, pv := range storyNames {
		if i := s.rig.Registry.state.records[pv].Info; i != nil {
			infos = append(infos, fmt.Sprintf("%+v", *i))
		}
	}
	slices.Sort(infos)
	return strings.Join(infos, "\n")
}

// restart starts again, with or without what is in Badger.
func (s *story) restart(rebuild bool) {
	s.verified()
	want := s.contents()
	s.stop()
	if rebuild {
		if err := os.RemoveAll(s.badgerDir()); err != nil {
			s.t.Fatal(err)
		}
	}
	s.rig = start(s.t, s.dir, s.log, func(r *Registry) { r.now = s.clock.now })
	if got := s.contents(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Fatalf("a start (rebuild %v) gives\n%v\nafter\n%v", rebuild, got, want)
	}
}

// past compares states at random times with what was seen then.
func (s *story) past() {
	for at, want := range s.moments { // in Go's random order
		infos, _, err := s.At(ctx, time.Unix(0, at))
		got := []string{}
		for _, i := range infos {
			got = append(got, fmt.Sprintf("%+v", *i))
		}
		slices.Sort(got)
		if err != nil || strings.Join(got, "\n") != want {
			s.t.Fatalf("at %d: %v\n%s\nwas\n%s", at, err, strings.Join(got, "\n"), want)
		}
		return
	}
}

// FuzzStory: random commands, undos, restarts and rebuilds against an oracle.
func FuzzStory(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		s := &story{t: t, dir: t.TempDir(), log: newMemLog(), clock: &clock{}, random: rand.New(rand.NewPCG(seed, 1)), model: oracle{}, moments: map[int64]string{}}
		s.clock.advance(1e18)
		s.rig = start(t, s.dir, s.log, func(r *Registry) { r.now = s.clock.now })
		for range 150 {
			switch n := s.random.IntN(100); {
			case n < 70:
				s.step()
			case n < 97:
				s.undo()
			default:
				s.restart(n == 99)
			}
			s.check()
		}
		s.past()
		s.past()
		s.restart(true)
	})
}
