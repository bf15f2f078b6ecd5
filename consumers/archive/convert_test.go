package archive

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// typed is a registry of one PV whose type changes.
type typed struct {
	mu   sync.Mutex
	info schema.TypeInfo // guarded by mu
	gone bool            // guarded by mu
}

func newTyped() *typed {
	return &typed{info: schema.TypeInfo{PV: older, State: schema.Paused, ChunkKey: schema.ChunkKey(older), DBRType: schema.ScalarDouble, Generation: 1}}
}

func (r *typed) registered(pv schema.PVName) (*schema.TypeInfo, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info := r.info
	return &info, pv == older && !r.gone
}

func (r *typed) change(f func(*schema.TypeInfo)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.info)
}

// retype is what the registry's event does.
func (r *typed) retype(to schema.DBRType) {
	r.change(func(i *schema.TypeInfo) { i.DBRType, i.Generation = to, i.Generation+1 })
}

// convertRig is an archive, not running but stepped by its asks, with samples of
// A:OLD in three hours.
type convertRig struct {
	*testing.T
	dir      string
	log      *memLog
	registry *typed
	a        *Archive
	end      func()
}

func newConvertRig(t *testing.T, values ...float64) *convertRig {
	r := &convertRig{T: t, dir: t.TempDir(), log: newMemLog(t, 7), registry: newTyped()}
	if len(values) == 0 {
		for i := range 30 {
			values = append(values, float64(i))
		}
	}
	for i, v := range values {
		r.log.add(older, double(after(time.Duration(i)*5*time.Minute), v))
	}
	r.start()
	return r
}

func (r *convertRig) start() {
	r.a = open(r.T, r.dir, r.log, func(o *Options) { o.Registered, o.RoundEvery = r.registry.registered, time.Hour })
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- r.a.Run(ctx) }()
	var once sync.Once
	r.end = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				r.Errorf("the archive ended with %v", err)
			}
			if err := r.a.CloseStore(); err != nil {
				r.Error(err)
			}
		})
	}
	r.Cleanup(r.end)
}

// files are all files below a folder of the store, by their path in it.
func (r *convertRig) files(below string) map[string]string {
	r.Helper()
	found := map[string]string{}
	root := filepath.Join(r.dir, "sts", below)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		found[name] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Fatal(err)
	}
	return found
}

// partitions are the files of the PV.
func (r *convertRig) partitions() map[string]string {
	r.Helper()
	all := r.files("A")
	maps.DeleteFunc(all, func(name, _ string) bool { return !strings.HasSuffix(name, ".pb") })
	return all
}

// values decodes the PV's samples, whatever the type of their files.
func (r *convertRig) values() (values []any) {
	r.Helper()
	list, err := partition.List(filepath.Join(r.dir, "sts"), schema.ChunkKey(older), hour)
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range list {
		reader, err := partition.Open(f.Path)
		if err != nil {
			r.Fatal(err)
		}
		for {
			line, err := reader.Next()
			if err != nil {
				break
			}
			s, err := schema.DecodeSample(reader.Header().Type, reader.Header().Year, line.Event)
			if err != nil {
				r.Fatal(err)
			}
			values = append(values, s.Value)
		}
		_ = reader.Close()
	}
	return values
}

// reasons are those of the drops in the order of the log.
func (r *convertRig) reasons() (reasons []string) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	drops := slices.SortedFunc(maps.Values(r.log.drops), func(a, b streams.Drop) int { return int(a.Position.Seq) - int(b.Position.Seq) })
	for _, d := range drops {
		reasons = append(reasons, d.Reason)
	}
	return reasons
}

func (r *convertRig) convert(to schema.DBRType, lossy bool) (Convertible, string, error) {
	var kept string
	done, err := r.a.Convert(r.Context(), Conversion{PV: older, To: to, Lossy: lossy}, func(k string) error {
		kept = k
		r.registry.retype(to)
		return nil
	})
	return done, kept, err
}

func TestAConversionReplacesAllFilesAndKeepsTheOldOnes(t *testing.T) {
	r := newConvertRig(t)
	r.log.add(older, double(after(time.Second), 5, func(s *schema.RawSample) { s.Type = schema.ScalarInt }))
	dry, err := r.a.Convert(t.Context(), Conversion{PV: older, To: schema.ScalarInt, DryRun: true}, nil)
	if err != nil || dry.Samples != 30 || dry.Lost != 0 || dry.Files != 4 {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	before := r.partitions()
	if s, _ := r.a.Status(older); s.Drops["type"] != 1 {
		t.Fatalf("%+v", s)
	}
	done, kept, err := r.convert(schema.ScalarInt, false)
	if err != nil || done.Files != 4 || done.Samples != 30 || done.Lost != 0 || done.Kept != kept || kept == "" {
		t.Fatalf("%+v kept %q, %v", done, kept, err)
	}
	got := r.values()
	if len(got) != 30 || got[0] != int32(0) || got[29] != int32(29) {
		t.Errorf("values are now %v", got)
	}
	after2 := r.files(filepath.Join(".trash", kept, "A"))
	for name, bytes := range before {
		if after2[name] != bytes {
			t.Errorf("%s is not in the trash as it was", name)
		}
	}
	if s, _ := r.a.Status(older); s.Drops["type"] != 0 || s.Stored != 30 {
		t.Errorf("counters: %+v", s)
	}
	if exists(r.a.swapPath()) || len(r.files(asideName)) > 0 {
		t.Error("a note or new files are left")
	}
	// A sample of the new type and registration follows in the converted file.
	r.registry.change(func(i *schema.TypeInfo) { i.State = schema.Archiving })
	r.log.add(older, r.integer(30, 2), r.integer(31, 1))
	r.end()
	if got := r.values(); len(got) != 31 || got[30] != int32(30) {
		t.Errorf("after the next sample: %v", got[28:])
	}
	if d := r.reasons(); !slices.Equal(d, []string{"type", "unregistered"}) {
		t.Errorf("drops %v", d)
	}
}

// integer is a sample of a generation behind those of the rig.
func (r *convertRig) integer(i int, generation uint64) schema.RawSample {
	s := double(after(time.Duration(i)*5*time.Minute), 0)
	at := after(time.Duration(i) * 5 * time.Minute)
	s.Type, s.Registered, s.Generation = schema.ScalarInt, schema.ScalarInt, generation
	s.Event = schema.AppendInt(schema.AppendHead(nil, at), int32(i))
	return s
}

func TestAConversionThatMayNotBeChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		to     schema.DBRType
		change func(*typed)
		commit error
		code   schema.Code
		says   string
	}{
		{"a loss", []float64{1, 2.5}, schema.ScalarInt, nil, nil, schema.Conflict, "line 2 (2025-11-23T11:04:50Z): 2.5"},
		{"archiving", nil, schema.ScalarInt, func(r *typed) { r.change(func(i *schema.TypeInfo) { i.State = schema.Archiving }) }, nil, schema.Conflict, "pause it first"},
		{"not registered", nil, schema.ScalarInt, func(r *typed) { r.gone = true }, nil, schema.NotFound, "not registered"},
		{"never connected", nil, schema.ScalarInt, func(r *typed) { r.retype(schema.UnknownType) }, nil, schema.Conflict, "never connected"},
		{"opaque", nil, schema.V4GenericBytes, nil, nil, schema.Invalid, "V4"},
		{"refused by the registry", nil, schema.ScalarString, nil, schema.Errorf(schema.Conflict, "somebody was faster"), schema.Conflict, "somebody was faster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newConvertRig(t, c.values...)
			if _, err := r.a.Convert(t.Context(), Conversion{PV: older, To: schema.ScalarString, DryRun: true}, nil); err != nil {
				t.Fatal(err)
			}
			before := r.partitions()
			if c.change != nil {
				c.change(r.registry)
			}
			_, err := r.a.Convert(t.Context(), Conversion{PV: older, To: c.to}, func(string) error { return c.commit })
			if schema.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if now := r.partitions(); !maps.Equal(now, before) || exists(r.a.swapPath()) || len(r.files(asideName)) > 0 {
				t.Errorf("something was changed: %d files, were %d", len(now), len(before))
			}
		})
	}
}

func TestALossyConversionCountsWhatItChanged(t *testing.T) {
	r := newConvertRig(t, 1, 2.5, 1e12)
	dry, err := r.a.Convert(t.Context(), Conversion{PV: older, To: schema.ScalarInt, DryRun: true}, nil)
	if err != nil || dry.Lost != 2 || len(dry.Losses) != 2 || dry.Losses[1].Line != 3 {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	done, _, err := r.convert(schema.ScalarInt, true)
	if got := r.values(); err != nil || done.Lost != 2 || !slices.Equal(got, []any{int32(1), int32(2), int32(2147483647)}) {
		t.Errorf("%+v, %v: %v", done, err, got)
	}
}

func TestAConversionIsTakenBack(t *testing.T) {
	r := newConvertRig(t)
	done, kept, err := r.convert(schema.ScalarString, false)
	if err != nil {
		t.Fatal(done, err)
	}
	converted := r.partitions()
	again, err := r.a.Revert(t.Context(), older, kept, schema.ScalarDouble)
	if err != nil || again == kept {
		t.Fatalf("%q, %v", again, err)
	}
	if twice, err := r.a.Revert(t.Context(), older, kept, schema.ScalarDouble); err != nil || twice != again {
		t.Errorf("asked again: %q, %v", twice, err)
	}
	if _, err := r.a.Trash(t.Context(), older, time.Now()); schema.CodeOf(err) != schema.Conflict {
		t.Errorf("while nothing is decided: %v", err)
	}
	r.registry.retype(schema.ScalarDouble)
	if _, _, err := r.convert(schema.ScalarDouble, false); err != nil { // awaits that it is settled
		t.Fatal(err)
	}
	if got := r.values(); len(got) != 30 || got[29] != 29.0 {
		t.Errorf("%v", got)
	}
	if exists(r.a.swapPath()) {
		t.Error("the note is left")
	}
	// The undo can be undone: what it replaced is kept as well.
	if _, err = r.a.Revert(t.Context(), older, again, schema.ScalarString); err != nil {
		t.Fatal(err)
	}
	if now := r.partitions(); !maps.Equal(now, converted) {
		t.Error("the converted files are not back as they were")
	}
}

func TestAConversionWithNewerSamplesIsNotTakenBack(t *testing.T) {
	r := newConvertRig(t)
	_, kept, err := r.convert(schema.ScalarInt, false)
	if err != nil {
		t.Fatal(err)
	}
	r.log.add(older, r.integer(30, 2))
	_, err = r.a.Revert(t.Context(), older, kept, schema.ScalarDouble)
	if schema.CodeOf(err) != schema.Conflict || !strings.Contains(err.Error(), "convert them back instead") {
		t.Errorf("%v", err)
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "sts", ".trash")); err != nil {
		t.Fatal(err)
	}
	if _, err = r.a.Revert(t.Context(), older, kept, schema.ScalarDouble); schema.CodeOf(err) != schema.Conflict || !strings.Contains(err.Error(), "not in the trash any more") {
		t.Errorf("an emptied trash: %v", err)
	}
}

// TestACrashDuringASwapIsCompletedOrUndone stops behind each elementary step of
// a swap of three files, one of them new, with and without the event.
func TestACrashDuringASwapIsCompletedOrUndone(t *testing.T) {
	for step := range 6 {
		for _, decided := range []bool{false, true} {
			dir := t.TempDir()
			registry := newTyped()
			a := open(t, dir, newMemLog(t, 1), func(o *Options) { o.Registered = registry.registered })
			root := filepath.Join(dir, "sts")
			s := &swap{PV: older, Generation: 1, Type: schema.ScalarInt}
			for i, name := range []string{"a", "b", "c"} {
				m := move{Place: filepath.Join(root, "A", name+".pb"), New: filepath.Join(root, asideName, "x", name)}
				putFile(t, m.New, "new "+name)
				if i < 2 {
					m.Kept = filepath.Join(root, trashName, "bin", name)
					putFile(t, m.Place, "old "+name)
				}
				s.Moves = append(s.Moves, m)
			}
			if err := a.noteSwap(s); err != nil {
				t.Fatal(err)
			}
			partly(t, s, step)
			if decided {
				registry.retype(schema.ScalarInt)
			}
			crash(t, a)
			b := open(t, dir, newMemLog(t, 1), func(o *Options) { o.Registered = registry.registered })
			r := convertRig{T: t, dir: dir}
			want, bin := map[string]string{"a.pb": "old a", "b.pb": "old b"}, map[string]string{}
			if decided {
				want, bin = map[string]string{"a.pb": "new a", "b.pb": "new b", "c.pb": "new c"}, map[string]string{"a": "old a", "b": "old b"}
			}
			if got := r.files("A"); !maps.Equal(got, want) {
				t.Errorf("step %d, decided %v: %v", step, decided, got)
			}
			if got := r.files(filepath.Join(trashName, "bin")); !maps.Equal(got, bin) {
				t.Errorf("step %d, decided %v: kept %v", step, decided, got)
			}
			if exists(b.swapPath()) || len(r.files(asideName)) > 0 {
				t.Errorf("step %d: leftovers", step)
			}
		}
	}
}

// partly does the first steps of a swap: two links, three renames.
func partly(t *testing.T, s *swap, steps int) {
	t.Helper()
	for i, m := range s.Moves {
		if m.Kept != "" && i < steps {
			if err := errors.Join(os.MkdirAll(filepath.Dir(m.Kept), 0o755), os.Link(m.Place, m.Kept)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, m := range s.Moves {
		if i < steps-2 {
			if err := os.Rename(m.New, m.Place); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func putFile(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestASwapWhoseEventIsUnknownIsSettled lets commit end without a word: the
// registry's state decides, now or when the time is over.
func TestASwapWhoseEventIsUnknownIsSettled(t *testing.T) {
	for _, decided := range []bool{true, false} {
		dir := t.TempDir()
		registry := newTyped()
		a := open(t, dir, newMemLog(t, 1), func(o *Options) { o.Registered = registry.registered })
		place := filepath.Join(dir, "sts", "A", "a.pb")
		s := &swap{PV: older, Generation: 1, Type: schema.ScalarInt, Moves: []move{{Place: place,
			Kept: filepath.Join(dir, "sts", trashName, "bin", "a"), New: filepath.Join(dir, "sts", asideName, "a")}}}
		putFile(t, place, "old")
		putFile(t, s.Moves[0].New, "new")
		lost := errors.New("no answer")
		if err := a.carryOut(s, func() error { return lost }); !errors.Is(err, lost) {
			t.Fatal(err)
		}
		a.tallies.byPV[older] = &tally{pv: older, drops: map[filter.Reason]uint64{filter.Type: 3}}
		a.settle(t.Context())
		if b, _ := os.ReadFile(place); string(b) != "new" || a.swap == nil {
			t.Fatalf("before anything is decided: %s", b)
		}
		if err := a.carryOut(&swap{PV: newer}, nil); schema.CodeOf(err) != schema.Unavailable {
			t.Errorf("another swap meanwhile: %v", err)
		}
		want := "old"
		if decided {
			want = "new"
			registry.retype(schema.ScalarInt)
		} else {
			a.swap.since = time.Now().Add(-2 * settleTime)
		}
		a.settle(t.Context())
		if b, _ := os.ReadFile(place); string(b) != want || a.swap != nil || exists(a.swapPath()) {
			t.Errorf("decided %v: %s", decided, b)
		}
		if s, _ := a.Status(older); decided == (s.Drops["type"] > 0) {
			t.Errorf("decided %v: %+v", decided, s)
		}
	}
}
