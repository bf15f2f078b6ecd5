package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// bulkTimeout bounds a command on many PVs. What is not done by then is told
// as such; a repetition with the same change_id goes on with it.
const bulkTimeout = 15 * time.Minute

// servingKey is the context of the server's life in that of a request.
type servingKey struct{}

// commandContext is the time that a command may take. A client that goes away
// does not stop what it has begun: half a change is nobody's wish, and its
// outcome stands under /api/v1/changes. The end of the server does.
func (s *Server) commandContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), bulkTimeout)
	serving, ok := r.Context().Value(servingKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(serving, cancel)
	return ctx, func() { stop(); cancel() }
}

// bulkItem is one PV of a command and what became of it.
type bulkItem struct {
	asked  string // name as the client wrote it
	pv     schema.PVName
	entry  bulkEntry
	seq    uint64 // of the event that the command made of the PV, 0: none
	would  bool   // of a dry run: it would have made one
	done   bool   // the following is so
	status string // changed, unchanged or failed
	err    error
}

// bulkRun is a command on its way.
type bulkRun struct {
	server   *Server
	bulk     *bulk
	ctx      context.Context
	actor    registry.Actor
	items    []*bulkItem
	byPV     map[schema.PVName]*bulkItem // those that are not done yet
	report   func(*bulkItem)             // is told of each item as it is done
	held     []*bulkItem                 // archived, and wait for their alias
	complete bool                        // all items are done

	// Of a command that itself finds its PVs.
	open  bool
	told  map[schema.PVName]bool // those that are done
	total int                    // as the registry says
	err   error                  // why it failed as a whole
}

// bulkChange answers a command on PVs.
func (s *Server) bulkChange(kind bulkKind) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		b, err := readBulk(r, kind)
		if err != nil {
			return err
		}
		return s.changePVs(w, r, b)
	}
}

// changePVs runs a command on the PVs that a request names.
func (s *Server) changePVs(w http.ResponseWriter, r *http.Request, b *bulk) error {
	if err := b.readParameters(r); err != nil {
		return err
	}
	run := s.newRun(r, b)
	if err := run.resolve(); err != nil {
		return err
	}
	return run.serve(w, r)
}

func (s *Server) newRun(r *http.Request, b *bulk) *bulkRun {
	b.ChangeID = or(b.ChangeID, registry.NewChangeID(time.Now()))
	run := &bulkRun{server: s, bulk: b, actor: apiActor(r, b.Reason), byPV: make(map[schema.PVName]*bulkItem), report: func(*bulkItem) {}}
	run.actor.ChangeID, run.actor.DryRun = b.ChangeID, b.DryRun
	return run
}

// serve runs the command and answers as the client asks for.
func (run *bulkRun) serve(w http.ResponseWriter, r *http.Request) error {
	var done context.CancelFunc
	run.ctx, done = run.server.commandContext(r)
	defer done()
	if strings.Contains(r.Header.Get("Accept"), ndjson) {
		run.stream(w)
		return nil
	}
	run.all()
	return run.answer(w)
}

// all runs the command to its end.
func (run *bulkRun) all() {
	for _, item := range run.items {
		if item.err != nil {
			run.finish(item, item.err)
		}
	}
	if len(run.byPV) > 0 || run.open {
		run.bulk.kind.run(run)
	}
	for _, item := range run.items {
		if !item.done {
			run.finish(item, fmt.Errorf("the registry did not answer for %s", item.pv))
		}
	}
	run.complete = true
}

// waiting are the items that a command is to be given, in their order.
func (run *bulkRun) waiting() []*bulkItem {
	var items []*bulkItem
	for _, item := range run.items {
		if !item.done {
			items = append(items, item)
		}
	}
	return items
}

// finished takes what became of PVs.
func (run *bulkRun) finished(results []registry.Result) {
	for _, result := range results {
		item := run.byPV[result.PV]
		if item == nil && run.open && !run.told[result.PV] {
			item = &bulkItem{asked: string(result.PV), pv: result.PV}
			run.items = append(run.items, item)
			run.told[result.PV] = true
		}
		if item == nil {
			continue // told before
		}
		delete(run.byPV, result.PV)
		item.seq, item.would = result.Sequence, result.Would
		if item.entry.Alias != "" && (result.Err == nil || errors.Is(result.Err, registry.ErrAlready)) {
			run.held = append(run.held, item)
			continue
		}
		run.finish(item, result.Err)
	}
}

func (run *bulkRun) finish(item *bulkItem, err error) {
	item.done, item.err, item.status = true, err, "changed"
	switch {
	case errors.Is(err, registry.ErrAlready), err == nil && item.seq == 0 && !item.would:
		item.err, item.status = nil, "unchanged"
	case err != nil:
		item.status = "failed"
	}
	run.report(item)
}

// itemJSON is an item in an answer.
type itemJSON struct {
	PV      string   `json:"pv"`
	Status  string   `json:"status"`
	Seq     uint64   `json:"seq,omitempty"` // registry sequence of the event
	Problem *problem `json:"problem,omitempty"`
}

func (run *bulkRun) json(item *bulkItem) itemJSON {
	out := itemJSON{PV: item.asked, Status: item.status, Seq: item.seq}
	if item.err != nil {
		p := run.server.problemOf("", item.pv, item.err)
		out.Problem = &p
	}
	return out
}

// summaryJSON is what became of a command as a whole.
type summaryJSON struct {
	ChangeID  string `json:"change_id"`
	Command   string `json:"command"`
	DryRun    bool   `json:"dry_run"` // nothing was changed: the statuses say what would be
	Total     int    `json:"total"`
	Changed   int    `json:"changed"`
	Unchanged int    `json:"unchanged"`
	Failed    int    `json:"failed"`
}

func (run *bulkRun) summary() summaryJSON {
	out := summaryJSON{ChangeID: run.bulk.ChangeID, Command: run.bulk.kind.command, DryRun: run.bulk.DryRun, Total: len(run.items)}
	for _, item := range run.items {
		switch item.status {
		case "changed":
			out.Changed++
		case "unchanged":
			out.Unchanged++
		default:
			out.Failed++
		}
	}
	return out
}

// answer gives the whole outcome. The failure of the only PV is the answer, as
// is a registry that takes no commands.
func (run *bulkRun) answer(w http.ResponseWriter) error {
	unavailable := 0
	items := make([]itemJSON, len(run.items))
	for i, item := range run.items {
		items[i] = run.json(item)
		if schema.CodeOf(item.err) == schema.Unavailable {
			unavailable++
		}
	}
	if run.err != nil {
		return run.err
	}
	if len(items) > 0 && run.items[0].err != nil && (run.bulk.single || unavailable == len(items)) {
		return run.items[0].err
	}
	writeJSON(w, http.StatusOK, struct {
		summaryJSON
		Results []itemJSON `json:"results"`
	}{run.summary(), items})
	return nil
}
