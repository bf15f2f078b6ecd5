package registry

import (
	"testing"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// TestAReplayStandsInTheLogUntilItIsThrough: it is open over a restart, its order
// and what it made of PVs are read back, nobody resumes or undoes it as a command
// on PVs, and what was done to the PV before can still be undone.
func TestAReplayStandsInTheLogUntilItIsThrough(t *testing.T) {
	log, dir := newMemLog(), t.TempDir()
	r := start(t, dir, log)
	r.archive("N:1")
	ok(t, r.Pause(ctx, operator, "N:1"))
	pause, _ := r.newest("N:1")
	actor := operator
	actor.ChangeID, actor.Reason = "clock", "why"
	order := &logpb.ReplayOrder{Pv: "N:*", Reasons: []string{"drift_past"}, DriftPast: 86400}
	c, err := r.OpenReplay(ctx, actor, order, 2)
	if err != nil || c.Closed != 0 || c.PVs != 2 || c.Reason != "why" || c.Command != "replay" {
		t.Fatalf("%+v, %v", c, err)
	}
	if again, err := r.OpenReplay(ctx, actor, order, 2); err != nil || again.Opened != c.Opened {
		t.Errorf("opened twice: %+v, %v", again, err)
	}
	for _, pv := range []schema.PVName{"N:1", "N:gone"} { // which is not registered any more
		if err := r.NoteReplayed(ctx, c, pv, &logpb.SamplesReplayed{Added: 3}); err != nil {
			t.Error(err)
		}
	}
	replayed, _ := r.newest("N:1")
	if err := r.resume(ctx, c.ID, nil); err != nil {
		t.Errorf("resumed as a command: %v", err)
	}
	if c, _ = r.Change(c.ID); c.Closed != 0 {
		t.Error("somebody closed it")
	}
	got, err := r.ReplayOrder(ctx, c)
	if err != nil || got.GetPv() != "N:*" || got.GetDriftPast() != 86400 || len(got.GetReasons()) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	done, err := r.Replayed(ctx, c)
	if err != nil || len(done) != 1 || done["N:1"].GetAdded() != 3 {
		t.Errorf("%v, %v", done, err)
	}
	if err := r.CloseReplay(ctx, c, 1, 0); err != nil {
		t.Error(err)
	}
	if list := r.Replays(); len(list) != 1 || list[0].Closed == 0 || list[0].Changed != 1 {
		t.Errorf("%+v", list)
	}
	refusedAs(t, []Result{r.Undo(ctx, operator, replayed)}, schema.Invalid, "nothing to undo")
	ok(t, []Result{r.Undo(ctx, operator, pause)})
	if info, _ := r.Get("N:1"); info.State != schema.Archiving {
		t.Errorf("%+v", info)
	}
	actor.ChangeID = "no id: blanks"
	if _, err := r.OpenReplay(ctx, actor, order, 2); schema.CodeOf(err) != schema.Invalid {
		t.Errorf("%v", err)
	}
}
