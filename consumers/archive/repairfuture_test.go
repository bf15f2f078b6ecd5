package archive

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// until repairs up to a time as soon as the archive can.
func (r *copyRig) until(latest schema.Time, dry bool) []*partition.Repair {
	r.t.Helper()
	for {
		r.caughtUp()
		done, err := r.a.Repair(r.t.Context(), older, RepairOptions{DryRun: dry, Latest: latest})
		if err == nil {
			return done
		}
		if schema.CodeOf(err) != schema.Unavailable {
			r.t.Fatal(err)
		}
	}
}

// countedFrom is a sample of a time that a file of a year has, whatever its year.
func countedFrom(year int, at time.Time) []byte {
	event := binary.AppendUvarint([]byte{0x08}, uint64(at.Unix()-schema.YearStart(year)))
	return schema.AppendDouble(append(event, 0x10, 0), 9)
}

// TestRepairMovesAsideWhatIsOfTheFuture lets a wrong clock's line stand at the
// end of the newest file, and its whole files in both stores: before the repair
// the newest file takes nothing, after it the present is archived there again.
func TestRepairMovesAsideWhatIsOfTheFuture(t *testing.T) {
	r := newCopyRig(t)
	r.change = withLTS(r.dir)
	r.caughtUp()
	r.stop()
	crash(t, r.a)
	newest := r.sts()[3].Path
	ten := schema.TimeOf(time.Now().AddDate(10, 0, 0))
	far := []string{put(t, r.dir, older, ten), partition.Path(filepath.Join(r.dir, "sts"), schema.ChunkKey(older), hour, hour.Start(ten))}
	text, err := os.ReadFile(far[0])
	if err == nil {
		err = os.WriteFile(far[1], text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	r.rewrite(newest, func(b []byte) []byte {
		return partition.AppendLine(b, countedFrom(after(0).Year(), time.Now().AddDate(10, 0, 0)))
	})

	r.log.add(older, double(after(150*time.Minute), 100))
	r.start()
	r.caughtUp() // the first round probes the store
	latest := schema.TimeOf(time.Now().Add(time.Minute))
	before := r.tree()
	if n := needed(r.until(latest, true)); n != 3 {
		t.Errorf("a dry run would repair %d files, want 3", n)
	}
	if !maps.Equal(before, r.tree()) {
		t.Error("a dry run changed files")
	}
	if futures := r.a.Futures(older); len(futures) != 3 {
		t.Errorf("found to end in the future: %+v", futures)
	}
	if len(r.log.drops) != 1 {
		t.Errorf("%d drops, want that of the sample whose file was poisoned", len(r.log.drops))
	}
	done := r.until(latest, false)
	whole := slices.DeleteFunc(slices.Clone(done), func(f *partition.Repair) bool { return !f.Whole })
	if needed(done) != 3 || len(whole) != 2 || whole[0].Path != far[1] || whole[1].Path != far[0] {
		t.Errorf("%d repaired, as a whole %v", needed(done), whole)
	}
	for _, f := range whole {
		if aside, err := os.ReadFile(f.Side); err != nil || string(aside) != string(text) || f.SetAside != 1 {
			t.Errorf("%s: %q, %v", f.Side, aside, err)
		}
	}
	if b, err := os.ReadFile(newest); err != nil || string(b) != string(sound) {
		t.Errorf("the newest file is not what it was before the poison: %v", err)
	}
	if left := r.a.Futures(""); len(left) != 0 {
		t.Errorf("still told: %+v", left)
	}
	if n := needed(r.until(latest, false)); n != 0 {
		t.Errorf("a second repair changes %d files", n)
	}
	r.log.add(older, double(after(151*time.Minute), 101))
	r.stop()
	if b, err := os.ReadFile(newest); err != nil || !strings.HasPrefix(string(b), string(sound)) || strings.Count(string(b), "\n") != strings.Count(string(sound), "\n")+1 {
		t.Errorf("the sample after the repair is not in %s: %v", newest, err)
	}
	if len(r.log.drops) != 1 {
		t.Errorf("%d drops after the repair", len(r.log.drops))
	}
}

// TestAFutureWithinTheWindowIsNoAlarmAfterARepair leaves a line that may be
// right by the PV's window.
func TestAFutureWithinTheWindowIsNoAlarmAfterARepair(t *testing.T) {
	r := newCopyRig(t)
	r.repair(false) // which writes what waits
	path := r.sts()[3].Path
	r.rewrite(path, func(b []byte) []byte {
		return partition.AppendLine(b, countedFrom(after(0).Year(), time.Now().Add(time.Hour)))
	})
	r.a.foundFuture(older, path, schema.TimeOf(time.Now().Add(time.Hour)))
	if n := len(r.a.Futures(older)); n != 1 {
		t.Fatalf("%d told", n)
	}
	r.until(schema.TimeOf(time.Now().Add(2*time.Hour)), false)
	if left := r.a.Futures(older); len(left) != 0 {
		t.Errorf("still told: %+v", left)
	}
}
