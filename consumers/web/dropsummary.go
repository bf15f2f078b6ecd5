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
	writeJSON(w, http.StatusOK, dropsOf(counts, top))
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
