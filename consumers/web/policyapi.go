package web

import (
	"net/http"

	"pvlog/schema"
)

// policyRoutes are what the site's policies say, and what they would change.
func (s *Server) policyRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/api/v1/policies", summary: "the policies in force, their file, and what is wrong with a newer one", handle: s.getPolicies},
		{method: http.MethodGet, path: "/api/v1/policies/preview", query: "glob=LAB:*", summary: "what the policies would change at PVs that are archived", handle: s.previewPolicies},
		{method: http.MethodPost, path: "/api/v1/policies/apply", query: "reason=TEXT", changes: true, summary: "make those changes", handle: s.applyPolicies},
		{method: http.MethodPost, path: "/api/v1/policies/reload", changes: true, summary: "read the policy file now", handle: s.reloadPolicies},
	}
}

// policiesJSON is the answer of /api/v1/policies.
type policiesJSON struct {
	File     string   `json:"file"`            // "default.yaml" for the built-in rules, "" while none are in force
	Text     string   `json:"text"`            // of the file in force
	Fault    string   `json:"fault,omitempty"` // of a newer version, which is not in force
	Policies []Policy `json:"policies"`        // that can be asked for by name
}

func (s *Server) getPolicies(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.policiesNow())
	return nil
}

func (s *Server) policiesNow() policiesJSON {
	name, text, fault := s.options.Policies.file()
	answer := policiesJSON{File: name, Text: string(text), Policies: s.options.Policies.list()}
	if fault != nil {
		answer.Fault = fault.Error()
	}
	return answer
}

// noPolicies is the refusal of a server without a policy file.
func noPolicies() error {
	return refuse(schema.Unavailable, "ask the server that archives", "this server has no policies")
}

func (s *Server) previewPolicies(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "glob")
	if err != nil {
		return err
	}
	if s.options.Policies.Preview == nil {
		return noPolicies()
	}
	changes, err := s.options.Policies.Preview(r.Context(), values.Get("glob"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"changes": changes})
	return nil
}

func (s *Server) applyPolicies(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "reason")
	if err != nil {
		return err
	}
	var body struct {
		Glob string `json:"glob"`
	}
	if err := readJSON(r, &body, "glob"); err != nil {
		return err
	}
	switch {
	case s.options.Policies.Apply == nil:
		return noPolicies()
	case body.Glob == "":
		return refuse(schema.Invalid, `send {"glob":"LINAC:*"}, or {"glob":"*"} for all PVs`, "which PVs the policies are to be applied to is missing")
	}
	ctx, done := s.commandContext(r)
	defer done()
	changes, err := s.options.Policies.Apply(ctx, apiActor(r, values.Get("reason")), body.Glob)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"changes": changes})
	return nil
}

func (s *Server) reloadPolicies(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	if s.options.Policies.Reload == nil {
		return noPolicies()
	}
	if err := s.options.Policies.Reload(); err != nil {
		return schema.Errorf(schema.Invalid, "the policies in force stay: %w", err)
	}
	writeJSON(w, http.StatusOK, s.policiesNow())
	return nil
}
