package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// siteRules are policies that refuse one PV and fix the method of all others.
func siteRules() Policies {
	change := []PolicyChange{{PV: "LINAC:BPM1:X", Policy: "slow", Why: "site.yaml:3: rule 1", Changes: []SettingDelta{{Name: "method", From: "MONITOR", To: "SCAN"}}}}
	return Policies{
		Request: func(q *registry.Request) error {
			if q.PV == "NO:1" {
				return schema.Errorf(schema.Forbidden, "PV NO:1 is not to be archived: policy never (site.yaml:9)")
			}
			q.Policy, q.SamplingMethod = "slow", schema.Scan
			return nil
		},
		List: func() []Policy { return []Policy{{Name: "slow", Description: "once a second"}} },
		File: func() (string, []byte, error) {
			return "site.yaml", []byte("- name: slow\n"), errors.New("site.yaml:4:1: what is this")
		},
		Preview: func(context.Context, string) ([]PolicyChange, error) { return change, nil },
		Apply:   func(context.Context, registry.Actor, string) ([]PolicyChange, error) { return change, nil },
		Reload:  func() error { return nil },
	}
}

func TestRequestsPassThePolicies_S14_S15(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Policies = siteRules() })
	for path, body := range map[string]string{
		"/mgmt/bpl/archivePV": `[{"pv":"YES:1"},{"pv":"NO:1"}]`, "/api/v1/pvs": `[{"pv":"YES:2"},{"pv":"NO:1"}]`,
	} {
		response, answer := f.ask(http.MethodPost, path, "application/json", body)
		if response.StatusCode != http.StatusOK || !strings.Contains(answer, "policy never (site.yaml:9)") {
			t.Errorf("%s: %d %s", path, response.StatusCode, answer)
		}
	}
	for _, pv := range []schema.PVName{"YES:1", "YES:2"} {
		if info, ok := f.registry.Get(pv); !ok || info.Policy != "slow" || info.SamplingMethod != schema.Scan {
			t.Errorf("%s: %+v", pv, info)
		}
	}
	if _, ok := f.registry.Get("NO:1"); ok {
		t.Error("a PV that a policy keeps out is registered")
	}
}

func TestPoliciesAreShownAndApplied(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Policies = siteRules() })
	for _, c := range []struct{ method, path, body, says string }{
		{http.MethodGet, "/mgmt/bpl/getPolicyList", "", `{"slow":"once a second"}`},
		{http.MethodGet, "/mgmt/bpl/getPolicyText", "", "- name: slow"},
		{http.MethodGet, "/api/v1/policies", "", `"fault":"site.yaml:4:1: what is this"`},
		{http.MethodGet, "/api/v1/policies/preview?glob=LINAC:*", "", `"from":"MONITOR","to":"SCAN"`},
		{http.MethodPost, "/api/v1/policies/apply", `{"glob":"*"}`, `"why":"site.yaml:3: rule 1"`},
		{http.MethodPost, "/api/v1/policies/apply", `{}`, `"status":400`},
		{http.MethodPost, "/api/v1/policies/apply", `{"globb":"*"}`, `globb`},
		{http.MethodPost, "/api/v1/policies/reload", ``, `"file":"site.yaml"`},
	} {
		if _, answer := f.ask(c.method, c.path, "application/json", c.body); !strings.Contains(answer, c.says) {
			t.Errorf("%s %s: %s", c.method, c.path, answer)
		}
	}
}
