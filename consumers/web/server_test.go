package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

func TestWrongRequestsAreToldWhatToDo(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxBody = 1000 })
	f.archive("A", "R:B")
	f.put("A", 2)
	const data, mgmt = "/retrieval/data/getData.", "/mgmt/bpl/"
	cases := []struct {
		method, path, body string
		want               int
		says               string // in error or hint
	}{
		{"GET", data + "json", "", 400, "pv is missing"},
		{"GET", data + "json?pv=", "", 400, "pv is missing"},
		{"GET", data + "json?pv=A&pv=B", "", 400, "2 times"},
		{"GET", data + "json?pv=bad%20name", "", 400, "bad name"},
		{"GET", data + "json?pv=..%2Fx", "", 400, "record name"},
		{"GET", data + "json?pv=%zz", "", 400, "malformed"},
		{"GET", data + "json?pv=pva://A", "", 400, "pva://"},
		{"GET", data + "json?pv=A&from=yesterday", "", 400, "2026-11-23T17:00:00.000Z"},
		{"GET", data + "csv?pv=A&to=1700000000", "", 400, "ISO 8601"},
		{"GET", data + "raw?pv=A&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", 400, "exchange"},
		{"GET", data + "raw?pv=mean_60(A)", "", 400, "mean_60"},
		{"GET", data + "json?pv=A&pp=firstSample_60", "", 400, "firstSample_60"},
		{"GET", data + "json?pv=nobody:knows", "", 404, "Unable to find typeinfo for pv nobody:knows"},
		{"GET", data + "qw?pv=A", "", 404, "getData.json"},
		{"GET", data + "?pv=A", "", 404, "getData.json"},
		{"GET", "/retrieval/data/getDataForPVs.json?pv=A", "", 404, "no /retrieval/data/getDataForPVs.json"},
		{"POST", data + "json?pv=A", "", 405, "GET, HEAD"},
		{"PUT", mgmt + "archivePV?pv=C", "", 405, "GET, POST"},
		{"HEAD", mgmt + "archivePV?pv=C", "", 405, ""},
		{"DELETE", mgmt + "getAllPVs", "", 405, "GET, HEAD"},
		{"GET", mgmt + "nosuchaction", "", 404, "GET / lists"},
		{"GET", "/mgmt/bpl", "", 404, "GET / lists"},
		{"GET", mgmt + "getAllPVs/", "", 404, "GET / lists"},
		{"GET", mgmt + "getPVTypeInfo", "", 400, "pv is missing"},
		{"GET", mgmt + "getPVTypeInfo?pv=nobody", "", 404, "archivePV?pv=nobody"},
		{"GET", mgmt + "getAllPVs?limit=many", "", 400, "not a number"},
		{"GET", mgmt + "getAllPVs?regex=(", "", 400, "RE2"},
		{"GET", mgmt + "getPVStatus?pv=bad%20name", "", 400, "bad name"},
		{"GET", mgmt + "archivePV", "", 400, "pv is missing"},
		{"GET", mgmt + "archivePV?pv=,", "", 400, "pv is missing"},
		{"GET", mgmt + "archivePV?pv=bad%20name", "", 400, "record name"},
		{"GET", mgmt + "archivePV?pv=R:*", "", 400, "patterns"},
		{"GET", mgmt + "archivePV?pv=C&samplingperiod=abc", "", 400, "seconds"},
		{"GET", mgmt + "archivePV?pv=C&samplingperiod=-1", "", 400, "seconds"},
		{"GET", mgmt + "archivePV?pv=C&samplingperiod=NaN", "", 400, "seconds"},
		{"GET", mgmt + "archivePV?pv=C&samplingmethod=NOPE", "", 400, "MONITOR, SCAN or SCAN_GET"},
		{"GET", mgmt + "archivePV?pv=C&controllingPV=x%20y", "", 400, "x y"},
		{"GET", mgmt + "archivePV?pv=R-B", "", 409, "R:B"},
		{"POST", mgmt + "archivePV", "two words", 400, "two words"},
		{"POST", mgmt + "archivePV", "[{\"pv\":", 400, "JSON"},
		{"POST", mgmt + "archivePV", strings.Repeat("x", 2000), 413, "several requests"},
		{"GET", mgmt + "pauseArchivingPV", "", 400, "pv is missing"},
		{"GET", mgmt + "pauseArchivingPV?pv=nobody", "", 404, "Trying to pause PV nobody"},
		{"GET", mgmt + "pauseArchivingPV?pv=a%20b", "", 400, "a b"},
		{"GET", mgmt + "deletePV?pv=nobody", "", 404, "nobody"},
		{"GET", mgmt + "deletePV?pv=A&deleteData=perhaps", "", 400, "deleteData"},
		{"GET", mgmt + "deletePV?pv=A&deleteData=true", "", 503, "cannot delete data"},
		{"GET", "/retrieval/bpl/getMatchingPVs", "", 400, "regex"},
		{"GET", "/retrieval/bpl/getMetadata?pv=nobody", "", 404, "nobody"},
	}
	for _, c := range cases {
		resp, text := f.ask(c.method, c.path, "", c.body)
		if resp.StatusCode != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, resp.StatusCode, text, c.want)
		}
		if c.method == http.MethodHead {
			continue
		}
		var body struct{ Error, Code, Hint string }
		if err := json.Unmarshal([]byte(text), &body); err != nil || body.Error == "" || body.Hint == "" || body.Code == "" {
			t.Errorf("%s %s: %s: %v", c.method, c.path, text, err)
		}
		if !strings.Contains(body.Error+" "+body.Hint, c.says) {
			t.Errorf("%s %s: %s does not say %q", c.method, c.path, text, c.says)
		}
		if c.want == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.path)
		}
		if c.want == 503 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", c.method, c.path)
		}
	}
	if got := f.registry.Match("*", 0); !slices.Equal(got, []schema.PVName{"A", "R:B"}) {
		t.Errorf("wrong requests changed the registry: %v", got)
	}
}

func TestDataComesInAllFormatsUnderAllNames(t *testing.T) {
	f := newFixture(t)
	f.archive("LAB:T-1")
	f.put("LAB:T-1", 100)
	for _, name := range []string{"LAB:T-1", "LAB:T-1.VAL", "ca://LAB:T-1", "LAB%3AT-1", "ca%3A%2F%2FLAB:T-1.VAL"} {
		_, answer := f.get("/retrieval/data/getData.json?pv=" + name + "&from=2026-11-23T17:10:30Z&to=2026-11-23T17:12:00.000Z")
		if got := vals(t, answer); !slices.Equal(got, []float64{10, 11, 12}) {
			t.Errorf("%s: %v", name, got)
		}
		meta := answer.([]any)[0].(map[string]any)["meta"]
		if !reflect.DeepEqual(meta, map[string]any{"name": "LAB:T-1", "EGU": "mA", "PREC": "3"}) {
			t.Errorf("%s: meta %v", name, meta)
		}
	}
	_, answer := f.get("/retrieval/data/getData.json?pv=LAB:T-1&from=2026-11-23T18:30:00+01:00&to=2026-11-23T18:31:00+01:00&fetchLatestMetadata=true&donotchunk=")
	if got := vals(t, answer); !slices.Equal(got, []float64{30, 31}) {
		t.Errorf("offset with an unencoded plus: %v", got)
	}
	if meta := answer.([]any)[0].(map[string]any)["meta"].(map[string]any); meta["HIHI"] != "60.0" || meta["PREC"] != "3" {
		t.Errorf("fetchLatestMetadata: %v", meta)
	}
	resp, text := f.ask("GET", "/retrieval/data/getData.csv?pv=LAB:T-1&from=2026-11-23T17:01:00Z&to=2026-11-23T17:01:00Z", "", "")
	if want := fmt.Sprintf("%d,1.0,0,0,0\n\n", begin.Add(time.Minute).Unix()); text != want || resp.Header.Get("Content-Type") != "text/csv" {
		t.Errorf("csv: %q, want %q", text, want)
	}
	resp, text = f.ask("GET", "/retrieval/data/getData.raw?pv=LAB:T-1&from=2026-11-23T17:00:00Z&to=2026-11-23T19:00:00Z", "", "")
	lines := strings.Split(text, "\n")
	header, err := partition.ParseHeader([]byte(lines[0]))
	if err != nil || header.PV != "LAB:T-1" || header.ElementCount != 1 || len(lines) != 102 || lines[101] != "" {
		t.Errorf("raw: %+v, %d lines, %v", header, len(lines), err)
	}
	if !slices.Contains(header.Fields, schema.FieldValue{Name: "HIHI", Val: "60.0"}) || !slices.Contains(header.Fields, schema.FieldValue{Name: "PREC", Val: "3"}) {
		t.Errorf("raw header: %v", header.Fields)
	}
	if ct, ce := resp.Header.Get("Content-Type"), resp.Header.Get("Content-Encoding"); ct != "application/x-protobuf" || ce != "" {
		t.Errorf("raw: %q %q", ct, ce)
	}
	resp, text = f.ask("HEAD", "/retrieval/data/getData.raw?pv=LAB:T-1", "", "")
	if resp.StatusCode != 200 || text != "" || resp.Header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("head: %d %q", resp.StatusCode, text)
	}
}

func TestKnownPVWithoutDataIsEmpty(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	if status, answer := f.get("/retrieval/data/getData.json?pv=A"); status != 200 || len(vals(t, answer)) != 0 {
		t.Error(status, answer)
	}
	if resp, text := f.ask("GET", "/retrieval/data/getData.csv?pv=A", "", ""); resp.StatusCode != 200 || strings.TrimSpace(text) != "" {
		t.Error(resp.StatusCode, text)
	}
	if resp, text := f.ask("GET", "/retrieval/data/getData.raw?pv=A", "", ""); resp.StatusCode != 200 || strings.Count(text, "\n") != 1 {
		t.Errorf("%d %q", resp.StatusCode, text)
	}
}

func TestArchiveTakesManyAndTellsEach(t *testing.T) {
	f := newFixture(t)
	f.archive("OLD")
	resp, text := f.ask("POST", "/mgmt/bpl/archivePV", "application/json",
		`[{"pv":"N:1","samplingperiod":"2","samplingmethod":"SCAN","policy":"fast","controllingPV":"ca://GATE"},{"pv":"OLD"},{"pv":"bad name"},{"pv":"ca://N:1.VAL"},"N:2"]`)
	var got []struct{ PVName, Status, Validation string }
	if err := json.Unmarshal([]byte(text), &got); err != nil || resp.StatusCode != 200 || len(got) != 5 {
		t.Fatal(resp.StatusCode, text, err)
	}
	const submitted, failed = "Archive request submitted", "Exception occured"
	for i, want := range []string{submitted, "Already submitted", failed, submitted, submitted} {
		if got[i].Status != want || (want == failed) != (got[i].Validation != "") {
			t.Errorf("%d: %+v, want %s", i, got[i], want)
		}
	}
	info, ok := f.registry.Get("N:1")
	if !ok || info.SamplingMethod != schema.Scan || info.SamplingPeriod != 2*time.Second || info.AskedPolicy != "fast" || info.ControllingPV != "GATE" {
		t.Errorf("%+v", info)
	}
	event := f.log.events[len(f.log.events)-1]
	if event.GetActor() != "http" || !strings.HasPrefix(event.GetSource(), "127.0.0.1:") {
		t.Errorf("who did it is not on record: %v", event)
	}
	if _, answer := f.get("/mgmt/bpl/archivePV?pv=G:1,G:2&samplingperiod=5&reason=test"); len(answer.([]any)) != 2 {
		t.Error(answer)
	}
	if info, ok := f.registry.Get("G:2"); !ok || info.SamplingPeriod != 5*time.Second {
		t.Errorf("%+v", info)
	}
}

func TestCommandsOnManyPVs(t *testing.T) {
	f := newFixture(t)
	f.archive("A:1", "A:2", "B")
	status, answer := f.get("/mgmt/bpl/pauseArchivingPV?pv=A:*,nobody")
	want := []any{map[string]any{"pvName": "A:1", "status": "ok"}, map[string]any{"pvName": "A:2", "status": "ok"},
		map[string]any{"pvName": "nobody", "validation": "Trying to pause PV nobody that is not currently being archived or on an instance that is not active."}}
	if status != 200 || !reflect.DeepEqual(answer, want) {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := f.get("/mgmt/bpl/pauseArchivingPV?pv=x,y"); status != 404 || len(answer.([]any)) != 2 {
		t.Errorf("all unknown: %d %v", status, answer)
	}
	if status, answer := f.get("/mgmt/bpl/pauseArchivingPV?pv=Z*"); status != 404 {
		t.Errorf("glob without a match: %d %v", status, answer)
	}
	if status, answer := f.get("/mgmt/bpl/pauseArchivingPV?pv=nobody,B"); status != 200 || len(answer.([]any)) != 2 {
		t.Errorf("the first unknown: %d %v", status, answer)
	}
	if status, answer := f.get("/mgmt/bpl/stopArchivingPV?pv=B"); status != 200 || answer.(map[string]any)["status"] != "ok" {
		t.Errorf("stop: %d %v", status, answer)
	}
	_, answer = f.get("/mgmt/bpl/getPVStatus?pv=*")
	var words []string
	for _, item := range answer.([]any) {
		words = append(words, item.(map[string]any)["status"].(string))
	}
	if !slices.Equal(words, []string{"Paused", "Paused", "Not being archived"}) {
		t.Error(words)
	}
	if status, answer := f.get("/mgmt/bpl/deletePV?pv=A:1,A:1,nobody"); status != 200 || answer.(map[string]any)["status"] != nil || answer.(map[string]any)["validation"] == "" {
		t.Errorf("delete with one unknown: %d %v", status, answer)
	}
	if _, ok := f.registry.Get("A:1"); ok {
		t.Error("A:1 was not deleted")
	}
}

func TestDeletingDataComesAfterTheEvent(t *testing.T) {
	var f *fixture
	var deleted []schema.PVName
	var failure error
	f = newFixture(t, func(o *Options) {
		o.DeleteData = func(_ context.Context, pv schema.PVName) error {
			if _, ok := f.registry.Get(pv); ok {
				t.Errorf("the data of %s go before its registration", pv)
			}
			deleted = append(deleted, pv)
			return failure
		}
	})
	f.archive("A", "B", "C")
	f.get("/mgmt/bpl/pauseArchivingPV?pv=A,C")
	if _, answer := f.get("/mgmt/bpl/deletePV?pv=B&deleteData=true"); !strings.Contains(fmt.Sprint(answer), "Please pause recording first") {
		t.Error(answer)
	}
	if _, answer := f.get("/mgmt/bpl/deletePV?pv=A&deleteData=True"); answer.(map[string]any)["status"] != "ok" || !slices.Equal(deleted, []schema.PVName{"A"}) {
		t.Error(answer, deleted)
	}
	failure = schema.Errorf(schema.Unavailable, "the store is read-only")
	if status, answer := f.get("/mgmt/bpl/deletePV?pv=C&deleteData=true"); status != 503 || !strings.Contains(fmt.Sprint(answer), "read-only") {
		t.Error(status, answer)
	}
	if !f.log.events[len(f.log.events)-1].GetDeleted().GetData() {
		t.Error("the event does not say that the data are to go")
	}
}

// What went wrong inside is in the log and not in the answer.
func TestForeignErrorsStayInside(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.DeleteData = func(context.Context, schema.PVName) error { return errors.New("secret /root/path") }
	})
	f.archive("A", "B")
	f.get("/mgmt/bpl/pauseArchivingPV?pv=*")
	status, answer := f.get("/mgmt/bpl/deletePV?pv=A&deleteData=true")
	if status != 500 || strings.Contains(fmt.Sprint(answer), "secret") || !strings.Contains(f.logs.String(), "secret /root/path") {
		t.Error(status, answer)
	}
	f.server.routes["/healthz"].handle = func(http.ResponseWriter, *http.Request) error { panic("secret") }
	if status, answer := f.get("/healthz"); status != 500 || strings.Contains(fmt.Sprint(answer), "secret") {
		t.Error(status, answer)
	}
}

func TestHealthMetricsAndIndex(t *testing.T) {
	var health Health
	f := newFixture(t, func(o *Options) { o.Health = func() Health { return health } })
	if status, answer := f.get("/healthz"); status != 200 || answer.(map[string]any)["status"] != "ok" {
		t.Error(status, answer)
	}
	health = Health{Faults: []Fault{{Part: "archive", Message: "no space", Since: begin}}, Details: map[string]any{"lag": 7}}
	if status, answer := f.get("/healthz"); status != 503 || !strings.Contains(fmt.Sprint(answer), "no space") || !strings.Contains(fmt.Sprint(answer), "lag:7") {
		t.Error(status, answer)
	}
	f.ask("GET", "/nowhere", "", "")
	if _, text := f.ask("GET", "/metrics", "", ""); !strings.Contains(text, `pvlog_web_requests_total{path="/healthz",status="503"} 1`) || !strings.Contains(text, `path="other",status="404"`) {
		t.Error(text)
	}
	_, text := f.ask("GET", "/", "", "")
	for _, path := range f.server.names {
		if !strings.Contains(text, path) {
			t.Errorf("the index does not name %s", path)
		}
	}
	if resp, text := f.ask("GET", "/mgmt/bpl/ping", "", ""); resp.StatusCode != 200 || text != "pong" {
		t.Error(resp.StatusCode, text)
	}
}

func TestRetrievalMayBeReadFromOtherSites(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	for path, allowed := range map[string]bool{"/retrieval/data/getData.json?pv=A": true, "/retrieval/data/getData.json": true, "/retrieval/bpl/getMatchingPVs?pv=*": true, "/mgmt/bpl/getAllPVs": false} {
		resp, _ := f.ask("GET", path, "", "")
		if got := resp.Header.Get("Access-Control-Allow-Origin"); (got == "*") != allowed {
			t.Errorf("%s: %q", path, got)
		}
	}
	resp, _ := f.ask("OPTIONS", "/retrieval/data/getData.json?pv=A", "", "")
	if resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Headers") == "" {
		t.Error(resp.StatusCode, resp.Header)
	}
	if resp, _ := f.ask("OPTIONS", "/mgmt/bpl/archivePV", "", ""); resp.StatusCode != 405 || resp.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Error(resp.StatusCode, resp.Header)
	}
}

func TestNamesAreFoundByGlobAndRegex(t *testing.T) {
	f := newFixture(t)
	f.archive("LAB:T1", "LAB:T2", "LAB:P1", "QUICK:x")
	for query, want := range map[string][]string{
		"pv=LAB:T?":                {"LAB:T1", "LAB:T2"},
		"pv=*&limit=2":             {"LAB:P1", "LAB:T1"},
		"pv=*&limit=-1":            {"LAB:P1", "LAB:T1", "LAB:T2", "QUICK:x"},
		"pv=none*":                 nil,
		"pv=*&limit=0":             nil,
		"regex=LAB:.*&limit=1":     {"LAB:P1"},
		"regex=LAB":                nil, // the whole name
		`regex=(%3Fi)^lab\:t[12]$`: {"LAB:T1", "LAB:T2"},
		"regex=LAB:T1|QUICK:x":     {"LAB:T1", "QUICK:x"},
		"regex=LAB:T[0-9]+":        {"LAB:T1", "LAB:T2"},
	} {
		_, answer := f.get("/retrieval/bpl/getMatchingPVs?" + query)
		if got := names(answer); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	if _, text := f.ask("GET", "/retrieval/bpl/searchForPVsRegex?regex=nothing", "", ""); text != "" {
		t.Errorf("%q is a PV for Phoebus", text)
	}
	if _, answer := f.get("/mgmt/bpl/getAllPVs"); len(names(answer)) != 4 {
		t.Error(answer)
	}
}

func TestURLsNameTheServerAsTheClientDid(t *testing.T) {
	f := newFixture(t)
	_, answer := f.get("/mgmt/bpl/getApplianceInfo")
	if got := answer.(map[string]any)["dataRetrievalURL"]; got != f.url+"/retrieval" {
		t.Error(got)
	}
}

// Changes are refused to pages of other sites over a real connection, too.
func TestForeignPageChangesNothing(t *testing.T) {
	f := newFixture(t)
	req, err := http.NewRequest(http.MethodGet, f.url+"/mgmt/bpl/archivePV?pv=EVIL", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://evil.example")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, ok := f.registry.Get("EVIL"); ok || resp.StatusCode != 403 {
		t.Error(resp.StatusCode)
	}
}

// FuzzData asks for whatever: the server may refuse, and never fails.
func FuzzData(f *testing.F) {
	for _, s := range []string{"A", "ca://A.VAL", "mean_60(A)", "A.{\"x\":1}", "../A", "A\x00", "A&from=2026-01-01T00:00:00Z", "%zz", "A;B+C"} {
		f.Add(s, "2026-01-01T00:00:00Z")
	}
	fix := newFixture(f)
	fix.archive("A")
	h := fix.server.Handler()
	f.Fuzz(func(t *testing.T, pv, from string) {
		for _, raw := range []string{"pv=" + url.QueryEscape(pv) + "&from=" + url.QueryEscape(from), "pv=" + pv + "&from=" + from} {
			for _, path := range []string{"/retrieval/data/getData.json", "/mgmt/bpl/getPVStatus", "/mgmt/bpl/getPVTypeInfo", "/retrieval/bpl/getMatchingPVs"} {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.URL.RawQuery = raw
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
					t.Errorf("%s?%s: %d %s", path, raw, w.Code, w.Body)
				}
			}
		}
	})
}

// A log that cannot store is a fault of the server, and nothing is promised.
func TestArchiveWithoutALogIsNotAcknowledged(t *testing.T) {
	f := newFixture(t)
	f.archive("OLD")
	f.log.fail(errors.New("no space left on device"))
	for _, path := range []string{"/mgmt/bpl/archivePV?pv=NEW", "/mgmt/bpl/archivePV?pv=NEW,NEWER", "/mgmt/bpl/pauseArchivingPV?pv=OLD"} {
		if resp, text := f.ask("GET", path, "", ""); resp.StatusCode != 503 || strings.Contains(text, "submitted") || strings.Contains(text, `"ok"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
	f.log.fail(nil)
	if status, answer := f.get("/mgmt/bpl/archivePV?pv=NEW"); status != 200 {
		t.Errorf("once the log stores again: %d %v", status, answer)
	}
}
