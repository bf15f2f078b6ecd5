package web

import (
	"context"
	"fmt"
	"net/http"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// actorOf says who sent a request that changes something.
func actorOf(r *http.Request, l listing) registry.Actor {
	name, _, _ := r.BasicAuth()
	return registry.Actor{Name: or(name, "http"), Source: r.RemoteAddr, Reason: l.values.Get("reason")}
}

// command runs a registry command for some PVs.
type command func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result

// run gives every target the outcome of a command, in the targets' order.
func run(r *http.Request, l listing, targets []target, do command) {
	seen := make(map[schema.PVName]bool)
	var pvs []schema.PVName
	for _, t := range targets {
		if t.err == nil && !seen[t.pv] {
			seen[t.pv] = true
			pvs = append(pvs, t.pv)
		}
	}
	if len(pvs) == 0 {
		return
	}
	outcome := make(map[schema.PVName]error, len(pvs))
	for _, result := range do(r.Context(), actorOf(r, l), pvs...) {
		outcome[result.PV] = result.Err
		delete(seen, result.PV)
	}
	for i, t := range targets {
		if t.err != nil {
			continue
		}
		if targets[i].err = outcome[t.pv]; seen[t.pv] {
			targets[i].err = fmt.Errorf("the registry did not answer for %s", t.pv)
		}
	}
}

// change answers the commands that take a list of PVs: one object for one PV,
// an array for several, each with status ok or with validation saying why not.
func (s *Server) change(w http.ResponseWriter, r *http.Request, do command) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	targets, single := s.targets(l)
	if len(targets) == 0 {
		return missingPV()
	}
	run(r, l, targets, do)
	return s.answerEach(w, targets, single, func(t target) map[string]any {
		if t.err != nil {
			return map[string]any{"pvName": t.asked, "validation": s.validation(r, t)}
		}
		return map[string]any{"pvName": t.asked, "status": "ok"}
	})
}

// answerEach answers an array with an object per target, or that object alone.
func (s *Server) answerEach(w http.ResponseWriter, targets []target, single bool, object func(target) map[string]any) error {
	items := make([]map[string]any, len(targets))
	for i, t := range targets {
		items[i] = object(t)
	}
	status := sharedStatus(targets)
	switch {
	case single && status != http.StatusOK:
		return &refusal{err: targets[0].err, fields: items[0]}
	case single:
		writeJSON(w, status, items[0])
	default:
		writeJSON(w, status, items)
	}
	return nil
}

// validation is why a command was not done: the registry says it in the
// Appliance's words.
func (s *Server) validation(r *http.Request, t target) string {
	if schema.CodeOf(t.err) == schema.Internal {
		s.logger.Error("command failed", "path", r.URL.Path, "pv", t.pv, "err", t.err)
		return "pvlog could not do it; its log says why"
	}
	return t.err.Error()
}

// sharedStatus is the HTTP status of a list of outcomes: that of the failure
// if all failed alike, else 200 and the list says which failed. A conflict is
// told in the body only, as the Appliance does: its clients read the text.
func sharedStatus(targets []target) int {
	code := schema.CodeOf(targets[0].err)
	for _, t := range targets {
		if schema.CodeOf(t.err) != code {
			return http.StatusOK
		}
	}
	if code == "" || code == schema.Conflict {
		return http.StatusOK
	}
	return statusOf[code]
}

func (s *Server) pausePV(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, s.options.Registry.Pause)
}

func (s *Server) resumePV(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, s.options.Registry.Resume)
}

func (s *Server) stopPV(w http.ResponseWriter, r *http.Request) error {
	return s.change(w, r, s.options.Registry.Stop)
}
