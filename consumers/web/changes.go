package web

import (
	"math"
	"net/http"
	"strconv"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// listChanges answers a page of the commands on many PVs, newest first.
func (s *Server) listChanges(w http.ResponseWriter, r *http.Request) error {
	return writeChanges(w, r, s.options.Registry.Changes(math.MaxInt))
}

// writeChanges answers the page of a list, newest first, that is asked for.
func writeChanges(w http.ResponseWriter, r *http.Request, all []registry.Change) error {
	values, err := parameters(r, "limit", "after")
	if err != nil {
		return err
	}
	page, err := readPage(values)
	if err != nil {
		return err
	}
	before, err := sequence("after", page.after)
	if err != nil {
		return err
	}
	changes, next := []registry.Change{}, ""
	for _, c := range all {
		if before != 0 && c.Opened >= before {
			continue
		}
		if len(changes) == page.limit {
			next = strconv.FormatUint(changes[len(changes)-1].Opened, 10)
			break
		}
		changes = append(changes, c)
	}
	writePage(w, "changes", changes, next)
	return nil
}

// showChange answers one of them; closed is 0 while it is under way.
func (s *Server) showChange(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	id := r.PathValue("id")
	change, ok := s.options.Registry.Change(id)
	if !ok {
		return refuse(schema.NotFound, "GET /api/v1/changes lists them; a command on up to 1000 PVs has its change_id in its events only", "there is no change %.120q", id)
	}
	writeJSON(w, http.StatusOK, change)
	return nil
}
