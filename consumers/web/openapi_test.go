package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/schema"
)

// document is /api/v1/openapi.json, for tests.
type document struct {
	t        *testing.T
	root     map[string]any
	compiler *jsonschema.Compiler
}

func readDocument(t *testing.T) *document {
	t.Helper()
	text, err := openAPI()
	if err != nil {
		t.Fatal(err)
	}
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{t: t, root: root.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", root); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows references and names; the pointer is that of what is found.
func (d *document) at(pointer string, names ...string) (any, string) {
	node := any(d.root)
	for _, name := range strings.Split(strings.Trim(pointer, "/"), "/") {
		if name == "" {
			continue
		}
		node = node.(map[string]any)[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	for {
		if object, ok := node.(map[string]any); ok {
			if ref, ok := object["$ref"].(string); ok {
				return d.at(strings.TrimPrefix(ref, "#"), names...)
			}
		}
		if len(names) == 0 {
			return node, pointer
		}
		object, _ := node.(map[string]any)
		node, pointer = object[names[0]], pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(names[0])
		names = names[1:]
	}
}

// valid compares JSON with the schema at a place of the document.
func (d *document) valid(pointer string, text []byte) error {
	compiled, err := d.compiler.Compile("openapi.json#" + (&url.URL{Path: pointer}).EscapedPath())
	if err != nil {
		d.t.Fatalf("schema %s: %v", pointer, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%q is no JSON: %w", text, err)
	}
	if err := compiled.Validate(value); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

// operation is a method of a path.
type operation struct {
	method, path, pointer string
	spec                  map[string]any
}

func (d *document) operations() []operation {
	var list []operation
	paths := d.root["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		methods := paths[path].(map[string]any)
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			_, pointer := d.at("/paths", path, method)
			list = append(list, operation{strings.ToUpper(method), path, pointer, methods[method].(map[string]any)})
		}
	}
	return list
}

func TestDocumentAndRoutesAgree(t *testing.T) {
	documented := map[string]bool{}
	ids := map[any]bool{}
	for _, o := range readDocument(t).operations() {
		documented[o.method+" "+o.path] = true
		if ids[o.spec["operationId"]] || o.spec["summary"] == "" {
			t.Errorf("%s %s: operationId %v, summary %v", o.method, o.path, o.spec["operationId"], o.spec["summary"])
		}
		ids[o.spec["operationId"]] = true
	}
	served := map[string]bool{}
	for _, rt := range New(Options{}).table {
		if underAPI(rt.path) {
			served[rt.method+" "+rt.path] = true
		}
	}
	for name := range served {
		if !documented[name] {
			t.Errorf("%s is served and not documented", name)
		}
	}
	for name := range documented {
		if !served[name] {
			t.Errorf("%s is documented and not served", name)
		}
	}
}

// exampleRequest is a request as the document shows it.
type exampleRequest struct {
	name, path, query, contentType, body string
}

// requests are the examples of an operation, or one without a body.
func (d *document) requests(o operation) []exampleRequest {
	base := exampleRequest{path: o.path}
	values := url.Values{}
	parameters, _ := o.spec["parameters"].([]any)
	for i := range parameters {
		p, _ := d.at(fmt.Sprint(o.pointer))
		p = p.(map[string]any)["parameters"].([]any)[i]
		if ref, ok := p.(map[string]any)["$ref"].(string); ok {
			p, _ = d.at(strings.TrimPrefix(ref, "#"))
		}
		parameter := p.(map[string]any)
		example, has := parameter["example"]
		switch {
		case parameter["in"] == "path" && !has:
			d.t.Errorf("%s %s: the parameter %v has no example", o.method, o.path, parameter["name"])
		case parameter["in"] == "path":
			base.path = strings.ReplaceAll(base.path, fmt.Sprintf("{%v}", parameter["name"]), url.PathEscape(fmt.Sprint(example)))
		case has:
			values.Set(parameter["name"].(string), fmt.Sprint(example))
		}
	}
	body, _ := d.at(o.pointer, "requestBody", "content")
	if body == nil {
		list := []exampleRequest{base}
		if base.query = values.Encode(); base.query != "" {
			list = append(list, base)
		}
		return list
	}
	var list []exampleRequest
	for media, content := range body.(map[string]any) {
		for name, value := range examples(content.(map[string]any)) {
			r := base
			r.name, r.contentType = media+" "+name, media
			if media == "application/json" {
				text, _ := json.Marshal(value)
				r.body = string(text)
				_, pointer := d.at(o.pointer, "requestBody", "content", media, "schema")
				if err := d.valid(pointer, text); err != nil {
					d.t.Errorf("%s %s: the example %s: %v", o.method, o.path, name, err)
				}
			} else {
				r.body = value.(string)
			}
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		d.t.Errorf("%s %s has a body and no example", o.method, o.path)
	}
	return list
}

func examples(content map[string]any) map[string]any {
	all := map[string]any{}
	if value, ok := content["example"]; ok {
		all["example"] = value
	}
	named, _ := content["examples"].(map[string]any)
	for name, e := range named {
		all[name] = e.(map[string]any)["value"]
	}
	return all
}

// site is a fixture with what the examples of the document speak of.
func site(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, func(o *Options) {
		o.DeleteData = func(context.Context, schema.PVName) error { return nil }
		o.Convert = func(_ context.Context, q Conversion, _ func(string) error) (Converted, error) {
			return Converted{Files: 1, Samples: 2, Lost: 1, Losses: []*partition.Loss{{Path: "f.pb", Line: 3, Time: schema.TimeOf(begin), Err: schema.ErrLoss}}}, nil
		}
		o.MergeFrom = func(context.Context, schema.PVName, schema.PVName, bool) (Moved, error) {
			return Moved{Samples: 5}, nil
		}
		o.Retire = func(_ context.Context, _ schema.PVName, commit func(string) error) error { return commit("bin") }
		o.Drops = &fakeDrops{drops: []Drop{{PV: "LINAC:BPM1:X", Reason: "order", Seq: 1, Logged: begin,
			Sample: &schema.RawSample{Type: schema.ScalarDouble, Registered: schema.ScalarDouble, Year: 2026, Received: begin, Event: schema.AppendDouble(schema.AppendHead(nil, schema.TimeOf(begin)), 1)}}}}
		o.Replays = &fakeReplays{}
		o.Live = func(context.Context, schema.PVName, time.Duration) (schema.Sample, error) {
			return schema.Sample{Time: schema.TimeOf(begin), Value: math.NaN(), Severity: 3, Status: 17}, nil
		}
		o.Partitions = fakePartitions()
		o.Policies = siteRules()
		o.Policies.Request = nil // the examples archive what they say
		o.Why = func(_ context.Context, name string) (Diagnosis, error) {
			return Diagnosis{Asked: name, PV: name, Links: []Link{{Name: "name", State: LinkOK, Detail: "it is one"}}}, nil
		}
		o.Channels = func(schema.PVName) (ChannelStatus, bool) {
			return ChannelStatus{State: "Connected", Connected: true, Host: "ioc:5064", LastEvent: begin, FirstConnected: begin}, true
		}
	})
	f.archive("LINAC:BPM1:X", "LINAC:BPM2:X") // events 1 to 4
	f.must(f.registry.Pause(context.Background(), actor, "LINAC:BPM2:X"))
	f.must(f.registry.AddAlias(context.Background(), actor, registry.Alias{Alias: "LINAC:OLD", PV: "LINAC:BPM1:X"}))
	return f
}

// many makes the change that the document's examples name.
func (f *fixture) many() {
	f.t.Helper()
	requests := make([]registry.Request, 1100)
	for i := range requests {
		requests[i].PV = schema.PVName(fmt.Sprintf("N:%04d", i))
	}
	f.must(f.registry.Archive(context.Background(), registry.Actor{Name: "night", ChangeID: "nightly"}, requests...))
}

func TestEveryDocumentedRequestIsAnsweredAsDocumented(t *testing.T) {
	d := readDocument(t)
	for _, o := range d.operations() {
		content, pointer := d.at(o.pointer, "responses", "200", "content")
		if content == nil {
			t.Errorf("%s %s documents no answer", o.method, o.path)
			continue
		}
		for _, example := range d.requests(o) {
			for media := range content.(map[string]any) {
				t.Run(o.method+" "+o.path+" "+example.name+" "+media, func(t *testing.T) {
					f := site(t)
					if strings.Contains(example.path+example.body, "nightly") {
						f.many()
					}
					r, err := http.NewRequest(o.method, f.url+example.path+"?"+example.query, strings.NewReader(example.body))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", example.contentType)
					r.Header.Set("Accept", media)
					resp, err := http.DefaultClient.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					text, err := io.ReadAll(resp.Body)
					got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
					if err != nil || resp.StatusCode != 200 || got != media {
						t.Fatalf("%d %s: %s %v", resp.StatusCode, got, text, err)
					}
					if media == "text/csv" {
						text, _ = json.Marshal(string(text))
					}
					documents := [][]byte{text}
					if media == ndjson {
						documents = bytes.Split(bytes.TrimSpace(text), []byte("\n"))
					}
					for _, answer := range documents {
						if err := d.valid(pointer+"/"+strings.ReplaceAll(media, "/", "~1")+"/schema", answer); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
}

// The schemas say no to what is not documented, or the test above says little.
func TestSchemasRefuseWhatIsNotDocumented(t *testing.T) {
	d := readDocument(t)
	for name, text := range map[string]string{
		"PVPage":       `{"pvs":[{"pv":"A","state":"archiving","colour":"red"}]}`,
		"PV":           `{"pv":"A","state":"sleeping"}`,
		"ChangeLine":   `{"done":1}`,
		"ChangeAnswer": `{"results":[]}`,
		"Problem":      `{"type":"about:blank","title":"x","status":400,"detail":"x","code":"odd"}`,
	} {
		if d.valid("/components/schemas/"+name, []byte(text)) == nil {
			t.Errorf("%s takes %s", name, text)
		}
	}
}
