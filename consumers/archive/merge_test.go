package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// late is a late sample between those of the rig's log, which are 90 s apart.
func late(at schema.Time, v float64) Late {
	return Late{Type: schema.ScalarDouble, Time: at, Event: double(at, v).Event}
}

// lates are samples of three of the four partitions: before all, in the middle,
// in the partition that is being written, and behind it; one that is there and
// one whose instant is taken.
func lates() []Late {
	return []Late{
		late(after(145*time.Minute+time.Second), 1001), late(after(-5*time.Second), 1002), late(after(30*time.Minute+time.Second), 1003),
		late(after(30*time.Minute), 20), late(after(60*time.Minute), 1004), late(after(30*time.Minute+2*time.Second), 1005),
		late(after(149*time.Minute), 1006),
	}
}

var latesOutcomes = []partition.Outcome{
	partition.Added, partition.Added, partition.Added, partition.There, partition.Differs, partition.Added, partition.Added,
}

// outcomes of each sample.
func outcomes(m Merged) (all []partition.Outcome) {
	for _, p := range m.Placed {
		all = append(all, p.Outcome)
	}
	return all
}

// whole checks that the PV has its samples of the log and the late ones, sorted,
// each once, and nothing else is in the store.
func (r *copyRig) whole(n int) {
	r.t.Helper()
	got := map[schema.Time]int{}
	for _, s := range read(r.t, r.dir, older) { // which fails on disorder
		got[s.at]++
	}
	want := map[schema.Time]int{}
	for i := range n {
		want[after(time.Duration(i)*90*time.Second)] = 1
	}
	for i, outcome := range latesOutcomes {
		if outcome == partition.Added {
			want[lates()[i].Time] = 1
		}
	}
	for at := range want {
		if got[at] != 1 {
			r.t.Errorf("%v is there %d times", at, got[at])
		}
	}
	if len(got) != len(want) {
		r.t.Errorf("%d samples, want %d", len(got), len(want))
	}
	for path := range r.tree() {
		if !strings.HasPrefix(path, "A/OLD:") {
			r.t.Errorf("left over: %s", path)
		}
	}
}

// caughtUp waits until the archive has taken all of the log.
func (r *copyRig) caughtUp() {
	r.t.Helper()
	for done := false; !done; {
		err := r.a.owning(r.t.Context(), "look", func(context.Context) error {
			done = time.Since(r.a.taking) < time.Hour && r.log.position() == uint64(len(r.log.messages))
			return nil
		})
		if err != nil && schema.CodeOf(err) != schema.Unavailable {
			r.t.Fatal(err)
		}
	}
}

// merge merges until the archive can.
func (r *copyRig) merge(late []Late) Merged {
	r.t.Helper()
	for {
		r.caughtUp()
		m, err := r.a.Merge(r.t.Context(), older, late)
		if err == nil {
			return m
		}
		if schema.CodeOf(err) != schema.Unavailable {
			r.t.Fatal(err)
		}
	}
}

// TestLateSamplesGetTheirPlaces of files on disk, in memory and being written,
// and the second time changes nothing. The archive goes on behind them.
func TestLateSamplesGetTheirPlaces(t *testing.T) {
	r := newCopyRig(t)
	m := r.merge(lates())
	if !slices.Equal(outcomes(m), latesOutcomes) || m.Files != 3 {
		t.Fatalf("%v in %d files: %+v", outcomes(m), m.Files, m.Placed)
	}
	before := r.tree()
	again := r.merge(lates())
	if again.Count(partition.Added) != 0 || again.Count(partition.There) != 6 || again.Count(partition.Differs) != 1 || again.Files != 0 {
		t.Errorf("the second time: %v in %d files", outcomes(again), again.Files)
	}
	for path, content := range r.tree() {
		if before[path] != content {
			t.Errorf("%s has changed", path)
		}
	}
	// 148.5 min is the newest of the log, 149 the newest of all: a sample between
	// them is late now, one behind goes on.
	r.log.add(older, double(after(148*time.Minute+45*time.Second), 7), double(after(150*time.Minute), 100))
	r.stop()
	r.whole(101)
	if len(r.log.drops) != 1 {
		t.Errorf("%d drops, want the one that came too late", len(r.log.drops))
	}
}

// TestAMergeDoesNotDisturbWhatIsAppended merges again and again while samples of
// the same partition come.
func TestAMergeDoesNotDisturbWhatIsAppended(t *testing.T) {
	r := newCopyRig(t)
	r.merge(nil)
	n := 100
	for i, l := range lates() {
		for range 3 {
			r.log.add(older, double(after(time.Duration(n)*90*time.Second), float64(n)))
			n++
		}
		if got := outcomes(r.merge([]Late{l}))[0]; got != latesOutcomes[i] {
			t.Errorf("sample %d: %v, want %v", i, got, latesOutcomes[i])
		}
	}
	r.stop()
	for _, d := range r.log.drops {
		t.Errorf("drop: %+v", d)
	}
	r.whole(n)
}

func TestWhatMayNotBeMergedIsToldAndLeftOut(t *testing.T) {
	r := newCopyRig(t)
	illegal := late(after(0), 1)
	illegal.Time.Nsec = 2e9
	wrong := late(after(time.Second), 1)
	wrong.Time = after(2 * time.Second)
	list := []Late{
		{Type: schema.ScalarInt, Time: after(time.Second), Event: schema.AppendInt(schema.AppendHead(nil, after(time.Second)), 1)},
		illegal, wrong, late(schema.TimeOf(time.Now().Add(time.Hour)), 1), late(after(time.Second), 1),
	}
	m := r.merge(list)
	for i, says := range []string{"registered as", "nanoseconds", "own time", "too late", ""} {
		p := m.Placed[i]
		if says == "" && (p.Why != nil || p.Outcome != partition.Added) || says != "" && (p.Why == nil || !strings.Contains(p.Why.Error(), says) || p.Outcome != partition.Waits) {
			t.Errorf("%d: %v, %v, want %q", i, p.Outcome, p.Why, says)
		}
	}
	if _, err := r.a.Merge(t.Context(), "A:NONE", list); schema.CodeOf(err) != schema.NotFound {
		t.Errorf("a PV that is not registered: %v", err)
	}
	release, err := r.a.hold(older)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.a.Merge(t.Context(), older, list); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("files that are being copied: %v", err)
	}
	release()
	path := filepath.Join(r.dir, "sts", "A/OLD:2020_01_01_00.pb")
	if err := os.WriteFile(path, []byte("garbage\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	old := schema.TimeOf(time.Date(2020, 1, 1, 0, 30, 0, 0, time.UTC))
	m = r.merge([]Late{late(old, 1), late(after(3*time.Second), 1)})
	if m.Placed[0].Why == nil || m.Placed[1].Outcome != partition.Added {
		t.Errorf("into garbage: %+v", m.Placed)
	}
	r.stop()
	if _, err := r.a.Merge(t.Context(), older, list); schema.CodeOf(err) != schema.Unavailable {
		t.Errorf("an archive that has ended: %v", err)
	}
}

// TestAMergeIsWholeWhateverFails fails the first, second, third ... step of all
// that is written while samples are merged, until none fails; every other one in
// a run.
func TestAMergeIsWholeWhateverFails(t *testing.T) {
	for n, failed := rand.IntN(2), true; failed; n += 2 {
		r := newCopyRig(t)
		r.merge(nil)
		r.files.Fail(partition.Fault{Op: partition.OpAny, Skip: n, Err: syscall.EIO, Written: 5})
		steps := r.files.Steps(partition.OpAny)
		if _, err := r.a.Merge(t.Context(), older, lates()); err != nil && schema.CodeOf(err) != schema.Unavailable {
			t.Errorf("step %d: %v", n, err)
		}
		failed = r.files.Steps(partition.OpAny)-steps > n
		r.files.Heal()
		r.merge(lates())
		r.stop()
		r.whole(100)
		if n < 2 && !failed {
			t.Error("no step could fail")
		}
	}
}

// TestAMergeSurvivesAPowerCut at each of its steps: what it had said to be in
// files is, and the same call again makes it whole.
func TestAMergeSurvivesAPowerCut(t *testing.T) {
	half := func(_ string, b []byte) []byte { return b[:len(b)/2] }
	for n, failed := rand.IntN(2), true; failed; n += 2 {
		r := newCopyRig(t)
		r.merge(nil)
		r.files.Fail(partition.Fault{Op: partition.OpAny, Skip: n, Err: syscall.EIO, Written: 5, Lasting: true})
		steps := r.files.Steps(partition.OpAny)
		m, err := r.a.Merge(t.Context(), older, lates())
		failed = r.files.Steps(partition.OpAny)-steps > n
		said := map[schema.Time]bool{}
		for i, p := range m.Placed {
			if p.Outcome == partition.Added || p.Outcome == partition.There {
				said[lates()[i].Time] = true
			}
		}
		if err == nil && len(said) != 6 {
			t.Errorf("step %d: no error and %d samples", n, len(said))
		}
		r.powerCut(n%3, half)
		for _, s := range r.onDisk() {
			delete(said, s)
		}
		if len(said) > 0 {
			t.Errorf("step %d: said to be in files and gone: %v", n, said)
		}
		r.start()
		r.merge(lates())
		r.stop()
		r.whole(100)
	}
}

// powerCut ends the archive without another step and takes what was not synced.
func (r *copyRig) powerCut(keep int, tear func(string, []byte) []byte) {
	r.t.Helper()
	r.files.Heal()
	r.files.Fail(partition.Fault{Op: partition.OpAny, Err: syscall.EIO, Lasting: true})
	r.kill()
	crash(r.t, r.a)
	r.files.Heal()
	if err := r.files.PowerCutKeeping(keep, tear); err != nil {
		r.t.Fatal(err)
	}
}

// onDisk are the times of all lines that can be read.
func (r *copyRig) onDisk() (all []schema.Time) {
	r.t.Helper()
	files, err := partition.List(filepath.Join(r.dir, "sts"), schema.ChunkKey(older), hour)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range files {
		reader, err := partition.Open(f.Path)
		if err != nil {
			continue
		}
		for {
			line, err := reader.Next()
			if err == nil {
				all = append(all, line.Time)
			} else if _, corrupt := errors.AsType[*partition.CorruptError](err); !corrupt {
				break
			}
		}
		_ = reader.Close()
	}
	return all
}

// TestWhatAKilledProcessMergedIsSyncedBeforeItIsBelieved: the file is in its
// place, the folder was never synced, and the process was killed. The next one
// finds all samples there; after a power cut they still are.
func TestWhatAKilledProcessMergedIsSyncedBeforeItIsBelieved(t *testing.T) {
	r := newCopyRig(t)
	r.merge(nil)
	path := filepath.Join(r.dir, "sts", "A/OLD:2025_11_23_11.pb")
	if err := partition.Replace(unsynced{r.files}, path, func(w io.Writer) error {
		plan, err := partition.PlanMerge(path, partition.Header{Type: schema.ScalarDouble, PV: older, Year: 2025}, -1, []partition.Late{{Time: lates()[2].Time, Event: lates()[2].Event}})
		if err != nil {
			return err
		}
		return errors.Join(plan.End(), plan.Write(context.Background(), w), plan.Close())
	}); err != nil {
		t.Fatal(err)
	}
	if m := r.merge(lates()[2:3]); m.Placed[0].Outcome != partition.There {
		t.Fatalf("%+v", m)
	}
	r.powerCut(0, nil)
	if !slices.Contains(r.onDisk(), lates()[2].Time) {
		t.Error("a sample that was said to be there is gone")
	}
}

// unsynced is a file system whose folders are not synced.
type unsynced struct{ partition.FS }

func (u unsynced) OpenFile(path string, flag int, perm os.FileMode) (partition.Handle, error) {
	h, err := u.FS.OpenFile(path, flag, perm)
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return noSync{h}, err
	}
	return h, err
}

type noSync struct{ partition.Handle }

func (noSync) Sync() error { return nil }

// TestNothingIsMergedBeforeTheLastRunsSamplesAreTaken: a power cut may have left
// garbage in the files that those samples repair.
func TestNothingIsMergedBeforeTheLastRunsSamplesAreTaken(t *testing.T) {
	a := New(Options{Store: Store{Root: t.TempDir(), Granularity: hour}, Registered: registered})
	a.recovering = true
	m := merging{a: a, pv: "A", what: "merge"}
	if err := m.look(t.Context()); schema.CodeOf(err) != schema.Unavailable || !strings.Contains(err.Error(), "last run") {
		t.Errorf("%v", err)
	}
}

// TestAMergeIntoACoarserTierIsThereTheNextTime: a file of days gets what is older
// than the store's own files, and what stands there is known again.
func TestAMergeIntoACoarserTierIsThereTheNextTime(t *testing.T) {
	r := newCopyRig(t)
	path := put(t, r.dir, older, after(-48*time.Hour), after(-47*time.Hour))
	r.stop()
	crash(t, r.a)
	r.change = withLTS(r.dir)
	r.start()
	list := []Late{late(after(-47*time.Hour-time.Minute), 5), late(after(-47*time.Hour), 1), late(after(-24*time.Hour), 6)}
	m := r.merge(list)
	if want := []partition.Outcome{partition.Added, partition.There, partition.Added}; !slices.Equal(outcomes(m), want) || m.Files != 2 {
		t.Fatalf("%+v", m)
	}
	if tail, err := partition.Check(path); err != nil || tail.Lines != 3 || tail.Cut != 0 {
		t.Errorf("%+v, %v", tail, err)
	}
	if again := r.merge(list); again.Count(partition.There) != 3 || again.Files != 0 {
		t.Errorf("the second time: %+v", again)
	}
	r.stop()
}

// TestWhatAKilledMergeLeftIsRemoved at the next start.
func TestWhatAKilledMergeLeftIsRemoved(t *testing.T) {
	r := newCopyRig(t)
	r.merge(nil)
	aside, err := partition.BeginReplacement(partition.OSFS{}, filepath.Join(r.dir, "sts", "A/OLD:2025_11_23_11.pb"))
	if err != nil || aside.Sync() != nil {
		t.Fatal(err)
	}
	r.powerCut(0, nil) // which is an end that is not clean
	left := func() bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(r.tree())), func(path string) bool { return strings.Contains(path, ".pvlog-new-") })
	}
	if !left() {
		t.Fatal("nothing was left")
	}
	r.start()
	for left() { // until the test's deadline
		r.caughtUp()
	}
	r.stop()
}

func TestALateSampleGoesToTheTierThatCoversItsTime(t *testing.T) {
	day := partition.PartitionDay
	file := func(root string, g partition.Granularity, at string) partition.File {
		when, err := time.Parse("2006-01-02 15", at)
		if err != nil {
			t.Fatal(err)
		}
		start := g.Start(schema.TimeOf(when))
		return partition.File{Path: partition.Path(root, "K:", g, start), Start: start, End: g.Next(start)}
	}
	tiers := []storeFiles{
		{Store{Name: "STS", Root: "/s", Granularity: hour}, []partition.File{file("/s", hour, "2026-03-05 14"), file("/s", hour, "2026-03-05 15")}},
		{Store{Name: "MTS", Root: "/m", Granularity: day}, []partition.File{file("/m", day, "2026-03-03 00"), file("/m", day, "2026-03-05 00")}},
		{Store{Name: "LTS", Root: "/l", Granularity: partition.PartitionYear}, []partition.File{file("/l", partition.PartitionYear, "2024-01-01 00")}},
	}
	for at, want := range map[string]string{
		"2026-03-05 14": "/s/K:2026_03_05_14.pb", // the finest that has a file of it
		"2026-03-05 10": "/m/K:2026_03_05.pb",    // its hour was moved already
		"2026-03-04 10": "/m/K:2026_03_04.pb",    // no file, and MTS has later ones
		"2026-03-05 16": "/s/K:2026_03_05_16.pb", // MTS gets hour 15 before it
		"2026-03-06 01": "/s/K:2026_03_06_01.pb",
		"2024-06-01 00": "/l/K:2024.pb",
		"2023-06-01 00": "/l/K:2023.pb",
		"2025-06-01 00": "/l/K:2025.pb", // before all of MTS
	} {
		when, err := time.Parse("2006-01-02 15", at)
		if err != nil {
			t.Fatal(err)
		}
		if got := placeFor(tiers, "K:", schema.TimeOf(when.Add(time.Minute))); got.path != want {
			t.Errorf("%s: %s, want %s", at, got.path, want)
		}
	}
	if got := fmt.Sprint(foldersUp("/s/A/B/K:2026.pb", "/s")); got != "[/s/A/B/K:2026.pb /s/A/B /s/A /s]" {
		t.Error(got)
	}
}
