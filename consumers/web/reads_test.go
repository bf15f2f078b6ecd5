package web

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/schema"
)

// wrongInput is one wrong request for each read that takes parameters.
var wrongInput = map[string]string{
	"getPVStatus": "?pv=bad%20name", "status": "?pv=", "getPVTypeInfo": "", "getStoresForPV": "?pv=A&pv=B", "getPVDetails": "?pv=",
	"getMetadata": "?pv=a%20b", "getArchiveChannelObjectDetails": "", "getLastKnownEvent": "?pv=..:x", "getData.raw": "?pv=A&from=yesterday",
	"getAllPVs": "?regex=(", "getMatchingPVsForThisAppliance": "?limit=many", "getTimeSpanReport": "?regex=[", "getCreationReportForAppliance": "?regex=*",
	"getLastKnownTimeStampReport": "?regex=(", "getNamedFlag": "?name=", "webAppReady": "?webapp=TOMCAT",
}

// noInput are reads that look at nothing the client sends.
var noInput = []string{"getVersions", "getVersion", "getApplianceInfo", "getAppliancesInCluster", "ping"}

func TestWrongInputOfReadsIsRefusedAsJSON(t *testing.T) {
	f := newFixture(t)
	f.archive("A")
	used := map[string]bool{}
	for _, rt := range f.server.readRoutes() {
		name := rt.path[strings.LastIndexByte(rt.path, '/')+1:]
		if slices.Contains(noInput, name) || strings.HasPrefix(rt.summary, "501") {
			continue
		}
		method, body, wrong := http.MethodGet, "", "?limit=%zz"
		if strings.Contains(rt.query, "limit=") {
			wrong = "?limit=x"
		}
		if text, ok := wrongInput[name]; ok {
			wrong, used[name] = text, true
		}
		if rt.method == http.MethodPost {
			method, body = http.MethodPost, `["A",[`
		}
		resp, text := f.ask(method, rt.path+wrong, "application/json", body)
		if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Content-Type") != "application/json" || !strings.Contains(text, `"hint"`) {
			t.Errorf("%s%s: %d %s", rt.path, wrong, resp.StatusCode, text)
		}
	}
	for name := range wrongInput {
		if !used[name] {
			t.Errorf("there is no read %s", name)
		}
	}
}

func TestReadsThatHaveNoAnswerSayWhatIsMissing(t *testing.T) {
	f := newFixture(t)
	for _, a := range absent {
		status, answer := f.get(a.path)
		if why := fmt.Sprint(answer.(map[string]any)["error"]); status != http.StatusNotImplemented || !strings.Contains(why, a.missing) {
			t.Errorf("%s: %d %v", a.path, status, answer)
		}
	}
}

func TestReadsOfAnUnknownPVAre404(t *testing.T) {
	f := newFixture(t)
	for _, rt := range f.server.readRoutes() {
		if rt.query != onePVQuery {
			continue
		}
		status, answer := f.get(rt.path + "?pv=NOWHERE")
		if status != http.StatusNotFound || !strings.Contains(fmt.Sprint(answer), "NOWHERE") {
			t.Errorf("%s: %d %v", rt.path, status, answer)
		}
	}
}

// named is a fixture whose PV R:AI has an alias and archives a field, and has
// samples of which one carries that field.
func namedFixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, func(o *Options) {
		o.Fields = func(pv schema.PVName) []schema.FieldValue {
			return []schema.FieldValue{{Name: "HIGH", Val: "21.5"}, {Name: "DESC", Val: "told last"}}
		}
	})
	f.archive("R:AI")
	f.must(f.registry.Configure(context.Background(), actor, registry.Edit{PV: "R:AI", Change: func(s *schema.Settings) error {
		s.ArchiveFields = []string{"HIGH"}
		return nil
	}}))
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "R:NICK", PV: "R:AI"}))
	at := schema.TimeOf(begin)
	path := partition.Path(f.store.Root, schema.ChunkKey("R:AI"), f.store.Granularity, f.store.Granularity.Start(at))
	b := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: "R:AI", Year: at.Year()})
	for i := range 3 {
		event := schema.AppendDouble(schema.AppendHead(nil, schema.TimeOf(begin.Add(time.Duration(i)*time.Second))), float64(i))
		if i == 1 {
			event = schema.AppendField(event, "HIGH", "20.0")
		}
		b = partition.AppendLine(b, event)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestReadsTakeEveryNameOfAPV(t *testing.T) {
	f := namedFixture(t)
	for _, name := range []string{"R:AI", "R:AI.VAL", "ca://R:AI", "R:NICK", "ca://R:NICK.VAL", "R:AI.HIGH", "R:NICK.HIGH"} {
		for path, key := range map[string]string{
			"/mgmt/bpl/getPVTypeInfo?pv=": "pvName", "/retrieval/bpl/getMetadata?pv=": "pvName",
		} {
			if status, answer := f.get(path + name); status != 200 || answer.(map[string]any)[key] != "R:AI" {
				t.Errorf("%s%s: %d %v", path, name, status, answer)
			}
		}
		status, answer := f.get("/mgmt/bpl/getPVStatus?pv=" + name)
		if item := answer.([]any)[0].(map[string]any); status != 200 || item["pvName"] != name || item["pvNameOnly"] != "R:AI" || item["status"] != "Being archived" {
			t.Errorf("status of %s: %d %v", name, status, answer)
		}
		status, answer = f.get("/mgmt/bpl/getPVDetails?pv=" + name)
		if line := answer.([]any)[0].(map[string]any); status != 200 || line["name"] != "PV Name" || line["value"] != "R:AI" || line["source"] != "mgmt" {
			t.Errorf("details of %s: %d %v", name, status, answer)
		}
		if status, answer = f.get("/etl/bpl/getLastKnownEvent?pv=" + name); status != 200 || answer.(map[string]any)["timestamp"] != "2026-11-23T17:00:02.000Z" {
			t.Errorf("last event of %s: %d %v", name, status, answer)
		}
		if _, answer = f.get("/retrieval/bpl/areWeArchivingPV?pv=" + name); answer.(map[string]any)["status"] != "true" {
			t.Errorf("%s is not archived: %v", name, answer)
		}
	}
}

func TestSamplesAreReadByAnyName(t *testing.T) {
	f := namedFixture(t)
	for name, want := range map[string]struct {
		meta string
		vals []float64
	}{
		"R:AI": {"R:AI", []float64{0, 1, 2}}, "R:AI.VAL": {"R:AI", []float64{0, 1, 2}}, "R:NICK": {"R:NICK", []float64{0, 1, 2}},
		"R:AI.HIGH": {"R:AI", []float64{20}}, "R:NICK.HIGH": {"R:AI", []float64{20}},
	} {
		status, answer := f.get("/retrieval/data/getData.json?pv=" + name + "&from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z")
		if status != 200 {
			t.Fatalf("%s: %d %v", name, status, answer)
		}
		meta := answer.([]any)[0].(map[string]any)["meta"].(map[string]any)
		if got := vals(t, answer); meta["name"] != want.meta || !slices.Equal(got, want.vals) {
			t.Errorf("%s: %v %v, want %v", name, meta, got, want)
		}
	}
	if status, answer := f.get("/retrieval/data/getData.json?pv=R:AI.LOW"); status != http.StatusNotFound {
		t.Errorf("a field that is not archived: %d %v", status, answer)
	}
	if _, text := f.ask(http.MethodGet, "/retrieval/data/getData.raw?pv=R:AI.HIGH&from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z", "", ""); strings.Count(text, "\n") != 2 {
		t.Errorf("header and one sample: %q", text)
	}
}

func TestNewestFieldsStandInMetadata(t *testing.T) {
	f := namedFixture(t)
	for _, path := range []string{"/engine/bpl/getMetadata?pv=R:NICK", "/retrieval/bpl/getMetadata?pv=R:NICK"} {
		_, answer := f.get(path)
		m := answer.(map[string]any)
		if m["HIGH"] != "21.5" || m["DESC"] != "told last" || m["HIHI"] != "60.0" || m["EGU"] != "mA" || m["EAA_COUNT"] != "1" {
			t.Errorf("%s: %v", path, m)
		}
	}
	for query, want := range map[string]any{"": nil, "&fetchLatestMetadata=true": "21.5"} {
		_, answer := f.get("/retrieval/data/getData.json?pv=R:AI" + query)
		if got := answer.([]any)[0].(map[string]any)["meta"].(map[string]any)["HIGH"]; got != want {
			t.Errorf("meta with %q says HIGH %v, want %v", query, got, want)
		}
	}
}

func TestListsOfNamesKnowAliasesAndFields(t *testing.T) {
	f := namedFixture(t)
	f.archive("R:B")
	for _, c := range []struct{ path, body, want string }{
		{"/mgmt/bpl/archivedPVs", `["R:NICK","R:B","never:asked","R:AI.HIGH","R:AI.LOW","R:B"]`, "[R:NICK R:B R:AI.HIGH]"},
		{"/mgmt/bpl/unarchivedPVs", `["R:NICK","R:B","never:asked","bad name","never:asked"]`, "[never:asked bad name]"},
		{"/mgmt/bpl/unarchivedPVs", "pv=R:B,never:asked", "[never:asked]"},
		{"/mgmt/bpl/unarchivedPVs", "R:B\nnever:asked", "[never:asked]"},
		{"/mgmt/bpl/unarchivedPVs", "[]", "[]"},
		{"/retrieval/bpl/filterArchivedPVs", `["R:AI","never:asked"]`, "[R:AI]"},
		{"/mgmt/bpl/archivedPVsNotInList", `["R:NICK"]`, "[R:B]"},
		{"/mgmt/bpl/archivedPVsNotInList", "[]", "[R:AI R:B]"},
	} {
		contentType := "text/plain"
		if strings.HasPrefix(c.body, "[") {
			contentType = "application/json"
		}
		resp, text := f.ask(http.MethodPost, c.path, contentType, c.body)
		if got := strings.NewReplacer(",\n", " ", `"`, "", "\n", "").Replace(text); resp.StatusCode != 200 || got != c.want {
			t.Errorf("%s %q: %d %q, want %q", c.path, c.body, resp.StatusCode, got, c.want)
		}
	}
	_, answer := f.get("/mgmt/bpl/getAllExpandedPVNames")
	want := []any{"EPICS:Archiver:Appliance", "R:AI", "R:AI.VAL", "R:AI.HIGH", "R:B", "R:B.VAL", "R:NICK", "R:NICK.VAL"}
	if !reflect.DeepEqual(answer, want) {
		t.Errorf("%v, want %v", answer, want)
	}
	if _, answer = f.get("/mgmt/bpl/getAllAliases"); fmt.Sprint(answer) != "[map[aliasName:R:NICK srcPVName:R:AI]]" {
		t.Errorf("aliases: %v", answer)
	}
	if resp, _ := f.ask(http.MethodGet, "/mgmt/bpl/unarchivedPVs?pv=A", "", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET of a list: %d", resp.StatusCode)
	}
}

func TestNamedFlagsAreRead(t *testing.T) {
	f := newFixture(t)
	if err := f.registry.SetFlag(context.Background(), actor, "BEAM", true); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"getNamedFlag?name=BEAM": "map[BEAM:true]", "getNamedFlag?name=OTHER": "map[OTHER:false]", "getAllNamedFlags": "map[BEAM:true]",
	} {
		if _, answer := f.get("/mgmt/bpl/" + path); fmt.Sprint(answer) != want {
			t.Errorf("%s: %v, want %s", path, answer, want)
		}
	}
}
