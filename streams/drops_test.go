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

// TestARedeliveredDropBehindOthersIsKept: a sample that was kept before a crash
// and is rejected after it stands before drops that were stored already, and
// sequences may be used again with another time.
func TestARedeliveredDropBehindOthersIsKept(t *testing.T) {
	l := openLog(t, Options{})
	if err := l.Drops().Append(t.Context(), []Drop{dropOf("A", "file", 9, 1)}); err != nil {
		t.Fatal(err)
	}
	reused := dropOf("A", "file", 9, 1)
	reused.Position.Time = reused.Position.Time.Add(time.Hour)
	behind := []Drop{dropOf("A", "file", 4, 0), dropOf("A", "file", 9, 0), dropOf("A", "file", 9, 1), reused}
	for i := range behind {
		behind[i].Redelivered = true
	}
	if err := l.Drops().Append(t.Context(), behind); err != nil {
		t.Fatal(err)
	}
	if got := listDrops(t, l, DropFilter{}); len(got) != 4 {
		t.Errorf("%d drops, want 4", len(got))
	}
}

// TestAFailedAppendIsRepeatedWithoutDoubles stores a part of what an append
// failed with, and appends all of it again.
func TestAFailedAppendIsRepeatedWithoutDoubles(t *testing.T) {
	l := openLog(t, Options{})
	drops := []Drop{dropOf("A", "order", 1, 0), dropOf("A", "order", 2, 0), dropOf("B", "type", 3, 0)}
	if err := l.Drops().Append(t.Context(), drops[:2]); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	session := l.session
	l.session = nil // as while the server restarts
	l.mu.Unlock()
	if err := l.Drops().Append(t.Context(), drops); schema.CodeOf(err) != schema.Unavailable {
		t.Fatalf("an append without a server: %v", err)
	}
	l.mu.Lock()
	l.session = session
	l.mu.Unlock()
	for range 2 {
		if err := l.Drops().Append(t.Context(), drops); err != nil {
			t.Fatal(err)
		}
		drops = drops[:0:0]
	}
	if got := listDrops(t, l, DropFilter{}); len(got) != 3 {
		t.Errorf("%d drops, want 3", len(got))
	}
}

// TestALargeRedeliveryIsSearchedOnce appends more drops again than one read
// gives, in several calls.
func TestALargeRedeliveryIsSearchedOnce(t *testing.T) {
	const n = 3 * followBatch
	l := openLog(t, Options{})
	var drops []Drop
	for i := range n {
		drops = append(drops, dropOf("A", "order", uint64(i+1), 0))
	}
	if err := l.Drops().Append(t.Context(), drops); err != nil {
		t.Fatal(err)
	}
	for i := range drops {
		drops[i].Redelivered = true
	}
	for i := 0; i < n; i += 100 {
		if err := l.Drops().Append(t.Context(), drops[i:i+100]); err != nil {
			t.Fatal(err)
		}
	}
	if got := listDrops(t, l, DropFilter{Limit: 2 * n}); len(got) != n {
		t.Errorf("%d drops of %d", len(got), n)
	}
	if err := l.Drops().Append(t.Context(), []Drop{dropOf("A", "order", n+1, 0)}); err != nil {
		t.Fatal(err)
	}
	if l.drops.seen.subjects != nil {
		t.Error("positions are kept after the redelivery")
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
