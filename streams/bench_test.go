package streams

import "testing"

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
