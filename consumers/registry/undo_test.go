package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// newest is the newest event of a name.
func (r *rig) newest(pv schema.PVName) (seq uint64, e *logpb.RegistryEvent) {
	r.t.Helper()
	err := r.History(ctx, pv, func(s uint64, event *logpb.RegistryEvent) error {
		seq, e = s, event
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return seq, e
}

// essence is what an operator sees of a name.
func (r *rig) essence(pv schema.PVName) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	rec := r.Registry.state.records[pv]
	if rec.Flag != nil {
		return fmt.Sprint(*rec.Flag)
	}
	i := rec.Info
	if i == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s %v %d %+v %v %s %v %v %s %d %s", i.State, i.AliasOf, i.DBRType, i.ElementCount, i.Settings, i.AskedSampling,
		i.AskedPolicy, i.SkipAliasCheck, i.Fields, i.Units, len(i.Limits), r.Registry.state.aliases[pv])
}

// Each command is taken back, done again and taken back again: the PV is what it
// was before and after, each time.
func TestUndoAndRedoOfEachCommand_S17_S18_S19_S20_S25(t *testing.T) {
	const pv = "U:1"
	scan := schema.Settings{SamplingMethod: schema.Scan, SamplingPeriod: 2 * time.Second, ArchiveFields: []string{"HIHI"}, Policy: "p", DriftPast: time.Minute, Stores: []string{"pb://x"}}
	archived := func(r *rig) {
		ok(r.t, r.Archive(ctx, operator, Request{PV: pv, Settings: scan, AskedSampling: true, AskedPolicy: "p"}))
		ok(r.t, r.Started(ctx, operator, Discovery{PV: pv, Type: schema.ScalarDouble, Count: 3, Units: "mA", Limits: map[string]float64{"HIHI": 3}, Fields: map[string]string{"RTYP": "ai"}}))
	}
	paused := func(r *rig) { archived(r); ok(r.t, r.Pause(ctx, operator, pv)) }
	aliased := func(r *rig) {
		paused(r)
		ok(r.t, r.AddAlias(ctx, operator, Alias{"U:a", pv}, Alias{"U:b", pv}))
	}
	definition := Definition{Override: true, Info: schema.TypeInfo{PV: pv, State: schema.Stopped, DBRType: schema.ScalarDouble, ElementCount: 1, Units: "kV", Settings: schema.Settings{SamplingPeriod: time.Second}}}
	tests := map[string]struct {
		before func(*rig)
		do     func(*rig) []Result
		of     schema.PVName
	}{
		"request":        {func(*rig) {}, func(r *rig) []Result { return r.Archive(ctx, operator, Request{PV: pv, Settings: scan}) }, pv},
		"pause":          {archived, func(r *rig) []Result { return r.Pause(ctx, operator, pv) }, pv},
		"pause stopped":  {func(r *rig) { archived(r); ok(t, r.Stop(ctx, operator, pv)) }, func(r *rig) []Result { return r.Pause(ctx, operator, pv) }, pv},
		"resume":         {paused, func(r *rig) []Result { return r.Resume(ctx, operator, pv) }, pv},
		"stop":           {paused, func(r *rig) []Result { return r.Stop(ctx, operator, pv) }, pv},
		"delete":         {paused, func(r *rig) []Result { return r.Delete(ctx, operator, false, pv) }, pv},
		"delete aliased": {aliased, func(r *rig) []Result { return r.Delete(ctx, operator, false, pv) }, pv},
		"configure": {archived, func(r *rig) []Result {
			return r.Configure(ctx, operator, Edit{PV: pv, Change: func(s *schema.Settings) error { s.ArchiveFields, s.Policy = nil, "q"; return nil }})
		}, pv},
		"retype": {paused, func(r *rig) []Result {
			return []Result{r.Retype(ctx, operator, Retype{PV: pv, Type: schema.ScalarInt, Kept: "bin"})}
		}, pv},
		"define":                 {archived, func(r *rig) []Result { return r.Define(ctx, operator, definition) }, pv},
		"define fresh":           {func(*rig) {}, func(r *rig) []Result { return r.Define(ctx, operator, definition) }, pv},
		"add alias":              {archived, func(r *rig) []Result { return r.AddAlias(ctx, operator, Alias{"U:a", pv}) }, "U:a"},
		"add alias to a request": {func(r *rig) { archived(r); r.archive("U:a") }, func(r *rig) []Result { return r.AddAlias(ctx, operator, Alias{"U:a", pv}) }, "U:a"},
		"remove alias":           {aliased, func(r *rig) []Result { return r.RemoveAlias(ctx, operator, Alias{"U:a", pv}) }, "U:a"},
		"set flag":               {func(*rig) {}, func(r *rig) []Result { return []Result{{Err: r.SetFlag(ctx, operator, "f", true)}} }, schema.FlagName("f")},
		"clear flag":             {func(r *rig) { ok(t, []Result{{Err: r.SetFlag(ctx, operator, "f", true)}}) }, func(r *rig) []Result { return []Result{{Err: r.SetFlag(ctx, operator, "f", false)}} }, schema.FlagName("f")},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := start(t, t.TempDir(), newMemLog())
			tt.before(r)
			before := r.essence(tt.of)
			if name == "set flag" {
				before = "false" // what was never set is not set
			}
			ok(t, tt.do(r))
			after := r.essence(tt.of)
			seq, _ := r.newest(tt.of)
			for turn, want := range []string{before, after, before, after} {
				res := r.Undo(ctx, Actor{Name: "second thoughts"}, seq)
				ok(t, []Result{res})
				now, e := r.newest(tt.of)
				if e.GetUndoes() != seq || e.GetActor() != "second thoughts" || res.Sequence != now || res.PV != tt.of {
					t.Fatalf("turn %d: event %d undoes %d, want %d; result %+v", turn, now, e.GetUndoes(), seq, res)
				}
				if got := r.essence(tt.of); got != want {
					t.Fatalf("turn %d:\n%s\n%s", turn, got, want)
				}
				refusedAs(t, []Result{r.Undo(ctx, operator, seq)}, schema.Conflict, "undo that one")
				seq = now
			}
			r.verified()
		})
	}
}

// An undo says what stands in its way: what a later command did is never lost
// in silence; what an IOC said in between does not matter.
func TestUndoNamesWhatToUndoFirst(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("N:1")
	ok(t, r.Pause(ctx, operator, "N:1"))
	pause, _ := r.newest("N:1")
	ok(t, r.Started(ctx, operator, Discovery{PV: "N:1", Type: schema.ScalarInt, Count: 1, Host: "ioc"}))
	started, _ := r.newest("N:1")
	ok(t, r.ChangeParameters(ctx, operator, Parameters{PV: "N:1", Period: 5 * time.Second}))
	configured, _ := r.newest("N:1")
	refusedAs(t, []Result{r.Undo(ctx, operator, pause)}, schema.Conflict, fmt.Sprintf(`undo event %d first (configured by "op" at`, configured))
	refusedAs(t, []Result{r.Undo(ctx, operator, 1)}, schema.Conflict, fmt.Sprintf("undo event %d first", configured))
	refusedAs(t, []Result{r.Undo(ctx, operator, started)}, schema.Invalid, "what its IOC said")
	refusedAs(t, []Result{r.Undo(ctx, operator, 99)}, schema.NotFound, "no event 99")
	refusedAs(t, []Result{r.Undo(ctx, operator, 0)}, schema.NotFound, "no event 0")
	ok(t, []Result{r.Undo(ctx, operator, configured)})
	ok(t, []Result{r.Undo(ctx, operator, pause)})
	if info, _ := r.Get("N:1"); info.State != schema.Archiving || info.DBRType != schema.ScalarInt || info.Host != "ioc" || info.SamplingPeriod != time.Second {
		t.Errorf("%+v", info)
	}
	ok(t, []Result{r.Undo(ctx, operator, 1)})
	if r.state("N:1") != "none" {
		t.Error("the request is still there")
	}
	undone, _ := r.newest("N:1")
	ok(t, []Result{r.Undo(ctx, operator, undone)})
	if info, _ := r.Get("N:1"); info == nil || info.DBRType != schema.ScalarInt {
		t.Errorf("%+v", info)
	}
	ok(t, r.Pause(ctx, operator, "N:1"))
	ok(t, r.Delete(ctx, operator, false, "N:1"))
	gone, _ := r.newest("N:1")
	r.archive("N-1") // takes its place
	refusedAs(t, []Result{r.Undo(ctx, operator, gone)}, schema.Conflict, "files would be those of N-1")
	r.verified()
}

// S20: aliases go with their PV under the same change, results are for what was
// asked, and all come back together.
func TestAliasesGoAndComeWithTheirPV_S20(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("W:1", "W:2")
	ok(t, r.AddAlias(ctx, operator, Alias{"W:a", "W:1"}, Alias{"W:b", "W:1"}, Alias{"W:c", "W:2"}))
	ok(t, r.Pause(ctx, operator, "W:a", "W:2"))
	if results := r.Delete(ctx, Actor{ChangeID: "d"}, false, "W:a", "W:2"); len(results) != 2 || results[0].PV != "W:a" || results[0].Err != nil || results[1].Err != nil {
		t.Fatal(results)
	}
	if len(r.Aliases()) != 0 || len(r.Match("", 0)) != 0 {
		t.Errorf("%v %v are left", r.Aliases(), r.Match("", 0))
	}
	if n := r.eventsByPV("d"); len(n) != 5 {
		t.Errorf("%v", n)
	}
	r.archive("W:b") // somebody uses the name
	results, err := r.UndoChange(ctx, operator, "d")
	if err != nil || len(results) != 2 {
		t.Fatal(results, err)
	}
	ok(t, results)
	if got := r.AliasesOf("W:1"); !slices.Equal(got, []schema.PVName{"W:a"}) || len(r.AliasesOf("W:2")) != 1 || r.state("W:b") != schema.Archiving {
		t.Errorf("%v", r.Aliases())
	}
	if _, err := r.UndoChange(ctx, operator, "nothing"); schema.CodeOf(err) != schema.NotFound {
		t.Error(err)
	}
	r.verified()
}

// A mistaken bulk delete is taken back as one, with what had been deleted.
func TestUndoOfABulkDelete(t *testing.T) {
	log, _ := realLog(t, t.TempDir())
	var back []schema.PVName
	dir := t.TempDir()
	r := start(t, dir, log, func(r *Registry) {
		r.opt.Restore = func(_ context.Context, pv schema.PVName) error {
			if pv == "M:0007" {
				return errors.New("the trash is empty")
			}
			back = append(back, pv)
			return nil
		}
	})
	pvs := some(2500)
	var aliases []Alias
	var requests []Request
	for i, pv := range pvs {
		requests = append(requests, Request{PV: pv, Settings: schema.Settings{SamplingPeriod: time.Duration(i%7+1) * time.Second}})
		aliases = append(aliases, Alias{"A:" + pv, pv})
	}
	ok(t, r.Archive(ctx, operator, requests...))
	ok(t, r.AddAlias(ctx, operator, aliases...))
	ok(t, r.Stop(ctx, operator, pvs...))
	before := map[schema.PVName]string{}
	for _, pv := range pvs {
		before[pv] = r.essence(pv)
	}
	id := NewChangeID(time.Now())
	ok(t, r.Delete(ctx, Actor{Name: "oops", ChangeID: id}, true, pvs...))
	if n := len(r.Match("", 0)); n != 0 {
		t.Fatalf("%d names are left", n)
	}
	r.archive("M:0100") // somebody was quicker
	ok(t, r.ChangeParameters(ctx, operator, Parameters{PV: "M:0100", Period: 9 * time.Second}))
	undo := NewChangeID(time.Now())
	results, err := r.UndoChange(ctx, Actor{Name: "op", ChangeID: undo}, id)
	if err != nil || len(results) != 2500 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, res := range results {
		switch res.PV {
		case "M:0100":
			refusedAs(t, []Result{res}, schema.Conflict, "first (configured by")
		case "M:0007":
			refusedAs(t, []Result{res}, schema.Unavailable, "the trash is empty")
		default:
			ok(t, []Result{res})
			if got := r.essence(res.PV); got != before[res.PV] {
				t.Fatalf("%s\n%s\n%s", res.PV, got, before[res.PV])
			}
		}
	}
	if c, _ := r.Change(undo); c.Changed != 2498 || c.Failed != 2 || c.Command != "undo" {
		t.Errorf("%+v", c)
	}
	if len(back) != 2498 || len(r.Aliases()) != 2498 {
		t.Errorf("the data of %d PVs came back, and %d aliases", len(back), len(r.Aliases()))
	}
	r.verified()
	results, err = r.UndoChange(ctx, operator, undo) // after all it was right
	if err != nil || len(results) != 2498 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	ok(t, results)
	if got := r.Match("", 0); !slices.Equal(got, []schema.PVName{"M:0007", "M:0100"}) && !slices.Equal(got, []schema.PVName{"M:0100"}) {
		t.Errorf("%d names: %.100v", len(got), got)
	}
	r.verified()
}

// What several small commands did under one id is taken back as one.
func TestUndoOfARename(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("R:old")
	ok(t, r.AddAlias(ctx, operator, Alias{"R:other", "R:old"}))
	ok(t, r.Pause(ctx, operator, "R:old"))
	before := r.essence("R:old")
	id := NewChangeID(time.Now())
	rename := Actor{Name: "op", ChangeID: id}
	info, _ := r.Get("R:old")
	moved := *info
	moved.PV = "R:new"
	ok(t, r.Delete(ctx, rename, false, "R:old"))
	ok(t, r.Define(ctx, rename, Definition{Info: moved, From: "R:old"}))
	ok(t, r.AddAlias(ctx, rename, Alias{"R:old", "R:new"}))
	if found, known := r.Resolve("R:old"); !known || found.Info.PV != "R:new" {
		t.Fatal(found)
	}
	results, err := r.UndoChange(ctx, operator, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range results {
		if res.Err != nil {
			t.Error(res)
		}
	}
	if got := r.essence("R:old"); got != before || r.state("R:new") != "none" {
		t.Errorf("%s\n%s\n%s", got, before, r.essence("R:new"))
	}
	r.verified()
}

// At gives every past state, and a time between two events is the former's.
func TestAtGivesEveryPastState(t *testing.T) {
	log := newMemLog()
	clock := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	r := start(t, t.TempDir(), log, func(r *Registry) { r.now = func() time.Time { return clock } })
	type moment struct {
		at    time.Time
		state string
	}
	var moments []moment
	look := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		var list []string
		for _, pv := range r.Registry.state.names() {
			list = append(list, fmt.Sprintf("%+v", *r.Registry.state.records[pv].Info))
		}
		moments = append(moments, moment{clock, fmt.Sprint(r.meta.Cursor, list)})
		clock = clock.Add(90 * time.Second)
	}
	look()
	r.archive("T:1", "T:2", "T:3")
	look()
	ok(t, r.Pause(ctx, operator, "T:1"))
	look()
	ok(t, r.AddAlias(ctx, operator, Alias{"T:x", "T:2"}))
	look()
	ok(t, r.Delete(ctx, operator, false, "T:1"))
	if err := r.SetFlag(ctx, operator, "f", true); err != nil {
		t.Fatal(err)
	}
	look()
	r.archive("T:1")
	look()
	for i, m := range moments {
		for _, at := range []time.Time{m.at, m.at.Add(time.Second), m.at.Add(89 * time.Second)} {
			infos, cursor, err := r.At(ctx, at)
			var list []string
			for _, info := range infos {
				list = append(list, fmt.Sprintf("%+v", *info))
			}
			if got := fmt.Sprint(cursor, list); err != nil || got != m.state {
				t.Errorf("moment %d at %v: %v\n%s\n%s", i, at, err, got, m.state)
			}
		}
	}
}

// S15: what a request asked for comes back with an undo of its
// deletion, and History tells the whole story in order.
func TestHistoryTellsTheWholeStory_S15(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	ok(t, r.Archive(ctx, operator, Request{PV: "H:1", Settings: schema.Settings{Policy: "slow"}, AskedPolicy: "slow"}))
	r.archive("H:2")
	ok(t, r.Pause(ctx, Actor{Name: "a", Source: "s", Reason: "r"}, "H:1"))
	ok(t, r.Delete(ctx, operator, false, "H:1"))
	seq, _ := r.newest("H:1")
	ok(t, []Result{r.Undo(ctx, operator, seq)})
	if info, _ := r.Get("H:1"); info.Policy != "slow" || info.AskedPolicy != "slow" || info.State != schema.Paused {
		t.Errorf("%+v", info)
	}
	var story []string
	if err := r.History(ctx, "H:1", func(seq uint64, e *logpb.RegistryEvent) error {
		story = append(story, fmt.Sprint(seq, " ", did[commandOf(e)]))
		return nil
	}); err != nil || fmt.Sprint(story) != "[1 requested 3 paused 4 deleted 5 ]" {
		t.Errorf("%q, %v", story, err)
	}
}

// What a policy makes of a PV rides on the event of its first connection. It can
// be taken back without the discovery, and does not keep anybody from taking the
// whole registration back.
func TestSettingsOfAFirstConnection(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("P:1", "P:2", "P:3", "P:4")
	slow := func(s *schema.Settings) error {
		s.Policy, s.SamplingMethod, s.SamplingPeriod, s.ArchiveFields = "slow", schema.Scan, 10*time.Second, []string{"LOW", "HIGH"}
		return nil
	}
	found := func(pv schema.PVName, settle func(*schema.Settings) error) Discovery {
		return Discovery{PV: pv, Type: schema.ScalarDouble, Count: 1, Host: "h", Settle: settle, Why: "policy slow"}
	}
	results := r.Started(ctx, operator, found("P:1", slow), found("P:2", nil),
		found("P:3", func(s *schema.Settings) error { s.SamplingPeriod = time.Microsecond; return nil }),
		found("P:4", func(*schema.Settings) error { return nil }))
	ok(t, results)
	if last, _ := log.Last(ctx); last != 8 {
		t.Errorf("%d events, want one for each request and one for each connection", last)
	}
	for i, res := range results {
		if told := i == 2; (res.Unsettled != nil) != told || res.Sequence == 0 {
			t.Errorf("%+v", res)
		}
	}
	info, _ := r.Get("P:1")
	if info.Policy != "slow" || info.SamplingPeriod != 10*time.Second || info.DBRType != schema.ScalarDouble || fmt.Sprint(info.ArchiveFields) != "[HIGH LOW]" {
		t.Errorf("%+v", info)
	}
	for _, pv := range []schema.PVName{"P:2", "P:3", "P:4"} {
		if info, _ := r.Get(pv); info.Policy != "" || info.SamplingPeriod != time.Second || info.DBRType != schema.ScalarDouble {
			t.Errorf("%+v", info)
		}
		if res := r.Undo(ctx, operator, info.Sequence+1); schema.CodeOf(res.Err) != schema.Invalid {
			t.Errorf("undo of what an IOC said: %v", res.Err)
		}
	}
	before, settled := r.essence("P:1"), info.Sequence
	again := r.Undo(ctx, operator, settled)
	if info, _ := r.Get("P:1"); again.Err != nil || info.Policy != "" || info.SamplingPeriod != time.Second || info.DBRType != schema.ScalarDouble {
		t.Errorf("undone: %v, %+v", again.Err, info)
	}
	if res := r.Undo(ctx, operator, again.Sequence); res.Err != nil || r.essence("P:1") != before {
		t.Errorf("done again: %v, %s, it was %s", res.Err, r.essence("P:1"), before)
	}
	r.verified()
}

// A registration is taken back as a whole, whatever a policy made of it.
func TestUndoOfARegistrationThatAPolicySettled(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("P:1", "P:2")
	for _, pv := range []schema.PVName{"P:1", "P:2"} {
		ok(t, r.Started(ctx, operator, Discovery{PV: pv, Type: schema.ScalarInt, Count: 1, Settle: func(s *schema.Settings) error { s.Policy = "p"; return nil }}))
	}
	was := r.essence("P:1")
	res := r.Undo(ctx, operator, 1)
	if res.Err != nil || r.state("P:1") != "none" {
		t.Fatalf("%v, it is %s", res.Err, r.essence("P:1"))
	}
	if res := r.Undo(ctx, operator, res.Sequence); res.Err != nil || r.essence("P:1") != was {
		t.Errorf("%v, it is %s, it was %s", res.Err, r.essence("P:1"), was)
	}
	ok(t, r.ChangeParameters(ctx, operator, Parameters{PV: "P:2", Period: 5 * time.Second}))
	refusedAs(t, []Result{r.Undo(ctx, operator, 2)}, schema.Conflict, "undo event")
	refusedAs(t, []Result{r.Undo(ctx, operator, 4)}, schema.Conflict, "undo event")
	r.verified()
}
