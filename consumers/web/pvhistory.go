package web

import (
	"errors"
	"net/http"
	"strconv"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// showHistory answers a page of the events of a PV or an alias, oldest first.
// Of a name that has no events of its own, the PV is told that it leads to.
func (s *Server) showHistory(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "limit", "after")
	if err != nil {
		return err
	}
	page, err := readPage(values)
	if err != nil {
		return err
	}
	after, err := sequence("after", page.after)
	if err != nil {
		return err
	}
	pv, err := pathPV(r)
	if err != nil {
		return err
	}
	events, more, err := s.history(r, pv, after, page.limit)
	if found, ok := s.options.Registry.Resolve(pv); err == nil && len(events) == 0 && after == 0 && ok {
		events, more, err = s.history(r, found.Info.PV, after, page.limit)
	}
	if err != nil {
		return err
	}
	if len(events) == 0 && after == 0 {
		return unknownPV(pv)
	}
	next := ""
	if more {
		next = strconv.FormatUint(events[len(events)-1].Seq, 10)
	}
	writePage(w, "events", events, next)
	return nil
}

// sequence reads a registry sequence; "" is 0.
func sequence(name, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, refuse(schema.Invalid, "give a number, such as seq in GET /api/v1/pvs/{pv}/history", "%s=%q is no registry sequence", name, text)
	}
	return n, nil
}

// errPageFull ends the reading of a history.
var errPageFull = errors.New("page is full")

// history gives the events of a name after a sequence; more says that there
// are others behind them. All before have to be read: what an event changed
// depends on them.
func (s *Server) history(r *http.Request, pv schema.PVName, after uint64, limit int) (events []eventJSON, more bool, err error) {
	var before *schema.TypeInfo
	err = s.options.Registry.History(r.Context(), pv, func(seq uint64, e *logpb.RegistryEvent) error {
		now := schema.Apply(before, seq, e)
		if seq > after {
			if len(events) == limit {
				return errPageFull
			}
			events = append(events, eventOf(seq, e, before, now))
		}
		before = now
		return nil
	})
	if errors.Is(err, errPageFull) {
		return events, true, nil
	}
	return events, false, err
}
