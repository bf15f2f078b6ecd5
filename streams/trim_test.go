package streams

import (
	"testing"
	"time"
)

func TestTrimPlan(t *testing.T) {
	full := StreamState{First: 101, Last: 200, Messages: 100, Bytes: 10_000}
	for name, c := range map[string]struct {
		s        StreamState
		floor    uint64
		keepFrom uint64
		maxBytes int64
		want     uint64
	}{
		"empty":                               {StreamState{First: 5, Last: 4}, 4, 5, 1, 0},
		"all young, room enough":              {full, 200, 101, 20_000, 0},
		"old ones leave":                      {full, 200, 150, 20_000, 150},
		"all old":                             {full, 200, 201, 20_000, 201},
		"too many bytes":                      {full, 200, 101, 4_000, 161},
		"the more of age and bytes":           {full, 200, 180, 4_000, 180},
		"nothing acknowledged":                {full, 0, 201, 1, 0},
		"acknowledged up to before the first": {full, 100, 201, 1, 0},
		"only what is acknowledged":           {full, 120, 201, 1, 121},
		"bytes cannot force it":               {full, 110, 101, 1, 111},
		"floor beyond the end":                {full, 1000, 1000, 0, 201},
		"keepFrom before the first":           {full, 200, 1, 0, 0},
	} {
		if got := trimPlan(c.s, c.floor, c.keepFrom, c.maxBytes); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestTrimNeverPassesTheFloor trims a log with retention 0 after each of
// several acknowledgements.
func TestTrimNeverPassesTheFloor(t *testing.T) {
	l := openLog(t, Options{Keep: time.Nanosecond})
	store(t, l, 0, 50)
	messages := fetchSamples(t, l.Archive(), 50, false)
	for _, ack := range []uint64{0, 1, 20, 50} {
		if err := l.Archive().Ack(t.Context(), ack); err != nil {
			t.Fatal(err)
		}
		if err := l.trim(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		state, err := l.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state.Samples.First != ack+1 || state.Samples.Messages != 50-ack || state.Lag != 50-ack {
			t.Errorf("after Ack(%d) the stream begins with %d, lag %d", ack, state.Samples.First, state.Lag)
		}
	}
	if gauge(t, l.metrics.trimmed) != 50 || len(messages) != 50 {
		t.Error("not every message was trimmed, or not every one delivered")
	}
	store(t, l, 50, 5)
	if got := fetchSamples(t, l.Archive(), 5, true); got[0].Seq != 51 {
		t.Errorf("after the trim comes %d", got[0].Seq)
	}
}

func TestTrimKeepsWhatIsYoung(t *testing.T) {
	l := openLog(t, Options{Keep: time.Hour})
	store(t, l, 0, 10)
	messages := fetchSamples(t, l.Archive(), 10, true)
	from := func(keepFrom time.Time) uint64 {
		t.Helper()
		if err := l.trim(t.Context(), keepFrom.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		state, err := l.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return state.Samples.First
	}
	if first := from(messages[0].Time.Add(-time.Second)); first != 1 {
		t.Errorf("young messages were trimmed up to %d", first)
	}
	if first := from(messages[4].Time); first != 5 {
		t.Errorf("the stream begins with %d, the first young message is 5", first)
	}
	if first := from(messages[9].Time.Add(time.Nanosecond)); first != 11 {
		t.Errorf("the stream begins with %d, all are old", first)
	}
}

func TestVisitorsConsumersDoNotHoldTheTrimmer(t *testing.T) {
	l := openLog(t, Options{Keep: time.Nanosecond, Listen: "127.0.0.1:0"})
	store(t, l, 0, 10)
	_, js := visitor(t, l)
	if _, err := js.CreateConsumer(t.Context(), SamplesStream, visitorConsumer()); err != nil {
		t.Fatal(err)
	}
	fetchSamples(t, l.Archive(), 10, true)
	if err := l.trim(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if state, err := l.State(t.Context()); err != nil || state.Samples.Messages != 0 {
		t.Errorf("%d messages stayed, %v", state.Samples.Messages, err)
	}
}
