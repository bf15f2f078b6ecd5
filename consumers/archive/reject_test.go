package archive

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// TestARejectedPartitionLeavesTheOrderOfTheNextOnesAlone drops the samples of
// one hour, whose file cannot be written, while those of the next wait.
func TestARejectedPartitionLeavesTheOrderOfTheNextOnesAlone(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	bad := partition.Path(filepath.Join(dir, "sts"), "P:", hour, hour.Start(after(0)))
	if err := os.MkdirAll(filepath.Dir(bad), 0o755); err != nil {
		t.Fatal(err)
	}
	log.add("P", double(after(0), 1))
	log.add("P", double(after(time.Hour), 2))
	a := open(t, dir, log)
	work(t, a, log, 1, func() bool { return false })
	if err := os.Mkdir(bad, 0o755); err != nil { // a folder where the file should be
		t.Fatal(err)
	}
	if err := a.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.add("P", double(after(time.Hour-time.Second), 3)) // behind what waits
	log.add("P", double(after(time.Hour+time.Second), 4))
	run(t, a)
	if got := read(t, dir, "P"); len(got) != 2 || got[0].at != after(time.Hour) || log.acked() != 4 {
		t.Errorf("stored %v, acknowledged %d", got, log.acked())
	}
	if len(log.drops) != 2 {
		t.Errorf("drops %+v, want one of the file and one of the order", log.drops)
	}
}

// TestASampleOfAnotherYearThanItsSecondsIsDamaged holds the law that a
// partition's header tells the year of all its lines: whoever may publish could
// count seconds beyond the year's end.
func TestASampleOfAnotherYearThanItsSecondsIsDamaged(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	at := schema.Time{Sec: schema.YearStart(2026)}
	wrong := double(at, 1)
	wrong.Year = 2025
	wrong.Event = schema.AppendDouble(schema.AppendHeadIn(nil, at, schema.YearStart(2025)), 1)
	log.add("P", wrong)
	log.add("P", double(schema.Time{Sec: at.Sec + 1}, 2))
	run(t, open(t, dir, log))
	if got := read(t, dir, "P"); len(got) != 1 || got[0].at.Sec != at.Sec+1 {
		t.Errorf("stored %v, want the sample of 2026 only", got)
	}
	for _, d := range log.drops {
		if d.Reason != "damaged" || d.Detail == "" {
			t.Errorf("drop %+v", d)
		}
	}
	if len(log.drops) != 1 || log.acked() != 2 {
		t.Errorf("%d drops, acknowledged %d", len(log.drops), log.acked())
	}
}

// TestGarbageOnAPVsSubjectBlocksNothing: somebody else published on the subject
// of a registered PV, bytes that are no message and one whose checksum fails.
// Both are kept as they came, and the samples around them reach their partition.
func TestGarbageOnAPVsSubjectBlocksNothing(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 2)
	wrong := schema.AppendChecksum(schema.AppendRawSample(schema.AppendSampleHeader(nil), double(after(time.Second), 9)), 0)
	wrong[len(wrong)/2] ^= 1
	raw := [][]byte{[]byte("garbage"), wrong, {}}
	for i, b := range raw {
		log.add("P", double(after(time.Duration(i)*time.Minute), float64(i)))
		_, _, err := schema.DecodeSampleMessage(b, nil)
		if err == nil {
			t.Fatalf("%q is a message", b)
		}
		seq := log.add("P")
		log.messages[seq-1].Raw, log.messages[seq-1].Err = b, err // as streams.Consumer hands it out
	}
	log.add("P", double(after(time.Duration(len(raw))*time.Minute), 3))
	run(t, open(t, dir, log))
	if got := read(t, dir, "P"); len(got) != len(raw)+1 || log.acked() != uint64(2*len(raw)+1) {
		t.Errorf("stored %v, acknowledged %d", got, log.acked())
	}
	if len(log.drops) != len(raw) {
		t.Errorf("%d drops of %d messages", len(log.drops), len(raw))
	}
	for at, d := range log.drops {
		if d.PV != "P" || d.Reason != "damaged" || d.Detail == "" || d.Sample != nil || string(d.Raw) != string(raw[at.Seq/2-1]) {
			t.Errorf("drop at %d: %+v", at.Seq, d)
		}
	}
}

// TestAFileOfAnotherYearIsNotAppendedTo finds a file in the place of a
// partition whose header counts from another year: every line would lie.
func TestAFileOfAnotherYearIsNotAppendedTo(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	path := partition.Path(filepath.Join(dir, "sts"), "P:", hour, hour.Start(after(0)))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	old := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: "P", Year: 2024})
	if err := os.WriteFile(path, old, 0o644); err != nil {
		t.Fatal(err)
	}
	log.add("P", double(after(0), 1))
	run(t, open(t, dir, log))
	if b, err := os.ReadFile(path); err != nil || len(b) != len(old) || len(log.drops) != 1 || log.acked() != 1 {
		t.Errorf("the file has %d bytes of %d, %v; drops %+v; acknowledged %d", len(b), len(old), err, log.drops, log.acked())
	}
}

// TestAnUnregisteredNameDoesNotLeaveTheStore looks a redelivered sample up
// whose name no command would have taken.
func TestAnUnregisteredNameDoesNotLeaveTheStore(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	outside := partition.Path(dir, "outside:", hour, hour.Start(after(0)))
	sample := double(after(0), 1)
	file := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: "../outside", Year: 2025})
	if err := os.WriteFile(outside, partition.AppendLine(file, sample.Event), 0o644); err != nil {
		t.Fatal(err)
	}
	log.add("../outside", sample)
	log.delivered = 1 // it is redelivered
	a := open(t, dir, log, func(o *Options) {
		o.Registered = func(schema.PVName) (*schema.TypeInfo, bool) { return nil, false }
	})
	run(t, a)
	if len(log.drops) != 1 || len(a.pvs) != 0 {
		t.Errorf("drops %+v, want one; the archive remembers %d PVs", log.drops, len(a.pvs))
	}
}

// TestARedeliveredSampleOfAnEarlierGenerationEnds reads the log of a PV that
// was deleted and archived again before what it had sent was acknowledged: the
// PV is locked when its files are asked for the old sample.
func TestARedeliveredSampleOfAnEarlierGenerationEnds(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	log.add("P", double(after(0), 1))
	run(t, open(t, dir, log))
	log.floor = 0 // written, and not acknowledged
	log.add("P", double(after(time.Second), 2), double(after(2*time.Second), 3, func(s *schema.RawSample) { s.Generation = 2 }))
	log.delivered = 2
	a := open(t, dir, log, func(o *Options) {
		o.Registered = func(pv schema.PVName) (*schema.TypeInfo, bool) {
			info, ok := registered(pv)
			info.Generation = 2
			return info, ok
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		work(t, a, log, 1, func() bool { return true })
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the archive hangs")
	}
	run(t, a)
	if got := read(t, dir, "P"); len(got) != 2 || len(log.drops) != 1 || log.acked() != 2 {
		t.Errorf("stored %v, drops %+v, acknowledged %d; want both new and old one, one drop, 2", got, log.drops, log.acked())
	}
}

// TestADropOfAFileIsJudgedAlikeAgain lets a file refuse samples of different
// windows: each drop carries what its sample carried.
func TestADropOfAFileIsJudgedAlikeAgain(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	if err := os.MkdirAll(partition.Path(filepath.Join(dir, "sts"), "P:", hour, hour.Start(after(0))), 0o755); err != nil {
		t.Fatal(err) // a folder where the file should be
	}
	given := map[uint64]schema.RawSample{
		1: double(after(0), 1, func(s *schema.RawSample) { s.First = true }),
		2: double(after(time.Second), 2, func(s *schema.RawSample) { s.DriftPast = time.Hour }),
		3: double(after(2*time.Second), 3, func(s *schema.RawSample) { s.DriftPast, s.DriftFuture, s.Generation = time.Hour, time.Minute, 7 }),
	}
	for seq := range uint64(3) {
		log.add("P", given[seq+1])
	}
	run(t, open(t, dir, log))
	if len(log.drops) != 3 {
		t.Fatalf("%d drops", len(log.drops))
	}
	for _, d := range log.drops {
		got := *d.Sample
		got.Received = got.Received.UTC()
		if d.Reason != "file" || !reflect.DeepEqual(got, given[d.Position.Seq]) {
			t.Errorf("%s: %+v, want %+v", d.Reason, got, given[d.Position.Seq])
		}
	}
}
