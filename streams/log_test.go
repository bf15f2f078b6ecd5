package streams

import (
	"testing"
	"time"

	"pvlog/schema/logpb"
)

func TestSamplesComeOutInTheOrderOfTheirPV(t *testing.T) {
	const pvs, perPV = 50, 200
	l := openLog(t, Options{Linger: 5 * time.Millisecond})
	runLog(t, l)
	for n := range perPV {
		for pv := range pvs {
			if err := l.Samples().Append(t.Context(), pvName(pv), sampleOf(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	messages := fetchSamples(t, l.Archive(), pvs*perPV, true)
	checkOrder(t, messages, perPV, false)
	t.Logf("%d samples in %d messages", pvs*perPV, len(messages))
	if floor := l.Archive().Floor(); floor != messages[len(messages)-1].Seq {
		t.Errorf("floor is %d, the last message was %d", floor, messages[len(messages)-1].Seq)
	}
	if lag, err := l.Archive().Lag(t.Context()); lag != 0 || err != nil {
		t.Errorf("lag is %d, %v", lag, err)
	}
}

func TestEventsAreFollowedInOrder(t *testing.T) {
	l := openLog(t, Options{})
	seqs, err := l.Events().Append(t.Context(),
		Proposal{Event: &logpb.RegistryEvent{Version: 1, Pv: "A:B"}},
		Proposal{Event: &logpb.RegistryEvent{Version: 1, Pv: "C:D"}})
	if err != nil || len(seqs) != 2 || seqs[0] != 1 || seqs[1] != 2 {
		t.Fatalf("append: %v, %v", seqs, err)
	}
}
