package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// Drop is a sample that no partition could hold.
type Drop struct {
	PV     schema.PVName
	Reason string
	Detail string            // the numbers behind the reason, for people
	Cursor uint64            // of the drop log: the After of what follows
	Seq    uint64            // message of SAMPLES that held it
	Index  int               // its place in that message
	Logged time.Time         // when that message was stored
	Sample *schema.RawSample // nil if the message could not be decoded

	Replayed bool // it stands in a file now; only if the query asks
}

// DropQuery chooses drops: those of PVs that a glob matches, for any of some
// reasons, logged from Since to just before Until; what is zero bounds nothing.
type DropQuery struct {
	PV           string
	Reasons      []string
	Since, Until time.Time
	Paged        bool   // the first Limit behind After; else the newest Limit
	After        uint64 // cursor
	Limit        int
	Replayed     bool // look for each drop in its PV's files
}

// DropCount is how many drops of a PV there are for one reason.
type DropCount struct {
	PV     schema.PVName
	Reason string
	Drops  uint64
}

// DropLog is what web asks of the drop log.
type DropLog interface {
	// Read gives the drops of a query, oldest first, until each fails.
	Read(ctx context.Context, q DropQuery, each func(Drop) error) error
	// Count counts what a query chooses, without its limit.
	Count(ctx context.Context, q DropQuery) ([]DropCount, error)
	// Keeping tells when drops leave.
	Keeping() DropKeeping
}

// DropKeeping is how the drop log is kept, as of a moment ago.
type DropKeeping struct {
	At              time.Time // zero: it was not looked at yet
	Bytes, MaxBytes int64
	Keep            time.Duration
	Rate            float64 // bytes/s that were stored lately
	Expired         uint64  // drops that have left
	Reasons         []DropReason
}

// DropReason is how the drops of one reason are kept.
type DropReason struct {
	Reason         string
	Drops, Expired uint64    // that are there, that have left
	Oldest, Leaves time.Time // when the oldest was stored, and leaves at the present rate; zero: there is none
}

// noDrops is an empty drop log.
type noDrops struct{}

func (noDrops) Read(context.Context, DropQuery, func(Drop) error) error { return nil }

func (noDrops) Count(context.Context, DropQuery) ([]DropCount, error) { return nil, nil }

func (noDrops) Keeping() DropKeeping { return DropKeeping{} }

// How many drops one answer holds.
const (
	dropsDefault = 1000
	dropsLimit   = 100_000
)

// dropJSON is a drop in the answer; without sample its numbers are 0 and its
// value null.
type dropJSON struct {
	PV       string          `json:"pv"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Secs     int64           `json:"secs"`
	Nanos    uint32          `json:"nanos"`
	Time     string          `json:"time,omitempty"` // of the sample, RFC 3339; "" if it has none
	Severity int32           `json:"severity"`
	Status   int32           `json:"status"`
	Type     string          `json:"type,omitempty"`
	Value    json.RawMessage `json:"value"`
	Envelope *envelopeJSON   `json:"envelope,omitempty"`
	Position positionJSON    `json:"position"`
	Cursor   string          `json:"cursor"`
	Replayed bool            `json:"replayed,omitempty"` // it stands in a file now
}

// envelopeJSON is what the verdict depended on beside the sample itself.
type envelopeJSON struct {
	Received    time.Time `json:"received"`
	First       bool      `json:"first"` // since the channel connected
	Registered  string    `json:"registered_type"`
	DriftPast   float64   `json:"drift_past"`   // seconds
	DriftFuture float64   `json:"drift_future"` // seconds
	Generation  uint64    `json:"generation"`
}

type positionJSON struct {
	Sequence uint64    `json:"sequence"`
	Index    int       `json:"index"`
	Time     time.Time `json:"time"`
}

func (d Drop) json() dropJSON {
	out := dropJSON{Replayed: d.Replayed, PV: string(d.PV), Reason: d.Reason, Detail: d.Detail, Value: json.RawMessage("null"),
		Position: positionJSON{Sequence: d.Seq, Index: d.Index, Time: d.Logged.UTC()}, Cursor: strconv.FormatUint(d.Cursor, 10)}
	s := d.Sample
	if s == nil {
		return out
	}
	out.Type = s.Type.String()
	out.Envelope = &envelopeJSON{Received: s.Received.UTC(), First: s.First, Registered: s.Registered.String(),
		DriftPast: s.DriftPast.Seconds(), DriftFuture: s.DriftFuture.Seconds(), Generation: s.Generation}
	event, err := schema.ScanEvent(s.Event)
	if err != nil {
		return out
	}
	at := event.Time(s.Year)
	out.Secs, out.Nanos, out.Severity, out.Status = at.Sec, at.Nsec, event.Severity, event.Status
	if at.Legal() {
		out.Time = at.String()
	}
	if value, err := retrieval.AppendJSONValue(nil, s.Type, event); err == nil {
		out.Value = value
	}
	return out
}

// dropReasons are all reasons that a drop can have: those of consumers/filter.
var dropReasons = []string{"drift_future", "drift_past", "before_1991", "nanos", "order", "type", "rate", "file", "damaged", "unregistered"}

// dropQuery reads which drops are asked for.
func dropQuery(values url.Values, now time.Time) (DropQuery, error) {
	q := DropQuery{PV: values.Get("pv"), Limit: dropsDefault}
	for _, reason := range splitNames(values.Get("reason")) {
		if !slices.Contains(dropReasons, reason) {
			return q, refuse(schema.Invalid, "use some of "+strings.Join(dropReasons, ", "), "reason=%.60q: no drop has the reason %.60q", values.Get("reason"), reason)
		}
		q.Reasons = append(q.Reasons, reason)
	}
	if text := values.Get("replayed"); text != "" {
		if err := flag("replayed", text, &q.Replayed); err != nil {
			return q, err
		}
	}
	for name, to := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := values.Get(name); text != "" {
			t, err := timeOrAge(name, text, now)
			if err != nil {
				return q, err
			}
			*to = t
		}
	}
	if !q.Until.IsZero() && q.Until.Before(q.Since) {
		return q, refuse(schema.Invalid, "exchange them", "until=%s lies before since=%s", values.Get("until"), values.Get("since"))
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > dropsLimit {
			return q, refuse(schema.Invalid, "page with after=CURSOR of the last drop", "limit=%.60q is not a number from 1 to %d", text, dropsLimit)
		}
		q.Limit = n
	}
	if text := values.Get("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return q, refuse(schema.Invalid, "give the cursor of a drop, or 0 to begin with the oldest", "after=%.60q is no cursor", text)
		}
		q.Paged, q.After = true, n
	}
	return q, nil
}

// timeOrAge reads an instant or how long ago it was: 24h, 90m, 7d.
func timeOrAge(name, text string, now time.Time) (time.Time, error) {
	ago := strings.TrimPrefix(text, "-") // as other commands of pvlog have it
	age, err := time.ParseDuration(ago)
	if days, ok := strings.CutSuffix(ago, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		age = time.Duration(n * float64(24*time.Hour))
	}
	if err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	t, err := parseTime(name, text)
	if err != nil {
		return t, refuse(schema.Invalid, "write it as 2026-11-23T17:00:00Z, or how long ago it was: 24h, 90m, 7d", "%s=%.60q is neither an ISO 8601 time with Z or an offset nor a duration", name, text)
	}
	return t, nil
}

// getDrops streams what the archive could not store, oldest first.
func (s *Server) getDrops(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "pv", "reason", "since", "until", "limit", "after", "format", "replayed")
	if err != nil {
		return err
	}
	q, err := dropQuery(values, time.Now())
	if err != nil {
		return err
	}
	form, err := dropForm(values.Get("format"), r.Header.Get("Accept"))
	if err != nil {
		return err
	}
	done, err := s.turns.take(r.Context())
	if err != nil {
		return err
	}
	defer done()
	out := form(w)
	if err := s.options.Drops.Read(r.Context(), q, out.add); err != nil {
		return s.cutOffList(w, r, err)
	}
	return out.end()
}

// cutOffList ends a list that cannot be completed: with the error if nothing was
// sent yet, else by cutting the connection, so that a part is not taken for all.
func (s *Server) cutOffList(w http.ResponseWriter, r *http.Request, err error) error {
	if a, counted := w.(*answer); counted && a.status == 0 {
		w.Header().Del("Content-Type")
		return err
	}
	s.metrics.aborted.Inc()
	s.logger.Warn("an answer was cut off", "path", r.URL.Path, "err", err)
	panic(http.ErrAbortHandler)
}
