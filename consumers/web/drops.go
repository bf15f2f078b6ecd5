package web

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// Drop is a sample that no partition could hold.
type Drop struct {
	PV     schema.PVName
	Reason string
	Detail string            // the numbers behind the reason, for people
	Seq    uint64            // message of SAMPLES that held it
	Index  int               // its place in that message
	Logged time.Time         // when that message was stored
	Sample *schema.RawSample // nil if the message could not be decoded
}

// Drops gives the newest drops of the PVs that a glob matches, oldest first;
// "" matches all PVs and all reasons.
type Drops func(ctx context.Context, glob, reason string, limit int) ([]Drop, error)

// dropsLimit is how many drops one answer holds at most.
const dropsLimit = 100_000

// dropJSON is a drop in the answer; without sample its numbers are 0 and its
// value null.
type dropJSON struct {
	PV       string          `json:"pv"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	Secs     int64           `json:"secs"`
	Nanos    uint32          `json:"nanos"`
	Severity int32           `json:"severity"`
	Status   int32           `json:"status"`
	Type     string          `json:"type,omitempty"`
	Value    json.RawMessage `json:"value"`
	Position positionJSON    `json:"position"`
}

type positionJSON struct {
	Sequence uint64    `json:"sequence"`
	Index    int       `json:"index"`
	Time     time.Time `json:"time"`
}

// getDrops lists what the archive could not store.
func (s *Server) getDrops(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r)
	if err != nil {
		return err
	}
	limit, err := limitOf(values, 1000)
	if err != nil {
		return err
	}
	if limit < 0 || limit > dropsLimit {
		limit = dropsLimit
	}
	drops, err := s.options.Drops(r.Context(), values.Get("pv"), values.Get("reason"), limit)
	if err != nil {
		return err
	}
	answer := make([]dropJSON, len(drops))
	for i, d := range drops {
		answer[i] = d.json()
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (d Drop) json() dropJSON {
	out := dropJSON{PV: string(d.PV), Reason: d.Reason, Detail: d.Detail, Value: json.RawMessage("null"),
		Position: positionJSON{Sequence: d.Seq, Index: d.Index, Time: d.Logged.UTC()}}
	if d.Sample == nil {
		return out
	}
	out.Type = d.Sample.Type.String()
	event, err := schema.ScanEvent(d.Sample.Event)
	if err != nil {
		return out
	}
	at := event.Time(d.Sample.Year)
	out.Secs, out.Nanos, out.Severity, out.Status = at.Sec, at.Nsec, event.Severity, event.Status
	if value, err := retrieval.AppendJSONValue(nil, d.Sample.Type, event); err == nil {
		out.Value = value
	}
	return out
}
