package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

func unmarshal(text string, v any) error { return json.Unmarshal([]byte(text), v) }

// bulkAnswer is the answer to a command.
type bulkAnswer struct {
	summaryJSON
	Results []itemJSON `json:"results"`
}

// outcomes are the PVs with what became of them.
func (a bulkAnswer) outcomes() string {
	var words []string
	for _, r := range a.Results {
		words = append(words, r.PV+" "+r.Status)
	}
	return strings.Join(words, ", ")
}

// command sends a command that must be understood.
func (f *fixture) command(path, contentType, body string) (a bulkAnswer) {
	f.t.Helper()
	resp, text := f.ask(http.MethodPost, path, contentType, body)
	if err := unmarshal(text, &a); err != nil || resp.StatusCode != 200 {
		f.t.Fatalf("%s %.80s: %d %s: %v", path, body, resp.StatusCode, text, err)
	}
	return a
}

func TestPVsAreArchivedFromEachFormat(t *testing.T) {
	f := newFixture(t)
	scan := schema.Settings{SamplingMethod: schema.Scan, SamplingPeriod: 10 * time.Second}
	all := schema.Settings{SamplingMethod: schema.ScanGet, SamplingPeriod: 1500 * time.Millisecond, ControllingPV: "GATE",
		ArchiveFields: []string{"HIHI", "LOLO"}, Deadband: 0.5, DriftPast: time.Hour, DriftFuture: time.Minute, RateEvents: 100, RateBytes: 5000}
	for i, c := range []struct {
		query, contentType, body string
		want                     schema.Settings
	}{
		{"", "application/json", `{"pv":"%s","method":"scan","period":10}`, scan},
		{"", "application/json", `{"pvs":["%s"],"method":"SCAN","period":10}`, scan},
		{"", "", `[{"pv":"%s","method":"SCAN","period":10}]`, scan},
		{"", "application/json", `{"pvs":[{"pv":"%s","period":10}],"method":"SCAN","period":60}`, scan},
		{"?method=SCAN&period=10", "text/plain", "# a comment\n%s # another\n", scan},
		{"?samplingmethod=SCAN&samplingperiod=10", "", `["%s"]`, scan},
		{"", "text/csv", "pv,samplingmethod,samplingperiod,policy\n# a comment\n%s,SCAN,10,\n", scan},
		{"?period=60", "text/csv", "\ufeffPeriod, PV, METHOD\n10, %s, scan\n", scan},
		{"", "", `{"pv":"%s","method":"SCAN_GET","period":1.5,"controlling_pv":"GATE.VAL","fields":["LOLO","HIHI"],"deadband":0.5,"drift":{"past":3600,"future":60},"rate":{"events":100,"bytes":5000}}`, all},
		{"", "text/csv", "pv,method,period,controlling_pv,fields,deadband,drift_past,drift_future,rate_events,rate_bytes\n%s,SCAN_GET,1.5,GATE,\"LOLO,HIHI\",0.5,3600,60,100,5000\n", all},
	} {
		pv := schema.PVName(fmt.Sprintf("F:%d", i))
		a := f.command("/api/v1/pvs"+c.query, c.contentType, fmt.Sprintf(c.body, pv))
		info, ok := f.registry.Get(pv)
		if a.Changed != 1 || !ok || !info.Settings.Equal(c.want) {
			t.Errorf("%s %s: %+v, registered as %+v", c.contentType, c.body, a, info)
		}
	}
}

func TestARequestMayNameAPolicyAnAliasAndATimeLimit(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TimeLimit = time.Hour })
	before := time.Now()
	f.command("/api/v1/pvs", "", `{"pvs":[{"pv":"A","policy":"slow","alias":"N","time_limit":60},{"pv":"B","time_limit":0},{"pv":"C"}]}`)
	for pv, limit := range map[schema.PVName]time.Duration{"A": time.Minute, "B": 0, "C": time.Hour} {
		info, _ := f.registry.Get(pv)
		if limit == 0 && !info.Expires.IsZero() || limit > 0 && (info.Expires.Before(before.Add(limit)) || info.Expires.After(time.Now().Add(limit))) {
			t.Errorf("%s is given up at %v", pv, info.Expires)
		}
	}
	info, _ := f.registry.Get("A")
	if info.AskedPolicy != "slow" || !slices.Equal(f.registry.AliasesOf("A"), []schema.PVName{"N"}) {
		t.Errorf("%+v, aliases %v", info, f.registry.AliasesOf("A"))
	}
	a := f.command("/api/v1/pvs", "", `[{"pv":"A","alias":"N"},{"pv":"B","alias":"N"},{"pv":"D","alias":"A"}]`)
	if got := a.outcomes(); got != "A unchanged, B failed, D failed" || !strings.Contains(a.Results[1].Problem.Detail, "N") || !strings.Contains(a.Results[2].Problem.Detail, "PV D is archived, but not its alias") {
		t.Errorf("%s: %+v", got, a.Results)
	}
}

func TestACommandTellsWhatBecameOfEachPV(t *testing.T) {
	f := newFixture(t)
	f.archive("L:1", "L:2", "L:3", "M:1")
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "L:OLD", PV: "M:1"}))
	last := f.registry.Cursor()
	if a := f.command("/api/v1/pvs:pause?dry_run=true", "", `{"glob":"L:*","pvs":["L:1","none"]}`); a.outcomes() != "L:1 changed, none failed, L:2 changed, L:3 changed" || !a.DryRun || f.registry.Cursor() != last {
		t.Errorf("%+v, event %d", a, f.registry.Cursor())
	}
	for _, c := range []struct{ path, body, want string }{
		{"pause", `["L:1","L:1","L:OLD","none","bad name","X:*"]`, "L:1 changed, L:OLD changed, none failed, bad name failed, X:* failed"},
		{"pause", `{"glob":"?:*"}`, "L:1 unchanged, L:2 changed, L:3 changed, M:1 unchanged"},
		{"resume", `["L:?"]`, "L:1 changed, L:2 changed, L:3 changed"},
		{"configure", `{"glob":"L:?","period":10}`, "L:1 changed, L:2 changed, L:3 changed"},
		{"configure", `[{"pv":"L:1","period":10},{"pv":"L:2","period":5},{"pv":"L:2","period":6},{"pv":"L:3","period":0.001}]`, "L:1 unchanged, L:2 changed, L:2 failed, L:3 failed"},
		{"stop", `["L:1","M:1"]`, "L:1 changed, M:1 changed"},
		{"delete", `{"glob":"*"}`, "L:1 changed, L:2 failed, L:3 failed, M:1 changed"},
	} {
		a := f.command("/api/v1/pvs:"+c.path, "", c.body)
		if a.outcomes() != c.want || a.Command != c.path || a.Changed != strings.Count(c.want, " changed") || a.Failed != strings.Count(c.want, "failed") || a.Total != len(a.Results) {
			t.Errorf("%s %s: %s, want %s", c.path, c.body, a.outcomes(), c.want)
		}
		for _, r := range a.Results {
			if (r.Status == "failed") != (r.Problem != nil && r.Problem.Detail != "" && r.Problem.Hint != "") || (r.Status == "changed") != (r.Seq > 0) {
				t.Errorf("%s %s: %+v", c.path, c.body, r)
			}
		}
	}
	if info, _ := f.registry.Get("L:2"); info.SamplingPeriod != 5*time.Second {
		t.Errorf("of two entries for L:2 the later one counts: %v", info.SamplingPeriod)
	}
}

func TestARepetitionWithItsChangeIDDoesNothingTwice(t *testing.T) {
	f := newFixture(t)
	f.archive("A", "B")
	f.must(f.registry.Pause(context.Background(), actor, "A", "B"))
	const body = `{"pvs":["A","B"],"change_id":"shift-9"}`
	first := f.command("/api/v1/pvs:delete", "", body)
	last := f.registry.Cursor()
	again := f.command("/api/v1/pvs:delete", "", body)
	if first.outcomes() != "A changed, B changed" || again.outcomes() != first.outcomes() || again.Results[0].Seq != first.Results[0].Seq || f.registry.Cursor() != last {
		t.Errorf("%+v, then %+v, event %d after %d", first, again, f.registry.Cursor(), last)
	}
	if other := f.command("/api/v1/pvs:delete", "", `{"pvs":["A","B"]}`); other.outcomes() != "A failed, B failed" || other.ChangeID == "" {
		t.Errorf("%+v", other)
	}
}

// slowFiles is a fixture whose files are moved away when the test says so.
func slowFiles(t *testing.T, pvs int) (f *fixture, moved chan schema.PVName, move chan error) {
	moved, move = make(chan schema.PVName, pvs), make(chan error)
	f = newFixture(t, func(o *Options) {
		o.DeleteData = func(_ context.Context, pv schema.PVName) error {
			err := <-move
			moved <- pv
			return err
		}
	})
	for i := range pvs {
		pv := schema.PVName(fmt.Sprintf("P:%d", i))
		f.archive(pv)
		f.must(f.registry.Pause(context.Background(), actor, pv))
	}
	return f, moved, move
}

// stream begins a command whose answer is streamed.
func (f *fixture) stream(ctx context.Context, path, body string) (*http.Response, *bufio.Scanner) {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Accept", ndjson)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != ndjson {
		f.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return resp, bufio.NewScanner(resp.Body)
}

func TestLinesComeAsPVsAreDone(t *testing.T) {
	f, _, move := slowFiles(t, 2)
	resp, lines := f.stream(context.Background(), "/api/v1/pvs:delete", `{"glob":"P:*","data":true,"change_id":"c"}`)
	defer resp.Body.Close()
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Fatalf("%q %v, want %s", lines.Text(), lines.Err(), want)
		}
	}
	next(`{"change":{"command":"delete","dry_run":false,"id":"c","total":2}}`)
	move <- nil
	next(`{"pv":"P:0","status":"changed","seq":`) // while the other one still waits
	next(`{"progress":{"done":1,"total":2}}`)
	move <- errors.New("the disk is gone")
	next(`{"pv":"P:1","status":"failed","seq":`)
	next(`{"progress":{"done":2,"total":2}}`)
	next(`{"summary":{"change_id":"c","command":"delete","dry_run":false,"total":2,"changed":1,"unchanged":0,"failed":1}}`)
	if lines.Scan() {
		t.Errorf("behind the summary stands %s", lines.Text())
	}
	if !strings.Contains(f.logs.String(), "the disk is gone") {
		t.Error("the log does not say why")
	}
}

func TestAClientThatGoesAwayStopsNothing(t *testing.T) {
	f, moved, move := slowFiles(t, 3)
	ctx, leave := context.WithCancel(context.Background())
	resp, lines := f.stream(ctx, "/api/v1/pvs:delete", `{"glob":"P:*","data":true}`)
	move <- nil
	for range 3 {
		lines.Scan()
	}
	leave()
	_ = resp.Body.Close()
	move <- nil
	move <- nil
	for range 3 {
		<-moved
	}
	if left := f.registry.Match("*", 0); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
}

func TestManyPVsAreReportedInBatches(t *testing.T) {
	f := newFixture(t)
	list := ""
	for i := range 2500 {
		list += fmt.Sprintf("N:%04d\n", i)
	}
	r, err := http.NewRequest(http.MethodPost, f.url+"/api/v1/pvs?change_id=many&reason=test", strings.NewReader(list+"N:0001\nbad..name\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", ndjson)
	r.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	results, count, done, progressed, summary := map[string]string{}, 0, 0, 0, summaryJSON{}
	for lines.Scan() {
		var line struct {
			itemJSON
			Progress *progressJSON `json:"progress"`
			Summary  *summaryJSON  `json:"summary"`
		}
		if err := unmarshal(lines.Text(), &line); err != nil {
			t.Fatal(err)
		}
		switch {
		case line.Progress != nil:
			if line.Progress.Done <= done || line.Progress.Total != 2502 || line.Progress.Done != count {
				t.Errorf("%+v after %d, %d results", line.Progress, done, count)
			}
			done = line.Progress.Done
			progressed++
		case line.Summary != nil:
			summary = *line.Summary
		case line.PV != "":
			results[line.PV] = line.Status
			count++
		}
	}
	if progressed < 3 || done != 2502 || summary.Changed != 2500 || summary.Failed != 2 || results["bad..name"] != "failed" || results["N:2499"] != "changed" {
		t.Errorf("%d lines of progress up to %d, %+v", progressed, done, summary)
	}
	var change registry.Change
	f.decode("/api/v1/changes/many", &change)
	if change.PVs != 2500 || change.Changed != 2500 || change.Closed == 0 || change.Reason != "test" {
		t.Errorf("%+v", change)
	}
}
