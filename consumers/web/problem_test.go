package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pvlog/schema"
)

const pvs = "/api/v1/pvs"

// wrongRequests are requests to a server with the PVs A and R:B, and what they
// are told.
var wrongRequests = []struct {
	method, path, contentType, body string
	want                            int
	code, says                      string // in detail or hint
}{
	{"GET", "/api/v1", "", "", 404, "not_found", "GET / lists"},
	{"GET", "/api/v1/nowhere", "", "", 404, "not_found", "/api/v1/nowhere"},
	{"PUT", pvs, "", "{}", 405, "method_not_allowed", "GET, HEAD, POST"},
	{"POST", "/api/v1/replays", "", "{}", 400, "invalid", "names no PV"},
	{"POST", "/api/v1/replays", "", `{"pv":"*","reasons":["late"]}`, 400, "invalid", "drift_past"},
	{"POST", "/api/v1/replays", "", `{"pv":"*","drift":"1ms"}`, 400, "invalid", "whole seconds"},
	{"POST", "/api/v1/replays", "", `{"pv":"*","from_log":true,"reasons":["order"]}`, 400, "invalid", "raw log"},
	{"POST", "/api/v1/replays", "", `{"pv":"*","rebuild":true,"drift":"1h"}`, 400, "invalid", "as the archive did"},
	{"GET", "/api/v1/replays/none", "", "", 404, "not_found", "no replay"},
	{"GET", "/api/v1/replays?limit=0", "", "", 400, "invalid", "1 to 10000"},
	{"GET", pvs + "?stat=paused", "", "", 400, "invalid", `"stat"`},
	{"GET", pvs + "?state=asleep", "", "", 400, "invalid", "never_connected"},
	{"GET", pvs + "?limit=0", "", "", 400, "invalid", "1 to 10000"},
	{"GET", pvs + "?limit=many", "", "", 400, "invalid", "many"},
	{"GET", pvs + "?glob=A&glob=B", "", "", 400, "invalid", "2 times"},
	{"GET", pvs + "/nobody", "", "", 404, "not_found", "PV nobody"},
	{"GET", pvs + "/bad%20name", "", "", 400, "invalid", "bad name"},
	{"GET", pvs + "/A?at=yesterday", "", "", 400, "invalid", "ISO 8601"},
	{"GET", pvs + "/A?at=2999-01-01T00:00:00Z", "", "", 400, "invalid", "future"},
	{"GET", pvs + "/A?at=1999-01-01T00:00:00Z", "", "", 404, "not_found", "history"},
	{"GET", pvs + "/A/live", "", "", 503, "unavailable", "no channels"},
	{"GET", pvs + "/A/live?timeout=soon", "", "", 400, "invalid", "soon"},
	{"GET", pvs + "/A/live?timeout=3600", "", "", 400, "invalid", "at most 1m0s"},
	{"PUT", pvs + "/A/type", "", `{"type":"DBR_NOPE"}`, 400, "invalid", "DBR_SCALAR_DOUBLE"},
	{"PUT", pvs + "/A/type", "", `{"typ":"DBR_SCALAR_INT"}`, 400, "invalid", `"typ"`},
	{"PUT", pvs + "/nobody/type", "", `{"type":"DBR_SCALAR_INT"}`, 404, "not_found", "PV nobody"},
	{"PUT", pvs + "/A/type", "", `{"type":"DBR_SCALAR_INT"}`, 409, "conflict", "paused"},
	{"POST", pvs + "/A/join", "", `{}`, 400, "invalid", "no other name"},
	{"POST", pvs + "/A/join", "", `{"pv":"R:B"}`, 503, "unavailable", "cannot merge data"},
	{"POST", pvs + "/nobody/join", "", `{}`, 404, "not_found", "PV nobody"},
	{"GET", pvs + "/nobody/verify", "", "", 404, "not_found", "PV nobody"},
	{"GET", pvs + "/A/verify?max=all", "", "", 400, "invalid", "all"},
	{"GET", pvs + "/A/verify", "", "", 503, "unavailable", "no partitions"},
	{"POST", pvs + "/nobody/repair", "", "", 404, "not_found", "PV nobody"},
	{"POST", pvs + "/A/repair?dry_run=perhaps", "", "", 400, "invalid", "dry_run"},
	{"POST", pvs + "/A/repair?future=tomorrow", "", "", 400, "invalid", "future"},
	{"POST", pvs + "/A/repair", "", "", 503, "unavailable", "no partitions"},
	{"POST", pvs + "/A/import", "", `{"files":[]}`, 400, "invalid", "names no file"},
	{"POST", pvs + "/A/import", "", `{"files":["/a"],"mode":"steal"}`, 400, "invalid", "in-place"},
	{"POST", pvs + "/A/import", "", `{"files":["/a"],"state":"asleep"}`, 400, "invalid", "archiving"},
	{"POST", pvs + "/A/import", "", `{"files":["/a"],"colour":1}`, 400, "invalid", "colour"},
	{"POST", pvs + "/bad%20name/import", "", `{"files":["/a"]}`, 400, "invalid", "bad name"},
	{"POST", pvs + "/A/import", "", `{"files":["/a"]}`, 503, "unavailable", "no partitions"},
	{"GET", pvs + "/nobody/history", "", "", 404, "not_found", "PV nobody"},
	{"GET", pvs + "/A/history?after=x", "", "", 400, "invalid", "sequence"},
	{"POST", pvs, "", "", 400, "invalid", "names no PV"},
	{"POST", pvs, "", "[]", 400, "invalid", "names no PV"},
	{"POST", pvs, "application/json", `{"pv":`, 400, "invalid", "JSON"},
	{"POST", pvs, "", `{"pv":"C","samplingmethod":"SCAN"}`, 400, "invalid", `"samplingmethod"`},
	{"POST", pvs, "", `["C",{"pv":"D","colour":"red"}]`, 400, "invalid", `entry 2: the member "colour"`},
	{"POST", pvs, "", `{"pv":"C","glob":"*"}`, 400, "invalid", `"glob"`},
	{"POST", pvs, "", `{"pv":"C","period":"fast"}`, 400, "invalid", "period"},
	{"POST", pvs, "", `{"pv":"C","method":"NOPE"}`, 400, "invalid", "SCAN_GET"},
	{"POST", pvs, "", `{"pv":"C","period":0.001}`, 400, "invalid", "period 1ms of C"},
	{"POST", pvs, "", `{"pv":"C","period":-1}`, 400, "invalid", "seconds"},
	{"POST", pvs, "", `{"pv":"C","deadband":-1}`, 400, "invalid", "deadband"},
	{"POST", pvs, "", `{"pv":"C","drift":{"past":0.5}}`, 400, "invalid", "whole seconds"},
	{"POST", pvs, "", `{"pv":"C","rate":{"events":0.5}}`, 400, "invalid", "whole number"},
	{"POST", pvs, "", `{"pv":"C","rate":{"bytes":-1}}`, 400, "invalid", "rate.bytes"},
	{"POST", pvs, "", `{"pv":"C","rate":{"samples":1}}`, 400, "invalid", `"samples"`},
	{"POST", pvs, "", `{"pv":"C","drift":{"passed":1}}`, 400, "invalid", `"passed"`},
	{"POST", pvs, "", `{"pv":"C","controlling_pv":"x y"}`, 400, "invalid", "controlling_pv"},
	{"POST", pvs, "", `{"pv":"C","fields":["val"]}`, 400, "invalid", "capitals"},
	{"POST", pvs, "", `{"pv":"C","time_limit":-1}`, 400, "invalid", "time_limit"},
	{"POST", pvs, "", `{"pv":"C","alias":"x y"}`, 400, "invalid", "alias of C"},
	{"POST", pvs, "", `{"pv":"R-B"}`, 409, "conflict", "R:B"},
	{"POST", pvs, "", `{"pv":"C*"}`, 400, "invalid", "patterns"},
	{"POST", pvs, "", `{"pv":"C","change_id":"two words"}`, 400, "invalid", "two words"},
	{"POST", pvs + "?dryrun=true", "", `{"pv":"C"}`, 400, "invalid", `"dryrun"`},
	{"POST", pvs + "?dry_run=perhaps", "", `{"pv":"C"}`, 400, "invalid", "dry_run"},
	{"POST", pvs, "text/csv", "C,SCAN\n", 400, "invalid", `column "C"`},
	{"POST", pvs, "text/csv", "method\nSCAN\n", 400, "invalid", "column pv"},
	{"POST", pvs, "text/csv", "pv,colour\nC,red\n", 400, "invalid", `"colour"`},
	{"POST", pvs, "text/csv", "pv,period\nC,fast\n", 400, "invalid", "line 2: period"},
	{"POST", pvs, "text/csv", "pv,period\nC\n", 400, "invalid", "line 2"},
	{"POST", pvs, "application/xml", "<pv/>", 415, "unsupported_media_type", "text/csv"},
	{"POST", pvs, "", `["` + strings.Repeat("x", 3000) + `"]`, 413, "too_large", "several requests"},
	{"PATCH", pvs + "/nobody", "", `{"period":1}`, 404, "not_found", "PV nobody"},
	{"PATCH", pvs + "/A", "", `{"state":"paused"}`, 400, "invalid", `"state"`},
	{"PATCH", pvs + "/A", "", "", 400, "invalid", "no body"},
	{"PATCH", pvs + "/A", "", `{"period":1e9}`, 400, "invalid", "period"},
	{"POST", pvs + ":pause", "", `{"pv":"nobody"}`, 404, "not_found", "pause PV nobody"},
	{"POST", pvs + ":pause", "", `{"glob":"X:*"}`, 404, "not_found", "X:*"},
	{"POST", pvs + ":pause", "", `{"pv":"A","period":1}`, 400, "invalid", `"period"`},
	{"POST", pvs + ":configure", "", `{"pv":"A"}`, 400, "invalid", "no setting"},
	{"POST", pvs + ":delete", "", `{"pv":"A"}`, 409, "conflict", "paused"},
	{"POST", pvs + ":delete", "", `{"pv":"A","data":true}`, 503, "unavailable", "cannot delete data"},
	{"DELETE", pvs + "/A", "", "", 409, "conflict", "paused"},
	{"DELETE", pvs + "/R:*", "", "", 400, "invalid", "R:*"},
	{"DELETE", pvs + "/nobody", "", "", 404, "not_found", "nobody"},
	{"GET", "/api/v1/registry?at=soon", "", "", 400, "invalid", "ISO 8601"},
	{"POST", "/api/v1/registry/undo", "", `{}`, 400, "invalid", "one of seq and change_id"},
	{"POST", "/api/v1/registry/undo", "", `{"seq":999}`, 404, "not_found", "999"},
	{"POST", "/api/v1/registry/undo", "", `{"change_id":"nosuch"}`, 404, "not_found", "nosuch"},
	{"GET", "/api/v1/changes/nosuch", "", "", 404, "not_found", "nosuch"},
	{"POST", "/api/v1/aliases", "", `{"alias":"N"}`, 400, "invalid", "empty"},
	{"POST", "/api/v1/aliases", "", `{"alias":"N","pv":"nobody"}`, 404, "not_found", "nobody"},
	{"DELETE", "/api/v1/aliases/N", "", "", 404, "not_found", "N is not an alias"},
	{"PUT", "/api/v1/flags/SKIP", "", `{}`, 400, "invalid", "SKIP"},
	{"GET", "/api/v1/drops?limit=many", "", "", 400, "invalid", "many"},
	{"GET", "/api/v1/drops?limit=0", "", "", 400, "invalid", "1 to 100000"},
	{"GET", "/api/v1/drops?reason=order,boredom", "", "", 400, "invalid", "boredom"},
	{"GET", "/api/v1/drops?since=yesterday", "", "", 400, "invalid", "how long ago"},
	{"GET", "/api/v1/drops?since=1h&until=2h", "", "", 400, "invalid", "lies before"},
	{"GET", "/api/v1/drops?after=last", "", "", 400, "invalid", "cursor"},
	{"GET", "/api/v1/drops?format=xml", "", "", 400, "invalid", "csv"},
	{"GET", "/api/v1/drops?glob=A", "", "", 400, "invalid", `"glob"`},
	{"GET", "/api/v1/drops/summary?top=-1", "", "", 400, "invalid", "0 to 10000"},
}

// TestAPITellsWhatIsWrong sends one wrong request each: the answer is problem
// details that say what, which PV and what to do, and nothing has changed.
func TestAPITellsWhatIsWrong(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxBody = 2000 })
	f.archive("A", "R:B")
	last := f.registry.Cursor()
	document := readDocument(t)
	for _, c := range wrongRequests {
		resp, text := f.ask(c.method, c.path, c.contentType, c.body)
		var p problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || resp.StatusCode != c.want || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %.60s: %d %s: %v, want %d", c.method, c.path, c.body, resp.StatusCode, text, err, c.want)
			continue
		}
		if p.Code != c.code || p.Status != c.want || p.Hint == "" || !strings.Contains(p.Detail+" "+p.Hint, c.says) {
			t.Errorf("%s %s %.60s: %s, want %s that says %q", c.method, c.path, c.body, text, c.code, c.says)
		}
		if err := document.valid("/components/schemas/Problem", []byte(text)); err != nil {
			t.Error(err)
		}
		if c.want == 405 && resp.Header.Get("Allow") == "" || c.want == 503 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s: headers %v", c.method, c.path, resp.Header)
		}
	}
	if got := f.registry.Match("*", 0); !slices.Equal(got, []schema.PVName{"A", "R:B"}) || f.registry.Cursor() != last {
		t.Errorf("wrong requests changed the registry: %v, event %d after %d", got, f.registry.Cursor(), last)
	}
}

func TestAPIHidesWhatIsNotForUsers(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Channels = func(schema.PVName) (ChannelStatus, bool) { panic("secret cause") } })
	f.archive("A")
	resp, text := f.ask("GET", "/api/v1/pvs/A", "", "")
	if resp.StatusCode != 500 || strings.Contains(text, "secret") || !strings.Contains(text, `"code":"internal"`) || !strings.Contains(f.logs.String(), "secret cause") {
		t.Errorf("%d %s, log %s", resp.StatusCode, text, f.logs)
	}
}

func TestEveryChangeThroughTheAPIIsGuarded(t *testing.T) {
	f := newFixture(t)
	for _, rt := range f.server.table {
		if !underAPI(rt.path) {
			continue
		}
		if rt.changes != (rt.method != http.MethodGet) {
			t.Errorf("%s %s: changes is %v", rt.method, rt.path, rt.changes)
		}
		if !rt.changes {
			continue
		}
		r, err := http.NewRequest(rt.method, f.url+strings.NewReplacer("{", "", "}", "").Replace(rt.path), strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://evil.example")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var p problem
		err = json.NewDecoder(resp.Body).Decode(&p)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 403 || p.Code != "forbidden" || !strings.Contains(p.Detail, "evil.example") {
			t.Errorf("%s %s: %d %+v %v", rt.method, rt.path, resp.StatusCode, p, err)
		}
		r, _ = http.NewRequest(rt.method, f.url+strings.NewReplacer("{", "", "}", "").Replace(rt.path), strings.NewReader("{}"))
		r.Header.Set("X-Forwarded-For", "10.0.0.1")
		if resp, err = http.DefaultClient.Do(r); err != nil {
			t.Fatal(err)
		}
		p = problem{}
		err = json.NewDecoder(resp.Body).Decode(&p)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 401 || p.Code != "unauthorized" || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s from afar: %d %+v %v", rt.method, rt.path, resp.StatusCode, p, err)
		}
	}
}
