package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// pvNames are the names in an answer of GET /api/v1/pvs.
func pvNames(answer any) (names []string) {
	for _, item := range answer.(map[string]any)["pvs"].([]any) {
		names = append(names, item.(map[string]any)["pv"].(string))
	}
	return names
}

func TestPVsComeInPages(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Channels = func(pv schema.PVName) (ChannelStatus, bool) { return ChannelStatus{Connected: pv == "L:1"}, true }
	})
	f.archive("L:1", "L:2", "L:3", "M:1")
	f.must(f.registry.Archive(context.Background(), actor, registry.Request{PV: "L:4"}))
	f.must(f.registry.Pause(context.Background(), actor, "L:2"))
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "L:25", PV: "M:1"}))
	var all []string
	after, pages := "", 0
	for {
		_, answer := f.get("/api/v1/pvs?glob=L:*&limit=2&after=" + url.QueryEscape(after))
		all = append(all, pvNames(answer)...)
		next, more := answer.(map[string]any)["next"].(string)
		if pages++; !more {
			break
		}
		after = next
	}
	if want := []string{"L:1", "L:2", "L:25", "L:3", "L:4"}; !slices.Equal(all, want) || pages != 3 {
		t.Errorf("%v in %d pages, want %v", all, pages, want)
	}
	for state, want := range map[string]string{"archiving": "[L:1 L:3 L:4 M:1]", "paused": "[L:2]", "stopped": "[]", "alias": "[L:25]",
		"connected": "[L:1]", "disconnected": "[L:3 L:4 M:1]", "never_connected": "[L:4]"} {
		if _, answer := f.get("/api/v1/pvs?state=" + state); fmt.Sprint(pvNames(answer)) != want {
			t.Errorf("%s: %v, want %s", state, pvNames(answer), want)
		}
	}
	if _, answer := f.get("/api/v1/pvs?limit=5&state=archiving"); answer.(map[string]any)["next"] != nil {
		t.Error("a page that holds the last PV names a next one")
	}
}

func TestAPVIsFoundByEachOfItsNames(t *testing.T) {
	f := newFixture(t)
	f.archive("L:A/B")
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "OLD", PV: "L:A/B"}))
	for _, name := range []string{"L:A%2FB", "L:A/B", "L%3AA%2FB", "OLD", "OLD.VAL", "ca%3A%2F%2FOLD"} {
		resp, text := f.ask("GET", "/api/v1/pvs/"+name, "", "")
		if resp.StatusCode != 200 || !strings.Contains(text, `"pv":"L:A/B"`) || resp.Header.Get("ETag") != `"2"` || !strings.Contains(text, `"aliases":["OLD"]`) {
			t.Errorf("%s: %d %s %s", name, resp.StatusCode, resp.Header.Get("ETag"), text)
		}
	}
}

// patch sends an edit of a PV.
func (f *fixture) patch(pv, etag, body string) (*http.Response, string) {
	f.t.Helper()
	r, err := http.NewRequest(http.MethodPatch, f.url+"/api/v1/pvs/"+pv, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if etag != "" {
		r.Header.Set("If-Match", etag)
	}
	r.Header.Set("Pvlog-Actor", "ann@control")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, string(text)
}

func TestAnEditMeansThePVThatItsClientSaw(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	resp, _ := f.ask("GET", "/api/v1/pvs/A", "", "")
	seen := resp.Header.Get("ETag")
	var mu sync.Mutex
	statuses := map[int]int{}
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			resp, text := f.patch("A", seen, fmt.Sprintf(`{"period":%d}`, i+2))
			mu.Lock()
			defer mu.Unlock()
			statuses[resp.StatusCode]++
			if resp.StatusCode == 412 && !strings.Contains(text, "precondition_failed") {
				t.Error(text)
			}
		})
	}
	clients.Wait()
	if statuses[200] != 1 || statuses[412] != 7 {
		t.Errorf("of 8 edits of the same state: %v", statuses)
	}
	if resp, text := f.patch("A", seen, `{"deadband":1}`); resp.StatusCode != 412 || !strings.Contains(text, "PV A was changed") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	for _, wrong := range []string{"42", `"x"`, `W/"3"`, `""`} {
		if resp, text := f.patch("A", wrong, `{"deadband":1}`); resp.StatusCode != 400 || !strings.Contains(text, "If-Match") {
			t.Errorf("If-Match %s: %d %s", wrong, resp.StatusCode, text)
		}
	}
	resp, text := f.patch("A", "*", `{"deadband":1,"controlling_pv":"GATE","drift":{"past":60},"fields":["LOLO","HIHI"]}`)
	now, _ := f.registry.Get("A")
	if resp.StatusCode != 200 || resp.Header.Get("ETag") != etag(now.Sequence) || now.Deadband != 1 || now.ControllingPV != "GATE" ||
		now.DriftPast.Seconds() != 60 || !slices.Equal(now.ArchiveFields, []string{"HIHI", "LOLO"}) {
		t.Errorf("%d %s: %+v", resp.StatusCode, text, now)
	}
	period := now.SamplingPeriod
	if f.patch("A", "", `{"controlling_pv":null,"fields":null,"drift":null}`); true {
		now, _ = f.registry.Get("A")
		if now.ControllingPV != "" || now.ArchiveFields != nil || now.DriftPast != 0 || now.Deadband != 1 || now.SamplingPeriod != period {
			t.Errorf("after null: %+v", now)
		}
	}
}

func TestAConditionIsNeverPassedOver(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	f.must(f.registry.Pause(context.Background(), actor, "A"))
	for method, path := range map[string]string{http.MethodDelete: "/api/v1/pvs/A", http.MethodPost: "/api/v1/pvs:delete?glob=A"} {
		r, err := http.NewRequest(method, f.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("If-Match", `"1"`)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s %s: %d", method, path, resp.StatusCode)
		}
	}
	if _, ok := f.registry.Get("A"); !ok {
		t.Error("A was deleted on a condition that nobody checked")
	}
}

func TestHistoryTellsWhoChangedWhatAndWhy(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	f.ask("POST", "/api/v1/pvs:pause?reason=leak+in+the+tunnel", "", `["A"]`)
	f.patch("A", "", `{"period":10,"policy":"slow"}`)
	f.must(f.registry.Archive(context.Background(), actor, registry.Request{PV: "B"}))
	f.started(registry.Discovery{PV: "B", Type: schema.ScalarInt, Count: 1, Host: "h", Why: "policy slow", Settle: func(s *schema.Settings) error {
		s.Policy, s.SamplingPeriod = "slow", 2*time.Second
		return nil
	}})
	_, settled := f.get("/api/v1/pvs/B/history")
	if text := fmt.Sprint(settled); !strings.Contains(text, "summary:connected: DBR_SCALAR_INT, 1 elements, from h; period 1s -> 2s, policy none -> slow") || !strings.Contains(text, "reason:policy slow") {
		t.Errorf("what a policy made of a first connection: %s", text)
	}
	_, answer := f.get("/api/v1/pvs/A/history")
	var got []string
	for _, e := range answer.(map[string]any)["events"].([]any) {
		e := e.(map[string]any)
		got = append(got, fmt.Sprintf("%v %v: %v by %v, %v", e["seq"], e["event"], e["summary"], e["actor"], e["reason"]))
	}
	want := []string{
		"1 requested: requested: MONITOR 1s by test, ",
		"2 started: connected: DBR_SCALAR_DOUBLE, 1 elements, from localhost:5064 by test, ",
		"3 paused: paused by http, leak in the tunnel",
		"4 configured: period 1s -> 10s, policy none -> slow by claimed by ann@control, ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	_, answer = f.get("/api/v1/pvs/A/history?limit=2&after=1")
	page := answer.(map[string]any)
	if events := page["events"].([]any); len(events) != 2 || events[0].(map[string]any)["seq"] != 2.0 || page["next"] != "3" {
		t.Errorf("%v", page)
	}
	changes := page["events"].([]any)[1].(map[string]any)["changes"].([]any)
	if len(changes) != 1 || fmt.Sprint(changes[0]) != "map[name:state new:paused old:archiving]" {
		t.Errorf("%v", changes)
	}
}

func TestTheRegistryIsShownAsItWasAndTakenBack(t *testing.T) {
	f := newFixture(t)
	f.archive("A", "B")
	var first struct {
		At string `json:"at"`
	}
	f.decode("/api/v1/registry", &first)
	f.ask("POST", "/api/v1/pvs:pause", "", `{"glob":"*","change_id":"night"}`)
	f.ask("POST", "/api/v1/pvs:delete", "", `{"glob":"*","change_id":"mistake"}`)
	if status, answer := f.get("/api/v1/registry?glob=?"); status != 200 || len(pvNames(answer)) != 0 {
		t.Errorf("after the delete: %v", answer)
	}
	_, then := f.get("/api/v1/registry?at=" + first.At)
	if fmt.Sprint(pvNames(then)) != "[A B]" || then.(map[string]any)["seq"] != 4.0 {
		t.Errorf("before it: %v", then)
	}
	if _, pv := f.get("/api/v1/pvs/A?at=" + first.At); pv.(map[string]any)["state"] != "archiving" {
		t.Errorf("%v", pv)
	}
	last := f.registry.Cursor()
	if resp, text := f.ask("POST", "/api/v1/registry/undo?dry_run=true", "", `{"change_id":"mistake"}`); resp.StatusCode != 200 ||
		!strings.Contains(text, `"total":2,"changed":2`) || f.registry.Cursor() != last {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if resp, text := f.ask("POST", "/api/v1/registry/undo", "", `{"change_id":"night"}`); resp.StatusCode != 200 || !strings.Contains(text, `"failed":2`) {
		t.Errorf("undo of what was changed since: %d %s", resp.StatusCode, text)
	}
	for _, body := range []string{`{"change_id":"mistake"}`, `{"change_id":"night"}`} {
		if resp, text := f.ask("POST", "/api/v1/registry/undo", "", body); resp.StatusCode != 200 || !strings.Contains(text, `"changed":2`) {
			t.Errorf("%s: %d %s", body, resp.StatusCode, text)
		}
	}
	for _, pv := range []schema.PVName{"A", "B"} {
		if info, ok := f.registry.Get(pv); !ok || info.State != schema.Archiving || info.DBRType != schema.ScalarDouble {
			t.Errorf("%s is %+v", pv, info)
		}
	}
	if status, answer := f.get("/api/v1/flags"); status != 200 || len(answer.(map[string]any)["flags"].(map[string]any)) != 0 {
		t.Error(answer)
	}
	if resp, text := f.ask("POST", "/api/v1/registry/verify", "", ""); resp.StatusCode != 200 || !strings.Contains(text, `"ok":true`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

// decode gets JSON into v.
func (f *fixture) decode(path string, v any) {
	f.t.Helper()
	if resp, text := f.ask(http.MethodGet, path, "", ""); resp.StatusCode != 200 {
		f.t.Fatalf("%s: %s", path, text)
	} else if err := unmarshal(text, v); err != nil {
		f.t.Fatalf("%s: %v", path, err)
	}
}
