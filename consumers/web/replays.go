package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// Replays puts rejected samples, and samples of the raw log, back into
// partitions.
type Replays interface {
	// Replay runs a replay to its end and tells of each PV as it is through, from
	// one goroutine. A repetition with the id of one that was interrupted goes on
	// with it; one of an id that is through gives what it gave.
	Replay(ctx context.Context, actor registry.Actor, order ReplayOrder, begun func(pvs int), each func(ReplayedPV)) (ReplaySummary, error)
	// Show is what a replay was asked for and what it has done until now.
	Show(ctx context.Context, id string) (ReplayRecord, error)
	// List are all replays, newest first.
	List() []registry.Change
}

// ReplayOrder is what is to be replayed, and under what rules.
type ReplayOrder struct {
	PV          string    // glob over PV names
	Reasons     []string  // of drops; none: all
	Since       time.Time // when the log stored the sample's message
	Until       time.Time
	DriftPast   time.Duration // windows in place of those that the samples carry; 0: none
	DriftFuture time.Duration
	FromLog     bool // all samples of the raw log, not the drops
	Rebuild     bool // what the archive would write anew from the raw log; its files are compared
}

// ReplayedPV is what became of a PV's samples.
type ReplayedPV struct {
	PV      schema.PVName     `json:"pv"`
	Status  string            `json:"status"`            // changed, unchanged or failed
	Added   int               `json:"added"`             // samples that got their places
	There   int               `json:"there"`             // that stood there already
	Differs int               `json:"differs"`           // at whose instant another one stands
	Refused map[string]int    `json:"refused,omitempty"` // left out, by reason
	Why     map[string]string `json:"why,omitempty"`     // of each of those, the first in words
	First   string            `json:"first,omitempty"`   // time of the earliest that was added
	Last    string            `json:"last,omitempty"`    // and of the latest
	// Of a rebuild: samples in files that the log would have and has not, and
	// the first places at which files are not what the log gives.
	Additional int           `json:"additional,omitempty"`
	Findings   []FindingJSON `json:"findings,omitempty"`

	Err     error    `json:"-"` // why the PV failed as a whole
	Problem *problem `json:"problem,omitempty"`
}

// FindingJSON is a place at which a file is not what the log gives.
type FindingJSON struct {
	Kind   string `json:"kind"` // missing, differs or additional
	Time   string `json:"time"`
	Path   string `json:"path,omitempty"`
	Offset int64  `json:"offset,omitempty"`
}

// ReplaySummary is the sum of all PVs.
type ReplaySummary struct {
	ChangeID  string         `json:"change_id"`
	DryRun    bool           `json:"dry_run"`
	Total     int            `json:"total"`     // PVs
	Changed   int            `json:"changed"`   // that got samples
	Unchanged int            `json:"unchanged"` // that got none
	Failed    int            `json:"failed"`    // that could not be looked at
	Added     int            `json:"added"`     // samples, and so on
	There     int            `json:"there"`
	Differs   int            `json:"differs"`
	Refused   map[string]int `json:"refused"`

	Additional int `json:"additional"` // of a rebuild
}

// ReplayRecord is a replay as the registry's log has it.
type ReplayRecord struct {
	registry.Change
	Order  replayOrderJSON `json:"order"`
	Done   int             `json:"done"` // PVs that are through, while it runs here
	Events []ReplayedPV    `json:"events"`
}

// replayOrderJSON is an order in JSON.
type replayOrderJSON struct {
	PV          string   `json:"pv"`
	Reasons     []string `json:"reasons,omitempty"`
	Since       string   `json:"since,omitempty"`
	Until       string   `json:"until,omitempty"`
	DriftPast   string   `json:"drift_past,omitempty"`
	DriftFuture string   `json:"drift_future,omitempty"`
	FromLog     bool     `json:"from_log,omitempty"`
	Rebuild     bool     `json:"rebuild,omitempty"`
}

// SetOrder fills in what was asked for.
func (r *ReplayRecord) SetOrder(o ReplayOrder) {
	r.Order = replayOrderJSON{PV: o.PV, Reasons: o.Reasons, Since: instantText(o.Since), Until: instantText(o.Until),
		DriftPast: spanText(o.DriftPast), DriftFuture: spanText(o.DriftFuture), FromLog: o.FromLog, Rebuild: o.Rebuild}
}

func instantText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func spanText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// replayBody is the request.
type replayBody struct {
	PV          string   `json:"pv"`
	Reasons     []string `json:"reasons"`
	Since       string   `json:"since"`
	Until       string   `json:"until"`
	Drift       string   `json:"drift"` // both windows
	DriftPast   string   `json:"drift_past"`
	DriftFuture string   `json:"drift_future"`
	FromLog     bool     `json:"from_log"`
	Rebuild     bool     `json:"rebuild"`
	DryRun      bool     `json:"dry_run"`
	ChangeID    string   `json:"change_id"`
	Reason      string   `json:"reason"` // why, for the history
}

func (s *Server) replayRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/api/v1/replays", query: "limit=1000&after=SEQ", summary: "replays of samples, newest first", handle: s.listReplays},
		{method: http.MethodPost, path: "/api/v1/replays", changes: true, summary: `put rejected samples back: {"pv":"GLOB","reasons":["drift_past"],"since":TIME,"drift":"24h","dry_run":true}`, handle: s.startReplay},
		{method: http.MethodGet, path: "/api/v1/replays/{id}", summary: "one of them and what it did", handle: s.showReplay},
	}
}

// order reads the request.
func (b replayBody) order() (o ReplayOrder, err error) {
	if b.PV == "" {
		return o, refuse(schema.Invalid, `send {"pv":"LINAC:*"}; "*" stands for all PVs`, "the request names no PV")
	}
	if b.FromLog && len(b.Reasons) > 0 {
		return o, refuse(schema.Invalid, "leave out one of them", "reasons choose drops, and from_log takes the raw log")
	}
	if b.Rebuild && (b.FromLog || len(b.Reasons) > 0 || b.Drift+b.DriftPast+b.DriftFuture != "") {
		return o, refuse(schema.Invalid, "leave the others out", "a rebuild judges as the archive did: it takes pv, since and until alone")
	}
	o = ReplayOrder{PV: b.PV, Reasons: b.Reasons, FromLog: b.FromLog, Rebuild: b.Rebuild}
	for _, reason := range b.Reasons {
		if !slices.Contains(dropReasons, reason) {
			return o, refuse(schema.Invalid, "use some of "+strings.Join(dropReasons, ", "), "no drop has the reason %.60q", reason)
		}
	}
	for name, at := range map[string]struct {
		text string
		to   *time.Time
	}{"since": {b.Since, &o.Since}, "until": {b.Until, &o.Until}} {
		if at.text == "" {
			continue
		}
		if *at.to, err = timeOrAge(name, at.text, time.Now()); err != nil {
			return o, err
		}
	}
	if !o.Until.IsZero() && o.Until.Before(o.Since) {
		return o, refuse(schema.Invalid, "exchange since and until", "until lies before since")
	}
	if b.Drift != "" && (b.DriftPast != "" || b.DriftFuture != "") {
		return o, refuse(schema.Invalid, "leave drift out", "drift stands for both drift_past and drift_future")
	}
	for name, window := range map[string]struct {
		text string
		to   *time.Duration
	}{"drift_past": {or(b.DriftPast, b.Drift), &o.DriftPast}, "drift_future": {or(b.DriftFuture, b.Drift), &o.DriftFuture}} {
		if window.text == "" {
			continue
		}
		d, err := time.ParseDuration(window.text)
		if err != nil || d < time.Second || d%time.Second != 0 || d > maxDriftOverride {
			return o, refuse(schema.Invalid, "use whole seconds, such as 24h or 90m", "%s %q is no window", name, window.text)
		}
		*window.to = d
	}
	return o, nil
}

// maxDriftOverride is a window that no clock misses.
const maxDriftOverride = 100 * 365 * 24 * time.Hour

func (s *Server) startReplay(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	var body replayBody
	if err := readJSON(r, &body, "pv", "reasons", "since", "until", "drift", "drift_past", "drift_future", "from_log", "rebuild", "dry_run", "change_id", "reason"); err != nil {
		return err
	}
	order, err := body.order()
	if err != nil {
		return err
	}
	if s.options.Replays == nil {
		return schema.Errorf(schema.Unavailable, "this server has no archive to replay into")
	}
	actor := apiActor(r, body.Reason)
	actor.ChangeID, actor.DryRun = or(body.ChangeID, registry.NewChangeID(time.Now())), body.DryRun
	ctx, done := s.commandContext(r)
	defer done()
	run := replayRun{server: s, actor: actor, lines: newLines(w), fresh: make(chan struct{}, 1)}
	return run.serve(ctx, order)
}

func (s *Server) listReplays(w http.ResponseWriter, r *http.Request) error {
	var all []registry.Change
	if s.options.Replays != nil {
		all = s.options.Replays.List()
	}
	return writeChanges(w, r, all)
}

func (s *Server) showReplay(w http.ResponseWriter, r *http.Request) error {
	if _, err := parameters(r); err != nil {
		return err
	}
	id := r.PathValue("id")
	if s.options.Replays == nil {
		return refuse(schema.NotFound, "GET /api/v1/replays lists them", "there is no replay %.120q", id)
	}
	record, err := s.options.Replays.Show(r.Context(), id)
	if schema.CodeOf(err) == schema.NotFound {
		return refuse(schema.NotFound, "GET /api/v1/replays lists them", "there is no replay %.120q", id)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, record)
	return nil
}
