package registry

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// S10, S11, S17 to S20: what each command does in each state, in the words of
// the Appliance where it has some.
func TestCommandsByState(t *testing.T) {
	const pv = "S:1"
	commands := map[string]func(*rig) []Result{
		"archive": func(r *rig) []Result { return r.Archive(ctx, operator, Request{PV: pv}) },
		"pause":   func(r *rig) []Result { return r.Pause(ctx, operator, pv) },
		"resume":  func(r *rig) []Result { return r.Resume(ctx, operator, pv) },
		"stop":    func(r *rig) []Result { return r.Stop(ctx, operator, pv) },
		"delete":  func(r *rig) []Result { return r.Delete(ctx, operator, false, pv) },
		"change":  func(r *rig) []Result { return r.ChangeParameters(ctx, operator, Parameters{PV: pv, Method: "SCAN"}) },
		"started": func(r *rig) []Result {
			return r.Started(ctx, operator, Discovery{PV: pv, Type: schema.ScalarDouble, Count: 1})
		},
	}
	prepare := map[string][]string{
		"none":      nil,
		"archiving": {"archive"},
		"paused":    {"archive", "pause"},
		"stopped":   {"archive", "stop"},
		"deleted":   {"archive", "stop", "delete"},
	}
	tests := []struct {
		from, command string
		code          schema.Code // "" for success
		words         string
		already       bool
		to            schema.State
	}{
		{from: "none", command: "archive", to: schema.Archiving},
		{from: "none", command: "pause", code: schema.NotFound, words: "Trying to pause PV S:1 that is not currently being archived", to: "none"},
		{from: "none", command: "resume", code: schema.NotFound, words: "Trying to resume PV S:1", to: "none"},
		{from: "none", command: "stop", code: schema.NotFound, words: "S:1", to: "none"},
		{from: "none", command: "delete", code: schema.NotFound, words: "S:1", to: "none"},
		{from: "none", command: "change", code: schema.NotFound, words: "Unable to change the archival parameters for S:1", to: "none"},
		{from: "none", command: "started", code: schema.NotFound, words: "S:1", to: "none"},
		{from: "archiving", command: "archive", code: schema.Conflict, words: "PV S:1 is already being archived", already: true, to: schema.Archiving},
		{from: "archiving", command: "pause", to: schema.Paused},
		{from: "archiving", command: "resume", code: schema.Conflict, words: "PV S:1 is not paused", already: true, to: schema.Archiving},
		{from: "archiving", command: "stop", to: schema.Stopped},
		{from: "archiving", command: "delete", code: schema.Conflict, words: "We will not stop archiving PV S:1 if it is not paused. Please pause recording first.", to: schema.Archiving},
		{from: "archiving", command: "change", to: schema.Archiving},
		{from: "archiving", command: "started", to: schema.Archiving},
		{from: "paused", command: "archive", code: schema.Conflict, words: "already being archived (it is paused: resume it)", already: true, to: schema.Paused},
		{from: "paused", command: "pause", code: schema.Conflict, words: "PV S:1 is already paused", already: true, to: schema.Paused},
		{from: "paused", command: "resume", to: schema.Archiving},
		{from: "paused", command: "stop", to: schema.Stopped},
		{from: "paused", command: "delete", to: "none"},
		{from: "paused", command: "change", to: schema.Paused},
		{from: "paused", command: "started", to: schema.Paused},
		{from: "stopped", command: "archive", code: schema.Conflict, words: "it is stopped", already: true, to: schema.Stopped},
		{from: "stopped", command: "pause", to: schema.Paused},
		{from: "stopped", command: "resume", to: schema.Archiving},
		{from: "stopped", command: "stop", code: schema.Conflict, words: "already stopped", already: true, to: schema.Stopped},
		{from: "stopped", command: "delete", to: "none"},
		{from: "deleted", command: "archive", to: schema.Archiving},
		{from: "deleted", command: "pause", code: schema.NotFound, words: "S:1", to: "none"},
		{from: "deleted", command: "delete", code: schema.NotFound, words: "S:1", to: "none"},
	}
	for _, tt := range tests {
		t.Run(tt.from+"/"+tt.command, func(t *testing.T) {
			log := newMemLog()
			r := start(t, t.TempDir(), log)
			for _, c := range prepare[tt.from] {
				ok(t, commands[c](r))
			}
			before, _ := log.Last(ctx)
			results := commands[tt.command](r)
			after, _ := log.Last(ctx)
			if tt.code == "" {
				ok(t, results)
				if after != before+1 {
					t.Errorf("%d events for one command", after-before)
				}
			} else {
				refusedAs(t, results, tt.code, tt.words)
				if after != before {
					t.Error("a refused command left an event")
				}
			}
			if errors.Is(results[0].Err, ErrAlready) != tt.already {
				t.Errorf("ErrAlready in %v: want %v", results[0].Err, tt.already)
			}
			if got := r.state(pv); got != tt.to {
				t.Errorf("then it is %s, want %s", got, tt.to)
			}
			r.verified()
		})
	}
}

func TestEventSaysWhoWhenWhy(t *testing.T) {
	log := newMemLog()
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	r := start(t, t.TempDir(), log, func(r *Registry) { r.now = func() time.Time { return at } })
	actor := Actor{Name: "caf\xe9", Source: "10.0.0.1:4", Reason: "because"}
	ok(t, r.Archive(ctx, actor, Request{PV: "A:1", Settings: schema.Settings{SamplingMethod: "scan", SamplingPeriod: 300 * time.Millisecond, Policy: "P",
		ControllingPV: "C:1", Stores: []string{"pb://localhost?name=STS"}}}, Request{PV: "A:2"}))
	e, _, err := log.wait(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if e.GetVersion() != 1 || e.GetPv() != "A:1" || e.GetTime() != at.UnixNano() || e.GetActor() != "café" ||
		e.GetSource() != "10.0.0.1:4" || e.GetReason() != "because" || e.GetChangeId() == "" {
		t.Errorf("event %v", e)
	}
	if second, _, _ := log.wait(ctx, 2); second.GetChangeId() != e.GetChangeId() {
		t.Error("two events of one command have two change ids")
	}
	info, _ := r.Get("A:1")
	want := &schema.TypeInfo{
		PV: "A:1", State: schema.Archiving, DBRType: schema.UnknownType, Settings: schema.Settings{SamplingMethod: schema.Scan,
			SamplingPeriod: 300 * time.Millisecond, Policy: "P", ControllingPV: "C:1", Stores: []string{"pb://localhost?name=STS"}},
		ChunkKey: "A/1:", Created: at, Modified: at, Generation: 1, Sequence: 1,
	}
	if !reflect.DeepEqual(info, want) {
		t.Errorf("got  %+v\nwant %+v", info, want)
	}
	if info, _ := r.Get("A:2"); info.SamplingMethod != schema.Monitor || info.SamplingPeriod != time.Second {
		t.Errorf("defaults: %+v", info)
	}
}

func TestArchiveRefusesBadRequests(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	tests := map[string]struct {
		request Request
		words   string
	}{
		"empty name":       {Request{}, "empty"},
		"path escape":      {Request{PV: "a:../b"}, "a:../b"},
		"leading slash":    {Request{PV: "/etc/passwd"}, "folders"},
		"NUL":              {Request{PV: "a\x00b"}, "PV \"a\\x00b\""},
		"too long":         {Request{PV: schema.PVName(strings.Repeat("x", 501))}, "501 bytes"},
		"not normal":       {Request{PV: "a.VAL"}, `its name is "a"`},
		"method":           {Request{PV: "a", Settings: schema.Settings{SamplingMethod: "NOPE"}}, "MONITOR, SCAN or SCAN_GET"},
		"short period":     {Request{PV: "a", Settings: schema.Settings{SamplingPeriod: time.Millisecond}}, "100ms to 24h"},
		"negative period":  {Request{PV: "a", Settings: schema.Settings{SamplingPeriod: -time.Second}}, "100ms to 24h"},
		"long period":      {Request{PV: "a", Settings: schema.Settings{SamplingPeriod: 25 * time.Hour}}, "100ms to 24h"},
		"controlling PV":   {Request{PV: "a", Settings: schema.Settings{ControllingPV: "b b"}}, "controlling PV of a"},
		"policy not UTF-8": {Request{PV: "a", Settings: schema.Settings{Policy: "\xff"}}, "policy"},
		"policy length":    {Request{PV: "a", Settings: schema.Settings{Policy: strings.Repeat("p", 1001)}}, "policy"},
		"empty store":      {Request{PV: "a", Settings: schema.Settings{Stores: []string{""}}}, "plugin URL"},
		"many stores":      {Request{PV: "a", Settings: schema.Settings{Stores: make([]string, 17)}}, "17 are given"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			refusedAs(t, r.Archive(ctx, operator, tt.request), schema.Invalid, tt.words)
		})
	}
	if n := len(r.All()); n != 0 {
		t.Errorf("%d PVs are registered", n)
	}
}

// Two PVs of one path would write into each other's files (design D5).
func TestArchiveRefusesSecondPVOfAPath(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	results := r.Archive(ctx, operator, Request{PV: "A:B"}, Request{PV: "A-B"}, Request{PV: "A/B"}, Request{PV: "A:C"})
	ok(t, results[:1])
	ok(t, results[3:])
	refusedAs(t, results[1:2], schema.Conflict, "its files would be those of A:B")
	refusedAs(t, results[2:3], schema.Conflict, "its files would be those of A:B")
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "A-B"}), schema.Conflict, "its files would be those of A:B")
	ok(t, r.Stop(ctx, operator, "A:B"))
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "A-B"}), schema.Conflict, "A:B")
	ok(t, r.Delete(ctx, operator, true, "A:B"))
	r.archive("A-B")
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "A:B"}), schema.Conflict, "its files would be those of A-B")
}

func TestInvalidPVsOfABulkCommandHoldNothingUp(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("P:1", "P:2", "P:3")
	ok(t, r.Pause(ctx, operator, "P:2"))
	results := r.Pause(ctx, operator, "P:1", "P:2", "nope", "P:3", "P:3")
	var got []string
	for _, res := range results {
		got = append(got, fmt.Sprintf("%s %s", res.PV, schema.CodeOf(res.Err)))
	}
	want := []string{"P:1 ", "P:2 conflict", "nope not found", "P:3 ", "P:3 conflict"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := log.batches[len(log.batches)-1]; n != 2 {
		t.Errorf("the valid ones went as a batch of %d, want 2", n)
	}
}

func TestDeletedPVKeepsItsPlaceInTheLog(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	r := start(t, dir, log)
	r.archive("D:1")
	ok(t, r.Started(ctx, operator, Discovery{PV: "D:1", Type: schema.ScalarDouble, Count: 1, Host: "h"}))
	ok(t, r.Stop(ctx, operator, "D:1"))
	ok(t, r.Delete(ctx, operator, true, "D:1"))
	if e, _, _ := log.wait(ctx, 4); !e.GetDeleted().GetData() {
		t.Error("the event does not say that the data go, too")
	}
	r.stop()
	r = start(t, dir, log) // the tombstone outlives the process
	if _, known := r.Get("D:1"); known || len(r.All()) != 0 || len(r.Match("", 0)) != 0 {
		t.Error("a deleted PV is listed")
	}
	r.archive("D:1")
	ok(t, r.Started(ctx, operator, Discovery{PV: "D:1", Type: schema.WaveformInt, Count: 7, Host: "h"}))
	want := []Generation{{1, schema.UnknownType}, {2, schema.ScalarDouble}, {5, schema.UnknownType}, {6, schema.WaveformInt}}
	if got := r.Generations("D:1"); !slices.Equal(got, want) {
		t.Errorf("generations %v, want %v", got, want)
	}
	r.verified()
}

func TestGenerationsAreBounded(t *testing.T) {
	var rec record
	for seq := uint64(1); seq <= 3*maxGenerations; seq++ {
		rec = rec.step(seq, &logpb.RegistryEvent{Pv: "g", What: &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{}}})
	}
	if n := len(rec.Generations); n != maxGenerations || rec.generation() != 3*maxGenerations {
		t.Errorf("%d generations, newest %d", n, rec.generation())
	}
}

func TestChangeParameters(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("C:1")
	for ms := time.Duration(100); ms < 3000; ms += 7 { // what went through the event's float is the same again
		ok(t, r.ChangeParameters(ctx, operator, Parameters{PV: "C:1", Period: ms * time.Millisecond, Method: "SCAN"}))
		if info, _ := r.Get("C:1"); info.SamplingPeriod != ms*time.Millisecond || info.SamplingMethod != schema.Scan {
			t.Fatalf("asked for %v, got %v %v", ms*time.Millisecond, info.SamplingPeriod, info.SamplingMethod)
		}
	}
	before, _ := log.Last(ctx)
	ok(t, r.ChangeParameters(ctx, operator, Parameters{PV: "C:1"}, Parameters{PV: "C:1", Method: "SCAN"}))
	if after, _ := log.Last(ctx); after != before {
		t.Error("an event without a change")
	}
	refusedAs(t, r.ChangeParameters(ctx, operator, Parameters{PV: "C:1", Period: 1}), schema.Invalid, "100ms")
	refusedAs(t, r.ChangeParameters(ctx, operator, Parameters{PV: "C:1", Method: "x"}), schema.Invalid, "SCAN")
}

func TestStartedOnlyTellsNews(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("N:1")
	first := Discovery{PV: "N:1", Type: schema.ScalarDouble, Count: 1, Host: "ioc:5064", Units: "m\xb5A", Precision: 3,
		Limits: map[string]float64{"HIHI": math.NaN(), "LOPR": math.Inf(-1)}, Fields: map[string]string{"RTYP": "ai"}}
	steps := []struct {
		name   string
		change func(*Discovery)
		news   bool
	}{
		{"first", func(*Discovery) {}, true},
		{"the same, with NaN", func(*Discovery) {}, false},
		{"nothing known of metadata", func(d *Discovery) { d.Units, d.Precision, d.Limits, d.Fields = "", 0, nil, nil }, false},
		{"host", func(d *Discovery) { d.Host = "other:5064" }, true},
		{"host back, no metadata", func(d *Discovery) { d.Units, d.Precision, d.Limits, d.Fields = "", 0, nil, nil }, true},
		{"limit", func(d *Discovery) { d.Limits = map[string]float64{"HIHI": 5} }, true},
		{"units", func(d *Discovery) { d.Limits, d.Units = map[string]float64{"HIHI": 5}, "A" }, true},
		{"one more field", func(d *Discovery) {
			d.Limits, d.Units, d.Fields = map[string]float64{"HIHI": 5}, "A", map[string]string{"NAME": "N:1"}
		}, true},
		{"that field again", func(d *Discovery) {
			d.Limits, d.Units, d.Fields = map[string]float64{"HIHI": 5}, "A", map[string]string{"NAME": "N:1"}
		}, false},
		{"three labels", func(d *Discovery) {
			d.Limits, d.Units, d.Fields = map[string]float64{"HIHI": 5}, "A", map[string]string{"ENUM_0": "a", "ENUM_1": "b", "ENUM_2": "c"}
		}, true},
		{"properties alone, fewer labels", func(d *Discovery) {
			d.Host, d.Limits, d.Units, d.Fields = "", map[string]float64{"HIHI": 5}, "A", map[string]string{"ENUM_0": "a", "ENUM_1": "x"}
		}, true},
		{"properties alone, nothing new", func(d *Discovery) { d.Host, d.Limits, d.Units, d.Fields = "", map[string]float64{"HIHI": 5}, "A", nil }, false},
	}
	for _, s := range steps {
		d := first
		s.change(&d)
		before, _ := log.Last(ctx)
		ok(t, r.Started(ctx, operator, d))
		if after, _ := log.Last(ctx); (after > before) != s.news {
			t.Fatalf("%s: %d events", s.name, after-before)
		}
	}
	info, _ := r.Get("N:1")
	if info.Units != "A" || info.Precision != 3 || info.Limits["HIHI"] != 5 || info.Fields["RTYP"] != "ai" || info.Fields["NAME"] != "N:1" || info.Generation != 2 {
		t.Errorf("%+v", info)
	}
	if _, left := info.Fields["ENUM_2"]; left || info.Fields["ENUM_1"] != "x" || info.Host != first.Host {
		t.Errorf("%+v", info)
	}
	refusedAs(t, r.Started(ctx, operator, Discovery{PV: "N:1", Type: schema.WaveformDouble, Count: 5, Host: "h"}),
		schema.Conflict, "registered as DBR_SCALAR_DOUBLE and its IOC h now has DBR_WAVEFORM_DOUBLE")
	refusedAs(t, r.Started(ctx, operator, Discovery{PV: "N:1", Type: schema.UnknownType}), schema.Invalid, "N:1")
	refusedAs(t, r.Started(ctx, operator, Discovery{PV: "N:1", Type: schema.ScalarDouble, Count: -1}), schema.Invalid, "N:1")
	if got, _ := r.Get("N:1"); got != info {
		t.Error("a refused discovery changed something")
	}
	r.verified()
}
