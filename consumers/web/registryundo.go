package web

import (
	"net/http"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// undoBody says what is to be taken back: one of Seq and ChangeID.
type undoBody struct {
	Seq      uint64 `json:"seq"`
	ChangeID string `json:"change_id"`
	Reason   string `json:"reason"`
	DryRun   bool   `json:"dry_run"`
}

// undo takes back an event, or all that a command on many PVs did.
func (s *Server) undo(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "dry_run", "reason")
	if err != nil {
		return err
	}
	var body undoBody
	if err := readJSON(r, &body, "seq", "change_id", "reason", "dry_run"); err != nil {
		return err
	}
	if text := values.Get("dry_run"); text != "" {
		if err := flag("dry_run", text, &body.DryRun); err != nil {
			return err
		}
	}
	if (body.Seq == 0) == (body.ChangeID == "") {
		return refuse(schema.Invalid, `send {"seq":42} (see GET /api/v1/pvs/{pv}/history) or {"change_id":"ID"} (see GET /api/v1/changes)`,
			"the request must name one of seq and change_id")
	}
	b := &bulk{kind: bulkKind{command: "undo", run: func(run *bulkRun) { run.undo(body) }}, single: body.Seq != 0}
	b.Reason, b.DryRun = or(body.Reason, values.Get("reason")), body.DryRun
	run := s.newRun(r, b)
	run.open, run.told = true, make(map[schema.PVName]bool)
	return run.serve(w, r)
}

// undo runs the command; which PVs it is about shows as they are done.
func (run *bulkRun) undo(body undoBody) {
	if body.Seq != 0 {
		run.finished([]registry.Result{run.server.options.Registry.Undo(run.ctx, run.actor, body.Seq)})
		return
	}
	results, err := run.server.options.Registry.UndoChange(run.ctx, run.progressing(), body.ChangeID)
	run.finished(results)
	run.err = err
}
