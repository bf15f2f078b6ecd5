package streams

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

func TestSharesOfTheDropLog(t *testing.T) {
	even := func(n int, bytes int64) (list []dropUsage) {
		for i := range n {
			list = append(list, dropUsage{fmt.Sprint("even", i), 100, bytes})
		}
		return list
	}
	for name, c := range map[string]struct {
		usage      []dropUsage
		room, need int64
		want       map[string]uint64
	}{
		"nothing":                {nil, 1600, 100, nil},
		"one takes all":          {[]dropUsage{{"storm", 1600, 1600}, {"calm", 3, 3}}, 1600, 200, map[string]uint64{"storm": 1400}},
		"two take all":           {[]dropUsage{{"storm", 1000, 1000}, {"other", 600, 600}, {"calm", 3, 3}}, 1600, 200, map[string]uint64{"storm": 1000 - 128, "other": 600 - 71}},
		"many with a share each": {append(even(20, 60), dropUsage{"calm", 10, 10}), 1600, 200, equal(20, 100-16)},
		"all alike":              {even(2000, 1), 1600, 100, nil},
		"too many":               {even(100, 16), 1600, 100, nil},
		"one large drop":         {[]dropUsage{{"large", 1, 1500}}, 1600, 200, nil},
		"what is needed is more": {[]dropUsage{{"storm", 300, 300}, {"calm", 3, 3}}, 1600, 400, nil},
	} {
		got := planShares(c.usage, c.room, c.need)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for subject, stay := range c.want {
			if diff := int(got[subject]) - int(stay); diff < -1 || diff > 1 {
				t.Errorf("%s: %s keeps %d, want %d", name, subject, got[subject], stay)
			}
		}
	}
}

func equal(n int, stay uint64) map[string]uint64 {
	keep := map[string]uint64{}
	for i := range n {
		keep[fmt.Sprint("even", i)] = stay
	}
	return keep
}

func TestSizesOfDropsAreEstimated(t *testing.T) {
	usage := dropUsages(map[string]uint64{"a": 10, "b": 4, "c": 1}, map[string]sizeOf{"a": {2, 100}}, 1000)
	got := map[string]int64{}
	for _, u := range usage {
		got[u.subject] = u.bytes
	}
	if want := (map[string]int64{"a": 500, "b": 400, "c": 100}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestExpiredDropsAreSettled(t *testing.T) {
	for name, c := range map[string]struct {
		e       expiry
		gone    uint64
		want    map[string]uint64
		unknown uint64
	}{
		"all is noted":       {expiry{Expired: map[string]uint64{"order": 3}}, 3, map[string]uint64{"order": 3}, 0},
		"nothing yet":        {expiry{}, 0, nil, 0},
		"an older version's": {expiry{}, 5, map[string]uint64{"unknown": 5}, 5},
		"a purge was done":   {expiry{Expired: map[string]uint64{"order": 3}, Purging: map[string]uint64{"order": 1, "type": 2}}, 6, map[string]uint64{"order": 4, "type": 2}, 0},
		"a purge was not":    {expiry{Expired: map[string]uint64{"order": 3}, Purging: map[string]uint64{"type": 2}}, 3, map[string]uint64{"order": 3}, 0},
		"half of a purge":    {expiry{Expired: map[string]uint64{"order": 3}, Purging: map[string]uint64{"type": 2, "file": 7}}, 5, map[string]uint64{"order": 3, "unknown": 2}, 2},
		"less than noted":    {expiry{Expired: map[string]uint64{"order": 3}}, 1, map[string]uint64{"order": 3}, 0},
	} {
		if n := c.e.settle(c.gone); n != c.unknown || !maps.Equal(c.e.Expired, c.want) || c.e.Purging != nil {
			t.Errorf("%s: %+v, %d unknown, want %v, %d", name, c.e, n, c.want, c.unknown)
		}
	}
}

func TestWhenDropsLeave(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	for name, c := range map[string]struct {
		k      DropKeeping
		stored time.Time
		before float64
		want   time.Time
	}{
		"by age":                {DropKeeping{At: now, Keep: 10 * time.Hour, MaxBytes: 1000, Bytes: 10}, hour(-4), 0, hour(6)},
		"by age, slow":          {DropKeeping{At: now, Keep: 10 * time.Hour, MaxBytes: 1000, Bytes: 10, Rate: 990. / 3600 / 7}, hour(-4), 0, hour(6)},
		"by bytes":              {DropKeeping{At: now, Keep: 10 * time.Hour, MaxBytes: 1000, Bytes: 100, Rate: 900. / 3600}, hour(-4), 0, hour(1)},
		"by bytes, in the back": {DropKeeping{At: now, Keep: 10 * time.Hour, MaxBytes: 1000, Bytes: 100, Rate: 900. / 3600}, hour(-4), 9. / 10, now.Add(66 * time.Minute)},
		"over the bound":        {DropKeeping{At: now, Keep: 10 * time.Hour, MaxBytes: 1000, Bytes: 1100, Rate: 1}, hour(-4), 0, now},
	} {
		if got := c.k.leaves(c.stored, c.before); got.Sub(c.want).Abs() > time.Second {
			t.Errorf("%s: leaves in %v, want in %v", name, got.Sub(now), c.want.Sub(now))
		}
	}
	r := meanRate{}
	r.turn(now)
	for i := range 600 {
		r.since = 300
		r.turn(now.Add(time.Duration(i+1) * 30 * time.Second))
	}
	if r.mean < 9.9 || r.mean > 10.01 {
		t.Errorf("a mean rate of %v, want 10", r.mean)
	}
}

// keepDrops does a turn of what keeps DROPS within its bounds.
func keepDrops(t *testing.T, l *Log, now time.Time) DropKeeping {
	t.Helper()
	if err := l.Drops().keep(t.Context(), now, true); err != nil {
		t.Fatal(err)
	}
	return l.Drops().Keeping()
}

func (k DropKeeping) reason(name string) DropReason {
	for _, r := range k.Reasons {
		if r.Reason == name {
			return r
		}
	}
	return DropReason{}
}

// TestAStormOfOnePVPushesOutItsOwnDrops stores several times what DROPS may hold
// of one PV: the drops of all others stay, and what leaves is counted.
func TestAStormOfOnePVPushesOutItsOwnDrops(t *testing.T) {
	dir := t.TempDir()
	opt := Options{Dir: dir, LimitBytes: 64 << 20, DropsMaxBytes: 1 << 20}
	l := openLog(t, opt)
	var calm []Drop
	for i := range 50 {
		calm = append(calm, dropOf(pvName(i), "type", uint64(i+1), 0))
	}
	if err := l.Drops().Append(t.Context(), calm); err != nil {
		t.Fatal(err)
	}
	const storm = 8_000
	for n := 0; n < storm; n += 1000 { // no trimmer runs: room is made when there is none
		var drops []Drop
		for i := range 1000 {
			drops = append(drops, dropOf("STORM", "order", uint64(1000+n+i), 0))
		}
		if err := l.Drops().Append(t.Context(), drops); err != nil {
			t.Fatal(err)
		}
	}
	k := keepDrops(t, l, time.Now())
	order, typ := k.reason("order"), k.reason("type")
	if typ.Drops != 50 || typ.Expired != 0 {
		t.Errorf("of the calm PVs %d drops are there and %d have left", typ.Drops, typ.Expired)
	}
	if order.Drops+order.Expired != storm || order.Expired == 0 || order.Drops < 1000 || k.Expired != order.Expired {
		t.Errorf("of the storm %d drops are there, %d have left, %d in all", order.Drops, order.Expired, k.Expired)
	}
	if k.Bytes > k.MaxBytes || k.MaxBytes != 1<<20 {
		t.Errorf("%d bytes of %d", k.Bytes, k.MaxBytes)
	}
	newest := listDrops(t, l, DropFilter{PV: "STORM", Limit: 1000})
	if len(newest) != 1000 || newest[0].Position.Seq != 1000+storm-1000 {
		t.Errorf("the newest of the storm: %d", len(newest))
	}
	if n := listDrops(t, l, DropFilter{Reasons: []string{"type"}}); len(n) != 50 {
		t.Errorf("%d calm drops are listed", len(n))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := openLog(t, opt)
	if p := again.Problems(); len(p) > 0 {
		t.Errorf("expired drops are taken for a loss: %q", p)
	}
	if after := keepDrops(t, again, time.Now()); after.Expired != k.Expired || after.reason("order") != order {
		t.Errorf("after a restart %+v, was %+v", after, k)
	}
}

// TestDropsOfManyLeaveOldestFirst: where no PV stands out, it is age that counts.
func TestDropsOfManyLeaveOldestFirst(t *testing.T) {
	l := openLog(t, Options{LimitBytes: 64 << 20, DropsMaxBytes: 1 << 20})
	const n = 5000
	for i := 0; i < n; i += 500 {
		var drops []Drop
		for j := range 500 {
			drops = append(drops, dropOf(schema.PVName(fmt.Sprint("PV", i+j)), "order", uint64(i+j+1), 0))
		}
		if err := l.Drops().Append(t.Context(), drops); err != nil {
			t.Fatal(err)
		}
	}
	k := keepDrops(t, l, time.Now())
	r := k.reason("order")
	if r.Drops+r.Expired != n || r.Expired == 0 || r.Drops < 1000 {
		t.Fatalf("%+v", k)
	}
	if first := listDrops(t, l, DropFilter{Limit: n}); first[0].Position.Seq != r.Expired+1 {
		t.Errorf("the oldest is of message %d, %d have left", first[0].Position.Seq, r.Expired)
	}
}

// TestOldDropsLeave lets 31 days pass.
func TestOldDropsLeave(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	drops := []Drop{dropOf("A", "order", 1, 0), dropOf("A", "order", 2, 0), dropOf("B", "type", 3, 0)}
	if err := l.Drops().Append(t.Context(), drops); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	k := keepDrops(t, l, now)
	for reason, n := range map[string]uint64{"order": 2, "type": 1} {
		r := k.reason(reason)
		if r.Drops != n || r.Expired != 0 || r.Leaves.Sub(r.Oldest) != 30*24*time.Hour || now.Sub(r.Oldest).Abs() > time.Minute {
			t.Errorf("%s: %+v", reason, r)
		}
	}
	k = keepDrops(t, l, now.AddDate(0, 0, 31))
	want := []DropReason{{Reason: "order", Expired: 2}, {Reason: "type", Expired: 1}}
	if !reflect.DeepEqual(k.Reasons, want) || k.Expired != 3 || k.Drops != 0 {
		t.Errorf("%+v, want %+v", k, want)
	}
	if err := l.Drops().Append(t.Context(), []Drop{dropOf("A", "nanos", 4, 0)}); err != nil {
		t.Fatal(err)
	}
	if k = keepDrops(t, l, now); k.Drops != 1 || k.reason("nanos").Drops != 1 || k.reason("order") != want[0] {
		t.Errorf("%+v", k)
	}
}

func TestTheDropLogKeepsItselfWithinItsBounds(t *testing.T) {
	l := openLog(t, Options{})
	if err := l.Drops().Append(t.Context(), []Drop{dropOf("A", "order", 1, 0)}); err != nil {
		t.Fatal(err)
	}
	runLog(t, l)
	ctx := within(t, 30*time.Second)
	for l.Drops().Keeping().Drops != 1 {
		if err := wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// wait lets some time pass for what another goroutine does.
func wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

func TestADropThatIsTooLargeKeepsItsReason(t *testing.T) {
	l := openLog(t, Options{LimitBytes: 64 << 20, DropsMaxBytes: 1 << 20})
	big := largeSample(3<<20, 1)
	d := Drop{Reason: "file", Detail: "denied", PV: "A", Sample: &big, Position: Position{Seq: 2, Time: time.Unix(2, 0)}}
	if err := l.Drops().Append(t.Context(), []Drop{d}); err != nil {
		t.Fatal(err)
	}
	got := listDrops(t, l, DropFilter{})
	if len(got) != 1 || got[0].Sample != nil || !strings.HasPrefix(got[0].Detail, "denied (its ") || got[0].Position.Seq != 2 || gauge(t, l.metrics.dropsTooLarge) != 1 {
		t.Errorf("%+v", got)
	}
}
