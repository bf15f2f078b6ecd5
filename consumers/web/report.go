package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"pvlog/schema"
)

// report is one of the Appliance's lists of PVs: rank says which PVs stand in
// it and by what number, largest first; row is what it says of one. Both are called with what is known of the PV's channel.
type report struct {
	channels  bool // only PVs that the engine has a channel for
	limit     int  // rows if the client does not say; negative: all
	ascending bool // smallest first
	rank      func(p standing) (by float64, in bool)
	row       func(p standing) texts
}

// standing is a PV as a report sees it.
type standing struct {
	info    *schema.TypeInfo
	channel ChannelStatus
	running bool // channel is known
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
		list := newArray(w)
		for _, place := range s.places(rep, limit) {
			list.addTexts(rep.row(s.standing(place.info)))
		}
		list.end()
		return nil
	})
}

// places gives the PVs of a report in its order, at most limit of them.
func (s *Server) places(rep report, limit int) []ranked {
	var list []ranked
	for _, info := range s.options.Registry.All() {
		p := s.standing(info)
		if rep.channels && !p.running {
			continue
		}
		if by, in := rep.rank(p); in {
			list = append(list, ranked{info, by})
		}
	}
	slices.SortFunc(list, func(a, b ranked) int {
		switch less := a.by < b.by; {
		case a.by == b.by:
			return strings.Compare(string(a.info.PV), string(b.info.PV))
		case less == rep.ascending:
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
