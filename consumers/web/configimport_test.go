package web

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// exported is what exportConfig and getAllAliases answer, without the time of
// the last change, which is that of the import, and without measured rates.
func (f *fixture) exported() map[string]map[string]any {
	f.t.Helper()
	_, answer := f.get("/mgmt/bpl/exportConfig?complete=true")
	all := map[string]map[string]any{}
	for _, item := range answer.([]any) {
		object := item.(map[string]any)
		delete(object, "modificationTime")
		name, _ := object["pvName"].(string)
		if alias, ok := object["aliasName"].(string); ok {
			name = alias
		}
		all[name] = object
	}
	return all
}

// TestExportThenImportIsTheSame fills a registry with random PVs and aliases,
// moves its configuration to an empty one, and from there to a third.
func TestExportThenImportIsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	first := newFixture(t)
	definitions := make([]registry.Definition, 300)
	for i := range definitions {
		definitions[i] = registry.Definition{Info: randomInfo(r, fmt.Sprintf("P:%d{x}", i))}
	}
	first.must(first.registry.Define(context.Background(), actor, definitions...))
	first.must(first.registry.Archive(context.Background(), actor, registry.Request{PV: "NEVER", Settings: schema.Settings{SamplingMethod: schema.Scan}, AskedSampling: true}))
	first.must(first.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "N:1", PV: "P:1{x}"}, registry.Alias{Alias: "N:2", PV: "P:1{x}"}))
	want := first.exported()
	if len(want) != 303 {
		t.Fatalf("%d objects were exported", len(want))
	}
	_, text := first.ask("GET", "/mgmt/bpl/exportConfig?complete=true", "", "")
	for range 2 {
		next := newFixture(t)
		resp, answer := next.ask("POST", "/mgmt/bpl/importConfig", "application/json", text)
		if resp.StatusCode != http.StatusOK || !strings.Contains(answer, `"errorPVs":[]`) || !strings.Contains(answer, `"imported":301`) || !strings.Contains(answer, `"aliases":2`) {
			t.Fatalf("%d %.500s", resp.StatusCode, answer)
		}
		got := next.exported()
		for name, object := range want {
			if !reflect.DeepEqual(got[name], object) {
				t.Errorf("%s: %v, want %v", name, got[name], object)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d objects, want %d", len(got), len(want))
		}
		_, text = next.ask("GET", "/mgmt/bpl/exportConfig?complete=true", "", "")
	}
}

// randomInfo is a PV of any state, type and settings.
func randomInfo(r *rand.Rand, pv string) schema.TypeInfo {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	info := schema.TypeInfo{
		PV: schema.PVName(pv), State: schema.State(pick("archiving", "paused", "stopped")), DBRType: schema.DBRType(r.IntN(15)), ElementCount: r.IntN(1 << 20),
		Settings: schema.Settings{
			SamplingMethod: schema.SamplingMethod(pick("MONITOR", "SCAN", "SCAN_GET")), SamplingPeriod: time.Duration(1+r.IntN(100)) * 100 * time.Millisecond,
			Policy: pick("", "Default", "2HzPVs"), ControllingPV: schema.PVName(pick("", "GATE")),
			Stores: []string{"pb://localhost?name=STS&rootFolder=${ARCHAPPL_SHORT_TERM_FOLDER}&partitionGranularity=PARTITION_HOUR&consolidateOnShutdown=true"},
		},
		AskedSampling: r.IntN(2) == 0, AskedPolicy: pick("", "Default"), SkipAliasCheck: r.IntN(4) == 0,
		Host: pick("", "ioc1:5064"), Units: pick("", "mA", "\u00b5m", `"q"`), Precision: r.IntN(6),
		Limits:  map[string]float64{"HIHI": pickFloat(r), "LOLO": pickFloat(r), "DRVH": pickFloat(r)},
		Fields:  map[string]string{"NAME": pv, "RTYP": pick("ai", "mbbi"), "ENUM_0": pick("", "Zero", "<&>")},
		Created: time.UnixMilli(r.Int64N(1 << 41)).UTC(),
	}
	if r.IntN(3) == 0 {
		info.ArchiveFields, info.Deadband, info.DriftPast, info.DriftFuture = []string{"HIGH", "HIHI"}, r.Float64(), time.Hour, 24*time.Hour
	}
	return info
}

func pickFloat(r *rand.Rand) float64 {
	return []float64{0, 1.5, -1e300, math.NaN(), math.Inf(1), r.NormFloat64()}[r.IntN(6)]
}

// TestImportTellsWhatBecameOfEach imports what an Appliance exported, with
// items that cannot be taken among it.
func TestImportTellsWhatBecameOfEach(t *testing.T) {
	f := newFixture(t)
	f.archive("THERE")
	theirs, err := os.ReadFile("testdata/appliance-typeinfo.json")
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(theirs, &object); err != nil {
		t.Fatal(err)
	}
	as := func(name string, change ...any) any {
		o := maps.Clone(object)
		o["pvName"] = name
		for i := 0; i < len(change); i += 2 {
			o[change[i].(string)] = change[i+1]
		}
		return o
	}
	body, err := json.Marshal([]any{
		object, as("B"), as("THERE"), as("bad name"), as("C", "usePVAccess", "true"), map[string]string{"units": "mA"}, as("B"),
		as("D", "samplingPeriod", "0.001", "chunkKey", "D/own:", "colour", "red"), as("E", "applianceIdentity", "appliance7", "paused", "true"),
		map[string]string{"aliasName": "N", "srcPVName": "B"}, map[string]string{"aliasName": "M", "srcPVName": "NOBODY"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, text := f.ask("POST", "/mgmt/bpl/importConfig", "application/json", string(body))
	var answers []struct {
		Appliance string
		ErrorPVs  []string
		Imported  int
		Aliases   int
		Errors    []struct{ PVName, Validation string }
		Notes     []string
	}
	if err := json.Unmarshal([]byte(text), &answers); err != nil || len(answers) != 1 {
		t.Fatal(text, err)
	}
	got := answers[0]
	if want := []string{"bad name", "C", "item 5", "THERE", "B", "M"}; got.Appliance != "appliance0" || !slices.Equal(got.ErrorPVs, want) || got.Imported != 4 || got.Aliases != 1 {
		t.Errorf("%+v, want errors for %v", got, want)
	}
	for i, says := range []string{"record name", "Channel Access only", "no pvName", "registered already", "twice", "NOBODY"} {
		if !strings.Contains(got.Errors[i].Validation, says) || got.Errors[i].PVName != got.ErrorPVs[i] {
			t.Errorf("error %d: %+v, want %q", i, got.Errors[i], says)
		}
	}
	for _, says := range []string{"1 PVs (such as D): chunkKey", "PVs (such as R:CNT): dataStores", `1 PVs (such as D): key "colour"`, "1 PVs (such as D): samplingPeriod"} {
		if !slices.ContainsFunc(got.Notes, func(n string) bool { return strings.Contains(n, says) }) {
			t.Errorf("%v does not say %q", got.Notes, says)
		}
	}
	info, ok := f.registry.Get("R:CNT")
	if !ok || info.State != schema.Archiving || info.DBRType != schema.ScalarDouble || info.Units != "mA" || info.Precision != 3 || info.Policy != "2HzPVs" ||
		!slices.Equal(info.ArchiveFields, []string{"HIGH", "HIHI", "HOPR", "LOLO", "LOPR", "LOW"}) || len(info.Stores) != 3 || info.Fields["ADEL"] != "0.0" ||
		info.Limits["HIHI"] != 60 || !math.IsNaN(info.Limits["LOLO"]) || info.Created.UnixMilli() != time.Date(2026, 11, 23, 17, 45, 26, 362e6, time.UTC).UnixMilli() {
		t.Errorf("%+v", info)
	}
	if info, _ := f.registry.Get("E"); info == nil || info.State != schema.Paused {
		t.Errorf("E: %+v", info)
	}
	if _, text := f.ask("POST", "/mgmt/bpl/importConfigForAppliance", "application/json", string(body)); !strings.Contains(text, `"errorPVs":["bad name","C","item 5","E","R:CNT"`) {
		t.Error(text)
	}
}

// TestPutTypeInfoKeepsWhatItDoesNotState puts a PVTypeInfo back as clients do
// that read it, change a key and write it.
func TestPutTypeInfoKeepsWhatItDoesNotState(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	f.must(f.registry.Configure(context.Background(), actor, registry.Edit{PV: "A", Change: func(s *schema.Settings) error {
		s.Deadband, s.ArchiveFields = 0.5, []string{"HIHI"}
		return nil
	}}))
	_, answer := f.get("/mgmt/bpl/getPVTypeInfo?pv=A")
	object := answer.(map[string]any)
	object["samplingPeriod"], object["units"] = "5.0", "kA"
	delete(object, "pvlogDeadband")
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	resp, text := f.ask("POST", "/mgmt/bpl/putPVTypeInfo?pv=A&override=true&createnew=false", "application/json", string(body))
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil || resp.StatusCode != 200 || got["samplingPeriod"] != "5.0" || got["units"] != "kA" || got["pvlogDeadband"] != "0.5" {
		t.Errorf("%d %s, %v", resp.StatusCode, text, err)
	}
	info, _ := f.registry.Get("A")
	if info.Deadband != 0.5 || info.SamplingPeriod != 5*time.Second || info.State != schema.Archiving || info.Generation != 2 {
		t.Errorf("%+v", info)
	}
	resp, text = f.ask("POST", "/mgmt/bpl/putPVTypeInfo?pv=B&createnew=true&override=false", "application/json", strings.ReplaceAll(string(body), `"A"`, `"B"`))
	if resp.StatusCode != 200 || !strings.Contains(text, `"paused":"true"`) {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

// FuzzDefinition reads PVTypeInfos of any content: it never panics, and what
// it takes the registry's event can carry.
func FuzzDefinition(f *testing.F) {
	theirs, err := os.ReadFile("testdata/appliance-typeinfo.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(theirs)
	f.Add([]byte(`{"pvName":"A","precision":"1e400","elementCount":"9999999999","samplingPeriod":"-0","extraFields":{"a":1,"b":null},"dataStores":[null]}`))
	f.Add([]byte(`{"pvName":7,"paused":true,"scalar":{},"pvlogDriftPast":"1.0","pvlogState":"alias"}`))
	server := newFixture(f).server
	f.Fuzz(func(t *testing.T, body []byte) {
		var object map[string]json.RawMessage
		if json.Unmarshal(body, &object) != nil {
			return
		}
		d, err := server.define(object, definedBase(nil))
		if err == nil && (d.info.PV == "" || d.info.SamplingPeriod < registry.MinPeriod || d.info.ElementCount < 0) {
			t.Errorf("%s gives %+v", body, d.info)
		}
		if err != nil && schema.CodeOf(err) != schema.Invalid {
			t.Errorf("%s gives the error %v", body, err)
		}
	})
}
