package archive

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

const foreign = schema.PVName("OTHER:PV")

// theirs writes a partition of another archive: header, and n samples a second
// apart from the begin of its span on.
func theirs(t *testing.T, root string, g partition.Granularity, start string, n int) string {
	t.Helper()
	begin, err := time.Parse(time.RFC3339, start)
	if err != nil {
		t.Fatal(err)
	}
	file := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: foreign, Year: begin.Year()})
	for i := range n {
		at := schema.Time{Sec: begin.Unix() + int64(i)}
		file = partition.AppendLine(file, schema.AppendDouble(schema.AppendHead(nil, at), float64(i)))
	}
	path := partition.Path(root, schema.ChunkKey(foreign), g, begin.Unix())
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// newAdoptRig is an archive with hours and years.
func newAdoptRig(t *testing.T) *copyRig {
	r := newCopyRig(t)
	r.stop()
	crash(t, r.a)
	r.change = func(o *Options) {
		o.Tiers = []Store{{Name: "LTS", Root: filepath.Join(r.dir, "lts"), Granularity: partition.PartitionYear}}
	}
	r.start()
	r.caughtUp()
	return r
}

func (r *copyRig) adopt(o AdoptOptions, paths ...string) []Adopted {
	r.t.Helper()
	all, err := r.a.Adopt(r.t.Context(), foreign, paths, o)
	if err != nil || len(all) != len(paths) {
		r.t.Fatalf("%d of %d files, %v", len(all), len(paths), err)
	}
	return all
}

func bytesOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAdoptPutsFilesIntoTheStoreOfTheirGranularity(t *testing.T) {
	for _, mode := range []AdoptMode{AdoptCopy, AdoptLink, AdoptMove} {
		t.Run(string(mode), func(t *testing.T) {
			r := newAdoptRig(t)
			root := filepath.Join(r.dir, "appliance")
			paths := []string{
				theirs(t, root, partition.PartitionYear, "2014-01-01T00:00:00Z", 50),
				theirs(t, root, hour, "2015-03-01T07:00:00Z", 10),
				theirs(t, root, partition.PartitionDay, "2015-03-01T00:00:00Z", 10),
			}
			content := []string{bytesOf(t, paths[0]), bytesOf(t, paths[1])}
			dry := r.adopt(AdoptOptions{Mode: mode, DryRun: true}, paths...)
			if _, err := os.Stat(dry[0].Target); err == nil {
				t.Error("a dry run made a file")
			}
			all := r.adopt(AdoptOptions{Mode: mode}, paths...)
			for i, want := range []Adopted{{Outcome: AdoptDone, Store: "LTS"}, {Outcome: AdoptDone, Store: "STS"}, {Outcome: AdoptNoStore}} {
				if all[i].Outcome != want.Outcome || all[i].Store != want.Store || dry[i].Outcome != want.Outcome {
					t.Errorf("file %d: %s in %s, dry %s", i, all[i].Outcome, all[i].Store, dry[i].Outcome)
				}
				if want.Store == "" {
					continue
				}
				if bytesOf(t, all[i].Target) != content[i] {
					t.Errorf("file %d is not what it was", i)
				}
				if _, err := os.Stat(paths[i]); (err == nil) == (mode == AdoptMove) {
					t.Errorf("file %d where it was: %v", i, err)
				}
			}
			if mode == AdoptMove {
				theirs(t, root, hour, "2015-03-01T07:00:00Z", 10) // a crash before it was removed
			}
			again := r.adopt(AdoptOptions{Mode: mode}, paths[1])
			if again[0].Outcome != AdoptThere {
				t.Errorf("once more: %+v", again[0])
			}
			if _, err := os.Stat(paths[1]); (err == nil) == (mode == AdoptMove) {
				t.Errorf("once more, where it was: %v", err)
			}
		})
	}
}

func TestAdoptReplacesAndMergesNothing(t *testing.T) {
	r := newAdoptRig(t)
	root := filepath.Join(r.dir, "appliance")
	path := theirs(t, root, hour, "2015-03-01T07:00:00Z", 10)
	target := r.adopt(AdoptOptions{Mode: AdoptCopy}, path)[0].Target
	before := bytesOf(t, target)
	theirs(t, root, hour, "2015-03-01T07:00:00Z", 12)
	if one := r.adopt(AdoptOptions{Mode: AdoptCopy}, path)[0]; one.Outcome != AdoptDiffers || bytesOf(t, target) != before {
		t.Errorf("%+v", one)
	}
	r.states.set(foreign, schema.Paused)
	err := LateOf(t.Context(), path, 5, func(late []Late) error {
		_, err := r.a.Merge(t.Context(), foreign, late)
		return err
	})
	if err != nil || bytesOf(t, target) != bytesOf(t, path) {
		t.Errorf("merged: %v", err)
	}
}

func TestAdoptRefusesWhatIsNoPartitionOfThePV(t *testing.T) {
	r := newAdoptRig(t)
	root := filepath.Join(r.dir, "appliance")
	good := theirs(t, root, hour, "2015-03-01T07:00:00Z", 3)
	other := filepath.Join(root, "OTHER", "QV:2015_03_01_07.pb")
	empty, garbage := filepath.Join(root, "OTHER", "PV:2015_03_01_08.pb"), filepath.Join(root, "OTHER", "PV:2015_03_01_09.pb")
	for path, content := range map[string]string{other: bytesOf(t, good), empty: "", garbage: "garbage\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{other, empty, garbage, root, filepath.Join(root, "absent.pb")} {
		if one := r.adopt(AdoptOptions{Mode: AdoptCopy}, path)[0]; one.Outcome != AdoptRefused || one.Why == "" {
			t.Errorf("%s: %+v", path, one)
		}
	}
	if one := r.adopt(AdoptOptions{Mode: AdoptInPlace}, good)[0]; one.Outcome != AdoptRefused {
		t.Errorf("in place, and is not: %+v", one)
	}
	if one := r.adopt(AdoptOptions{Mode: AdoptCopy, Store: "LTS"}, good)[0]; one.Outcome != AdoptRefused {
		t.Errorf("an hour in a store of years: %+v", one)
	}
	in := theirs(t, filepath.Join(r.dir, "lts"), partition.PartitionYear, "2014-01-01T00:00:00Z", 3)
	if one := r.adopt(AdoptOptions{Mode: AdoptInPlace}, in)[0]; one.Outcome != AdoptThere || one.Report.Samples != 3 {
		t.Errorf("in place: %+v", one)
	}
}

func TestAdoptTellsMinutesApart(t *testing.T) {
	for want, paths := range map[partition.Granularity][]string{
		partition.Partition30Min: {"A:2026_01_01_00_00.pb", "A:2026_01_01_00_30.pb"},
		partition.Partition15Min: {"A:2026_01_01_00_00.pb", "A:2026_01_01_00_45.pb"},
		partition.Partition5Min:  {"A:2026_01_01_00_15.pb", "A:2026_01_01_00_20.pb", "A:2026_01_01_00_30.pb"},
	} {
		if got := minutesOf(paths); got != want {
			t.Errorf("%v: %s, want %s", paths, got, want)
		}
	}
}

// TestAdoptedSamplesAreThePVsNewest lets samples come to a PV whose newest ones
// were adopted: those that are not later are drops.
func TestAdoptedSamplesAreThePVsNewest(t *testing.T) {
	r := newAdoptRig(t)
	r.states.set(foreign, schema.Archiving)
	begin := time.Date(2015, 3, 1, 7, 0, 0, 0, time.UTC)
	sample := func(sec int64) schema.RawSample { return double(schema.Time{Sec: begin.Unix() + sec}, 77) }
	r.log.add(foreign, sample(1))
	r.caughtUp()
	year := theirs(t, filepath.Join(r.dir, "appliance"), partition.PartitionYear, "2015-01-01T00:00:00Z", 3)
	f, err := os.OpenFile(year, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(partition.AppendLine(nil, sample(60).Event)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if one := r.adopt(AdoptOptions{Mode: AdoptCopy}, year)[0]; one.Outcome != AdoptDone {
		t.Fatalf("%+v", one)
	}
	r.log.add(foreign, sample(59), sample(61))
	r.stop()
	got := read(t, r.dir, foreign)
	if len(got) != 2 || got[1].at.Sec != begin.Unix()+61 {
		t.Errorf("%v", got)
	}
}
