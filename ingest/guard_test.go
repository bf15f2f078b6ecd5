package ingest

import (
	"testing"
	"time"

	"pvlog/schema"
)

func TestRatesAreWeighedByTheTimeOfReceipt(t *testing.T) {
	begin := time.Unix(1_700_000_000, 0)
	event := make([]byte, 50)
	for name, c := range map[string]struct {
		events       uint32
		bytes        uint64
		gap          time.Duration
		n            int
		low, high    int // marked samples
		marksByBytes bool
	}{
		"within both":         {10, 1000, 100 * time.Millisecond, 1000, 0, 0, false},
		"twice the events":    {10, 0, 50 * time.Millisecond, 2000, 890, 910, false},
		"a burst is let pass": {10, 0, 0, 100, 0, 0, false},
		"a longer one is not": {10, 0, 0, 150, 50, 50, false},
		"twice the bytes":     {0, 250, 100 * time.Millisecond, 1000, 440, 460, true},
		"a clock set back":    {10, 0, -time.Second, 150, 50, 50, false},
	} {
		a, marked := allowance{}, 0
		for i := range c.n {
			s := schema.RawSample{Received: begin.Add(time.Duration(i) * c.gap), Event: event}
			over := a.weigh(&s, c.events, c.bytes)
			if over != (s.RateEvents > 0 || s.RateBytes > 0) || over && c.marksByBytes != (s.RateBytes > 0) {
				t.Fatalf("%s: sample %d is over: %v, marked %d and %d", name, i, over, s.RateEvents, s.RateBytes)
			}
			if over {
				marked++
			}
		}
		if marked < c.low || marked > c.high {
			t.Errorf("%s: %d of %d are marked, want %d to %d", name, marked, c.n, c.low, c.high)
		}
	}
}
