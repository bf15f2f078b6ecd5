package streams

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"pvlog/schema/logpb"
)

// TestForeignMessagesBlockNoCommand: the registry makes nothing of garbage and
// of another PV's event on a PV's subject, and so knows no sequence of theirs.
// Its commands go behind them, alone and in a group; an event among them wins.
func TestForeignMessagesBlockNoCommand(t *testing.T) {
	l := openLog(t, Options{})
	e := l.Events()
	other, err := proto.Marshal(event("B", "somebody"))
	if err != nil {
		t.Fatal(err)
	}
	garbage, ofAnother := outgoing{subject: "registry.A", data: []byte("\xff\xffgarbage")}, outgoing{subject: "registry.A", data: other}
	publish(t, l, garbage, ofAnother) // 1, 2: before the PV's first event
	var many []outgoing
	for range followBatch + 1 { // more than one request reads
		many = append(many, garbage)
	}
	for _, step := range []struct {
		before []outgoing
		group  []Proposal
		want   []uint64 // nil: a lost race
	}{
		{nil, []Proposal{{event("A", "first"), 0}}, []uint64{3}},
		{nil, []Proposal{{event("A", "late"), 0}}, nil},
		{[]outgoing{garbage}, []Proposal{{event("C", "group"), 0}, {event("A", "group"), 3}}, []uint64{5, 6}},
		{[]outgoing{garbage}, []Proposal{{event("A", "late"), 3}}, nil},                                  // 6 is an event
		{nil, []Proposal{{event("D", "group"), 0}, {event("A", "group"), 6}, {event("C", "x"), 4}}, nil}, // C's is 5
		{nil, []Proposal{{event("A", "future"), 99}}, nil},
		{many, []Proposal{{event("A", "behind many"), 6}}, []uint64{9 + followBatch}},
	} {
		publish(t, l, step.before...)
		seqs, err := e.Append(t.Context(), step.group...)
		if !slices.Equal(seqs, step.want) || errors.Is(err, ErrConflict) != (step.want == nil) {
			t.Errorf("%v: %d, %v", step.group, seqs, err)
		}
	}
	if got := gauge(t, l.metrics.foreign); got < 3 {
		t.Errorf("%v changes went behind foreign messages, want 3 at least", got)
	}
	var actors []string
	err = e.History(t.Context(), "A", 0, func(_ uint64, e *logpb.RegistryEvent) error {
		if e.GetPv() != "" {
			actors = append(actors, e.GetActor())
		}
		return nil
	})
	if want := []string{"first", "group", "behind many"}; err != nil || !slices.Equal(actors, want) {
		t.Errorf("the events of A are %q, want %q, %v", actors, want, err)
	}
	if got := gauge(t, l.metrics.damaged); got != followBatch+1+4 { // told by who reads them as events, once each
		t.Errorf("%v messages counted as damaged", got)
	}
}
