package streams

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

func dropOf(pv schema.PVName, reason string, seq uint64, index int) Drop {
	s := sampleOf(int(seq))
	return Drop{Reason: reason, Detail: "why", PV: pv, Sample: &s, Position: Position{Seq: seq, Index: index, Time: time.Unix(int64(seq), 5)}}
}

func listDrops(t *testing.T, l *Log, f DropFilter) []StoredDrop {
	t.Helper()
	drops, err := l.Drops().List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return drops
}

func TestDropsComeBackAsTheyWere(t *testing.T) {
	l := openLog(t, Options{})
	if got := listDrops(t, l, DropFilter{}); len(got) != 0 {
		t.Errorf("an empty drop log lists %d", len(got))
	}
	want := []Drop{
		dropOf("A:B", "order", 5, 0), dropOf("A:B", "drift_future", 6, 1), dropOf("A:C", "order", 7, 2),
		{Reason: "damaged", Detail: "checksum\nwrong", PV: "D\xff", Raw: []byte("\x00raw"), Position: Position{Seq: 8, Time: time.Unix(8, 0)}},
	}
	if err := l.Drops().Append(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got := listDrops(t, l, DropFilter{})
	if len(got) != len(want) {
		t.Fatalf("%d drops of %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g.Reason != w.Reason || g.Detail != w.Detail || g.PV != w.PV || !bytes.Equal(g.Raw, w.Raw) || g.Seq != uint64(i+1) ||
			g.Position.Seq != w.Position.Seq || g.Position.Index != w.Position.Index || !g.Position.Time.Equal(w.Position.Time) {
			t.Errorf("drop %d is %+v, was %+v", i, g, w)
		}
		if (g.Sample == nil) != (w.Sample == nil) || g.Sample != nil && !bytes.Equal(g.Sample.Event, w.Sample.Event) {
			t.Errorf("drop %d: another sample", i)
		}
	}
	for f, n := range map[DropFilter]int{{PV: "A:*"}: 3, {Reason: "order"}: 2, {PV: "A:?", Reason: "drift_future"}: 1, {PV: "a:b"}: 0, {Limit: 2}: 2, {Reason: "type"}: 0} {
		if got := listDrops(t, l, f); len(got) != n {
			t.Errorf("%+v: %d drops, want %d", f, len(got), n)
		}
	}
	if got := listDrops(t, l, DropFilter{Limit: 1}); got[0].Reason != "damaged" {
		t.Errorf("the newest drop is %+v", got[0])
	}
	for _, reason := range []string{"", "a.b", "x*", "a b"} {
		if err := l.Drops().Append(t.Context(), []Drop{{Reason: reason, PV: "A"}}); err == nil {
			t.Errorf("reason %q was accepted", reason)
		}
	}
}

func TestDropsSpeakToSubscribers(t *testing.T) {
	l := openLog(t, Options{Listen: "127.0.0.1:0"})
	nc, _ := visitor(t, l)
	sub, err := nc.SubscribeSync("drops.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	d := dropOf("A:B", "order", 5, 3)
	d.Detail = "late by\r\n2 s"
	if err := l.Drops().Append(t.Context(), []Drop{d}); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "drops.order.A.B" || m.Header.Get(headerPV) != "A:B" || m.Header.Get(headerReason) != "order" ||
		m.Header.Get(headerDetail) != "late by  2 s" || m.Header.Get(headerTime) != "2026-01-01T00:00:00.005Z" ||
		m.Header.Get(headerPosition) != "5/3/5000000005" {
		t.Errorf("%s %v", m.Subject, m.Header)
	}
}

// TestRedeliveredDropsAreStoredOnce appends drops again as after a crash.
func TestRedeliveredDropsAreStoredOnce(t *testing.T) {
	l := openLog(t, Options{})
	drops := []Drop{dropOf("A", "order", 5, 0), dropOf("A", "order", 5, 1), dropOf("A", "type", 6, 0), dropOf("B", "order", 7, 0)}
	if err := l.Drops().Append(t.Context(), drops); err != nil {
		t.Fatal(err)
	}
	again := append(drops, dropOf("A", "order", 8, 0), dropOf("A", "order", 8, 1), dropOf("C", "order", 2, 0))
	for i := range again {
		again[i].Redelivered = true
	}
	for range 2 {
		if err := l.Drops().Append(t.Context(), again); err != nil {
			t.Fatal(err)
		}
	}
	if got := listDrops(t, l, DropFilter{}); len(got) != 7 {
		t.Errorf("%d drops, want 7", len(got))
	}
	if seen := gauge(t, l.metrics.dropsSeen); seen != 4+7 {
		t.Errorf("%v drops were known, want 11", seen)
	}
}

func TestNotAbove(t *testing.T) {
	at := func(seq uint64, index int, sec int64) Position {
		return Position{Seq: seq, Index: index, Time: time.Unix(sec, 0)}
	}
	for name, c := range map[string]struct {
		p, last Position
		want    bool
	}{
		"nothing there":                     {at(1, 0, 1), Position{}, false},
		"the same":                          {at(5, 1, 50), at(5, 1, 50), true},
		"earlier message":                   {at(4, 9, 40), at(5, 1, 50), true},
		"earlier in the message":            {at(5, 0, 50), at(5, 1, 50), true},
		"later in the message":              {at(5, 2, 50), at(5, 1, 50), false},
		"later message":                     {at(6, 0, 60), at(5, 1, 50), false},
		"sequence used again, later time":   {at(4, 0, 60), at(5, 1, 50), false},
		"clock set back, later sequence":    {at(6, 0, 40), at(5, 1, 50), false},
		"later message in the same instant": {at(6, 0, 50), at(5, 1, 50), false},
	} {
		if got := notAbove(c.p, c.last); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLargeDropsTravelInParts(t *testing.T) {
	l := openLog(t, Options{})
	big := largeSample(maxPayload+1000, 3)
	d := Drop{Reason: "file", Detail: strings.Repeat("long ", 100), PV: "A", Sample: &big, Position: Position{Seq: 9, Time: time.Unix(9, 0)}}
	small := dropOf("B", "file", 10, 0)
	if err := l.Drops().Append(t.Context(), []Drop{d, small}); err != nil {
		t.Fatal(err)
	}
	got := listDrops(t, l, DropFilter{})
	if len(got) != 2 || !bytes.Equal(got[0].Sample.Event, big.Event) {
		t.Fatalf("%d drops", len(got))
	}
	d.Redelivered = true
	if err := l.Drops().Append(t.Context(), []Drop{d}); err != nil {
		t.Fatal(err)
	}
	if got := listDrops(t, l, DropFilter{}); len(got) != 2 {
		t.Errorf("%d drops after a redelivery", len(got))
	}
}

func TestManyDrops(t *testing.T) {
	const n = 3000
	l := openLog(t, Options{})
	var drops []Drop
	for i := range n {
		drops = append(drops, dropOf(pvName(i%7), "order", uint64(i+1), 0))
	}
	if err := l.Drops().Append(t.Context(), drops); err != nil {
		t.Fatal(err)
	}
	got := listDrops(t, l, DropFilter{Limit: n})
	if len(got) != n {
		t.Fatalf("%d drops of %d", len(got), n)
	}
	for i, d := range got {
		if d.Position.Seq != uint64(i+1) {
			t.Fatalf("drop %d is of message %d", i, d.Position.Seq)
		}
	}
}
