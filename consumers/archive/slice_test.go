package archive

import (
	"fmt"
	"testing"
	"time"

	"pvlog/schema"
)

// slicePVs is the PVs of two slices and a rest.
const slicePVs = 2*sliceLeast + 88

func slicePV(i int) schema.PVName { return schema.PVName(fmt.Sprintf("P:%03d", i)) }

// TestARoundOfManyPVsIsCut: whoever has waited longest comes first, what is not
// written yet is not acknowledged, and the rest follows without RoundEvery.
func TestARoundOfManyPVsIsCut(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10*slicePVs)
	a := open(t, dir, log, func(o *Options) { o.RoundEvery = time.Hour })
	a.sliceFor = time.Nanosecond
	for i := range slicePVs {
		log.add(slicePV(i), double(after(0), 1))
	}
	log.add(slicePV(0), double(after(time.Hour), 2)) // a second partition, which waits for the first
	messages, err := log.Fetch(t.Context(), 0)
	if err != nil || !a.takeAll(t.Context(), messages) {
		t.Fatal(err)
	}
	for turn, want := range []struct {
		acked uint64
		cut   bool
		dirty int
	}{
		{sliceLeast, true, slicePVs - sliceLeast + 1},
		{2*sliceLeast - 1, true, slicePVs - 2*sliceLeast + 1}, // the second partition came first
		{slicePVs + 1, false, 0},
	} {
		a.syncTook = 0
		if err := a.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := log.acked(); got != want.acked || a.cut != want.cut || len(a.dirty) != want.dirty {
			t.Fatalf("slice %d: acknowledged %d, cut %v, %d PVs wait, want %+v", turn, got, a.cut, len(a.dirty), want)
		}
		if a.cut != (a.interval() < time.Hour) {
			t.Errorf("slice %d: %v until the next", turn, a.interval())
		}
		if a.unacked != slicePVs+1-int(want.acked) {
			t.Errorf("slice %d: %d messages wait for acknowledgement", turn, a.unacked)
		}
	}
	if len(a.order) != 0 {
		t.Errorf("%d PVs are left in the order", len(a.order))
	}
	run(t, a)
	checkAgainstOracle(t, dir, log)
}

// TestASliceThatFailedComesAgain lets the drop log, whose turn is before the
// sync, fail a slice: nothing is forgotten.
func TestASliceThatFailedComesAgain(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10*slicePVs)
	a := open(t, dir, log)
	a.sliceFor = time.Nanosecond
	for i := range slicePVs {
		log.add(slicePV(i), double(after(0), 1))
	}
	messages, err := log.Fetch(t.Context(), 0)
	if err != nil || !a.takeAll(t.Context(), messages) {
		t.Fatal(err)
	}
	log.add("not:registered", double(after(0), 1))
	if messages, err = log.Fetch(t.Context(), 0); err != nil || !a.takeAll(t.Context(), messages) {
		t.Fatal(err)
	}
	log.failDrops = 1
	if err := a.round(t.Context()); err == nil || log.acked() != 0 || len(a.order) != slicePVs {
		t.Fatalf("%v, acknowledged %d, %d PVs in the order", err, log.acked(), len(a.order))
	}
	if err := a.flush(t.Context()); err != nil || log.acked() != slicePVs+1 {
		t.Fatalf("%v, acknowledged %d", err, log.acked())
	}
	run(t, a)
	for i := range slicePVs {
		if got := read(t, dir, slicePV(i)); len(got) != 1 {
			t.Errorf("%s has %d samples", slicePV(i), len(got))
		}
	}
}

// TestFileWorkStaysUnderAFifth: the pause follows from what was written, and
// leaves half of the time when the disk is slow.
func TestFileWorkStaysUnderAFifth(t *testing.T) {
	a := New(Options{})
	for _, c := range []struct {
		wrote, took time.Duration
		cut         bool
		want        time.Duration
	}{
		{time.Millisecond, 40 * time.Millisecond, false, time.Second},
		{time.Second, 1200 * time.Millisecond, false, 4 * time.Second},
		{250 * time.Millisecond, 300 * time.Millisecond, true, time.Second},
		{100 * time.Millisecond, 3 * time.Second, true, 3 * time.Second},
	} {
		a.wroteFor, a.roundTook, a.cut = c.wrote, c.took, c.cut
		if got := a.interval(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
