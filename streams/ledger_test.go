package streams

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestLosses(t *testing.T) {
	whole := State{
		Samples:  StreamState{First: 11, Last: 20, Messages: 10},
		Registry: StreamState{First: 1, Last: 5, Messages: 5},
		Drops:    StreamState{First: 3, Last: 4, Messages: 2},
	}
	led := ledger{Trimmed: 11, Last: map[string]uint64{SamplesStream: 20, RegistryStream: 5, DropsStream: 4}}
	for name, c := range map[string]struct {
		change func(s *State)
		want   []string
	}{
		"nothing":             {func(*State) {}, nil},
		"newer ones are more": {func(s *State) { s.Samples.Last, s.Samples.Messages = 22, 12 }, nil},
		"drops have expired":  {func(s *State) { s.Drops.First, s.Drops.Messages = 5, 0 }, nil},
		"samples trimmed off": {func(s *State) { s.Samples.First, s.Samples.Messages = 9, 12 }, nil},
		"newest samples":      {func(s *State) { s.Samples.Last, s.Samples.Messages = 18, 8 }, []string{"SAMPLES has lost its newest 2"}},
		"oldest samples":      {func(s *State) { s.Samples.First, s.Samples.Messages = 13, 8 }, []string{"SAMPLES has lost its oldest 2"}},
		"middle":              {func(s *State) { s.Samples.Messages = 7 }, []string{"SAMPLES has lost 3 messages in its middle"}},
		"all samples":         {func(s *State) { s.Samples = StreamState{First: 1} }, []string{"SAMPLES has lost its newest 20"}},
		"oldest events":       {func(s *State) { s.Registry.First, s.Registry.Messages = 2, 4 }, []string{"REGISTRY has lost its oldest 1"}},
		"newest events and drops": {func(s *State) {
			s.Registry.Last, s.Registry.Messages = 4, 4
			s.Drops = StreamState{First: 1}
		}, []string{"REGISTRY has lost its newest 1", "DROPS has lost its newest 4"}},
	} {
		s := whole
		c.change(&s)
		got := losses(&led, s)
		if len(got) != len(c.want) {
			t.Errorf("%s: %q", name, got)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], c.want[i]) {
				t.Errorf("%s: %q, want %q", name, got[i], c.want[i])
			}
		}
	}
}

// TestLossesAreTold takes blocks away from the server between two runs.
func TestLossesAreTold(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	store(t, l, 0, 20)
	fetchSamples(t, l.Archive(), 20, true)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, Options{Dir: dir, Keep: time.Nanosecond})
	if p := l.Problems(); len(p) != 0 {
		t.Errorf("a clean log has problems: %q", p)
	}
	if err := l.trim(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	store(t, l, 20, 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, Options{Dir: dir})
	if p := l.Problems(); len(p) != 0 {
		t.Errorf("a trimmed log has problems: %q", p)
	}
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), SamplesStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(25)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, Options{Dir: dir})
	if p := l.Problems(); len(p) != 1 || !strings.Contains(p[0], "lost its oldest 4 messages") {
		t.Errorf("a purge behind pvlog's back: %q", p)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, Options{Dir: dir})
	if p := l.Problems(); len(p) != 0 {
		t.Errorf("a loss was told twice: %q", p)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "nats/jetstream/*/streams/SAMPLES/msgs/*"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("%q, %v", blocks, err)
	}
	for _, b := range blocks {
		if err := os.Remove(b); err != nil {
			t.Fatal(err)
		}
	}
	l = openLog(t, Options{Dir: dir})
	if p := l.Problems(); len(p) == 0 || !strings.Contains(p[0], "SAMPLES has lost its newest") {
		t.Errorf("removed blocks: %q", p)
	}
}

func TestADamagedLedgerIsToldAndReplaced(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ledger.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, Options{Dir: dir})
	if p := l.Problems(); len(p) != 1 || !strings.Contains(p[0], "ledger.json") {
		t.Errorf("%q", p)
	}
	if led, err := l.readLedger(); err != nil || led == nil {
		t.Errorf("%v, %v", led, err)
	}
}
