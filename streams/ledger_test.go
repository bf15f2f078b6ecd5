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
	floor := uint64(14)
	led := ledger{Trimmed: 11, Floor: &floor, Last: map[string]uint64{SamplesStream: 20, RegistryStream: 5, DropsStream: 4},
		Gaps:      map[string][]gap{SamplesStream: {{12, 12}}},
		DropsFrom: &dropsFrom{Seq: 3, Until: time.Now().Add(time.Hour)}}
	for name, c := range map[string]struct {
		stream   string
		served   []gap
		held     []span // by the files, where they say more
		want     string
		archived uint64
	}{
		"nothing":             {SamplesStream, []gap{{11, 11}, {13, 20}}, nil, "", 0},
		"what was told":       {SamplesStream, []gap{{11, 11}, {13, 20}}, nil, "", 0},
		"it is there again":   {SamplesStream, []gap{{11, 20}}, nil, "", 0},
		"newer ones are more": {SamplesStream, []gap{{11, 22}}, nil, "", 0},
		"samples trimmed off": {SamplesStream, []gap{{9, 20}}, nil, "", 0},
		"newest samples":      {SamplesStream, []gap{{11, 18}}, nil, "SAMPLES has lost its newest 2 messages, 19 to 20", 0},
		"never noted":         {SamplesStream, []gap{{11, 20}}, []span{{From: 11, To: 22}}, "SAMPLES has lost its newest 2 messages, 21 to 22", 0},
		"oldest samples":      {SamplesStream, []gap{{14, 20}}, nil, "SAMPLES has lost its oldest 1 messages, 11 to 11|SAMPLES has lost 1 messages in its middle, 13 to 13", 1},
		"middle":              {SamplesStream, []gap{{11, 13}, {17, 20}}, nil, "SAMPLES has lost 3 messages in its middle, 14 to 16", 1},
		"all samples":         {SamplesStream, nil, nil, "SAMPLES has lost its oldest 1 messages, 11 to 11|SAMPLES has lost its newest 8 messages, 13 to 20", 1},
		"oldest events":       {RegistryStream, []gap{{2, 5}}, nil, "REGISTRY has lost its oldest 1 messages, 1 to 1", 0},
		"newest events":       {RegistryStream, []gap{{1, 4}}, nil, "REGISTRY has lost its newest 1 messages, 5 to 5", 0},
		"all drops":           {DropsStream, nil, nil, "DROPS has lost its newest 2 messages, 3 to 4", 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := &examined{stream: c.stream, held: c.held}
			var s StreamState
			if len(c.served) > 0 {
				s = StreamState{First: c.served[0].From, Last: c.served[len(c.served)-1].To, Messages: 1}
			}
			var texts []string
			for _, x := range led.losses(e, s, c.served, time.Second) {
				texts = append(texts, x.String())
				if len(texts) == 1 && x.Archived != c.archived {
					t.Errorf("archived %d, want %d", x.Archived, c.archived)
				}
			}
			var want []string
			if c.want != "" {
				want = strings.Split(c.want, "|")
			}
			if len(texts) != len(want) {
				t.Fatalf("%q, want %q", texts, want)
			}
			for i := range texts {
				if !strings.HasPrefix(texts[i], want[i]+";") && !strings.HasPrefix(texts[i], want[i]+",") {
					t.Errorf("%q, want %q", texts[i], want[i])
				}
			}
		})
	}
}

// TestWhatAPowerCutMayCostIsToldAsThat leaves holes before and after what the
// ledger knows to be durable, and young and old ones.
func TestWhatAPowerCutMayCostIsToldAsThat(t *testing.T) {
	const ms = int64(time.Millisecond)
	base := time.Now().UnixNano()
	led := ledger{Trimmed: 1, Last: map[string]uint64{SamplesStream: 20}}
	for name, c := range map[string]struct {
		held     []span
		served   []gap
		unsynced bool
	}{
		"in the last interval": {[]span{{1, 30, base, base + 950*ms}, {33, 40, base + 970*ms, base + 1000*ms}}, []gap{{1, 30}, {33, 40}}, true},
		"before the interval":  {[]span{{1, 30, base, base + 850*ms}, {33, 40, base + 970*ms, base + 1000*ms}}, []gap{{1, 30}, {33, 40}}, false},
		"known to be durable":  {[]span{{1, 18, base, base + 950*ms}, {21, 40, base + 970*ms, base + 1000*ms}}, []gap{{1, 18}, {21, 40}}, false},
		"partly durable":       {[]span{{1, 19, base, base + 950*ms}, {33, 40, base + 970*ms, base + 1000*ms}}, []gap{{1, 19}, {33, 40}}, false},
		"held by the files":    {[]span{{1, 40, base + 950*ms, base + 1000*ms}}, []gap{{1, 30}, {33, 40}}, false},
		"nothing before it":    {[]span{{33, 40, base + 970*ms, base + 1000*ms}}, []gap{{33, 40}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &examined{stream: SamplesStream, held: c.held}
			s := StreamState{First: c.served[0].From, Last: 40, Messages: 1}
			losses := led.losses(e, s, c.served, 100*time.Millisecond)
			if len(losses) != 1 {
				t.Fatalf("%v", losses)
			}
			x := losses[0]
			if x.Unsynced != c.unsynced || strings.Contains(x.String(), "a power cut may cost") != c.unsynced {
				t.Errorf("unsynced %v, want %v: %s", x.Unsynced, c.unsynced, x)
			}
		})
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
