package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/schema"
)

// AdoptOptions say how files of another archive are adopted.
type AdoptOptions struct {
	Mode   string // copy, link, move or in-place
	Store  string // name; "": the store of the files' granularity
	DryRun bool
}

// AdoptedFile is what became of one.
type AdoptedFile struct {
	CheckedFile
	Outcome     string // adopted, there, differs, no_store or refused
	Why         string
	Granularity partition.Granularity
	Target      string // its place in the store
	Elements    int    // of its newest sample
}

// Merged counts samples of a merged file.
type Merged struct{ Added, There, Differ, Left int }

// adoptModes are the ways into a store.
var adoptModes = []string{"copy", "link", "move", "in-place"}

// importRequest is the body of an import.
type importRequest struct {
	Files  []string `json:"files"`
	Mode   string   `json:"mode"`
	Store  string   `json:"store"`
	Merge  bool     `json:"merge"`
	State  string   `json:"state"`
	DryRun bool     `json:"dry_run"`
}

func (q *importRequest) check() error {
	q.Mode, q.State = or(q.Mode, "copy"), or(q.State, string(schema.Paused))
	switch {
	case len(q.Files) == 0:
		return refuse(schema.Invalid, `send {"files":["/arch/lts/A/B:2014.pb"]}`, "files names no file")
	case !slices.Contains(adoptModes, q.Mode):
		return refuse(schema.Invalid, "use "+strings.Join(adoptModes, ", "), "there is no mode %q", q.Mode)
	case q.State != string(schema.Paused) && q.State != string(schema.Archiving):
		return refuse(schema.Invalid, "use paused or archiving", "a PV cannot be imported as %q", q.State)
	}
	return nil
}

// importedJSON is what became of a file.
type importedJSON struct {
	checkedJSON
	Outcome     string                `json:"outcome"` // as of AdoptedFile, or merged
	Why         string                `json:"why,omitempty"`
	Granularity partition.Granularity `json:"granularity,omitempty"`
	Target      string                `json:"target,omitempty"`
	Added       int                   `json:"added"`   // of a merge: samples that got their place
	Present     int                   `json:"present"` // and those that were there
	Differ      int                   `json:"differ"`  // and those at whose instant another sample stands
	Left        int                   `json:"left"`    // and those that could not be merged
}

// importPV adopts files of another archive, all of one PV. The files come first,
// then the PV is registered: so a registered PV has its data, and whatever stops
// in between, the request can be repeated.
func (s *Server) importPV(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "reason")
	if err != nil {
		return err
	}
	var q importRequest
	if err := readJSON(r, &q, "files", "mode", "store", "merge", "state", "dry_run"); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	pv, err := schema.ParsePVName(r.PathValue("pv"))
	if err != nil {
		return err
	}
	if s.options.Partitions.Adopt == nil {
		return noFiles()
	}
	info, known := s.options.Registry.Get(pv)
	if known && info.State == schema.Alias {
		return schema.Errorf(schema.Conflict, "PV %s is an alias of %s: remove the alias first", pv, info.AliasOf)
	}
	adopted, err := s.options.Partitions.Adopt(r.Context(), pv, q.Files, AdoptOptions{Mode: q.Mode, Store: q.Store, DryRun: q.DryRun})
	if err != nil {
		return err
	}
	registered := "already"
	if !known {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), commitTime)
		defer cancel()
		if registered, err = s.registerAdopted(ctx, actorOf(r, listing{values: values}), pv, q, adopted); err != nil {
			return err
		}
	}
	files, err := s.imported(r.Context(), pv, q, adopted)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]any{"pv": pv, "registered": registered, "dry_run": q.DryRun, "files": files})
	return nil
}

// registerAdopted registers a PV by its newest file, unless none is adopted.
func (s *Server) registerAdopted(ctx context.Context, actor registry.Actor, pv schema.PVName, q importRequest, adopted []AdoptedFile) (string, error) {
	var newest *AdoptedFile
	for i, f := range adopted {
		held := f.Outcome == "adopted" || f.Outcome == "there" || f.Outcome == "differs"
		if held && (newest == nil || f.Report.Last.After(newest.Report.Last)) {
			newest = &adopted[i]
		}
	}
	if newest == nil {
		return "no", nil
	}
	info := definedBase(nil)
	info.PV, info.State, info.DBRType, info.ElementCount = pv, schema.State(q.State), newest.Report.Header.Type, max(1, newest.Elements)
	actor.DryRun = q.DryRun
	if actor.Reason == "" {
		actor.Reason = "import of partition files"
	}
	result := s.options.Registry.Define(ctx, actor, registry.Definition{Info: info})[0]
	if q.DryRun && result.Err == nil {
		return "would", nil
	}
	return "new", result.Err
}

// imported merges what differs if that is asked for, and words the answer.
func (s *Server) imported(ctx context.Context, pv schema.PVName, q importRequest, adopted []AdoptedFile) ([]importedJSON, error) {
	files := make([]importedJSON, len(adopted))
	for i, f := range adopted {
		o := importedJSON{checkedJSON: f.json(), Outcome: f.Outcome, Why: f.Why, Granularity: f.Granularity, Target: f.Target}
		o.Path = q.Files[i]
		if q.Merge && f.Outcome == "differs" && !q.DryRun {
			if s.options.Partitions.Merge == nil {
				return nil, noFiles()
			}
			m, err := s.options.Partitions.Merge(ctx, pv, q.Files[i])
			if err != nil {
				return nil, err
			}
			o.Outcome, o.Why = "merged", ""
			o.Added, o.Present, o.Differ, o.Left = m.Added, m.There, m.Differ, m.Left
		}
		files[i] = o
	}
	return files, nil
}
