package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/schema"
)

// data is an archive of a test: it says what it was asked, and what it is told
// to answer.
type data struct {
	asked   []string
	moved   []Moved // what MergeFrom answers, one after the other
	problem error
	other   string // address of mergeInData
}

func (d *data) options(o *Options) {
	o.Convert = func(_ context.Context, q Conversion, commit func(string) error) (Converted, error) {
		d.asked = append(d.asked, fmt.Sprintf("convert %s %v %q lossy %v", q.PV, q.Type, q.Labels, q.Lossy))
		if d.problem != nil || q.DryRun {
			return Converted{Files: 2, Samples: 3, Lost: 1}, d.problem
		}
		return Converted{Files: 2, Samples: 3}, commit("bin")
	}
	o.MergeFrom = func(_ context.Context, from, into schema.PVName, count bool) (Moved, error) {
		d.asked = append(d.asked, fmt.Sprintf("merge %s into %s count %v", from, into, count))
		moved := d.moved[0]
		if len(d.moved) > 1 {
			d.moved = d.moved[1:]
		}
		return moved, d.problem
	}
	o.Retire = func(_ context.Context, pv schema.PVName, commit func(string) error) error {
		d.asked = append(d.asked, "retire "+string(pv))
		return commit("bin")
	}
	o.MergeIn = func(_ context.Context, q External) (Moved, error) {
		d.other = q.Raw.String()
		d.asked = append(d.asked, "merge in "+string(q.PV))
		return d.moved[0], d.problem
	}
}

func (f *fixture) set(path, body string) (int, map[string]any) {
	f.t.Helper()
	resp, text := f.ask("PUT", path, "", body)
	return resp.StatusCode, f.object(text)
}

func (f *fixture) object(text string) map[string]any {
	f.t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		f.t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestAPVGetsAnotherTypeWithItsData(t *testing.T) {
	d := &data{}
	f := newFixture(t, d.options)
	f.archive("A")
	f.must([]registry.Result{f.registry.Started(context.Background(), actor, registry.Discovery{PV: "A", Type: schema.ScalarDouble, Count: 1,
		Fields: map[string]string{"ENUM_0": "off", "ENUM_1": "on"}})[0]})
	if status, m := f.set("/api/v1/pvs/A/type", `{"type":"DBR_SCALAR_INT","dry_run":true}`); status != 200 || m["lost"] != 1.0 || m["dry_run"] != true || m["was"] != "DBR_SCALAR_DOUBLE" {
		t.Errorf("dry run: %d %v", status, m)
	}
	f.must(f.registry.Pause(context.Background(), actor, "A"))
	loss := schema.Errorf(schema.Conflict, "convert: %w", &partition.Loss{Path: "A.pb", Line: 7, Err: schema.ErrLoss})
	d.problem = loss
	if status, m := f.set("/api/v1/pvs/A/type", `{"type":"DBR_SCALAR_INT"}`); status != 409 || !strings.Contains(fmt.Sprint(m), "A.pb line 7") || !strings.Contains(fmt.Sprint(m["hint"]), "lossy") {
		t.Errorf("a loss: %d %v", status, m)
	}
	if _, text := f.ask("GET", "/mgmt/bpl/changeTypeForPV?pv=A&newtype=DBR_SCALAR_INT", "", ""); !strings.Contains(text, `"validation"`) || !strings.Contains(text, "A.pb line 7") {
		t.Errorf("a loss, as the Appliance's: %s", text)
	}
	d.problem = nil
	if _, text := f.ask("GET", "/mgmt/bpl/changeTypeForPV?pv=A&newtype=DBR_SCALAR_INT", "", ""); text != "{\"status\":\"ok\"}\n" {
		t.Errorf("as the Appliance's: %s", text)
	}
	status, m := f.set("/api/v1/pvs/A/type", `{"type":"DBR_SCALAR_STRING","lossy":true,"reason":"as text"}`)
	info, _ := f.registry.Get("A")
	if status != 200 || m["samples"] != 3.0 || m["seq"] != float64(info.Sequence) || info.DBRType != schema.ScalarString {
		t.Errorf("%d %v: %v", status, m, info.DBRType)
	}
	if want := `convert A DBR_SCALAR_STRING ["off" "on"] lossy true`; d.asked[len(d.asked)-1] != want {
		t.Errorf("asked %q", d.asked)
	}
	if status, m = f.set("/api/v1/pvs/A/type", `{"type":"DBR_SCALAR_STRING"}`); status != 200 || m["files"] != 0.0 || m["seq"] != nil {
		t.Errorf("the type that it has: %d %v", status, m)
	}
	_, text := f.ask("GET", "/api/v1/pvs/A/history", "", "")
	if !strings.Contains(text, "converted to DBR_SCALAR_STRING") || !strings.Contains(text, "as text") {
		t.Errorf("history: %s", text)
	}
}

// joinable registers REAL and OTHER, whose IOC calls it REAL.
func joinable(t *testing.T, d *data) *fixture {
	f := newFixture(t, d.options)
	f.archive("REAL", "OTHER")
	f.must(f.registry.Started(context.Background(), actor, registry.Discovery{PV: "OTHER", Type: schema.ScalarDouble, Count: 1, Fields: map[string]string{"NAME": "REAL"}}))
	return f
}

func TestAPVIsJoinedWithTheOneItIsAnAliasOf(t *testing.T) {
	d := &data{moved: []Moved{{Samples: 9}}}
	f := joinable(t, d)
	_, text := f.ask("POST", "/api/v1/pvs/OTHER/join", "", `{"dry_run":true}`)
	if m := f.object(text); m["alias_of"] != "REAL" || m["samples"] != 9.0 || m["dry_run"] != true {
		t.Errorf("dry run: %s", text)
	}
	if info, _ := f.registry.Get("OTHER"); info == nil || info.State != schema.Archiving {
		t.Fatalf("a dry run changed it: %+v", info)
	}
	d.moved = []Moved{{Samples: 9, Merged: 7, Waits: 2, Why: errors.New("too new")}, {Samples: 9, Merged: 2, There: 7}}
	_, text = f.ask("POST", "/api/v1/pvs/OTHER/join", "", `{}`)
	m := f.object(text)
	if m["alias_of"] != "REAL" || m["there"] != 7.0 || m["change_id"] == "" {
		t.Fatalf("%s", text)
	}
	if found, ok := f.registry.Resolve("OTHER"); !ok || found.Info.PV != "REAL" {
		t.Errorf("%+v %v", found, ok)
	}
	want := []string{"merge OTHER into REAL count true", "merge OTHER into REAL count false", "merge OTHER into REAL count false", "retire OTHER"}
	if fmt.Sprint(d.asked) != fmt.Sprint(want) {
		t.Errorf("asked %q", d.asked)
	}
	if resp, text := f.ask("POST", "/api/v1/pvs/OTHER/join", "", `{}`); resp.StatusCode != 200 {
		t.Errorf("again: %s", text)
	}
	body, _ := json.Marshal(map[string]any{"change_id": m["change_id"]})
	if resp, text := f.ask("POST", "/api/v1/registry/undo", "", string(body)); resp.StatusCode != 200 || !strings.Contains(text, `"changed":1`) {
		t.Errorf("undo: %d %s", resp.StatusCode, text)
	}
	if info, _ := f.registry.Get("OTHER"); info == nil || info.State != schema.Archiving {
		t.Errorf("after the undo: %+v", info)
	}
}

func TestAJoinThatCannotBeLeavesThePVArchiving(t *testing.T) {
	d := &data{moved: []Moved{{Samples: 9, Differs: 1, Merged: 8}}}
	f := joinable(t, d)
	resp, text := f.ask("POST", "/api/v1/pvs/OTHER/join", "", `{}`)
	if resp.StatusCode != 409 || !strings.Contains(text, "lossy") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if info, _ := f.registry.Get("OTHER"); info == nil || info.State != schema.Archiving {
		t.Errorf("%+v", info)
	}
	if resp, text := f.ask("POST", "/api/v1/pvs/OTHER/join", "", `{"lossy":true}`); resp.StatusCode != 200 {
		t.Errorf("lossy: %s", text)
	}
}

func TestAppendAndAliasAnswersAsTheAppliance(t *testing.T) {
	d := &data{moved: []Moved{{Samples: 4, Merged: 4}}}
	f := joinable(t, d)
	f.must(f.registry.Started(context.Background(), actor, registry.Discovery{PV: "REAL", Type: schema.ScalarDouble, Count: 1}))
	f.must(f.registry.Pause(context.Background(), actor, "REAL", "OTHER"))
	_, text := f.ask("GET", "/mgmt/bpl/appendAndAliasPV?olderpv=OTHER&newerpv=REAL&storage=STS", "", "")
	if m := f.object(text); m["status"] != "ok" || m["deleteOlder"] != "ok" || m["addAlias"] != "ok" {
		t.Errorf("%s", text)
	}
	if found, ok := f.registry.Resolve("OTHER"); !ok || found.Info.PV != "REAL" {
		t.Errorf("%+v", found)
	}
}

func TestMergeInDataAsksTheOtherArchiver(t *testing.T) {
	d := &data{moved: []Moved{{Samples: 4, Merged: 3, There: 1}}}
	f := newFixture(t, d.options)
	f.archive("A:B")
	f.must(f.registry.Pause(context.Background(), actor, "A:B"))
	path := "/mgmt/bpl/mergeInData?pv=A%3AB&storage=STS&other=" + url.QueryEscape("http://other:17668/retrieval") + "&from=2026-01-01T00:00:00.000Z"
	_, text := f.ask("GET", path, "", "")
	if m := f.object(text); m["status"] != "ok" {
		t.Errorf("%s", text)
	}
	u, err := url.Parse(d.other)
	if err != nil || u.Host != "other:17668" || u.Path != "/retrieval/data/getData.raw" || u.Query().Get("pv") != "A:B" || u.Query().Get("from") != "2026-01-01T00:00:00.000Z" {
		t.Errorf("asked %s", d.other)
	}
	if to, err := time.Parse(time.RFC3339, u.Query().Get("to")); err != nil || time.Until(to) < 30*24*time.Hour {
		t.Errorf("to %v %v", to, err)
	}
	d.moved = []Moved{{Samples: 4, Differs: 1, Waits: 1, Why: errors.New("not its type")}}
	if _, text := f.ask("GET", path, "", ""); !strings.Contains(text, `"validation"`) || !strings.Contains(text, "not its type") || !strings.Contains(text, "another value") {
		t.Errorf("%s", text)
	}
	d.problem = schema.Errorf(schema.NotFound, "the other archiver answered 404")
	if resp, text := f.ask("GET", path, "", ""); resp.StatusCode != 404 || !strings.Contains(text, "other archiver") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}
