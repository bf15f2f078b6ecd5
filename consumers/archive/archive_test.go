package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hour = partition.PartitionHour

var base = schema.Time{Sec: time.Date(2025, 11, 23, 10, 59, 50, 0, time.UTC).Unix()}

// double makes a sample as ingest would.
func double(at schema.Time, v float64, change ...func(*schema.RawSample)) schema.RawSample {
	s := schema.RawSample{
		Type: schema.ScalarDouble, Registered: schema.ScalarDouble, Year: at.Year(), Received: at.Go(),
		DriftPast: 30 * time.Minute, DriftFuture: 30 * time.Minute, Generation: 1,
		Event: schema.AppendDouble(schema.AppendHead(nil, at), v),
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func after(d time.Duration) schema.Time {
	return schema.TimeOf(base.Go().Add(d))
}

func registered(pv schema.PVName) (*schema.TypeInfo, bool) {
	if pv == "not:registered" {
		return nil, false
	}
	return &schema.TypeInfo{PV: pv, ChunkKey: schema.ChunkKey(pv), DBRType: schema.ScalarDouble, Generation: 1}, true
}

// open makes an archive on dir that reads the log; the caller steps it.
func open(t *testing.T, dir string, log *memLog, change ...func(*Options)) *Archive {
	t.Helper()
	o := Options{
		Store:    Store{Name: "STS", Root: filepath.Join(dir, "sts"), Granularity: hour},
		StateDir: dir, Source: log, Drops: log, Registered: registered, RoundEvery: time.Nanosecond,
	}
	for _, c := range change {
		c(&o)
	}
	a := New(o)
	if err := a.OpenStore(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.CloseStore() })
	if err := a.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

// crash lets go of the store as the end of a process would: nothing is flushed.
func crash(t *testing.T, a *Archive) {
	t.Helper()
	if err := a.CloseStore(); err != nil {
		t.Fatal(err)
	}
}

// run drains the log and ends the archive in order.
func run(t *testing.T, a *Archive) {
	t.Helper()
	if err := a.end(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.buffered != 0 || len(a.dirty) != 0 || len(a.drops) != 0 {
		t.Errorf("after the end %d bytes of %d PVs and %d drops are accounted for", a.buffered, len(a.dirty), len(a.drops))
	}
	crash(t, a)
}

type stored struct {
	at    schema.Time
	event string
}

// read gives all samples of a PV's files in the order of the files, and fails
// on a file that is not sound.
func read(t *testing.T, dir string, pv schema.PVName) []stored {
	t.Helper()
	files, err := partition.List(filepath.Join(dir, "sts"), schema.ChunkKey(pv), hour)
	if err != nil {
		t.Fatal(err)
	}
	var all []stored
	for _, f := range files {
		if tail, err := partition.Check(f.Path); err != nil || tail.Cut != 0 {
			t.Fatalf("%s: %+v, %v", f.Path, tail, err)
		}
		r, err := partition.Open(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		for {
			line, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, stored{line.Time, string(line.Event)})
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestSamplesReachTheirPartitionsAndAreAcknowledged_S70_S75_S76(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10)
	for i := range 100 {
		log.add("A:B", double(after(time.Duration(i)*time.Second), float64(i)))
	}
	run(t, open(t, dir, log))
	got := read(t, dir, "A:B")
	if len(got) != 100 || log.acked() != 100 {
		t.Fatalf("%d samples in files, acknowledged up to %d, want 100 and 100", len(got), log.acked())
	}
	files, _ := partition.List(filepath.Join(dir, "sts"), "A/B:", hour)
	if len(files) != 2 || filepath.Base(files[0].Path) != "B:2025_11_23_10.pb" {
		t.Errorf("partitions %+v, want those of 10 and 11 o'clock", files)
	}
	if s, ok := open(t, dir, log).Status("A:B"); !ok || s.Stored != 100 || !s.Last.IsZero() || s.Path != "" {
		t.Errorf("a new archive knows %+v before any sample", s)
	}
	if s, ok := open(t, t.TempDir(), log).Status("A:B"); ok {
		t.Errorf("an archive that begins knows %+v", s)
	}
}

func TestRejectedSamplesAreDropsWithTheirReason_S36_S71_S73(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 3)
	at := after(0)
	minor := func(s *schema.RawSample) { s.Event = schema.AppendAlarm(s.Event, 1, 4) }
	log.add("P", double(at, 1))                                                                                                           // kept
	log.add("P", double(at, 1))                                                                                                           // duplicate
	log.add("P", double(at, 1, minor), double(after(-time.Second), 0))                                                                    // order, order
	log.add("P", double(schema.Time{Sec: schema.Floor - 1}, 0, func(s *schema.RawSample) { s.First = true }))                             // before_1991
	log.add("P", double(after(time.Hour), 5, func(s *schema.RawSample) { s.Received = at.Go() }))                                         // drift_future
	log.add("P", double(after(time.Second), 5, func(s *schema.RawSample) { s.Received = at.Go().Add(time.Hour) }))                        // drift_past
	log.add("P", double(after(2*time.Second), 5, func(s *schema.RawSample) { s.Registered = schema.ScalarInt }))                          // type
	log.add("P", double(after(3*time.Second), 5, func(s *schema.RawSample) { s.Event = []byte{0xff} }))                                   // damaged
	log.add("not:registered", double(at, 1))                                                                                              // unregistered
	log.add("P", double(after(4*time.Second), 5, func(s *schema.RawSample) { s.Generation = 0 }))                                         // unregistered
	log.add("P", double(after(5*time.Second), 6, func(s *schema.RawSample) { s.Received = at.Go().Add(99 * time.Hour); s.First = true })) // kept
	log.messages = append(log.messages, streams.Message{PV: "P", First: 12, Seq: 12, Err: schema.ErrDamaged, Raw: []byte("x")})
	run(t, open(t, dir, log))
	want := map[streams.Position]string{
		{Seq: 3, Index: 0}: "order", {Seq: 3, Index: 1}: "order", {Seq: 4}: "before_1991", {Seq: 5}: "drift_future",
		{Seq: 6}: "drift_past", {Seq: 7}: "type", {Seq: 8}: "damaged", {Seq: 9}: "unregistered", {Seq: 10}: "unregistered", {Seq: 12}: "damaged",
	}
	for p, d := range log.drops {
		p.Time = time.Time{}
		if want[p] != d.Reason || d.Detail == "" || (d.Sample == nil) != (d.Raw != nil) {
			t.Errorf("drop at %+v: %q (%s), want %q", p, d.Reason, d.Detail, want[p])
		}
		delete(want, p)
	}
	for p, reason := range want {
		t.Errorf("no drop at %+v, want %s", p, reason)
	}
	if got := read(t, dir, "P"); len(got) != 2 || log.acked() != 12 {
		t.Errorf("kept %d, acknowledged %d, want 2 and 12", len(got), log.acked())
	}
}

func TestFieldsOfADiscardedDuplicateRideOnTheNextKeptSample(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 1)
	marker := func(s *schema.RawSample) { s.Event = schema.AppendField(s.Event, "startup", "true") }
	log.add("P", double(after(0), 1))
	log.add("P", double(after(0), 1, marker))
	log.add("P", double(after(time.Second), 2))
	log.add("P", double(after(2*time.Second), 3))
	want := []int{0, 1, 0}
	for round := range 2 { // the second time everything is redelivered
		run(t, open(t, dir, log))
		for i, s := range read(t, dir, "P") {
			if n := bytes.Count([]byte(s.event), []byte("startup")); n != want[i] {
				t.Errorf("run %d: sample %d carries %d markers, want %d", round, i, n, want[i])
			}
		}
		log.floor = 0
	}
	log.add("P", double(after(3*time.Second), 4))
	run(t, open(t, dir, log))
	if got := read(t, dir, "P"); len(got) != 4 || bytes.Contains([]byte(got[3].event), []byte("startup")) {
		t.Errorf("a replayed marker was written again: %d samples, last %q", len(got), got[len(got)-1].event)
	}
}

// oracle judges all messages of a log as one uninterrupted archive would.
func oracle(messages []streams.Message) (kept map[schema.PVName][]stored, drops map[streams.Position]string) {
	kept, drops = map[schema.PVName][]stored{}, map[streams.Position]string{}
	for _, m := range messages {
		for i, s := range m.Samples {
			e, _ := schema.ScanEvent(s.Event)
			at := e.Time(s.Year)
			all := kept[m.PV]
			var last schema.Time
			if len(all) > 0 {
				last = all[len(all)-1].at
			}
			v := filter.Judge(s, at, last, len(all) > 0)
			switch {
			case v.Reason == "":
				kept[m.PV] = append(all, stored{at, string(s.Event)})
				continue
			case v.Reason == filter.Order && there(all, at, e):
				continue
			}
			drops[streams.Position{Seq: m.Seq, Index: i, Time: m.Time}] = string(v.Reason)
		}
	}
	return kept, drops
}

func there(all []stored, at schema.Time, e schema.Event) bool {
	for _, s := range all {
		if f, err := schema.ScanEvent([]byte(s.event)); err == nil && s.at == at && f.Same(e) {
			return true
		}
	}
	return false
}

// randomLog has what IOCs do: mostly progress, over several hours, with equal,
// late, future and mistyped samples in between.
func randomLog(t *testing.T, rng *rand.Rand, messages int) *memLog {
	log := newMemLog(t, 1+rng.IntN(20))
	clock := map[schema.PVName]time.Duration{}
	for range messages {
		pv := schema.PVName(fmt.Sprintf("R:%d", rng.IntN(4)))
		var samples []schema.RawSample
		for range 1 + rng.IntN(3) {
			clock[pv] += time.Duration(rng.IntN(4)) * time.Duration(rng.IntN(300)) * time.Second
			at := after(clock[pv])
			s := double(at, float64(rng.IntN(2)))
			switch rng.IntN(12) {
			case 0:
				s = double(schema.Time{Sec: at.Sec - int64(rng.IntN(4000))}, 1, func(s *schema.RawSample) { s.Received = at.Go() })
			case 1:
				s = double(schema.Time{Sec: at.Sec + 7200}, 1, func(s *schema.RawSample) { s.Received = at.Go() })
			case 2:
				s.Registered = schema.WaveformDouble
			case 3:
				s.RateEvents = 10
			}
			samples = append(samples, s)
		}
		log.add(pv, samples...)
	}
	return log
}

func checkAgainstOracle(t *testing.T, dir string, log *memLog) {
	t.Helper()
	kept, drops := oracle(log.messages)
	for pv, want := range kept {
		got := read(t, dir, pv)
		if len(got) != len(want) {
			t.Errorf("%s: %d samples in files, want %d", pv, len(got), len(want))
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%s: sample %d is %+v, want %+v", pv, i, got[i], want[i])
			}
		}
	}
	for p, d := range log.drops {
		if drops[p] != d.Reason {
			t.Errorf("drop %+v: %s (%s), want %q", p, d.Reason, d.Detail, drops[p])
		}
	}
	if len(log.drops) != len(drops) {
		t.Errorf("%d drops, want %d", len(log.drops), len(drops))
	}
	if log.acked() != uint64(len(log.messages)) {
		t.Errorf("acknowledged %d of %d", log.acked(), len(log.messages))
	}
}

// TestCrashesAtAnyStepChangeNothing_S72 abandons the archive after random steps,
// with samples buffered, written, unacknowledged, and starts a new one on the
// same files and floor.
func TestCrashesAtAnyStepChangeNothing_S72(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			dir, log := t.TempDir(), randomLog(t, rng, 300)
			for range 8 {
				a := open(t, dir, log)
				if rng.IntN(2) == 0 {
					a.opt.RoundEvery = time.Hour // leave everything buffered
				}
				for range rng.IntN(12) {
					a.step(t.Context())
				}
				crash(t, a)
			}
			a := open(t, dir, log)
			run(t, a)
			checkAgainstOracle(t, dir, log)
			checkTallies(t, a, log)
		})
	}
}

// TestTornTailsAreCutAndComeBackFromTheLog damages the newest file behind what
// was acknowledged, as a power cut does.
func TestTornTailsAreCutAndComeBackFromTheLog(t *testing.T) {
	damages := map[string]func([]byte) []byte{
		"half a line":       func(b []byte) []byte { return b[:len(b)-5] },
		"no newline":        func(b []byte) []byte { return b[:len(b)-1] },
		"zeros":             func(b []byte) []byte { return append(b[:len(b)-40], make([]byte, 40)...) },
		"zeros before good": func(b []byte) []byte { clear(b[len(b)-60 : len(b)-40]); return b },
		"garbage appended":  func(b []byte) []byte { return append(b, 0xff, 0xfe, 0x0a, 1, 2, 3) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir, log := t.TempDir(), newMemLog(t, 5)
			for i := range 40 {
				log.add("P", double(after(time.Minute+time.Duration(i)*time.Second), float64(i)))
			}
			a := open(t, dir, log)
			for range 9 {
				a.step(t.Context())
			}
			if err := a.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			crash(t, a)
			log.floor = 20 // what came after was written, not acknowledged
			path := partition.Path(filepath.Join(dir, "sts"), "P:", hour, hour.Start(after(time.Minute)))
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o644); err != nil {
				t.Fatal(err)
			}
			log.add("P", double(after(time.Hour/2), 40)) // the first append behind the damage
			run(t, open(t, dir, log))
			checkAgainstOracle(t, dir, log)
		})
	}
}

func TestAPartitionThatEndsInTheFutureIsNoFloor(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	future := schema.TimeOf(time.Now().Add(48 * time.Hour))
	log.add("P", double(future, 1)) // as an adopted file of a site whose clock was wrong
	run(t, open(t, dir, log))
	log.add("P", double(after(0), 2))
	a := open(t, dir, log)
	run(t, a)
	if got := read(t, dir, "P"); len(got) != 2 || got[0].at != after(0) || len(log.drops) != 0 {
		t.Errorf("stored %v, drops %v, want both samples", got, log.drops)
	}
}

func TestAFaultOfOneFileStopsNothingElse(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	bad := partition.Path(filepath.Join(dir, "sts"), "BAD:", hour, hour.Start(after(0)))
	if err := os.MkdirAll(bad, 0o755); err != nil { // a folder where the file should be
		t.Fatal(err)
	}
	log.add("BAD", double(after(0), 1))
	log.add("GOOD", double(after(0), 1))
	run(t, open(t, dir, log))
	if got := read(t, dir, "GOOD"); len(got) != 1 || log.acked() != 2 {
		t.Errorf("%d samples of the good PV, acknowledged %d", len(got), log.acked())
	}
	if len(log.drops) != 1 {
		t.Fatalf("drops %+v, want one", log.drops)
	}
	for _, d := range log.drops {
		if d.Reason != "file" || d.PV != "BAD" || d.Sample == nil || !bytes.Contains([]byte(d.Detail), []byte(bad)) {
			t.Errorf("drop %+v", d)
		}
	}
}

func TestAFullDropLogHoldsTheAcknowledgementBack(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	log.add("P", double(schema.Time{Sec: 1}, 0))
	log.failDrops = 1
	a := open(t, dir, log)
	messages, _ := log.Fetch(t.Context(), 0)
	a.takeAll(t.Context(), messages)
	if err := a.round(t.Context()); !errors.Is(err, errDropLog) || log.acked() != 0 {
		t.Fatalf("round gave %v, acknowledged %d; the drop is not in its log", err, log.acked())
	}
	if err := a.round(t.Context()); err != nil || log.acked() != 1 || len(log.drops) != 1 {
		t.Errorf("round gave %v, acknowledged %d, drops %v", err, log.acked(), log.drops)
	}
}

func TestTheTailIsWhatIsNotYetInFiles(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	log.add("P", double(after(0), 1), double(after(time.Second), 2))
	a := open(t, dir, log, func(o *Options) { o.RoundEvery = time.Hour })
	a.lastRound = time.Now()
	a.step(t.Context())
	if tail := a.Tail("P"); len(tail) != 2 || tail[1].Type != schema.ScalarDouble || tail[1].Year != 2025 {
		t.Fatalf("tail %+v, want two samples", tail)
	}
	if err := a.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tail := a.Tail("P"); len(tail) != 0 {
		t.Errorf("tail %+v after the flush", tail)
	}
	if s, ok := a.Status("P"); !ok || s.Stored != 2 || s.Bytes == 0 || s.Last != after(time.Second) {
		t.Errorf("status %+v", s)
	}
}

func TestTrashMovesAllFilesOfAPVAndOnlyThose(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	var deleted atomic.Bool
	for _, pv := range []schema.PVName{"P", "P:X", "PP"} {
		log.add(pv, double(after(0), 1), double(after(time.Hour), 2))
	}
	a := open(t, dir, log, func(o *Options) {
		o.Registered = func(pv schema.PVName) (*schema.TypeInfo, bool) {
			if deleted.Load() && pv == "P" {
				return nil, false
			}
			return registered(pv)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan struct{})
	log.onAck = func(seq uint64) {
		if seq == 3 {
			close(written)
		}
	}
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	<-written
	deleted.Store(true)
	bin, err := a.Trash(t.Context(), "P", time.Unix(0, 0))
	if err != nil || bin == "" {
		t.Fatalf("Trash gave %q, %v", bin, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, dir, "P")); n != 0 {
		t.Errorf("%d samples of P are left", n)
	}
	if n := len(read(t, dir, "P:X")) + len(read(t, dir, "PP")); n != 4 {
		t.Errorf("%d samples of the others are left, want 4", n)
	}
	if moved, err := filepath.Glob(filepath.Join(bin, "P:*.pb")); err != nil || len(moved) != 2 {
		t.Errorf("in the trash: %v, %v", moved, err)
	}
}

func TestAStoreHasOneWriterAndALostMountIsNotAnEmptyStore(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	a := open(t, dir, log)
	second := New(a.opt)
	if err := second.OpenStore(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second writer got %v, want ErrLocked", err)
	}
	log.add("P", double(after(0), 1))
	messages, _ := log.Fetch(t.Context(), 0)
	a.takeAll(t.Context(), messages)
	if err := os.Rename(filepath.Join(dir, "sts"), filepath.Join(dir, "unmounted")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sts"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := a.round(t.Context()); !errors.Is(err, errUnmounted) || log.acked() != 0 {
		t.Errorf("a round without the mount gave %v, acknowledged %d", err, log.acked())
	}
	crash(t, a)
	if err := New(a.opt).OpenStore(); !errors.Is(err, errUnmounted) {
		t.Errorf("a start without the mount gave %v", err)
	}
}
