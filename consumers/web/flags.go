package web

import (
	"net/http"

	"pvlog/schema"
)

// listFlags answers the named flags that were ever set.
func (s *Server) listFlags(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	flags := s.options.Registry.Flags()
	if flags == nil {
		flags = map[string]bool{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"flags": flags})
	return nil
}

// putFlag sets one of them.
func (s *Server) putFlag(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "reason")
	if err != nil {
		return err
	}
	var body struct {
		Value *bool `json:"value"`
	}
	if err := readJSON(r, &body, "value"); err != nil {
		return err
	}
	name := r.PathValue("flag")
	if body.Value == nil {
		return refuse(schema.Invalid, `send {"value":true} or {"value":false}`, "the value of the flag %q is missing", name)
	}
	ctx, done := s.commandContext(r)
	defer done()
	if err := s.options.Registry.SetFlag(ctx, apiActor(r, values.Get("reason")), name, *body.Value); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"flag": name, "value": *body.Value})
	return nil
}
