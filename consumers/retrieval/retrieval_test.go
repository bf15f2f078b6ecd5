package retrieval_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/consumers/partition"
	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

const pv = schema.PVName("LAB:T-1:X")

// at is an instant some nanoseconds after a fixed one shortly before a year ends.
func at(nanos int64) schema.Time {
	return schema.TimeOf(time.Date(2023, 12, 31, 22, 30, 0, 0, time.UTC).Add(time.Duration(nanos)))
}

// number is a sample whose value tells which one it is.
func number(t schema.Time, v float64) []byte { return event(t, schema.ScalarDouble, v, 0, 0) }

// put writes samples into partition files, making or extending them.
func put(t *testing.T, store retrieval.Store, name schema.PVName, events map[schema.Time][]byte) {
	t.Helper()
	for _, at := range slices.SortedFunc(keys(events), schema.Time.Compare) {
		path := partition.Path(store.Root, schema.ChunkKey(name), store.Granularity, store.Granularity.Start(at))
		var b []byte
		if _, err := os.Stat(path); err != nil {
			b = partition.AppendHeader(b, partition.Header{Type: schema.ScalarDouble, PV: name, Year: at.Year()})
		}
		appendTo(t, path, partition.AppendLine(b, events[at]))
	}
}

func keys(m map[schema.Time][]byte) func(func(schema.Time) bool) {
	return func(yield func(schema.Time) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func appendTo(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
}

// values reads a stream to its end.
func values(t *testing.T, s *retrieval.Stream) []float64 {
	t.Helper()
	got := []float64{}
	var last schema.Time
	for {
		sample, err := s.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		d, err := schema.DecodeSample(sample.Type, sample.Year, sample.Event)
		if err != nil {
			t.Fatal(err)
		}
		if sample.Line != nil && !bytes.Equal(append(bytes.Clone(sample.Line), '\n'), partition.AppendLine(nil, sample.Event)) {
			t.Fatalf("line and event of %v differ", sample.Time)
		}
		if d.Time != sample.Time || !last.IsZero() && !d.Time.After(last) {
			t.Fatalf("%v after %v", d.Time, last)
		}
		last = d.Time
		got = append(got, d.Value.(float64))
	}
}

func read(t *testing.T, r *retrieval.Retrieval, from, to schema.Time) []float64 {
	t.Helper()
	s, err := r.Open(retrieval.Query{PV: pv, From: from.Go(), To: to.Go()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return values(t, s)
}

// expect is what a query must give of all samples, in order.
func expect(all []schema.Time, from, to schema.Time) []float64 {
	first := 0
	for i, t := range all {
		if !t.After(from) {
			first = i
		}
	}
	want := []float64{}
	for i := first; i < len(all) && !all[i].After(to); i++ {
		want = append(want, float64(i))
	}
	return want
}

// Samples spread at random over stores, files and tail, some in two places,
// must come back as the plain list, whatever the range.
func TestAnswerEqualsThePlainList(t *testing.T) {
	granularities := []partition.Granularity{partition.Partition5Min, partition.PartitionHour, partition.PartitionDay, partition.PartitionMonth, partition.PartitionYear}
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var stores []retrieval.Store
		for i := range 1 + rng.IntN(3) {
			stores = append(stores, retrieval.Store{Name: fmt.Sprint("S", i), Root: t.TempDir(), Granularity: granularities[rng.IntN(len(granularities))]})
		}
		n := rng.IntN(80)
		span := []int64{1e3, 1e9, 1e12, 1e14}[rng.IntN(4)]
		all := make([]schema.Time, 0, n)
		for now := int64(0); len(all) < n; now += 1 + rng.Int64N(span) {
			all = append(all, at(now))
		}
		files := make([]map[schema.Time][]byte, len(stores))
		for i := range files {
			files[i] = make(map[schema.Time][]byte)
		}
		var tail []retrieval.TailLine
		tailFrom := n - rng.IntN(n/2+1)
		for i, when := range all {
			e := number(when, float64(i))
			if i >= tailFrom {
				tail = append(tail, retrieval.TailLine{Year: when.Year(), Event: e})
			}
			if i < tailFrom || rng.IntN(3) == 0 {
				files[rng.IntN(len(stores))][when] = e
			}
			if rng.IntN(4) == 0 {
				files[rng.IntN(len(stores))][when] = e
			}
		}
		for i, store := range stores {
			put(t, store, pv, files[i])
		}
		r := retrieval.New(retrieval.Options{Stores: stores, Tail: func(schema.PVName) (schema.DBRType, []retrieval.TailLine) { return schema.ScalarDouble, tail }})
		for range 60 {
			from, to := someTime(rng, all), someTime(rng, all)
			if from.After(to) {
				from, to = to, from
			}
			if got, want := read(t, r, from, to), expect(all, from, to); !slices.Equal(got, want) {
				t.Fatalf("seed %d, %v to %v:\n%v, want\n%v", seed, from, to, got, want)
			}
		}
	}
}

// someTime is at or next to a sample, or anywhere.
func someTime(rng *rand.Rand, all []schema.Time) schema.Time {
	if len(all) == 0 || rng.IntN(5) == 0 {
		return at(rng.Int64N(2e12) - 1e12)
	}
	return schema.TimeOf(all[rng.IntN(len(all))].Go().Add(time.Duration(rng.IntN(3) - 1)))
}

func store(t *testing.T, g partition.Granularity) retrieval.Store {
	return retrieval.Store{Name: "STS", Root: t.TempDir(), Granularity: g}
}

// hours gives n samples, one an hour.
func hours(n int) (events map[schema.Time][]byte, all []schema.Time) {
	events = make(map[schema.Time][]byte)
	for i := range n {
		all = append(all, at(int64(i)*3600e9))
		events[all[i]] = number(all[i], float64(i))
	}
	return events, all
}

func TestSampleBeforeTheRangeComesFromAnOldPartition(t *testing.T) {
	st := store(t, partition.PartitionHour)
	events, all := hours(3)
	put(t, st, pv, events)
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}})
	late := at(100 * 24 * 3600e9)
	if got := read(t, r, late, late); !slices.Equal(got, []float64{2}) {
		t.Errorf("from == to long after the last sample: %v", got)
	}
	if got := read(t, r, all[1], all[1]); !slices.Equal(got, []float64{1}) {
		t.Errorf("from == to at a sample: %v", got)
	}
	early := at(-1e12)
	if got := read(t, r, early, early); len(got) != 0 {
		t.Errorf("from == to before the first sample: %v", got)
	}
}

// A partition that is moved to the next tier after it was listed and before
// its turn came is found there; nothing is lost and nothing comes twice.
func TestPartitionMovedWhileReadIsFoundAgain(t *testing.T) {
	short, long := store(t, partition.PartitionHour), store(t, partition.PartitionDay)
	events, all := hours(6)
	put(t, short, pv, events)
	reg := prometheus.NewRegistry()
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{short, long}, Registerer: reg})
	s, err := r.Open(retrieval.Query{PV: pv, From: all[0].Go(), To: all[5].Go()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if first, err := s.Next(); err != nil || first.Time != all[0] {
		t.Fatal(first, err)
	}
	put(t, long, pv, events)
	if err := os.RemoveAll(short.Root); err != nil {
		t.Fatal(err)
	}
	if got := values(t, s); !slices.Equal(got, []float64{1, 2, 3, 4, 5}) {
		t.Errorf("after the move: %v", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := counted(t, reg, "pvlog_retrieval_moved_total", ""); n != 1 {
		t.Errorf("%v moves are counted", n)
	}
}

func TestPartitionDeletedWhileReadEndsTheAnswer(t *testing.T) {
	st := store(t, partition.PartitionHour)
	events, all := hours(4)
	put(t, st, pv, events)
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}})
	s, err := r.Open(retrieval.Query{PV: pv, From: all[0].Go(), To: all[3].Go()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 2 {
		path := partition.Path(st.Root, schema.ChunkKey(pv), st.Granularity, st.Granularity.Start(all[2+i]))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if got := values(t, s); !slices.Equal(got, []float64{0, 1}) {
		t.Error(got)
	}
}

// damage is something wrong in the second of three hourly files.
var damage = map[string]struct {
	harm func(t *testing.T, path string)
	want []float64 // of 0, 10, 11, 12, 20
	what string    // counted as
}{
	"garbage line": {func(t *testing.T, path string) { edit(t, path, 2, []byte("garbage")) }, []float64{0, 10, 12, 20}, "lines"},
	"empty line":   {func(t *testing.T, path string) { edit(t, path, 2, nil) }, []float64{0, 10, 12, 20}, "lines"},
	"torn tail": {func(t *testing.T, path string) {
		size := fileSize(t, path)
		if err := os.Truncate(path, size-3); err != nil {
			t.Fatal(err)
		}
	}, []float64{0, 10, 11, 20}, ""},
	"zeros behind": {func(t *testing.T, path string) { appendTo(t, path, make([]byte, 4096)) }, []float64{0, 10, 11, 12, 20}, ""},
	"repeated line": {func(t *testing.T, path string) {
		lines := bytes.Split(mustRead(t, path), []byte("\n"))
		appendTo(t, path, append(lines[1], '\n'))
	}, []float64{0, 10, 11, 12, 20}, "order"},
	"broken header": {func(t *testing.T, path string) { edit(t, path, 0, []byte("no header")) }, []float64{0, 20}, "files"},
	"empty file": {func(t *testing.T, path string) {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	}, []float64{0, 20}, ""},
	"another PV": {func(t *testing.T, path string) {
		edit(t, path, 0, bytes.TrimSuffix(partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: "LAB:T:1:X", Year: 2023}), []byte("\n")))
	}, []float64{0, 20}, "files"},
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// edit replaces the n-th line of a file.
func edit(t *testing.T, path string, n int, line []byte) {
	t.Helper()
	lines := bytes.Split(mustRead(t, path), []byte("\n"))
	lines[n] = line
	if err := os.WriteFile(path, bytes.Join(lines, []byte("\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDamageIsSkippedCountedAndTold(t *testing.T) {
	for name, c := range damage {
		t.Run(name, func(t *testing.T) {
			st := store(t, partition.PartitionHour)
			hour := int64(3600e9)
			events := map[schema.Time][]byte{}
			for v, when := range map[float64]int64{0: 0, 10: hour, 11: hour + 1e9, 12: hour + 2e9, 20: 2 * hour} {
				events[at(when)] = number(at(when), v)
			}
			put(t, st, pv, events)
			c.harm(t, partition.Path(st.Root, schema.ChunkKey(pv), st.Granularity, st.Granularity.Start(at(hour))))
			reg, log := prometheus.NewRegistry(), &bytes.Buffer{}
			r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}, Registerer: reg, Logger: slog.New(slog.NewTextHandler(log, nil))})
			if got := read(t, r, at(0), at(3*hour)); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			for _, what := range []string{"lines", "order", "files"} {
				if n := counted(t, reg, "pvlog_retrieval_skipped_total", what); (n > 0) != (what == c.what) {
					t.Errorf("%v %s are counted as skipped", n, what)
				}
			}
			if told := strings.Contains(log.String(), "pv="+string(pv)); told != (c.what != "") {
				t.Errorf("log: %s", log)
			}
			// from behind and in the damaged file the newest sample at or
			// before is found all the same
			for i, v := range c.want {
				when := map[float64]int64{0: 0, 10: hour, 11: hour + 1e9, 12: hour + 2e9, 20: 2 * hour}[v]
				if got := read(t, r, at(when), at(when)); !slices.Equal(got, []float64{v}) {
					t.Errorf("sample %d at its time: %v, want %v", i, got, v)
				}
			}
			if got := read(t, r, at(2*hour-1), at(2*hour-1)); len(got) != 1 || got[0] != c.want[len(c.want)-2] {
				t.Errorf("just before the last: %v", got)
			}
		})
	}
}

// counted is the value of a counter, of the one with a label if label is given.
func counted(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s %s", name, label)
	return 0
}

// What the disk refuses is an error, not the end of the answer; and it stays
// one however often Next is called.
func TestUnreadableFileIsAnErrorForEver(t *testing.T) {
	st := store(t, partition.PartitionHour)
	events, all := hours(3)
	put(t, st, pv, events)
	path := partition.Path(st.Root, schema.ChunkKey(pv), st.Granularity, st.Granularity.Start(all[2]))
	whole := mustRead(t, path)
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}})
	// open gives a stream whose third file turned unreadable after it was listed
	open := func() *retrieval.Stream {
		_ = os.Remove(path)
		appendTo(t, path, whole)
		s, err := r.Open(retrieval.Query{PV: pv, From: all[0].Go(), To: all[2].Go()})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, path); err != nil { // opening it gives ELOOP
			t.Fatal(err)
		}
		return s
	}
	s := open()
	defer s.Close()
	for range 2 {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := s.Next(); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
	}
	for ext, format := range retrieval.Formats {
		s := open()
		if _, err := format.Write(io.Discard, s, retrieval.Meta{PV: pv}); err == nil {
			t.Errorf("%s ends as if it were whole", ext)
		}
		s.Close()
	}
}

func TestRangeThatEndsBeforeItBegins(t *testing.T) {
	_, err := retrieval.New(retrieval.Options{}).Open(retrieval.Query{PV: pv, From: at(1).Go(), To: at(0).Go()})
	if schema.CodeOf(err) != schema.Invalid {
		t.Error(err)
	}
}

// The samples given are as long as the answer, the memory is not: a stream
// over many files allocates per file, not per sample.
func TestStreamDoesNotAllocatePerSample(t *testing.T) {
	st := store(t, partition.PartitionYear)
	var b []byte
	for i := range 50_000 {
		when := at(int64(i) * 1e6)
		if i == 0 {
			b = partition.AppendHeader(b, partition.Header{Type: schema.ScalarDouble, PV: pv, Year: when.Year()})
		}
		b = partition.AppendLine(b, number(when, float64(i)))
	}
	appendTo(t, partition.Path(st.Root, schema.ChunkKey(pv), st.Granularity, st.Granularity.Start(at(0))), b)
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}})
	for ext, format := range retrieval.Formats {
		allocs := testing.AllocsPerRun(1, func() {
			s, err := r.Open(retrieval.Query{PV: pv, From: at(0).Go(), To: at(1e12).Go()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if n, err := format.Write(io.Discard, s, retrieval.Meta{PV: pv}); err != nil || n != 50_000 {
				t.Fatal(n, err)
			}
		})
		if allocs > 1000 {
			t.Errorf("%s: %v allocations for 50,000 samples", ext, allocs)
		}
	}
}

// The archive may write a buffer into a new file at any moment: what it wrote
// before the tail was taken stands in a file that must be listed, what it wrote
// after stands in both places and comes once.
func TestSampleThatIsBeingWrittenComesOnce(t *testing.T) {
	for name, written := range map[string]bool{"before the tail is taken": true, "after the tail was taken": false} {
		st := store(t, partition.PartitionHour)
		events, all := hours(2)
		flush := func() { put(t, st, pv, events) }
		r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}, Tail: func(schema.PVName) (schema.DBRType, []retrieval.TailLine) {
			flush()
			if written {
				return schema.UnknownType, nil
			}
			return schema.ScalarDouble, []retrieval.TailLine{{Year: all[0].Year(), Event: events[all[0]]}, {Year: all[1].Year(), Event: events[all[1]]}}
		}})
		if got := read(t, r, all[0], all[1]); !slices.Equal(got, []float64{0, 1}) {
			t.Errorf("written %s: %v", name, got)
		}
	}
}

// BenchmarkFormats writes a day of 10 Hz out of one file.
func BenchmarkFormats(b *testing.B) {
	st := retrieval.Store{Root: b.TempDir(), Granularity: partition.PartitionYear}
	start := schema.TimeOf(time.Date(2023, 6, 1, 0, 0, 0, 0, time.UTC))
	file := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: pv, Year: 2023})
	const n = 864_000
	for i := range n {
		when := schema.TimeOf(start.Go().Add(time.Duration(i) * 100 * time.Millisecond))
		file = partition.AppendLine(file, number(when, float64(i)/3))
	}
	path := partition.Path(st.Root, schema.ChunkKey(pv), st.Granularity, st.Granularity.Start(start))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, file, 0o644)); err != nil {
		b.Fatal(err)
	}
	r := retrieval.New(retrieval.Options{Stores: []retrieval.Store{st}})
	ask := func(b *testing.B, format retrieval.Format, from time.Time, span time.Duration, want int) {
		for b.Loop() {
			s, err := r.Open(retrieval.Query{PV: pv, From: from, To: from.Add(span)})
			if err != nil {
				b.Fatal(err)
			}
			if got, err := format.Write(io.Discard, s, retrieval.Meta{PV: pv}); err != nil || got != want {
				b.Fatal(got, err)
			}
			s.Close()
		}
		b.ReportMetric(float64(want)*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
	}
	for ext, format := range retrieval.Formats {
		b.Run(ext, func(b *testing.B) { ask(b, format, start.Go(), 24*time.Hour, n) })
		b.Run(ext+"/ten minutes", func(b *testing.B) { ask(b, format, start.Go().Add(13*time.Hour), 10*time.Minute, 6001) })
	}
}
