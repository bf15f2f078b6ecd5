package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pvlog/schema"
)

// report is one of the Appliance's lists of PVs: rank says which PVs stand in
// it and by what number, largest first; row is what it says of one. Both are called with what is known of the PV's channel.
type report struct {
	channels  bool                                   // only PVs that the engine has a channel for
	stamps    bool                                   // rows state the newest sample: it is read from the stores if it is not known otherwise
	limit     int                                    // rows if the client does not say; negative: all
	ascending bool                                   // smallest first
	rank      func(p standing) (by float64, in bool) // nil: all, by their newest sample
	row       func(p standing) texts
}

// standing is a PV as a report sees it.
type standing struct {
	info    *schema.TypeInfo
	channel ChannelStatus
	running bool      // channel is known
	last    time.Time // stamp of the newest sample, for rows of reports with stamps; zero: none
}

// standing looks a PV up.
func (s *Server) standing(info *schema.TypeInfo) standing {
	channel, ok := s.options.Channels(info.PV)
	return standing{info: info, channel: channel, running: ok}
}

// ranked is a PV's place in a report.
type ranked struct {
	info *schema.TypeInfo
	by   float64
}

// answer makes the handler of a report. Its order is by rank, then by name.
func (s *Server) answer(rep report) handler {
	return withValues(func(w http.ResponseWriter, values url.Values) error {
		limit, err := limitOf(values, rep.limit)
		if err != nil {
			return err
		}
		places, last := s.places(rep), func(*schema.TypeInfo) time.Time { return time.Time{} }
		if rep.stamps {
			if last, err = s.lastStamps(places); err != nil {
				return err
			}
		}
		if rep.rank == nil {
			for i := range places {
				places[i].by = instant(last(places[i].info))
			}
		}
		list := newArray(w)
		for _, place := range ordered(places, rep.ascending, limit) {
			p := s.standing(place.info)
			p.last = last(place.info)
			list.addTexts(rep.row(p))
		}
		list.end()
		return nil
	})
}

// places gives the PVs of a report with their ranks, in the order of names.
func (s *Server) places(rep report) []ranked {
	var list []ranked
	for _, info := range s.options.Registry.All() {
		p := s.standing(info)
		by, in := 0.0, true
		if rep.rank != nil {
			by, in = rep.rank(p)
		}
		if in && (p.running || !rep.channels) {
			list = append(list, ranked{info, by})
		}
	}
	return list
}

// ordered sorts places and cuts them to a number; negative is all.
func ordered(list []ranked, ascending bool, limit int) []ranked {
	slices.SortFunc(list, func(a, b ranked) int {
		switch less := a.by < b.by; {
		case a.by == b.by:
			return strings.Compare(string(a.info.PV), string(b.info.PV))
		case less == ascending:
			return -1
		}
		return 1
	})
	if limit >= 0 && limit < len(list) {
		list = list[:limit]
	}
	return list
}

// filtered answers a report of the PVs whose names fit regex=, in their order.
func (s *Server) filtered(answer func(w http.ResponseWriter, pvs []*schema.TypeInfo) error) handler {
	return withValues(func(w http.ResponseWriter, values url.Values) error {
		fits, err := wholeName(values.Get("regex"))
		if err != nil {
			return err
		}
		all := s.options.Registry.All()
		chosen := all[:0]
		for _, info := range all {
			if fits(string(info.PV)) {
				chosen = append(chosen, info)
			}
		}
		return answer(w, chosen)
	})
}
