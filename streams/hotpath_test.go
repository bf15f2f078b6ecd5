package streams

import (
	"context"
	"testing"

	"pvlog/schema"
)

// BenchmarkAppend is a sample's way into its PV's message, with a publisher
// that takes and lets go as the real one does, without a server.
func BenchmarkAppend(b *testing.B) {
	l := New(Options{Dir: "unused"})
	s := l.samples
	s.open()
	sample := sampleOf(1)
	const pvs, perMessage = 1000, 5
	var batch []message
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := s.Append(context.Background(), names[i%pvs], sample); err != nil {
			b.Fatal(err)
		}
		if i%(pvs*perMessage) == pvs*perMessage-1 {
			batch, _ = s.take(batch[:0], pvs)
			for j := range batch {
				batch[j].seal()
			}
			s.done(batch)
		}
	}
}

var names = func() (names [1000]schema.PVName) {
	for i := range names {
		names[i] = pvName(i)
	}
	return names
}()

// TestAppendDoesNotAllocate holds for the steady state: the PV is known and its
// message's buffer has room.
func TestAppendDoesNotAllocate(t *testing.T) {
	l := New(Options{Dir: "unused"})
	s := l.samples
	s.open()
	sample := sampleOf(1)
	var batch []message
	round := func() {
		for range 4 {
			for _, pv := range names[:100] {
				if err := s.Append(context.Background(), pv, sample); err != nil {
					t.Fatal(err)
				}
			}
		}
		batch, _ = s.take(batch[:0], 100)
		for j := range batch {
			batch[j].seal()
		}
		s.done(batch)
	}
	for range 5 {
		round()
	}
	if perSample := testing.AllocsPerRun(50, round) / 400; perSample > 0.01 {
		t.Errorf("%.3f allocations a sample", perSample)
	}
}
