package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPathsHoldNames(t *testing.T) {
	s := New(Options{})
	here := func(method, path string, changes bool) {
		s.patterns = append(s.patterns, &route{method: method, path: path, changes: changes})
	}
	s.patterns = nil
	here("GET", "/api/v1/pvs", false)
	here("POST", "/api/v1/pvs", true)
	here("POST", "/api/v1/pvs:pause", true)
	here("GET", "/api/v1/pvs/{pv}", false)
	here("DELETE", "/api/v1/pvs/{pv}", true)
	here("GET", "/api/v1/pvs/{pv}/history", false)
	for _, c := range []struct {
		method, path string
		want         string // method and pattern, or the status
		pv           string
	}{
		{"GET", "/api/v1/pvs", "GET /api/v1/pvs", ""},
		{"HEAD", "/api/v1/pvs", "GET /api/v1/pvs", ""},
		{"POST", "/api/v1/pvs", "POST /api/v1/pvs", ""},
		{"POST", "/api/v1/pvs:pause", "POST /api/v1/pvs:pause", ""},
		{"POST", "/api/v1/pvs%3Apause", "POST /api/v1/pvs:pause", ""},
		{"GET", "/api/v1/pvs:pause", "405 POST", ""},
		{"PUT", "/api/v1/pvs", "405 GET, HEAD, POST", ""},
		{"GET", "/api/v1/pvs/LAB:T1", "GET /api/v1/pvs/{pv}", "LAB:T1"},
		{"DELETE", "/api/v1/pvs/LAB%3AT1.DESC", "DELETE /api/v1/pvs/{pv}", "LAB:T1.DESC"},
		{"GET", "/api/v1/pvs/A/B", "GET /api/v1/pvs/{pv}", "A/B"},
		{"GET", "/api/v1/pvs/A%2FB", "GET /api/v1/pvs/{pv}", "A/B"},
		{"GET", "/api/v1/pvs/A%2Fhistory", "GET /api/v1/pvs/{pv}", "A/history"},
		{"GET", "/api/v1/pvs/A/history", "GET /api/v1/pvs/{pv}/history", "A"},
		{"GET", "/api/v1/pvs/A/B/history", "GET /api/v1/pvs/{pv}/history", "A/B"},
		{"DELETE", "/api/v1/pvs/A/history", "405 GET, HEAD", ""},
		{"GET", "/api/v1/pvs/history", "GET /api/v1/pvs/{pv}", "history"},
		{"GET", "/api/v1/pvs/a%25b", "GET /api/v1/pvs/{pv}", "a%b"},
		{"GET", "/api/v1/pvs/", "404", ""},
		{"GET", "/api/v1/pvs//history", "GET /api/v1/pvs/{pv}", "/history"},
		{"GET", "/api/v1/", "404", ""},
		{"GET", "/api/v1/pvs:delete", "404", ""},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		rt, err := s.routeOf(r)
		got := ""
		switch ref, refused := errors.AsType[*refusal](err); {
		case refused && ref.status == http.StatusMethodNotAllowed:
			got = "405 " + ref.headers["Allow"]
		case refused:
			got = "404"
		default:
			got = rt.method + " " + rt.path
		}
		if got != c.want || r.PathValue("pv") != c.pv {
			t.Errorf("%s %s: %s with %q, want %s with %q", c.method, c.path, got, r.PathValue("pv"), c.want, c.pv)
		}
	}
}

func TestTheIndexNamesMethods(t *testing.T) {
	f := newFixture(t)
	_, text := f.ask("GET", "/", "", "")
	for _, rt := range f.server.table {
		if !strings.Contains(text, strings.TrimSpace(rt.method+" "+rt.path)+" ") {
			t.Errorf("the index does not name %s %s", rt.method, rt.path)
		}
	}
}
