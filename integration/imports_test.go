package integration

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "pvlog"

// levels gives each package its floor of the house: it imports packages of
// lower floors only. A new package must be given a place here first.
var levels = map[string]int{
	"schema/epicspb": 0, "schema/logpb": 0,
	"schema":    1,
	"ingest/ca": 2, "streams": 2, "consumers/filter": 2, "consumers/partition": 2,
	"ingest/caclient": 3, "ingest/simioc": 3, "ingest/policy": 3,
	"consumers/archive": 3, "consumers/registry": 3, "consumers/etl": 3, "consumers/retrieval": 3, "consumers/live": 3,
	"ingest": 4, "consumers/web": 4,
	"cmd/pvlog/appliance": 5,
	"cmd/pvlog":           6, "integration": 6,
}

// betweenConsumers are the only imports of a consumer by another.
var betweenConsumers = map[string][]string{
	"consumers/archive":   {"consumers/filter", "consumers/partition"},
	"consumers/etl":       {"consumers/partition"},
	"consumers/retrieval": {"consumers/partition"},
	"consumers/web":       {"consumers/registry", "consumers/retrieval", "consumers/live", "consumers/partition"},
}

// reserved are imports (a path, or a prefix that ends in '/') that belong to
// few packages.
var reserved = []struct {
	imported string
	owners   []string
}{
	{"github.com/nats-io/", []string{"streams"}},
	{"github.com/synadia-io/", []string{"streams"}},
	{"github.com/dgraph-io/badger/", []string{"consumers/registry"}},
	{"go.starlark.net/", []string{"ingest/policy"}},
	{"net/http", []string{"consumers/web", "cmd/pvlog/appliance", "cmd/pvlog"}},
}

// socketless must not even be able to open a socket.
var socketless = []string{"ingest/ca", "ingest/policy", "consumers/filter", "consumers/partition", "schema"}

type listedPackage struct {
	ImportPath string
	Imports    []string
	Error      *struct{ Err string }
}

// listPackages gives this module's packages with what their code (not their
// tests) imports.
func listPackages(t *testing.T) map[string]listedPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-e", "-json=ImportPath,Imports,Error", "./...")
	cmd.Dir = repositoryRoot(t)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("list packages: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("list packages: %v", err)
	}
	found := map[string]listedPackage{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := decoder.Decode(&p); err == io.EOF {
			return found
		} else if err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		if name, ours := strings.CutPrefix(p.ImportPath, module+"/"); ours {
			found[name] = p
		}
	}
}

func TestImportsGoUpwardsOnly(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 5 {
		t.Fatalf("go list names only %d packages of this module", len(packages))
	}
	for name, p := range packages {
		if p.Error != nil {
			t.Errorf("%s: %s", name, p.Error.Err)
		}
		for _, breach := range importBreaches(name, p.Imports) {
			t.Error(breach)
		}
	}
}

// importBreaches says what a package imports against the rules of the house.
func importBreaches(name string, imports []string) []string {
	level, known := levels[name]
	if !known {
		return []string{name + " has no place in the house: give it one in levels (design, section 3)"}
	}
	var breaches []string
	for _, path := range imports {
		if imported, ours := strings.CutPrefix(path, module+"/"); ours {
			if why := houseBreach(name, imported, level); why != "" {
				breaches = append(breaches, name+" imports "+imported+": "+why)
			}
			continue
		}
		if why := foreignBreach(name, path); why != "" {
			breaches = append(breaches, name+" imports "+path+": "+why)
		}
	}
	return breaches
}

func houseBreach(name, imported string, level int) string {
	below, known := levels[imported]
	switch {
	case !known:
		return "which has no place in the house"
	case below >= level:
		return "imports go upwards only"
	case side(name) != "" && side(imported) != "" && side(name) != side(imported):
		return "ingest and consumers meet in the log, never in code"
	case side(name) == "consumers" && side(imported) == "consumers" && !slices.Contains(betweenConsumers[name], imported):
		return "consumers do not lean on each other"
	}
	return ""
}

func foreignBreach(name, path string) string {
	for _, rule := range reserved {
		prefixed := strings.HasSuffix(rule.imported, "/") && strings.HasPrefix(path+"/", rule.imported)
		if (path == rule.imported || prefixed) && !slices.Contains(rule.owners, name) {
			return "it belongs to " + strings.Join(rule.owners, ", ")
		}
	}
	if slices.Contains(socketless, name) && (path == "net" || strings.HasPrefix(path, "net/")) {
		return "a pure core opens no socket"
	}
	return ""
}

// side is the half of the pipeline that a package stands in, if any.
func side(name string) string {
	half, _, _ := strings.Cut(name, "/")
	if half == "ingest" || half == "consumers" {
		return half
	}
	return ""
}

func TestImportRulesSeeEachBreach(t *testing.T) {
	for _, c := range []struct {
		name, imported string
		breach         bool
	}{
		{"consumers/archive", "pvlog/consumers/partition", false},
		{"consumers/archive", "pvlog/consumers/registry", true},
		{"consumers/retrieval", "pvlog/consumers/archive", true},
		{"consumers/partition", "pvlog/streams", true},
		{"consumers/web", "pvlog/ingest", true},
		{"consumers/web", "pvlog/ingest/ca", true},
		{"ingest", "pvlog/consumers/filter", true},
		{"ingest", "pvlog/streams", false},
		{"schema", "pvlog/streams", true},
		{"streams", "github.com/nats-io/nats.go/jetstream", false},
		{"ingest", "github.com/nats-io/nats.go", true},
		{"consumers/archive", "github.com/synadia-io/orbit.go/jetstreamext", true},
		{"streams", "github.com/dgraph-io/badger/v4", true},
		{"consumers/registry", "github.com/dgraph-io/badger/v4", false},
		{"ingest/ca", "net", true},
		{"ingest/ca", "net/netip", true},
		{"ingest/caclient", "net", false},
		{"ingest/policy", "go.starlark.net/starlark", false},
		{"ingest", "go.starlark.net/starlark", true},
		{"consumers/registry", "net/http", true},
		{"consumers/web", "net/http", false},
		{"consumers/nowhere", "fmt", true},
		{"integration", "pvlog/cmd/pvlog/appliance", false},
		{"cmd/pvlog/appliance", "pvlog/cmd/pvlog", true},
	} {
		if got := len(importBreaches(c.name, []string{c.imported})) > 0; got != c.breach {
			t.Errorf("%s imports %s: breach %v, want %v", c.name, c.imported, got, c.breach)
		}
	}
}
