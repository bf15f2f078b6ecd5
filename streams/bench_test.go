package streams

import (
	"errors"
	"testing"

	"pvlog/schema/logpb"
)

func TestBenchMeasuresAllPhases(t *testing.T) {
	r, err := Bench(t.Context(), BenchOptions{Dir: t.TempDir(), Messages: 5000, PVs: 300, Payload: 120})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]BenchPhase{"publish": r.Publish, "consume": r.Consume, "both": r.Both} {
		if p.Messages != 5000 || p.Elapsed <= 0 || p.CPU <= 0 || p.Rate() <= 0 || p.PerMessage() <= 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestBenchRefusesWhatCannotFit(t *testing.T) {
	if _, err := Bench(t.Context(), BenchOptions{Dir: t.TempDir(), Messages: 1 << 40}); err == nil {
		t.Error("2^40 messages were accepted")
	}
	if _, err := Bench(t.Context(), BenchOptions{Dir: t.TempDir(), Payload: maxPayload}); err == nil {
		t.Error("a payload above the server's limit was accepted")
	}
}

// BenchmarkFollow is what an event of a long log costs who reads all of it.
func BenchmarkFollow(b *testing.B) {
	const n = 100_000
	l := openLog(b, Options{})
	e := l.Events()
	for i := 0; i < n; i += atomicMessages {
		proposals := make([]Proposal, atomicMessages)
		for k := range proposals {
			proposals[k].Event = event(pvName(i+k), "operator")
		}
		if _, err := e.Append(b.Context(), proposals...); err != nil {
			b.Fatal(err)
		}
	}
	e.recent = recent{}
	end := errors.New("end")
	cpu := cpuTime()
	b.ResetTimer()
	for range b.N {
		err := e.Follow(b.Context(), 1, func(seq uint64, _ *logpb.RegistryEvent, _ bool) error {
			if seq == n {
				return end
			}
			return nil
		})
		if !errors.Is(err, end) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1000/float64(n*b.N), "cpu-us/event")
}
