package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// disk is a file system whose free space the test sets.
type disk struct{ free atomic.Int64 }

func (d *disk) install(r *Registry) {
	r.space = func(string) (int64, int64, error) { return d.free.Load(), 1 << 40, nil }
}

func TestFullDiskRefusesCommandsAndPausesTheFollower(t *testing.T) {
	dir, log, d := t.TempDir(), newMemLog(), &disk{}
	d.free.Store(1 << 30)
	r := start(t, dir, log, d.install)
	r.archive("D:1")
	d.free.Store(16<<20 - 1)
	refusedAs(t, r.Pause(ctx, operator, "D:1"), schema.Unavailable, "disk full")
	if last, _ := log.Last(ctx); last != 1 {
		t.Error("a refused command left an event")
	}
	log.mu.Lock() // another server's event
	log.write(&logpb.RegistryEvent{Pv: "D:2", What: &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{}}})
	log.mu.Unlock()
	for r.Fault() == nil {
		r.mu.RLock()
		changed, fault := r.changed, r.fault
		r.mu.RUnlock()
		if fault == nil {
			<-changed
		}
	}
	if err := r.Fault(); schema.CodeOf(err) != schema.Unavailable || r.Cursor() != 1 {
		t.Errorf("fault %v, cursor %d", err, r.Cursor())
	}
	if r.state("D:1") != schema.Archiving { // reading goes on
		t.Error("the state is not served")
	}
	d.free.Store(1 << 30)
	if err := r.await2(2); err != nil {
		t.Fatal(err)
	}
	ok(t, r.Pause(ctx, operator, "D:1", "D:2"))
	r.verified()
}

func TestReserveFileIsGivenUpForClosing(t *testing.T) {
	dir, log, d := t.TempDir(), newMemLog(), &disk{}
	d.free.Store(1 << 30)
	r := start(t, dir, log, d.install)
	info, err := os.Stat(r.reserveFile())
	if err != nil || info.Size() != reserveFileBytes {
		t.Fatalf("reserve: %v, %v", info, err)
	}
	r.archive("R:1")
	d.free.Store(tableOutBytes)
	r.stop()
	if _, err := os.Stat(r.reserveFile()); err == nil {
		t.Error("the reserve was not given up")
	}
	r = start(t, dir, log, d.install) // still full: it opens, reads, and refuses
	if r.state("R:1") != schema.Archiving {
		t.Error("the state is not served")
	}
	refusedAs(t, r.Pause(ctx, operator, "R:1"), schema.Unavailable, "disk full")
	d.free.Store(1 << 30)
	if err := r.await2(1); err != nil {
		t.Fatal(err)
	}
	if err := r.compact(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(r.reserveFile()); err != nil {
		t.Errorf("the reserve did not come back: %v", err)
	}
	r.stop()
	d.free.Store(tableOutBytes - 1)
	r2 := New(Options{Dir: dir, Events: log})
	d.install(r2)
	if err := r2.Open(ctx); schema.CodeOf(err) != schema.Unavailable || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("open without any room: %v", err)
	}
}

// A real file system that fills up during commands: nothing dies, nothing is
// lost, and it goes on when there is room again, restarts included.
func TestRegistryOnFullTmpfs(t *testing.T) {
	dir := os.Getenv("PVLOG_REGISTRY_TMPFS")
	if dir == "" {
		inTmpfs(t, "^TestRegistryOnFullTmpfs$")
		return
	}
	log := newMemLog()
	r := start(t, filepath.Join(dir, "registry"), log)
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 256<<10)
	refusals := 0
	for n := 0; refusals < 3; n++ {
		requests := make([]Request, 100)
		for i := range requests {
			requests[i].PV = schema.PVName(fmt.Sprintf("F:%d:%d", n, i))
		}
		if err := r.Archive(ctx, operator, requests...)[99].Err; schema.CodeOf(err) == schema.Unavailable {
			refusals++
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := ballast.Write(chunk); err != nil {
			t.Fatalf("the disk was full before commands were refused: %v", err)
		}
	}
	// To the last block. A table that Badger just wrote out may make room once
	// more, and commands with it.
	refused := false
	for n := 0; !refused; n++ {
		fill(ballast)
		refused = r.Archive(ctx, operator, Request{PV: schema.PVName(fmt.Sprintf("late:%d", n))})[0].Err != nil
	}
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "late"}), schema.Unavailable, "disk full")
	want := len(r.All())
	r.verified()
	for range 3 {
		r.stop()
		r = start(t, filepath.Join(dir, "registry"), log)
		if n := len(r.All()); n != want {
			t.Fatalf("%d PVs on the full disk, want %d", n, want)
		}
	}
	ballast.Close()
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	last, _ := log.Last(ctx)
	if err := r.await2(last); err != nil {
		t.Fatal(err)
	}
	r.archive("late")
	r.verified()
	if len(asides(t, filepath.Join(dir, "registry"))) != 0 {
		t.Error("something was taken for damage")
	}
}

// fill writes until nothing more fits.
func fill(f *os.File) {
	for _, size := range []int{256 << 10, 4 << 10} {
		for chunk := make([]byte, size); ; {
			if _, err := f.Write(chunk); err != nil {
				break
			}
		}
	}
}
