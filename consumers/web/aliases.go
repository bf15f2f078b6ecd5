package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sort"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// listAliases answers a page of the names that stand for PVs.
func (s *Server) listAliases(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "glob", "pv", "limit", "after")
	if err != nil {
		return err
	}
	page, err := readPage(values)
	if err != nil {
		return err
	}
	aliases := s.options.Registry.Aliases()
	first := sort.Search(len(aliases), func(i int) bool { return aliases[i].Alias > schema.PVName(page.after) })
	glob, pv := values.Get("glob"), values.Get("pv")
	found, next := []registry.Alias{}, ""
	for _, a := range aliases[first:] {
		if !registry.Fits(glob, string(a.Alias)) || pv != "" && string(a.PV) != pv {
			continue
		}
		if len(found) == page.limit {
			next = string(found[len(found)-1].Alias)
			break
		}
		found = append(found, a)
	}
	writePage(w, "aliases", found, next)
	return nil
}

// listUnjoined answers PVs that are archived under an alias's name.
func (s *Server) listUnjoined(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	writePage(w, "aliases", s.options.Registry.Unjoined(), "")
	return nil
}

// aliasBody is an alias as a request states it.
type aliasBody struct {
	Alias string `json:"alias"`
	PV    string `json:"pv"`
}

// addAliases lets names stand for PVs.
func (s *Server) addAliases(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "reason")
	if err != nil {
		return err
	}
	body, err := readBody(r)
	if err != nil {
		return err
	}
	aliases, err := readAliases(body)
	if err != nil {
		return err
	}
	ctx, done := s.commandContext(r)
	defer done()
	results := s.options.Registry.AddAlias(ctx, apiActor(r, values.Get("reason")), aliases...)
	return s.writeAliases(w, results, body[0] == '{')
}

func readAliases(body []byte) ([]registry.Alias, error) {
	items := []json.RawMessage{body}
	if bytes.HasPrefix(body, []byte("[")) {
		items = nil
		if err := json.Unmarshal(body, &items); err != nil {
			return nil, wrongJSON(err)
		}
	}
	if len(body) == 0 || len(items) == 0 {
		return nil, refuse(schema.Invalid, `send {"alias":"N","pv":"A"} or a list of them`, "the request names no alias")
	}
	aliases := make([]registry.Alias, len(items))
	for i, item := range items {
		var b aliasBody
		err := members(item, &b, "alias", "pv")
		if err == nil {
			aliases[i].Alias, err = schema.ParsePVName(b.Alias)
		}
		if err == nil {
			aliases[i].PV, err = schema.ParsePVName(b.PV)
		}
		if err != nil {
			return nil, wrongEntry(fmt.Sprintf("entry %d", i+1), err)
		}
	}
	return aliases, nil
}

// deleteAlias lets a name stand for nothing any more.
func (s *Server) deleteAlias(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "reason")
	if err != nil {
		return err
	}
	alias, err := schema.ParsePVName(r.PathValue("alias"))
	if err != nil {
		return err
	}
	ctx, done := s.commandContext(r)
	defer done()
	return s.writeAliases(w, s.options.Registry.RemoveAlias(ctx, apiActor(r, values.Get("reason")), registry.Alias{Alias: alias}), true)
}

// writeAliases answers what became of aliases; the failure of the only one is
// the answer.
func (s *Server) writeAliases(w http.ResponseWriter, results []registry.Result, single bool) error {
	items := make([]itemJSON, len(results))
	for i, result := range results {
		items[i] = itemJSON{PV: string(result.PV), Status: "changed", Seq: result.Sequence}
		switch {
		case errors.Is(result.Err, registry.ErrAlready):
			items[i].Status = "unchanged"
		case result.Err != nil && single:
			return result.Err
		case result.Err != nil:
			p := s.problemOf("", result.PV, result.Err)
			items[i].Status, items[i].Problem = "failed", &p
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"results": items})
	return nil
}
