package web

import (
	"context"
	"reflect"
	"testing"

	"pvlog/schema"
)

func TestDropsTellSampleReasonAndPlace(t *testing.T) {
	at := schema.Time{Sec: 1_700_000_000, Nsec: 5}
	event := schema.AppendAlarm(schema.AppendDouble(schema.AppendHead(nil, at), 2.5), 1, 7)
	var asked []any
	f := newFixture(t, func(o *Options) {
		o.Drops = func(_ context.Context, glob, reason string, limit int) ([]Drop, error) {
			asked = []any{glob, reason, limit}
			return []Drop{
				{PV: "A", Reason: "order", Detail: "late", Seq: 9, Index: 2, Logged: begin, Sample: &schema.RawSample{Type: schema.ScalarDouble, Year: at.Year(), Event: event}},
				{PV: "B", Reason: "damaged", Seq: 10, Logged: begin},
				{PV: "C", Reason: "type", Seq: 11, Logged: begin, Sample: &schema.RawSample{Type: schema.ScalarDouble, Year: at.Year(), Event: []byte("junk")}},
			}, nil
		}
	})
	status, answer := f.get("/api/v1/drops?pv=LAB:*&reason=order&limit=7")
	if status != 200 || !reflect.DeepEqual(asked, []any{"LAB:*", "order", 7}) {
		t.Fatal(status, asked)
	}
	list := answer.([]any)
	want := map[string]any{"pv": "A", "reason": "order", "detail": "late", "secs": 1.7e9, "nanos": 5.0, "severity": 1.0, "status": 7.0, "type": "DBR_SCALAR_DOUBLE", "value": 2.5,
		"position": map[string]any{"sequence": 9.0, "index": 2.0, "time": "2026-11-23T17:00:00Z"}}
	if len(list) != 3 || !reflect.DeepEqual(list[0], want) {
		t.Errorf("%v, want %v", list, want)
	}
	for _, item := range list[1:] {
		if drop := item.(map[string]any); drop["value"] != nil || drop["secs"] != 0.0 || drop["reason"] == "" {
			t.Errorf("without a sample: %v", drop)
		}
	}
	for query, limit := range map[string]int{"": 1000, "?limit=-1": dropsLimit, "?limit=999999999": dropsLimit} {
		if f.get("/api/v1/drops" + query); asked[2] != limit {
			t.Errorf("%q asks for %v, want %d", query, asked[2], limit)
		}
	}
}
