package web

import (
	"context"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/filter"
	"pvlog/schema"
)

// fakeDrops is a drop log that notes what it is asked.
type fakeDrops struct {
	drops  []Drop
	counts []DropCount
	err    error // after the drops
	asked  DropQuery
	kept   DropKeeping
}

func (f *fakeDrops) Keeping() DropKeeping { return f.kept }

func (f *fakeDrops) Read(_ context.Context, q DropQuery, each func(Drop) error) error {
	f.asked = q
	for _, d := range f.drops {
		if err := each(d); err != nil {
			return err
		}
	}
	return f.err
}

func (f *fakeDrops) Count(_ context.Context, q DropQuery) ([]DropCount, error) {
	f.asked = q
	return f.counts, f.err
}

func someDrops() *fakeDrops {
	at := schema.Time{Sec: 1_700_000_000, Nsec: 5}
	head := func(at schema.Time) []byte { return schema.AppendHead(nil, at) }
	sample := func(t schema.DBRType, event []byte) *schema.RawSample {
		return &schema.RawSample{Type: t, Registered: schema.ScalarDouble, Year: at.Year(), Received: begin, First: true,
			DriftPast: time.Minute, DriftFuture: 2 * time.Minute, Generation: 7, Event: event}
	}
	return &fakeDrops{drops: []Drop{
		{PV: "A", Reason: "order", Detail: "late", Cursor: 3, Seq: 9, Index: 2, Logged: begin, Sample: sample(schema.ScalarDouble, schema.AppendAlarm(schema.AppendDouble(head(at), 2.5), 1, 7))},
		{PV: "B", Reason: "damaged", Cursor: 4, Seq: 10, Logged: begin},
		{PV: "C", Reason: "type", Cursor: 5, Seq: 11, Logged: begin, Sample: sample(schema.ScalarDouble, []byte("junk"))},
		{PV: "D", Reason: "nanos", Cursor: 6, Seq: 12, Logged: begin, Sample: sample(schema.ScalarDouble, schema.AppendDouble(head(schema.Time{Sec: at.Sec, Nsec: 1e9}), math.NaN()))},
		{PV: "E", Reason: "type", Cursor: 7, Seq: 13, Logged: begin, Sample: sample(schema.ScalarString, schema.AppendString(head(at), []byte("say \"no\",\nor so")))},
	}}
}

func TestDropsTellSampleReasonAndPlace(t *testing.T) {
	drops := someDrops()
	f := newFixture(t, func(o *Options) { o.Drops = drops })
	status, answer := f.get("/api/v1/drops?pv=LAB:*&reason=order,type&limit=7&until=2026-11-23T17:00:00Z")
	want := DropQuery{PV: "LAB:*", Reasons: []string{"order", "type"}, Until: time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC), Limit: 7}
	if drops.asked.Until = drops.asked.Until.UTC(); status != 200 || !reflect.DeepEqual(drops.asked, want) {
		t.Fatal(status, drops.asked)
	}
	list := answer.([]any)
	first := map[string]any{"pv": "A", "reason": "order", "detail": "late", "secs": 1.7e9, "nanos": 5.0, "time": "2023-11-14T22:13:20.000000005Z", "severity": 1.0, "status": 7.0, "type": "DBR_SCALAR_DOUBLE", "value": 2.5,
		"envelope": map[string]any{"received": "2026-11-23T17:00:00Z", "first": true, "registered_type": "DBR_SCALAR_DOUBLE", "drift_past": 60.0, "drift_future": 120.0, "generation": 7.0},
		"position": map[string]any{"sequence": 9.0, "index": 2.0, "time": "2026-11-23T17:00:00Z"}, "cursor": "3"}
	if len(list) != 5 || !reflect.DeepEqual(list[0], first) {
		t.Errorf("%v, want %v", list, first)
	}
	for _, item := range list[1:3] {
		if drop := item.(map[string]any); drop["value"] != nil || drop["secs"] != 0.0 || drop["reason"] == "" {
			t.Errorf("without a sample: %v", drop)
		}
	}
	if drop := list[3].(map[string]any); drop["nanos"] != 1e9 || drop["time"] != nil {
		t.Errorf("illegal nanoseconds: %v", drop)
	}
	for query, want := range map[string]DropQuery{
		"":                  {Limit: dropsDefault},
		"?limit=100000":     {Limit: dropsLimit},
		"?after=0":          {Limit: dropsDefault, Paged: true},
		"?after=77&limit=1": {Limit: 1, Paged: true, After: 77},
	} {
		if f.get("/api/v1/drops" + query); !reflect.DeepEqual(drops.asked, want) {
			t.Errorf("%q asks for %+v, want %+v", query, drops.asked, want)
		}
	}
}

func TestDropsAsATable(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Drops = someDrops() })
	resp, text := f.ask("GET", "/api/v1/drops?format=csv", "", "")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 6 || resp.Header.Get("Content-Type") != "text/csv; charset=UTF-8" || !reflect.DeepEqual(rows[0], dropColumns) {
		t.Fatalf("%v %v: %q", err, resp.Header, text)
	}
	for i, want := range map[int][]string{
		1: {"A", "2023-11-14T22:13:20.000000005Z", "2026-11-23T17:00:00.000000000Z", "order", "late", "2.5", "1", "7", "DBR_SCALAR_DOUBLE", "true", "DBR_SCALAR_DOUBLE", "60", "120", "7", "9", "2", "2026-11-23T17:00:00.000000000Z", "3"},
		2: {"B", "", "", "damaged", "", "", "0", "0", "", "", "", "", "", "", "10", "0", "2026-11-23T17:00:00.000000000Z", "4"},
	} {
		if !reflect.DeepEqual(rows[i], want) {
			t.Errorf("row %d is %q, want %q", i, rows[i], want)
		}
	}
	if rows[5][5] != "say \"no\",\nor so" || rows[4][1] != "" {
		t.Errorf("a string is %q, an illegal time %q", rows[5][5], rows[4][1])
	}
}

func TestTimesOfDropsMayBeAges(t *testing.T) {
	now := begin
	for text, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "-90m": now.Add(-90 * time.Minute), "7d": now.Add(-7 * 24 * time.Hour), "0.5d": now.Add(-12 * time.Hour),
		"2026-11-23T08:00:00Z": time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC), "2026-11-23T09:00:00+01:00": time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
	} {
		if got, err := timeOrAge("since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "24", "--1h", "d", "2026-11-23"} {
		if got, err := timeOrAge("since", text, now); err == nil {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestDropsAreSummarized(t *testing.T) {
	drops := &fakeDrops{counts: []DropCount{{"A", "order", 2}, {"B", "type", 5}, {"B", "order", 1}, {"C", "order", 2}},
		kept: DropKeeping{At: begin, Bytes: 5, MaxBytes: 9, Keep: time.Hour, Rate: 0.5, Expired: 4, Reasons: []DropReason{{"order", 5, 3, begin, begin.Add(time.Hour)}, {Reason: "nanos", Expired: 1}}}}
	f := newFixture(t, func(o *Options) { o.Drops = drops })
	status, answer := f.get("/api/v1/drops/summary?pv=?&top=2")
	want := map[string]any{"drops": 10.0, "pv_count": 3.0, "reasons": map[string]any{"order": 5.0, "type": 5.0}, "pvs": []any{
		map[string]any{"pv": "B", "drops": 6.0, "reasons": map[string]any{"type": 5.0, "order": 1.0}},
		map[string]any{"pv": "A", "drops": 2.0, "reasons": map[string]any{"order": 2.0}}},
		"keeping": map[string]any{"at": "2026-11-23T17:00:00Z", "bytes": 5.0, "max_bytes": 9.0, "keep": 3600.0, "bytes_per_second": 0.5, "expired": 4.0, "reasons": map[string]any{
			"order": map[string]any{"drops": 5.0, "expired": 3.0, "oldest": "2026-11-23T17:00:00Z", "leaves": "2026-11-23T18:00:00Z"},
			"nanos": map[string]any{"drops": 0.0, "expired": 1.0, "oldest": nil, "leaves": nil}}}}
	if status != 200 || !reflect.DeepEqual(answer, want) || drops.asked.PV != "?" {
		t.Errorf("%d %v, want %v", status, answer, want)
	}
}

// TestADropListThatFailsIsNoShortList: half a list does not look like a whole one.
func TestADropListThatFailsIsNoShortList(t *testing.T) {
	drops := someDrops()
	drops.err = schema.Errorf(schema.Unavailable, "the log's server is restarting")
	f := newFixture(t, func(o *Options) { o.Drops = drops })
	if resp, text := f.ask("GET", "/api/v1/drops", "", ""); resp.StatusCode != 503 || !strings.Contains(text, "restarting") {
		t.Errorf("before anything was sent: %d %s", resp.StatusCode, text)
	}
	for range 12 {
		drops.drops = append(drops.drops, drops.drops...)
	}
	drops.err = errors.New("broken")
	resp, err := http.Get(f.url + "/api/v1/drops")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all strings.Builder
	if _, err := io.Copy(&all, resp.Body); err == nil {
		t.Errorf("an answer that broke off ended in order, with %d bytes", all.Len())
	}
}

// TestEveryReasonOfTheFiltersCanBeAskedFor: the list is written twice, since web
// does not lean on the filters.
func TestEveryReasonOfTheFiltersCanBeAskedFor(t *testing.T) {
	var want []string
	for _, r := range filter.Reasons() {
		want = append(want, string(r))
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(dropReasons)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
