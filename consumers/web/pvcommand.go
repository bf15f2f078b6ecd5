package web

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// The commands on PVs, as POST /api/v1/pvs and /api/v1/pvs:COMMAND take them.
var (
	archiveKind   = bulkKind{command: "archive", entry: append(slices.Clone(settingsNames), "alias", "time_limit", "skip_alias_check"), run: (*bulkRun).archive}
	configureKind = bulkKind{command: "configure", globs: true, entry: append(slices.Clone(settingsNames), "skip_alias_check"), run: (*bulkRun).configure}
	pauseKind     = bulkKind{command: "pause", globs: true, run: func(run *bulkRun) {
		run.finished(run.server.options.Registry.Pause(run.ctx, run.progressing(), run.names()...))
	}}
	resumeKind = bulkKind{command: "resume", globs: true, run: func(run *bulkRun) {
		run.finished(run.server.options.Registry.Resume(run.ctx, run.progressing(), run.names()...))
	}}
	stopKind = bulkKind{command: "stop", globs: true, run: func(run *bulkRun) {
		run.finished(run.server.options.Registry.Stop(run.ctx, run.progressing(), run.names()...))
	}}
	deleteKind = bulkKind{command: "delete", globs: true, options: []string{"data"}, run: (*bulkRun).delete}
)

// commandRoutes are the commands on PVs.
func (s *Server) commandRoutes() []*route {
	const options = "change_id=ID&dry_run=true&reason=TEXT"
	routes := []*route{
		{method: http.MethodPost, path: "/api/v1/pvs", changes: true, query: options, summary: "archive PVs: JSON, text/plain or text/csv; with Accept: " + ndjson + " a line for each", handle: s.bulkChange(archiveKind)},
		{method: http.MethodPatch, path: "/api/v1/pvs/{pv}", changes: true, query: "reason=TEXT", summary: "change settings of a PV; If-Match: its ETag", handle: s.editPV},
		{method: http.MethodDelete, path: "/api/v1/pvs/{pv}", changes: true, query: "data=true&reason=TEXT&dry_run=true", summary: "forget a paused or stopped PV, with its data if asked", handle: s.deleteOne},
	}
	routes = append(routes,
		&route{method: http.MethodPut, path: "/api/v1/pvs/{pv}/type", changes: true, query: "dry_run=true&reason=TEXT", summary: "give a paused PV another type and convert its stored samples", handle: s.setType},
		&route{method: http.MethodPost, path: "/api/v1/pvs/{pv}/join", changes: true, query: "dry_run=true&reason=TEXT", summary: "merge a PV into the one that it is an alias of, and let its name stand for that", handle: s.joinPV})
	for _, kind := range []bulkKind{pauseKind, resumeKind, stopKind, configureKind, deleteKind} {
		query := "glob=LAB:*&" + options
		if kind.command == "delete" {
			query = "data=true&" + query
		}
		routes = append(routes, &route{method: http.MethodPost, path: "/api/v1/pvs:" + kind.command, changes: true, query: query, summary: kind.command + " many PVs in one change", handle: s.bulkChange(kind)})
	}
	return routes
}

// progressing is the actor that reports PVs as they come into force.
func (run *bulkRun) progressing() registry.Actor {
	actor := run.actor
	actor.Progress = func(_, total int, finished []registry.Result) {
		run.total = total
		run.finished(finished)
	}
	return actor
}

// names are the PVs that wait for the command.
func (run *bulkRun) names() []schema.PVName {
	var names []schema.PVName
	for _, item := range run.waiting() {
		names = append(names, item.pv)
	}
	return names
}

// refuse ends an item that is not given to the registry.
func (run *bulkRun) refuse(item *bulkItem, err error) {
	delete(run.byPV, item.pv)
	run.finish(item, err)
}

func (run *bulkRun) archive() {
	var requests []registry.Request
	for _, item := range run.waiting() {
		request, err := item.request(time.Now(), run.server.options.TimeLimit)
		if err != nil {
			run.refuse(item, err)
			continue
		}
		requests = append(requests, request)
	}
	run.finished(run.server.admit(run.ctx, run.progressing(), requests...))
	run.nameAliases()
}

// request is what an entry asks the registry for; limit is the time limit of
// one that states none.
func (item *bulkItem) request(now time.Time, limit time.Duration) (request registry.Request, err error) {
	e := item.entry
	request = registry.Request{PV: item.pv, SkipAliasCheck: e.SkipAliasCheck.value,
		AskedSampling: e.Method.given || e.Period.given, AskedPolicy: e.Policy.value}
	if e.TimeLimit.given {
		if limit, err = seconds("time_limit", e.TimeLimit.value); err != nil {
			return request, err
		}
	}
	if limit > 0 {
		request.Expires = now.Add(limit)
	}
	if e.Alias != "" {
		if _, err := schema.ParsePVName(e.Alias); err != nil {
			return request, refuse(schema.Invalid, "leave it out, or name what else the PV is called", "alias of %s: %v", item.pv, err)
		}
	}
	e.Policy = optional[string]{} // what is asked for is not yet what is so
	return request, e.apply(&request.Settings)
}

// nameAliases gives PVs that are archived now the further names asked for.
func (run *bulkRun) nameAliases() {
	var aliases []registry.Alias
	of := make(map[schema.PVName]*bulkItem)
	for _, item := range run.held {
		alias, _ := schema.ParsePVName(item.entry.Alias) // checked before
		if of[alias] == nil {
			of[alias] = item
			aliases = append(aliases, registry.Alias{Alias: alias, PV: item.pv})
			continue
		}
		run.finish(item, schema.Errorf(schema.Conflict, "PV %s is archived, but the alias %s stands twice in the request", item.pv, alias))
	}
	if run.bulk.DryRun { // the PVs are not there yet, so the registry cannot tell
		for _, item := range of {
			run.finish(item, nil)
		}
		return
	}
	actor := run.actor
	actor.ChangeID = "" // a command of its own: the PVs are there by now
	for _, result := range run.server.options.Registry.AddAlias(run.ctx, actor, aliases...) {
		err := result.Err
		if err != nil && !errors.Is(err, registry.ErrAlready) {
			err = schema.Errorf(schema.CodeOf(err), "PV %s is archived, but not its alias: %w", of[result.PV].pv, err)
		}
		run.finish(of[result.PV], err)
	}
}

func (run *bulkRun) configure() {
	var edits []registry.Edit
	for _, item := range run.waiting() {
		e := item.entry
		edit := registry.Edit{PV: item.pv, Change: e.apply}
		if e.SkipAliasCheck.given {
			edit.SkipAliasCheck = &e.SkipAliasCheck.value
		}
		if e.empty() && !e.SkipAliasCheck.given {
			run.refuse(item, refuse(schema.Invalid, `say what, such as {"glob":"LAB:*","period":10}`, "PV %s: the request states no setting", item.pv))
			continue
		}
		edits = append(edits, edit)
	}
	run.finished(run.server.options.Registry.Configure(run.ctx, run.progressing(), edits...))
}

// delete forgets PVs, and reports one whose data go as well when they are gone.
func (run *bulkRun) delete() {
	reg, data := run.server.options.Registry, run.bulk.Data
	if !data || run.bulk.DryRun {
		run.finished(reg.Delete(run.ctx, run.progressing(), data, run.names()...))
		return
	}
	if _, err := run.server.wantsData("true"); err != nil {
		for _, item := range run.waiting() {
			run.refuse(item, err)
		}
		return
	}
	for _, result := range reg.Delete(run.ctx, run.actor, true, run.names()...) {
		if result.Err == nil {
			result.Err = run.server.deleteFiles(run.ctx, result.PV)
		}
		run.finished([]registry.Result{result})
	}
}

// deleteOne forgets the PV of a path.
func (s *Server) deleteOne(w http.ResponseWriter, r *http.Request) error {
	pv, err := pathPV(r)
	if err != nil {
		return err
	}
	if _, ok := s.options.Registry.Resolve(pv); !ok {
		return unknownPV(pv)
	}
	return s.changePVs(w, r, &bulk{kind: deleteKind, entries: []bulkEntry{{PV: string(pv)}}, single: true})
}
