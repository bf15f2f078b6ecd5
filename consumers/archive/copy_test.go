package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// states is a registry of a test.
type states struct {
	mu  sync.Mutex
	pvs map[schema.PVName]schema.State // guarded by mu
}

func (s *states) registered(pv schema.PVName) (*schema.TypeInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.pvs[pv]
	return &schema.TypeInfo{PV: pv, State: state, ChunkKey: schema.ChunkKey(pv), DBRType: schema.ScalarDouble, Generation: 1}, ok
}

func (s *states) set(pv schema.PVName, state schema.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pvs[pv] = state
}

func (s *states) remove(pv schema.PVName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pvs, pv)
}

// copyRig is an archive that runs on a log with samples of A:OLD in three
// hours, and gives its files.
type copyRig struct {
	t      *testing.T
	dir    string
	log    *memLog
	states *states
	files  *partition.FaultFS
	a      *Archive
	stop   func()
	kill   func()         // stop that may leave samples unwritten
	change func(*Options) // nil: none
}

const older, newer = schema.PVName("A:OLD"), schema.PVName("B:C-NEW")

func newCopyRig(t *testing.T) *copyRig {
	r := &copyRig{t: t, dir: t.TempDir(), log: newMemLog(t, 7), states: &states{pvs: map[schema.PVName]schema.State{older: schema.Paused}},
		files: partition.NewFaultFS(partition.OSFS{})}
	for i := range 100 {
		r.log.add(older, double(after(time.Duration(i)*90*time.Second), float64(i)))
	}
	r.start()
	return r
}

// start runs an archive; what the log has is not acknowledged before a round.
func (r *copyRig) start() {
	r.a = open(r.t, r.dir, r.log, func(o *Options) {
		o.Registered, o.FS, o.RoundEvery = r.states.registered, r.files, time.Hour
		if r.change != nil {
			r.change(o)
		}
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.a.Run(ctx) }()
	var once sync.Once
	end := func(check func(error)) func() {
		return func() {
			once.Do(func() {
				cancel()
				check(<-done)
			})
		}
	}
	r.kill = end(func(error) {})
	r.stop = end(func(err error) {
		if err != nil {
			r.t.Errorf("the archive ended with %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

// tree is the content of each file of the store but its mark.
func (r *copyRig) tree() map[string]string {
	r.t.Helper()
	root := filepath.Join(r.dir, "sts")
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == markName {
			return err
		}
		b, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, root+"/")] = string(b)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// copied checks that the new name has the old one's lines byte for byte, and
// that nothing else is left.
func (r *copyRig) copied() {
	r.t.Helper()
	tree := r.tree()
	if len(tree) != 8 {
		r.t.Errorf("the store has %d files, want 4 and 4: %v", len(tree), slices.Sorted(maps.Keys(tree)))
	}
	for path, content := range tree {
		rest, isOld := strings.CutPrefix(path, "A/OLD:")
		if !isOld {
			continue
		}
		header, lines, _ := strings.Cut(tree["B/C/NEW:"+rest], "\n")
		h, err := partition.ParseHeader([]byte(header))
		if _, want, _ := strings.Cut(content, "\n"); err != nil || h.PV != newer || lines != want {
			r.t.Errorf("%s: header %+v %v, %d bytes of lines, want %d", rest, h, err, len(lines), len(want))
		}
	}
	if old, copies := read(r.t, r.dir, older), read(r.t, r.dir, newer); len(old) != 100 || !slices.Equal(old, copies) {
		r.t.Errorf("%d samples under the new name, %d under the old, want 100", len(copies), len(old))
	}
}

// TestCopyTakesWhatIsInLogAndMemory copies before any round has written.
func TestCopyTakesWhatIsInLogAndMemory(t *testing.T) {
	r := newCopyRig(t)
	got, err := r.a.Copy(t.Context(), older, newer, nil)
	if err != nil || got.Files != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	r.copied()
	r.states.set(newer, schema.Archiving)
	r.log.add(newer, double(after(150*time.Minute), 100)) // in the copy's last partition
	r.stop()
	if all := read(t, r.dir, newer); len(all) != 101 || len(r.log.drops) != 0 {
		t.Errorf("%d samples and %d drops after the new name was resumed", len(all), len(r.log.drops))
	}
}

func TestCopyIsRefused(t *testing.T) {
	r := newCopyRig(t)
	refused := func(from, to schema.PVName, code schema.Code, says string) {
		t.Helper()
		if _, err := r.a.Copy(t.Context(), from, to, nil); schema.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
			t.Errorf("%s to %s: %v, want %s %q", from, to, err, code, says)
		}
	}
	refused(older, "A-OLD", schema.Conflict, "same files")
	r.states.set(older, schema.Archiving)
	refused(older, newer, schema.Conflict, "pause it first")
	r.states.set(older, schema.Paused)
	r.states.set(newer, schema.Paused)
	refused(older, newer, schema.Conflict, "registered already")
	r.states.remove(newer)
	release, err := r.a.hold(newer)
	if err != nil {
		t.Fatal(err)
	}
	refused(older, newer, schema.Conflict, "just now")
	if _, err := r.a.Trash(t.Context(), newer, time.Unix(0, 0)); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("the trash took files that are being copied: %v", err)
	}
	release()
	for name, path := range map[string]string{"in the place of a copy": "B/C/NEW:2025_11_23_11.pb", "elsewhere": "B/C/NEW:2024_01_01_00.pb"} {
		path = filepath.Join(r.dir, "sts", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		own := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: newer, Year: 2025})
		own = partition.AppendLine(own, schema.AppendDouble(schema.AppendHead(nil, after(61*time.Minute)), 7))
		if err := os.WriteFile(path, own, 0o644); err != nil {
			t.Fatal(err)
		}
		refused(older, newer, schema.Conflict, "data of its own")
		tree := r.tree()
		if len(tree) != 5 || tree[strings.TrimPrefix(path, filepath.Join(r.dir, "sts")+"/")] != string(own) {
			t.Errorf("%s: a refused copy changed the store: %v", name, slices.Sorted(maps.Keys(tree)))
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.a.Copy(t.Context(), older, newer, nil); err != nil {
		t.Errorf("once nothing is in the way: %v", err)
	}
	r.copied()
}

// TestACopyThatFailsLeavesNothing lets each step of the copy fail in turn.
func TestACopyThatFailsLeavesNothing(t *testing.T) {
	r := newCopyRig(t)
	if err := r.a.owning(t.Context(), "flush", func(ctx context.Context) error { return r.a.takeUntil(ctx, time.Now()) }); err != nil {
		t.Fatal(err)
	}
	before := r.tree()
	for _, op := range []partition.Op{partition.OpOpen, partition.OpWrite, partition.OpSync, partition.OpRename} {
		for skip := 0; ; skip++ {
			r.files.Fail(partition.Fault{Op: op, Skip: skip, Err: syscall.ENOSPC})
			_, err := r.a.Copy(t.Context(), older, newer, nil)
			r.files.Heal()
			if err == nil {
				if skip < 4 {
					t.Fatalf("%s: only %d steps can fail", op, skip)
				}
				break
			}
			if schema.CodeOf(err) != schema.Unavailable || !strings.Contains(err.Error(), "make room") {
				t.Errorf("%s %d: %v", op, skip, err)
			}
			if after := r.tree(); !maps.Equal(before, after) {
				t.Fatalf("%s %d left %v", op, skip, slices.Sorted(maps.Keys(after)))
			}
		}
		r.copied()
		if err := os.RemoveAll(filepath.Join(r.dir, "sts", "B")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCommitDecides registers the other name while the copies are in place.
func TestCommitDecides(t *testing.T) {
	r := newCopyRig(t)
	var answer error
	seen := 0
	commit := func() error {
		seen = len(r.tree())
		return answer
	}
	for _, c := range []struct {
		name   string
		answer error
		files  int
	}{
		{"refuses", schema.Errorf(schema.Conflict, "registered meanwhile"), 4},
		{"is not known", schema.Errorf(schema.Unavailable, "the log did not confirm"), 8},
		{"succeeds", nil, 8},
	} {
		answer = c.answer
		_, err := r.a.Copy(t.Context(), older, newer, commit)
		if got := len(r.tree()); !errors.Is(err, c.answer) || got != c.files || seen != 8 {
			t.Errorf("commit %s: %v, %d files, %d were in place before", c.name, err, got, seen)
		}
	}
	r.copied()
}

// TestAnInterruptedCopyIsGoneOnWith leaves what a crash could: one copy in its
// place, of another the begin only, as of a time when the PV had fewer samples,
// and one that is not in its place.
func TestAnInterruptedCopyIsGoneOnWith(t *testing.T) {
	r := newCopyRig(t)
	if _, err := r.a.Copy(t.Context(), older, newer, nil); err != nil {
		t.Fatal(err)
	}
	r.stop()
	crash(t, r.a)
	root := filepath.Join(r.dir, "sts")
	left := filepath.Join(root, copyingName, "x", "NEW:2025_11_23_12.pb")
	if err := os.MkdirAll(filepath.Dir(left), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Rename(filepath.Join(root, "B/C/NEW:2025_11_23_12.pb"), left),
		os.Truncate(filepath.Join(root, "B/C/NEW:2025_11_23_13.pb"), 100)); err != nil {
		t.Fatal(err)
	}
	r.start()
	if _, err := os.Stat(filepath.Join(root, copyingName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the start left what a crash had: %v", err)
	}
	if got, err := r.a.Copy(t.Context(), older, newer, nil); err != nil || got.Files != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	r.copied()
}

// TestSamplesThatComeMeanwhileAreCopiedToo adds one between the plan and the
// moment the copies are put in place.
func TestSamplesThatComeMeanwhileAreCopiedToo(t *testing.T) {
	r := newCopyRig(t)
	c := copying{a: r.a, from: older, to: newer, asked: time.Now()}
	defer c.clean()
	if err := r.a.owning(t.Context(), "plan", c.plan); err != nil {
		t.Fatal(err)
	}
	if err := c.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.log.add(older, double(after(150*time.Minute), 100))
	for try := range 2 {
		if err := r.a.owning(t.Context(), "take", func(ctx context.Context) error { return r.a.takeUntil(ctx, time.Now()) }); err != nil {
			t.Fatal(err)
		}
		if err := r.a.owning(t.Context(), "place", c.place); err != nil || c.placed != (try == 1) {
			t.Fatalf("try %d: placed %v, %v", try, c.placed, err)
		}
		if err := errors.Join(r.a.owning(t.Context(), "plan", func(ctx context.Context) error {
			if c.placed {
				return nil
			}
			return c.plan(ctx)
		}), c.writeUnlessPlaced(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if old, copies := read(t, r.dir, older), read(t, r.dir, newer); len(copies) != 101 || !slices.Equal(old, copies) {
		t.Errorf("%d of %d samples were copied", len(copies), len(old))
	}
}

func (c *copying) writeUnlessPlaced(ctx context.Context) error {
	if c.placed {
		return nil
	}
	return c.write(ctx)
}

func TestRestoreTakesBackTheNewestDeletion(t *testing.T) {
	r := newCopyRig(t)
	if err := r.a.owning(t.Context(), "flush", func(ctx context.Context) error { return r.a.takeUntil(ctx, time.Now()) }); err != nil {
		t.Fatal(err)
	}
	before := r.tree()
	r.states.remove(older)
	early, late := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 2, 1, 0, 0, 0, 5, time.UTC)
	if _, err := r.a.Trash(t.Context(), older, early); err != nil {
		t.Fatal(err)
	}
	for name, since := range map[string]time.Time{"of another PV": {}, "too early": late} {
		pv := older
		if name == "of another PV" {
			pv = newer
		}
		if got, err := r.a.Restore(t.Context(), pv, since); err != nil || got.Files != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// The PV is archived again, has one sample, and is deleted again.
	r.states.set(older, schema.Archiving)
	r.log.add(older, double(after(time.Minute), 1))
	if err := r.a.owning(t.Context(), "flush", func(ctx context.Context) error { return r.a.takeUntil(ctx, time.Now()) }); err != nil {
		t.Fatal(err)
	}
	second := r.tree()
	r.states.remove(older)
	if _, err := r.a.Trash(t.Context(), older, late); err != nil {
		t.Fatal(err)
	}
	got, err := r.a.Restore(t.Context(), older, late)
	if err != nil || got.Files != 1 || !maps.Equal(r.tree(), second) {
		t.Fatalf("the second deletion: %+v, %v", got, err)
	}
	// The first one's files cannot all come back: one place is taken.
	got, err = r.a.Restore(t.Context(), older, time.Time{})
	if schema.CodeOf(err) != schema.Conflict || got.Files != 3 || !strings.Contains(err.Error(), "OLD:2025_11_23_11.pb") {
		t.Fatalf("%+v, %v", got, err)
	}
	here := 0
	for path, content := range r.tree() {
		if name, inTrash := strings.CutPrefix(path, trashName+"/2026-01-01T00-00-00.000000000Z/"); inTrash {
			if before[name] != content {
				t.Errorf("%s was changed in the trash", name)
			}
			continue
		}
		if here++; before[path] != content && path != "A/OLD:2025_11_23_11.pb" {
			t.Errorf("%s did not come back as it was", path)
		}
	}
	if here != 4 {
		t.Errorf("%d files are in their place, want 4", here)
	}
	// What comes later is appended behind what came back.
	r.states.set(older, schema.Archiving)
	r.log.add(older, double(after(151*time.Minute), 100))
	r.stop()
	if all := read(t, r.dir, older); !bytes.Contains([]byte(all[len(all)-1].event), schema.AppendDouble(nil, 100)) {
		t.Errorf("the sample after the restore is not the last: %v", all[len(all)-1].at)
	}
}

// patientLog waits for messages as the real log does.
type patientLog struct{ *memLog }

func (l patientLog) Fetch(ctx context.Context, wait time.Duration) ([]streams.Message, error) {
	messages, err := l.memLog.Fetch(ctx, wait)
	if err != nil || len(messages) > 0 {
		return messages, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
		return nil, nil
	}
}

// TestManyRequestsFollowEachOther asks 200 times in turn while the log is
// quiet: no request waits for the end of a fetch but the first.
func TestManyRequestsFollowEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog(t, 5)
		a := open(t, t.TempDir(), log, func(o *Options) { o.Source = patientLog{log} })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		synctest.Wait() // in a fetch
		began := time.Now()
		for range 200 {
			if err := a.owning(t.Context(), "ask", func(context.Context) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("200 requests took %v", took)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
