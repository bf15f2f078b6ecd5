package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"

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
	items := make([]map[string]any, len(targets))
	for i, t := range targets {
		items[i] = map[string]any{"pvName": t.asked, "status": "ok"}
		if t.err != nil {
			items[i] = map[string]any{"pvName": t.asked, "validation": s.validation(r, t)}
		}
	}
	status := sharedStatus(targets)
	if single && status != http.StatusOK {
		return &refusal{err: targets[0].err, fields: items[0]}
	}
	if single {
		writeJSON(w, status, items[0])
		return nil
	}
	writeJSON(w, status, items)
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

// deletePV answers one object whatever the number of PVs, as the Appliance
// does; status is ok only if all were deleted.
func (s *Server) deletePV(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	data, err := s.wantsData(l.values.Get("deleteData"))
	if err != nil {
		return err
	}
	targets, single := s.targets(l)
	if len(targets) == 0 {
		return missingPV()
	}
	run(r, l, targets, func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result {
		return s.delete(ctx, actor, data, pvs)
	})
	body := map[string]any{"validation": "", "status": "ok"}
	var why []string
	for _, t := range targets {
		if t.err != nil {
			why = append(why, s.validation(r, t))
			delete(body, "status")
		}
	}
	body["validation"] = strings.Join(why, "\n")
	status := sharedStatus(targets)
	if single && status != http.StatusOK {
		return &refusal{err: targets[0].err, fields: body}
	}
	writeJSON(w, status, body)
	return nil
}

// wantsData reads deleteData. Nothing but true deletes data.
func (s *Server) wantsData(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "", "false":
		return false, nil
	case "true":
		if s.options.DeleteData == nil {
			return false, refuse(schema.Unavailable, "delete the PV without deleteData=true; its files stay", "this server cannot delete data")
		}
		return true, nil
	}
	return false, refuse(schema.Invalid, "use deleteData=true or deleteData=false", "deleteData=%q is neither true nor false", text)
}

// delete makes the registrations go, then the files of those that went. After a
// crash in between the files are still there, and the event says that they were
// to go; archiving the PV again and deleting it with its data moves them.
func (s *Server) delete(ctx context.Context, actor registry.Actor, data bool, pvs []schema.PVName) []registry.Result {
	results := s.options.Registry.Delete(ctx, actor, data, pvs...)
	if !data {
		return results
	}
	for i, result := range results {
		if result.Err != nil {
			continue
		}
		results[i].Err = s.deleteFiles(ctx, result.PV)
	}
	return results
}

// deleteFiles moves the files of a PV that is no longer registered away.
func (s *Server) deleteFiles(ctx context.Context, pv schema.PVName) error {
	if err := s.options.DeleteData(context.WithoutCancel(ctx), pv); err != nil {
		return fmt.Errorf("PV %s is no longer registered, but its data could not be deleted: %w", pv, err)
	}
	return nil
}

// abortPV forgets a PV that never connected; the Appliance calls that aborting
// its archive request. One that is being archived is left alone.
func (s *Server) abortPV(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	targets, single := s.targets(l)
	switch {
	case len(targets) == 0:
		return missingPV()
	case !single:
		return refuse(schema.Invalid, "abort one PV per request", "abortArchivingPV takes one PV")
	case targets[0].err != nil:
		return targets[0].err
	}
	body := map[string]any{"status": "no", "desc": "Aborted request for archiving PV " + targets[0].asked}
	if info, ok := s.options.Registry.Get(targets[0].pv); ok && info.DBRType == schema.UnknownType {
		run(r, l, targets, func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result {
			return s.forget(ctx, actor, pvs)
		})
		if targets[0].err != nil {
			return targets[0].err
		}
		body["status"] = "ok"
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// forget deletes PVs that are not paused.
func (s *Server) forget(ctx context.Context, actor registry.Actor, pvs []schema.PVName) []registry.Result {
	for _, result := range s.options.Registry.Pause(ctx, actor, pvs...) {
		if result.Err != nil && schema.CodeOf(result.Err) != schema.Conflict {
			return []registry.Result{result}
		}
	}
	return s.options.Registry.Delete(ctx, actor, false, pvs...)
}
