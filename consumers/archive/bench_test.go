package archive

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/streams"
)

// benchArchive is an archive that is stepped by hand, with messages of one
// sample of each of n PVs at 10 Hz.
func benchArchive(tb testing.TB, n int) (*Archive, []streams.Message) {
	tb.Helper()
	infos := map[schema.PVName]*schema.TypeInfo{}
	messages := make([]streams.Message, n)
	for i := range messages {
		pv := schema.PVName(fmt.Sprintf("LOAD:%06d", i))
		infos[pv] = &schema.TypeInfo{PV: pv, ChunkKey: schema.ChunkKey(pv), DBRType: schema.ScalarDouble, Generation: 1,
			Units: "mm", Precision: 3, Limits: map[string]float64{"HIHI": 1, "LOLO": 2}}
		messages[i] = streams.Message{PV: pv, Samples: make([]schema.RawSample, 1)}
	}
	log := newMemLog(nil, 1)
	dir := tb.TempDir()
	a := New(Options{
		Store:    Store{Name: "STS", Root: filepath.Join(dir, "sts"), Granularity: hour},
		StateDir: dir, Source: silentSource{}, Drops: log, RoundEvery: time.Hour, BufferBytes: 1 << 40, UnackedMax: 1 << 40,
		Registered: func(pv schema.PVName) (*schema.TypeInfo, bool) {
			info, ok := infos[pv]
			return info, ok
		},
	})
	if err := a.OpenStore(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		a.appender.Close()
		_ = a.CloseStore()
	})
	if err := a.begin(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return a, messages
}

// silentSource is a log that takes acknowledgements and gives nothing.
type silentSource struct{}

func (silentSource) Reset(context.Context) error { return nil }
func (silentSource) Fetch(context.Context, time.Duration) ([]streams.Message, error) {
	return nil, nil
}
func (silentSource) Ack(context.Context, uint64) error { return nil }

// fill makes the next sample of each message; round is a tenth of a second.
func fill(messages []streams.Message, round int) {
	at := after(time.Duration(round) * 100 * time.Millisecond)
	received := at.Go()
	for i := range messages {
		m := &messages[i]
		m.Seq = uint64(round*len(messages) + i + 1)
		m.First, m.Time = m.Seq, received
		m.Samples[0] = schema.RawSample{Type: schema.ScalarDouble, Registered: schema.ScalarDouble, Year: at.Year(), Received: received,
			DriftPast: 30 * time.Minute, DriftFuture: 30 * time.Minute, Generation: 1,
			Event: schema.AppendDouble(schema.AppendHead(m.Samples[0].Event[:0], at), float64(round))}
	}
}

// BenchmarkTake is from the fetched message to the PV's buffer; the rounds that
// empty the buffers, ten samples each, are not timed.
func BenchmarkTake(b *testing.B) {
	const pvs, perRound = 1000, 10
	a, messages := benchArchive(b, pvs)
	ctx := b.Context()
	round := 0
	step := func() {
		fill(messages, round)
		round++
		if round%perRound == 0 {
			if err := a.flush(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range 2 * perRound { // files, buffers
		step()
		a.takeAll(ctx, messages)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += pvs {
		b.StopTimer()
		step()
		b.StartTimer()
		if !a.takeAll(ctx, messages[:min(pvs, b.N-n)]) {
			b.Fatal("not taken")
		}
	}
}

// BenchmarkRound is a flush of a thousand PVs with ten samples each.
func BenchmarkRound(b *testing.B) {
	const pvs, perRound = 1000, 10
	a, messages := benchArchive(b, pvs)
	ctx := b.Context()
	round := 0
	load := func() {
		for range perRound {
			fill(messages, round)
			round++
			a.takeAll(ctx, messages)
		}
	}
	for range 2 {
		load()
		if err := a.flush(ctx); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		load()
		b.StartTimer()
		if err := a.flush(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTakeAllocatesNothing holds the hot path to what section 4 of the design
// asks for: in the steady state no sample allocates on its way to the buffer.
func TestTakeAllocatesNothing(t *testing.T) {
	const pvs = 50
	a, messages := benchArchive(t, pvs)
	round := 0
	turn := func() {
		a.takeAll(t.Context(), messages)
	}
	for range 3 { // buffers grow to what a round brings
		for range 10 {
			fill(messages, round)
			round++
			turn()
		}
		if err := a.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rounds := round
	allocs := testing.AllocsPerRun(5, func() {
		fill(messages, rounds)
		rounds++
		turn()
	})
	if allocs > 0 {
		t.Errorf("%.0f allocations for %d samples", allocs, pvs)
	}
}
