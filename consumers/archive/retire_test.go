package archive

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pvlog/schema"
)

// pair is a registry of a PV that is to be joined, and the one it joins.
type pair struct {
	*typed
	other schema.TypeInfo
}

func (p *pair) registered(pv schema.PVName) (*schema.TypeInfo, bool) {
	if pv == newer {
		other := p.other
		return &other, true
	}
	return p.typed.registered(pv)
}

// TestAPVGoesIntoAnotherOneAndComesBack merges 30 samples into a PV that has 15
// of them, retires the first, and takes that back.
func TestAPVGoesIntoAnotherOneAndComesBack(t *testing.T) {
	r := &convertRig{T: t, dir: t.TempDir(), log: newMemLog(t, 7), registry: newTyped()}
	both := &pair{typed: r.registry, other: schema.TypeInfo{PV: newer, State: schema.Archiving, ChunkKey: schema.ChunkKey(newer), DBRType: schema.ScalarDouble, Generation: 1}}
	for i := range 30 {
		at := after(time.Duration(i) * 5 * time.Minute)
		r.log.add(older, double(at, float64(i)))
		if i%2 == 0 {
			r.log.add(newer, double(at, float64(i)))
		}
	}
	r.a = open(t, r.dir, r.log, func(o *Options) { o.Registered, o.RoundEvery = both.registered, time.Hour })
	runUntilEnd(t, r.a)
	count, err := r.a.MergeFrom(t.Context(), older, newer, true)
	if err != nil || count.Samples != 30 || count.Merged != 0 {
		t.Fatalf("count: %+v, %v", count, err)
	}
	moved, err := r.a.MergeFrom(t.Context(), older, newer, false)
	if err != nil || moved != (Moved{Samples: 30, Merged: 15, There: 15}) {
		t.Fatalf("%+v, %v", moved, err)
	}
	if moved, err = r.a.MergeFrom(t.Context(), older, newer, false); err != nil || moved.There != 30 {
		t.Fatalf("again: %+v, %v", moved, err)
	}
	if got := read(t, r.dir, newer); len(got) != 30 {
		t.Errorf("%d samples", len(got))
	}
	before := r.partitions()
	refused := schema.Errorf(schema.Conflict, "no")
	if err := r.a.Retire(t.Context(), older, func(string) error { return refused }); !errors.Is(err, refused) || !maps.Equal(r.partitions(), before) {
		t.Errorf("refused: %v", err)
	}
	var kept string
	err = r.a.Retire(t.Context(), older, func(k string) error {
		kept = k
		r.registry.change(func(i *schema.TypeInfo) { i.State = schema.Alias })
		return nil
	})
	if err != nil || kept == "" || len(r.partitions()) > 0 || !maps.Equal(r.files(filepath.Join(trashName, kept, "A")), before) {
		t.Fatalf("%q, %v: %d files are left", kept, err, len(r.partitions()))
	}
	for range 2 {
		if err := r.a.Unretire(t.Context(), older, kept); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(r.partitions(), before) {
		t.Error("the files are not back")
	}
	r.registry.change(func(i *schema.TypeInfo) { i.State = schema.Archiving })
	if _, err := r.a.MergeFrom(t.Context(), older, newer, false); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("of a PV that is archived: %v", err)
	}
	if err := r.a.Retire(t.Context(), older, nil); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("of a PV that is archived: %v", err)
	}
}

// runUntilEnd runs an archive until the test ends.
func runUntilEnd(t *testing.T, a *Archive) {
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wait.Wait() })
}
