package registry

import (
	"errors"
	"testing"

	"pvlog/schema"
)

func TestARehearsalSaysWhatWouldBecomeAndChangesNothing(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("A", "B")
	ok(t, r.Pause(ctx, operator, "B"))
	last := r.Cursor()
	dry := operator
	dry.DryRun = true
	check := func(results []Result, want ...schema.Code) {
		t.Helper()
		for i, result := range results {
			if schema.CodeOf(result.Err) != want[i] || result.Would != (want[i] == "") || result.Sequence != 0 {
				t.Errorf("%+v, want %q", result, want[i])
			}
		}
		if r.Cursor() != last {
			t.Errorf("a rehearsal made event %d", r.Cursor())
		}
	}
	check(r.Pause(ctx, dry, "A", "B", "C"), "", schema.Conflict, schema.NotFound)
	check(r.Archive(ctx, dry, Request{PV: "X:1"}, Request{PV: "X-1"}, Request{PV: "A"}), "", schema.Conflict, schema.Conflict)
	check(r.Delete(ctx, dry, true, "A", "B"), schema.Conflict, "")
	check([]Result{r.Undo(ctx, dry, last)}, "")
	same := r.Configure(ctx, dry, Edit{PV: "A", Change: func(*schema.Settings) error { return nil }})[0]
	if same.Err != nil || same.Would {
		t.Errorf("an edit that changes nothing: %+v", same)
	}
	if results, err := r.UndoChange(ctx, dry, "nosuch"); err == nil || results != nil {
		t.Errorf("undo of a change that never was: %v, %v", results, err)
	}
	if err := r.Pause(ctx, dry, "B")[0].Err; !errors.Is(err, ErrAlready) {
		t.Error(err)
	}
}

func TestFitsTakesNoGlobForAll(t *testing.T) {
	for glob, want := range map[string]bool{"": true, "*": true, "LAB:?": true, "LAB:?:*": false} {
		if Fits(glob, "LAB:1") != want {
			t.Errorf("%q: %v", glob, !want)
		}
	}
}
