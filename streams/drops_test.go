package streams

import (
	"bytes"
	"slices"
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

func seqs(drops []StoredDrop) []uint64 {
	var list []uint64
	for _, d := range drops {
		list = append(list, d.Seq)
	}
	return list
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
	for _, c := range []struct {
		f    DropFilter
		want []uint64 // sequences in DROPS
	}{
		{DropFilter{PV: "A:*"}, []uint64{1, 2, 3}},
		{DropFilter{PV: "*:B"}, []uint64{1, 2}},
		{DropFilter{PV: "*"}, []uint64{1, 2, 3, 4}},
		{DropFilter{Reasons: []string{"order"}}, []uint64{1, 3}},
		{DropFilter{Reasons: []string{"order", "damaged"}}, []uint64{1, 3, 4}},
		{DropFilter{PV: "A:?", Reasons: []string{"drift_future"}}, []uint64{2}},
		{DropFilter{PV: "A:B", Reasons: []string{"drift_future", "type"}}, []uint64{2}},
		{DropFilter{PV: "a:b"}, nil},
		{DropFilter{Limit: 2}, []uint64{3, 4}},
		{DropFilter{Reasons: []string{"type"}}, nil},
		{DropFilter{Since: time.Unix(7, 0)}, []uint64{3, 4}},
		{DropFilter{Since: time.Unix(6, 6)}, []uint64{3, 4}},
		{DropFilter{Since: time.Unix(6, 5), Until: time.Unix(7, 5)}, []uint64{2}},
		{DropFilter{Until: time.Unix(6, 0)}, []uint64{1}},
		{DropFilter{Since: time.Now().Add(time.Hour)}, nil},
		{DropFilter{After: 1, PV: "A*"}, []uint64{2, 3}},
		{DropFilter{After: 4}, nil},
		{DropFilter{After: 1 << 40}, nil},
	} {
		if got := seqs(listDrops(t, l, c.f)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: drops %d, want %d", c.f, got, c.want)
		}
		if f := c.f; f.Limit == 0 {
			read := func(f DropFilter) []uint64 {
				var got []StoredDrop
				if err := l.Drops().Read(t.Context(), f, func(d StoredDrop) error { got = append(got, d); return nil }); err != nil {
					t.Fatal(err)
				}
				return seqs(got)
			}
			if got := read(f); !slices.Equal(got, c.want) {
				t.Errorf("read %+v: drops %d, want %d", f, got, c.want)
			}
			f.Limit = 1
			if got := read(f); !slices.Equal(got, c.want[:min(1, len(c.want))]) {
				t.Errorf("read one of %+v: drops %d, want the first of %d", f, got, c.want)
			}
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

// TestDropFiltersNarrowWhatTheServerReads: a device's drops are found without
// reading all others.
func TestDropFiltersNarrowWhatTheServerReads(t *testing.T) {
	for _, c := range []struct {
		f    DropFilter
		want string
	}{
		{DropFilter{}, "drops.*.>"},
		{DropFilter{PV: "A:B"}, "drops.*.A.B"},
		{DropFilter{PV: "A:B", Reasons: []string{"order"}}, "drops.order.A.B"},
		{DropFilter{PV: "A:B", Reasons: []string{"order", "type"}}, "drops.*.A.B"},
		{DropFilter{PV: "A:B*"}, "drops.*.A.>"},
		{DropFilter{PV: "A:B:*:C", Reasons: []string{"order"}}, "drops.order.A.B.>"},
		{DropFilter{PV: "?:B"}, "drops.*.>"},
		{DropFilter{PV: ":*"}, "drops.*.%.>"},
		{DropFilter{PV: "A.b:?"}, "drops.*.A%2Eb.>"},
	} {
		if got, err := c.f.subject(); err != nil || got != c.want {
			t.Errorf("%+v: %s, %v, want %s", c.f, got, err, c.want)
		}
	}
	if _, err := (DropFilter{Reasons: []string{"order", "a.b"}}).subject(); schema.CodeOf(err) != schema.Invalid {
		t.Errorf("reason a.b: %v", err)
	}
}

func TestDropsAreCountedByPVAndReason(t *testing.T) {
	l := openLog(t, Options{})
	drops := []Drop{dropOf("A:B", "order", 1, 0), dropOf("A:B", "order", 2, 0), dropOf("A:B", "type", 3, 0), dropOf("C", "order", 4, 0)}
	if err := l.Drops().Append(t.Context(), drops); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		f    DropFilter
		want []DropCount
	}{
		{DropFilter{}, []DropCount{{"A:B", "order", 2}, {"A:B", "type", 1}, {"C", "order", 1}}},
		{DropFilter{Reasons: []string{"order"}}, []DropCount{{"A:B", "order", 2}, {"C", "order", 1}}},
		{DropFilter{Reasons: []string{"type", "file"}}, []DropCount{{"A:B", "type", 1}}},
		{DropFilter{PV: "?"}, []DropCount{{"C", "order", 1}}},
		{DropFilter{PV: "nobody"}, []DropCount{}},
		{DropFilter{Since: time.Unix(2, 0), Until: time.Unix(4, 0)}, []DropCount{{"A:B", "order", 1}, {"A:B", "type", 1}}},
	} {
		got, err := l.Drops().Count(t.Context(), c.f)
		slices.SortFunc(got, func(x, y DropCount) int {
			return strings.Compare(string(x.PV)+" "+x.Reason, string(y.PV)+" "+y.Reason)
		})
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, %v, want %v", c.f, got, err, c.want)
		}
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
	for _, limit := range []int{1, 7, n / 2, n - 1, n, 2 * n} {
		got := listDrops(t, l, DropFilter{Limit: limit})
		want := min(limit, n)
		if len(got) != want {
			t.Fatalf("limit %d: %d drops of %d", limit, len(got), want)
		}
		for i, d := range got {
			if d.Position.Seq != uint64(n-want+i+1) {
				t.Fatalf("limit %d: drop %d is of message %d", limit, i, d.Position.Seq)
			}
		}
	}
	got := listDrops(t, l, DropFilter{PV: string(pvName(3)), Limit: 5})
	if want := []uint64{2972, 2979, 2986, 2993, 3000}; !slices.Equal(seqs(got), want) {
		t.Errorf("newest of one PV: %d, want %d", seqs(got), want)
	}
}

// TestDropPages reads page after page, from where the last one ended.
func TestDropPages(t *testing.T) {
	l := openLog(t, Options{})
	big := largeSample(maxPayload+1000, 3)
	drops := []Drop{dropOf("A", "order", 1, 0), {Reason: "file", PV: "A", Sample: &big, Position: Position{Seq: 2, Time: time.Unix(2, 0)}}, dropOf("B", "order", 3, 0), dropOf("A", "type", 4, 0)}
	if err := l.Drops().Append(t.Context(), drops); err != nil {
		t.Fatal(err)
	}
	var got []uint64
	f := DropFilter{PV: "?", Limit: 1}
	for {
		n := len(got)
		if err := l.Drops().Read(t.Context(), f, func(d StoredDrop) error {
			got, f.After = append(got, d.Position.Seq), d.Seq
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(got) == n {
			break
		}
	}
	if want := []uint64{1, 2, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("pages hold the drops of messages %d, want %d", got, want)
	}
	// A page may begin between the parts of a drop.
	if got := listDrops(t, l, DropFilter{After: 2}); len(got) != 3 || !bytes.Equal(got[0].Sample.Event, big.Event) {
		t.Errorf("behind the first part: %d drops", len(got))
	}
}
