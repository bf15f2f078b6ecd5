package web

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pvlog/schema"
)

// topDefault and topLimit are how many PVs a summary names.
const (
	topDefault = 20
	topLimit   = 10_000
)

// dropsJSON is the answer of the summary.
type dropsJSON struct {
	Drops   uint64            `json:"drops"`
	PVs     int               `json:"pv_count"`
	Reasons map[string]uint64 `json:"reasons"`
	Top     []dropsPVJSON     `json:"pvs"` // those with most drops, most first
	Keeping keepingJSON       `json:"keeping"`
}

// keepingJSON is how long drops stay.
type keepingJSON struct {
	At       *time.Time             `json:"at"` // null: not looked at yet
	Bytes    int64                  `json:"bytes"`
	MaxBytes int64                  `json:"max_bytes"`
	Keep     float64                `json:"keep"` // seconds
	Rate     float64                `json:"bytes_per_second"`
	Expired  uint64                 `json:"expired"`
	Reasons  map[string]leavingJSON `json:"reasons"`
}

// leavingJSON is when the drops of a reason leave.
type leavingJSON struct {
	Drops   uint64     `json:"drops"`
	Expired uint64     `json:"expired"`
	Oldest  *time.Time `json:"oldest"`
	Leaves  *time.Time `json:"leaves"`
}

func (k DropKeeping) json() keepingJSON {
	out := keepingJSON{At: timeJSON(k.At), Bytes: k.Bytes, MaxBytes: k.MaxBytes, Keep: k.Keep.Seconds(), Rate: k.Rate, Expired: k.Expired, Reasons: map[string]leavingJSON{}}
	for _, r := range k.Reasons {
		out.Reasons[r.Reason] = leavingJSON{Drops: r.Drops, Expired: r.Expired, Oldest: timeJSON(r.Oldest), Leaves: timeJSON(r.Leaves)}
	}
	return out
}

// dropsPVJSON is one PV of it.
type dropsPVJSON struct {
	PV      string            `json:"pv"`
	Drops   uint64            `json:"drops"`
	Reasons map[string]uint64 `json:"reasons"`
}

// summarizeDrops answers how many drops there are for each reason, and of
// which PVs most.
func (s *Server) summarizeDrops(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "pv", "reason", "since", "until", "top")
	if err != nil {
		return err
	}
	q, err := dropQuery(values, time.Now())
	if err != nil {
		return err
	}
	top := topDefault
	if text := values.Get("top"); text != "" {
		if top, err = strconv.Atoi(text); err != nil || top < 0 || top > topLimit {
			return refuse(schema.Invalid, "GET /api/v1/drops lists all drops", "top=%.60q is not a number from 0 to %d", text, topLimit)
		}
	}
	done, err := s.turns.take(r.Context())
	if err != nil {
		return err
	}
	defer done()
	counts, err := s.options.Drops.Count(r.Context(), q)
	if err != nil {
		return err
	}
	answer := dropsOf(counts, top)
	answer.Keeping = s.options.Drops.Keeping().json()
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func dropsOf(counts []DropCount, top int) dropsJSON {
	out := dropsJSON{Reasons: map[string]uint64{}, Top: []dropsPVJSON{}}
	pvs := map[string]*dropsPVJSON{}
	for _, c := range counts {
		p := pvs[string(c.PV)]
		if p == nil {
			p = &dropsPVJSON{PV: string(c.PV), Reasons: map[string]uint64{}}
			pvs[p.PV] = p
		}
		p.Drops += c.Drops
		p.Reasons[c.Reason] += c.Drops
		out.Drops += c.Drops
		out.Reasons[c.Reason] += c.Drops
	}
	out.PVs = len(pvs)
	for _, p := range pvs {
		out.Top = append(out.Top, *p)
	}
	slices.SortFunc(out.Top, func(x, y dropsPVJSON) int {
		return cmp.Or(cmp.Compare(y.Drops, x.Drops), cmp.Compare(x.PV, y.PV))
	})
	out.Top = out.Top[:min(top, len(out.Top))]
	return out
}
