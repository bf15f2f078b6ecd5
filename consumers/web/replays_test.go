package web

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// fakeReplays gives two PVs, or an error after the first.
type fakeReplays struct {
	order ReplayOrder
	actor registry.Actor
	early error // before it begins
	late  error // after the first PV
}

func (f *fakeReplays) Replay(_ context.Context, actor registry.Actor, o ReplayOrder, begun func(int), each func(ReplayedPV)) (ReplaySummary, error) {
	f.order, f.actor = o, actor
	if f.early != nil {
		return ReplaySummary{}, f.early
	}
	begun(2)
	each(ReplayedPV{PV: "A", Status: "changed", Added: 3, First: "x", Last: "y"})
	if f.late != nil {
		return ReplaySummary{}, f.late
	}
	each(ReplayedPV{PV: "B", Status: "failed", Err: schema.Errorf(schema.NotFound, "PV B is not registered")})
	return ReplaySummary{ChangeID: actor.ChangeID, DryRun: actor.DryRun, Total: 2, Changed: 1, Failed: 1, Added: 3, Refused: map[string]int{"order": 1}}, nil
}

func (f *fakeReplays) Show(_ context.Context, id string) (ReplayRecord, error) {
	if id != "clock" {
		return ReplayRecord{}, schema.Errorf(schema.NotFound, "none")
	}
	r := ReplayRecord{Change: registry.Change{ID: id, Command: "replay", Opened: 7, Time: begin}, Events: []ReplayedPV{{PV: "A", Added: 3}}}
	r.SetOrder(ReplayOrder{PV: "*", Since: begin, DriftPast: time.Hour})
	return r, nil
}

func (f *fakeReplays) List() []registry.Change {
	return []registry.Change{{ID: "clock", Command: "replay", Opened: 7, Time: begin}}
}

func TestAReplayIsToldLineByLine(t *testing.T) {
	fake := &fakeReplays{}
	f := newFixture(t, func(o *Options) { o.Replays = fake })
	body := `{"pv":"A*","reasons":["drift_past"],"since":"2026-11-20T08:00:00Z","drift":"24h","dry_run":true,"change_id":"clock","reason":"why"}`
	_, text := f.ask("POST", "/api/v1/replays", "application/json", body)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, says := range []string{`"total":2`, `"pv":"A","status":"changed","added":3`, "PV B is not registered", `"summary"`} {
		if !strings.Contains(text, says) {
			t.Errorf("no %s in %s", says, text)
		}
	}
	if !strings.HasPrefix(lines[0], `{"change":`) || !strings.HasPrefix(lines[len(lines)-1], `{"summary":`) {
		t.Errorf("%s", text)
	}
	o := fake.order
	if o.PV != "A*" || o.DriftPast != 24*time.Hour || o.DriftFuture != 24*time.Hour || o.Since.Hour() != 8 || len(o.Reasons) != 1 ||
		!fake.actor.DryRun || fake.actor.ChangeID != "clock" || fake.actor.Reason != "why" {
		t.Errorf("%+v %+v", o, fake.actor)
	}
	fake.late = schema.Errorf(schema.Unavailable, "the store is full")
	_, text = f.ask("POST", "/api/v1/replays", "application/json", body)
	if strings.Contains(text, "summary") || !strings.Contains(text, "the store is full") {
		t.Errorf("a replay that is not through: %s", text)
	}
	fake.early = schema.Errorf(schema.Conflict, "change clock is another one")
	if resp, text := f.ask("POST", "/api/v1/replays", "application/json", body); resp.StatusCode != 409 || !json.Valid([]byte(text)) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestAReplayIsToldInTheHistory(t *testing.T) {
	at := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	got := replayedText(&logpb.SamplesReplayed{Added: 12, There: 3, Differs: 1, Refused: map[string]uint32{"order": 2, "damaged": 1},
		First: at.UnixNano(), Last: at.Add(time.Second).UnixNano(), Overrides: "drift 24h0m0s"})
	want := "12 samples replayed (from 2026-11-25T08:00:00Z to 2026-11-25T08:00:01Z); 3 there already; left out: 1 other at their instant, 1 damaged, 2 order; under drift 24h0m0s"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
