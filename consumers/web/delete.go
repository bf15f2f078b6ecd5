package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

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
	body := map[string]any{"status": "ok"}
	var why strings.Builder
	for _, t := range targets {
		if t.err != nil {
			why.WriteString(s.validation(r, t))
			delete(body, "status")
		}
		if !single { // a line for each PV, empty for one that was deleted
			why.WriteByte('\n')
		}
	}
	body["validation"] = why.String()
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
	owners := make([]schema.PVName, len(pvs))
	for i, pv := range pvs {
		owners[i] = s.realName(pv)
	}
	results := s.options.Registry.Delete(ctx, actor, data, pvs...)
	if !data {
		return results
	}
	for i, result := range results {
		if result.Err != nil {
			continue
		}
		results[i].Err = s.deleteFiles(ctx, owners[i])
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

// realName is the PV that a name stands for: a command on an alias is one on
// its PV.
func (s *Server) realName(name schema.PVName) schema.PVName {
	if found, ok := s.options.Registry.Resolve(name); ok && found.Field == "" {
		return found.Info.PV
	}
	return name
}

// abortPV forgets PVs that never connected; the Appliance calls that aborting
// their archive requests. One that is being archived, or that nobody asked for,
// is left alone and has status no.
func (s *Server) abortPV(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	targets, single := s.targets(l)
	if len(targets) == 0 {
		return missingPV()
	}
	waiting := make(map[schema.PVName]bool)
	run(r, l, targets, func(ctx context.Context, actor registry.Actor, pvs ...schema.PVName) []registry.Result {
		results := make([]registry.Result, 0, len(pvs))
		var abort []schema.PVName
		for _, pv := range pvs {
			if info, ok := s.options.Registry.Get(s.realName(pv)); ok && info.DBRType == schema.UnknownType {
				abort, waiting[pv] = append(abort, pv), true
				continue
			}
			results = append(results, registry.Result{PV: pv})
		}
		return append(results, s.forget(ctx, actor, abort)...)
	})
	return s.answerEach(w, targets, single, func(t target) map[string]any {
		body := map[string]any{"status": "no", "desc": "Aborted request for archiving PV " + t.asked}
		if !single {
			body["pvName"] = t.asked
		}
		switch {
		case t.err != nil:
			body["validation"] = s.validation(r, t)
		case waiting[t.pv]:
			body["status"] = "ok"
		}
		return body
	})
}

// forget deletes PVs, after a pause of those that are not paused.
func (s *Server) forget(ctx context.Context, actor registry.Actor, pvs []schema.PVName) []registry.Result {
	if len(pvs) == 0 {
		return nil
	}
	var failed []registry.Result
	paused := make([]schema.PVName, 0, len(pvs))
	for _, result := range s.options.Registry.Pause(ctx, actor, pvs...) {
		if result.Err != nil && schema.CodeOf(result.Err) != schema.Conflict {
			failed = append(failed, result)
			continue
		}
		paused = append(paused, result.PV)
	}
	return append(failed, s.options.Registry.Delete(ctx, actor, false, paused...)...)
}
