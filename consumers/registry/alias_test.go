package registry

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pvlog/schema"
)

func TestAliasesStandForTheirPV(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("R:AI", "R:BO", "R:WAITS")
	ok(t, r.Started(ctx, operator, Discovery{PV: "R:AI", Type: schema.ScalarDouble, Count: 1, Host: "h"},
		Discovery{PV: "R:BO", Type: schema.ScalarEnum, Count: 1, Host: "h"}))

	ok(t, r.AddAlias(ctx, operator, Alias{"R:NICK", "R:AI"}, Alias{"R:WAITS", "R:AI"}))
	if err := r.AddAlias(ctx, operator, Alias{"R:NICK", "R:AI"})[0].Err; !errors.Is(err, ErrAlready) {
		t.Errorf("the same alias again: %v", err)
	}
	refusedAs(t, r.AddAlias(ctx, operator, Alias{"R:BO", "R:AI"}), schema.Conflict, "archived itself")
	refusedAs(t, r.AddAlias(ctx, operator, Alias{"R:X", "R:NONE"}), schema.NotFound, "R:NONE")
	refusedAs(t, r.AddAlias(ctx, operator, Alias{"R:X", "R:NICK"}), schema.Conflict, "itself an alias of R:AI")
	refusedAs(t, r.AddAlias(ctx, operator, Alias{"R:NICK", "R:BO"}), schema.Conflict, "remove that alias first")
	refusedAs(t, r.AddAlias(ctx, operator, Alias{"R:AI", "R:AI"}), schema.Invalid, "itself")
	refusedAs(t, r.AddAlias(ctx, operator, Alias{"R:AI", "R:BO"}), schema.Conflict, "aliases of its own")
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "R:NICK"}), schema.Conflict, "already being archived")

	if _, known := r.Get("R:NICK"); known {
		t.Error("an alias is given out as a PV")
	}
	ok(t, r.Pause(ctx, operator, "R:NICK"))
	if r.state("R:AI") != schema.Paused {
		t.Error("a command on the alias did not reach its PV")
	}
	if got := r.AliasesOf("R:AI"); !slices.Equal(got, []schema.PVName{"R:NICK", "R:WAITS"}) {
		t.Errorf("aliases of R:AI: %v", got)
	}
	if got := r.Match("R:*", 0); len(got) != 4 || len(r.All()) != 2 {
		t.Errorf("names %v, PVs %d", got, len(r.All()))
	}
	r.verified()
	refusedAs(t, r.RemoveAlias(ctx, operator, Alias{"R:NICK", "R:BO"}), schema.NotFound, "not an alias of R:BO")
	ok(t, r.RemoveAlias(ctx, operator, Alias{"R:NICK", "R:AI"}, Alias{Alias: "R:WAITS"}))
	r.archive("R:NICK")
	if len(r.Aliases()) != 0 || r.state("R:NICK") != schema.Archiving {
		t.Errorf("after removal: %v, %s", r.Aliases(), r.state("R:NICK"))
	}
	r.verified()
}

// The Appliance's order: the PV that archives the field, the PV of the whole
// name, the record's alias, the alias of the whole name.
func TestNamesAreLookedUpInOrder(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("A", "A.HIHI", "A.LOLO", "B")
	ok(t, r.Configure(ctx, operator, Edit{PV: "A", Change: func(s *schema.Settings) error { s.ArchiveFields = []string{"HIHI", "HIGH", "HIHI"}; return nil }}))
	ok(t, r.AddAlias(ctx, operator, Alias{"N", "A"}, Alias{"M.DESC", "B"}))
	for name, want := range map[schema.PVName]Found{
		"A": {}, "A.HIHI": {Field: "HIHI"}, "A.HIGH": {Field: "HIGH"}, "A.LOLO": {}, "N": {Alias: true},
		"N.HIHI": {Field: "HIHI", Alias: true}, "N.LOLO": {Alias: true}, "M.DESC": {Alias: true},
	} {
		got, found := r.Resolve(name)
		if !found || got.Field != want.Field || got.Alias != want.Alias {
			t.Errorf("%s: %+v, %v", name, got, found)
		}
	}
	if got, _ := r.Resolve("N.LOLO"); got.Info.PV != "A.LOLO" {
		t.Errorf("N.LOLO is %v", got.Info.PV)
	}
	for _, name := range []schema.PVName{"A.DESC", "N.DESC", "M", "B.HIHI", "X"} {
		if got, found := r.Resolve(name); found {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSettingsAreChangedAndChecked(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("S:1")
	set := func(change func(s *schema.Settings)) Edit {
		return Edit{PV: "S:1", Change: func(s *schema.Settings) error { change(s); return nil }}
	}
	ok(t, r.Configure(ctx, operator, set(func(s *schema.Settings) {
		s.SamplingMethod, s.Deadband, s.DriftPast, s.ControllingPV = schema.ScanGet, 0.5, time.Hour, "ca://C.VAL"
	})))
	info, _ := r.Get("S:1")
	if info.SamplingMethod != schema.ScanGet || info.Deadband != 0.5 || info.DriftPast != time.Hour || info.ControllingPV != "C" {
		t.Errorf("%+v", info.Settings)
	}
	before := info.Sequence
	ok(t, r.Configure(ctx, operator, set(func(*schema.Settings) {})))
	if info, _ = r.Get("S:1"); info.Sequence != before {
		t.Error("an edit that changes nothing made an event")
	}
	skip := true
	for range 2 {
		ok(t, r.Configure(ctx, operator, Edit{PV: "S:1", SkipAliasCheck: &skip}))
	}
	if info, _ = r.Get("S:1"); !info.SkipAliasCheck || info.Deadband != 0.5 || info.Sequence != before+1 {
		t.Errorf("after skipping the alias check twice: %+v", info)
	}
	ok(t, r.Configure(ctx, operator, set(func(s *schema.Settings) { s.Deadband = 0.25 })))
	if info, _ = r.Get("S:1"); !info.SkipAliasCheck {
		t.Error("a change of settings ended the skipping of the alias check")
	}
	stale := set(func(s *schema.Settings) { s.Deadband = 9 })
	stale.Expect = info.Sequence - 1
	if err := r.Configure(ctx, operator, stale)[0].Err; !errors.Is(err, ErrChanged) || schema.CodeOf(err) != schema.Conflict {
		t.Errorf("an edit of what has changed since: %v", err)
	}
	stale.Expect = info.Sequence
	ok(t, r.Configure(ctx, operator, stale))
	if info, _ = r.Get("S:1"); info.Deadband != 9 {
		t.Errorf("after an edit of what is as expected: %+v", info)
	}
	ok(t, r.Configure(ctx, operator, set(func(s *schema.Settings) { s.Deadband = 0.25 })))
	for words, change := range map[string]func(s *schema.Settings){
		"deadband":     func(s *schema.Settings) { s.Deadband = -1 },
		"drift window": func(s *schema.Settings) { s.DriftFuture = time.Millisecond },
		"capitals":     func(s *schema.Settings) { s.ArchiveFields = []string{"hihi"} },
		"PV itself":    func(s *schema.Settings) { s.ArchiveFields = []string{"VAL"} },
		"100ms to 24h": func(s *schema.Settings) { s.SamplingPeriod = 0 },
	} {
		refusedAs(t, r.Configure(ctx, operator, set(change)), schema.Invalid, words)
	}
	r.verified()
}

func TestADefinitionStatesEverything(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("D:1")
	ok(t, r.Started(ctx, operator, Discovery{PV: "D:1", Type: schema.ScalarDouble, Count: 1, Units: "mA", Limits: map[string]float64{"HIHI": 5}}))
	info, _ := r.Get("D:1")
	moved := *info
	moved.PV, moved.State = "D:2", schema.Paused
	ok(t, r.Define(ctx, operator, Definition{Info: moved, From: "D:1"}))
	got, _ := r.Get("D:2")
	if got.Units != "mA" || got.Limits["HIHI"] != 5 || got.DBRType != schema.ScalarDouble || got.ChunkKey != "D/2:" || got.Generation != got.Sequence {
		t.Errorf("%+v", got)
	}
	if err := r.Define(ctx, operator, Definition{Info: moved})[0].Err; !errors.Is(err, ErrAlready) {
		t.Errorf("defined twice: %v", err)
	}
	moved.Units = "A"
	ok(t, r.Define(ctx, operator, Definition{Info: moved, Override: true}))
	if again, _ := r.Get("D:2"); again.Units != "A" || again.Generation != got.Generation {
		t.Errorf("overridden: %+v", again)
	}
	moved.DBRType = schema.ScalarInt
	refusedAs(t, r.Define(ctx, operator, Definition{Info: moved, Override: true}), schema.Conflict, "cannot become")
	moved.PV = "D-2"
	refusedAs(t, r.Define(ctx, operator, Definition{Info: moved}), schema.Conflict, "files would be those of D:2")
	r.verified()
}

func TestFlagsStayOverARestart(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	r := start(t, dir, log)
	if err := r.SetFlag(ctx, operator, "SKIP_MTS_FOR_ETL", true); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = start(t, dir, log)
	if !r.Flags()["SKIP_MTS_FOR_ETL"] {
		t.Errorf("flags: %v", r.Flags())
	}
	if err := r.SetFlag(ctx, operator, "", true); schema.CodeOf(err) != schema.Invalid {
		t.Errorf("a flag without a name: %v", err)
	}
	if len(r.Match("", 0)) != 0 || len(r.All()) != 0 {
		t.Error("a flag is listed as a PV")
	}
	r.verified()
}
