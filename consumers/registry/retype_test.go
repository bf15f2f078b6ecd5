package registry

import (
	"context"
	"errors"
	"testing"

	"pvlog/schema"
)

// pausedPV registers a paused PV of a type.
func (r *rig) pausedPV(pv schema.PVName, typ schema.DBRType) {
	r.t.Helper()
	r.archive(pv)
	ok(r.t, r.Started(ctx, operator, Discovery{PV: pv, Type: typ, Count: 5}))
	ok(r.t, r.Pause(ctx, operator, pv))
}

func TestANewTypeBeginsAGeneration(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.pausedPV("T:1", schema.WaveformDouble)
	was, _ := r.Get("T:1")
	res := r.Retype(ctx, operator, Retype{PV: "T:1", Type: schema.ScalarDouble, Kept: "bin"})
	ok(t, []Result{res})
	is, _ := r.Get("T:1")
	if is.DBRType != schema.ScalarDouble || is.ElementCount != 1 || is.Generation != res.Sequence || is.Generation <= was.Generation || !is.Created.Equal(was.Created) {
		t.Errorf("%+v, was %+v", is, was)
	}
	refusedAs(t, []Result{r.Retype(ctx, operator, Retype{PV: "T:1", Type: schema.ScalarDouble})}, schema.Conflict, "already")
	refusedAs(t, []Result{r.Retype(ctx, operator, Retype{PV: "T:1", Type: 99})}, schema.Invalid, "no type 99")
	refusedAs(t, []Result{r.Retype(ctx, operator, Retype{PV: "none", Type: schema.ScalarInt})}, schema.NotFound, "none")
	ok(t, r.Resume(ctx, operator, "T:1"))
	refusedAs(t, []Result{r.Retype(ctx, operator, Retype{PV: "T:1", Type: schema.ScalarInt})}, schema.Conflict, "pause")
	r.archive("T:2")
	refusedAs(t, []Result{r.Retype(ctx, operator, Retype{PV: "T:2", Type: schema.ScalarInt})}, schema.Conflict, "never connected")
	r.verified()
}

// The files come back before the event that takes a change of type back, and
// what stands in the way of that stands in the way of the undo.
func TestUndoOfANewTypeBringsTheFilesBack(t *testing.T) {
	var asked []string
	var trouble error
	r := start(t, t.TempDir(), newMemLog(), func(r *Registry) {
		r.opt.Revert = func(_ context.Context, pv schema.PVName, kept string, to schema.DBRType) (string, error) {
			asked = append(asked, string(pv)+" "+kept+" "+to.String())
			return kept + "+", trouble
		}
	})
	r.pausedPV("T:1", schema.WaveformDouble)
	seq := r.Retype(ctx, operator, Retype{PV: "T:1", Type: schema.ScalarDouble, Kept: "bin"}).Sequence
	trouble = schema.Errorf(schema.Conflict, "newer samples")
	refusedAs(t, []Result{r.Undo(ctx, operator, seq)}, schema.Conflict, "keeps its type: newer samples")
	trouble = nil
	res := r.Undo(ctx, operator, seq)
	ok(t, []Result{res})
	if is, _ := r.Get("T:1"); is.DBRType != schema.WaveformDouble || is.ElementCount != 5 || is.Generation != res.Sequence {
		t.Errorf("%+v", is)
	}
	if _, e := r.newest("T:1"); e.GetRetyped().GetKept() != "bin+" {
		t.Errorf("%v", e)
	}
	ok(t, []Result{r.Undo(ctx, operator, res.Sequence)})
	want := []string{"T:1 bin DBR_WAVEFORM_DOUBLE", "T:1 bin DBR_WAVEFORM_DOUBLE", "T:1 bin+ DBR_SCALAR_DOUBLE"}
	if len(asked) != 3 || asked[0] != want[0] || asked[1] != want[1] || asked[2] != want[2] {
		t.Errorf("%q", asked)
	}
	r.verified()
}

func TestAJoinIsOneEventAndOneUndo(t *testing.T) {
	var back string
	r := start(t, t.TempDir(), newMemLog(), func(r *Registry) {
		r.opt.Unjoin = func(_ context.Context, pv schema.PVName, kept string) error {
			back = string(pv) + " " + kept
			return nil
		}
	})
	r.pausedPV("J:REAL", schema.ScalarDouble)
	r.archive("J:OTHER")
	ok(t, r.Started(ctx, operator, Discovery{PV: "J:OTHER", Type: schema.ScalarDouble, Count: 1, Fields: map[string]string{"NAME": "J:REAL"}}))
	join := Join{PV: "J:OTHER", Real: "J:REAL", Kept: "bin"}
	refusedAs(t, []Result{r.Join(ctx, operator, join)}, schema.Conflict, "pause it")
	actor := operator
	actor.ChangeID = NewChangeID(r.now())
	before := r.essence("J:OTHER")
	ok(t, r.Pause(ctx, actor, "J:OTHER"))
	ok(t, []Result{r.Join(ctx, actor, join)})
	if found, is := r.Resolve("J:OTHER"); !is || found.Info.PV != "J:REAL" {
		t.Errorf("%+v %v", found, is)
	}
	if res := r.Join(ctx, operator, join); !errors.Is(res.Err, ErrAlready) {
		t.Errorf("again: %v", res.Err)
	}
	results, err := r.UndoChange(ctx, operator, actor.ChangeID)
	if err != nil {
		t.Fatal(err)
	}
	ok(t, results)
	if got := r.essence("J:OTHER"); got != before || back != "J:OTHER bin" || len(results) != 1 {
		t.Errorf("%s\n%s\n%q", got, before, back)
	}
	seq, _ := r.newest("J:OTHER")
	refusedAs(t, []Result{r.Undo(ctx, operator, seq)}, schema.Conflict, "join it with J:REAL again")
	r.verified()
}

func TestAJoinThatMayNotBe(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.pausedPV("J:REAL", schema.ScalarDouble)
	r.pausedPV("J:INT", schema.ScalarInt)
	r.pausedPV("J:1", schema.ScalarDouble)
	r.pausedPV("J:2", schema.ScalarDouble)
	ok(t, r.AddAlias(ctx, operator, Alias{"J:a", "J:REAL"}, Alias{"J:b", "J:2"}))
	for _, c := range []struct {
		pv, real schema.PVName
		code     schema.Code
		says     string
	}{
		{"J:1", "J:1", schema.Invalid, "itself"},
		{"J:1", "J:NONE", schema.NotFound, "rename"},
		{"J:1", "J:a", schema.Conflict, "itself an alias of J:REAL"},
		{"J:NONE", "J:REAL", schema.NotFound, "join PV J:NONE"},
		{"J:INT", "J:REAL", schema.Conflict, "different DBR Types"},
		{"J:2", "J:REAL", schema.Conflict, "aliases of its own"},
	} {
		refusedAs(t, []Result{r.Join(ctx, operator, Join{PV: c.pv, Real: c.real})}, c.code, c.says)
	}
	dry := operator
	dry.DryRun = true
	if res := r.Join(ctx, dry, Join{PV: "J:1", Real: "J:REAL"}); res.Err != nil || !res.Would {
		t.Errorf("%+v", res)
	}
	r.verified()
}
