package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// withLTS gives an archive a second store of days.
func withLTS(dir string) func(*Options) {
	return func(o *Options) {
		o.Tiers = []Store{{Name: "LTS", Root: filepath.Join(dir, "lts"), Granularity: partition.PartitionDay}}
	}
}

// put writes a PV's partition of a day with samples at the given times, and
// gives its path.
func put(t *testing.T, dir string, pv schema.PVName, times ...schema.Time) string {
	t.Helper()
	day := partition.PartitionDay
	path := partition.Path(filepath.Join(dir, "lts"), schema.ChunkKey(pv), day, day.Start(times[0]))
	text := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: pv, Year: times[0].Year()})
	for i, at := range times {
		text = partition.AppendLine(text, schema.AppendDouble(schema.AppendHead(nil, at), float64(i)))
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWhatStandsInACoarserStoreCounts begins with nothing in the store that is
// appended to: the day file behind it has the PV's last time, knows its own
// samples again, and gets nothing.
func TestWhatStandsInACoarserStoreCounts(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10)
	path := put(t, dir, "P", after(0), after(5*time.Second))
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	log.add("P", double(after(time.Second), 9))   // earlier than the last: another
	log.add("P", double(after(5*time.Second), 1)) // there already
	log.add("P", double(after(6*time.Second), 2))
	run(t, open(t, dir, log, withLTS(dir)))
	if got := read(t, dir, "P"); len(got) != 1 || got[0].at != after(6*time.Second) {
		t.Errorf("the first store has %v, want the newest sample alone", got)
	}
	if len(log.drops) != 1 {
		t.Errorf("%d drops, want 1: %v", len(log.drops), log.drops)
	}
	for _, d := range log.drops {
		if d.Reason != string(filter.Order) || d.Position.Seq != 1 {
			t.Errorf("drop %+v, want the first sample for its order", d)
		}
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
		t.Errorf("the day file has changed: %v", err)
	}
}

// TestDeletedDataOfAllStoresComeBack moves files of two stores to the trash and
// back.
func TestDeletedDataOfAllStoresComeBack(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10)
	path := put(t, dir, "not:registered", after(-48*time.Hour))
	a := open(t, dir, log, withLTS(dir))
	at := time.Unix(1e9, 0)
	if folder, err := a.trash("not:registered", at); err != nil || filepath.Dir(filepath.Dir(folder)) != filepath.Join(dir, "lts") {
		t.Fatalf("trash gave %q, %v", folder, err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("the file is still there: %v", err)
	}
	if restored, err := a.restore("not:registered", at); err != nil || restored.Files != 1 {
		t.Fatalf("restore gave %+v, %v", restored, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// TestARenameTakesTheDataOfAllStores copies a PV with data in both.
func TestARenameTakesTheDataOfAllStores(t *testing.T) {
	r := newCopyRig(t)
	r.stop()
	crash(t, r.a)
	put(t, r.dir, older, after(-72*time.Hour), after(-71*time.Hour))
	a := open(t, r.dir, r.log, withLTS(r.dir), func(o *Options) { o.Registered = r.states.registered })
	c := copying{a: a, from: older, to: newer, what: "copy", asked: time.Now()}
	defer c.clean()
	if err := errors.Join(c.plan(t.Context()), c.write(t.Context()), c.place(t.Context())); err != nil || !c.placed {
		t.Fatalf("placed %v, %v", c.placed, err)
	}
	day := partition.PartitionDay
	reader, err := partition.Open(partition.Path(filepath.Join(r.dir, "lts"), schema.ChunkKey(newer), day, day.Start(after(-72*time.Hour))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if h := reader.Header(); h.PV != newer {
		t.Errorf("the copy is of %s", h.PV)
	}
	if got := len(read(t, r.dir, newer)); got != 100 {
		t.Errorf("%d samples of the first store were copied, want 100", got)
	}
}
