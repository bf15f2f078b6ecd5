package web

import (
	"net/http"
	"strconv"
	"time"

	"pvlog/consumers/retrieval"
	"pvlog/schema"
)

// getPVStatus answers an array with an object per PV, in the order asked. A
// PV that is not archived is told so with 200: clients ask before they act.
func (s *Server) getPVStatus(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	if len(l.entries) == 0 {
		if l.array || l.values.Has("pv") {
			return missingPV()
		}
		l.entries = []entry{{PV: "*"}} // as in the Appliance, no pv means all
	}
	targets, single := s.targets(l)
	if single && targets[0].err != nil {
		return targets[0].err
	}
	list := newArray(w)
	for _, t := range targets {
		if t.err != nil && len(l.entries) == 1 {
			break // a glob that matches nothing
		}
		list.add(s.statusOf(t))
	}
	list.end()
	return nil
}

// statusOf is the status of one PV in the Appliance's words, all values text.
func (s *Server) statusOf(t target) map[string]any {
	item := map[string]any{"pvName": t.asked, "status": "Not being archived"}
	if t.err != nil {
		item["validation"] = t.err.Error()
		return item
	}
	found, ok := s.options.Registry.Resolve(t.pv)
	if !ok {
		return item
	}
	info := found.Info
	channel, known := s.options.Channels(info.PV)
	switch {
	case info.State == schema.Paused:
		item["status"] = "Paused"
	case info.State == schema.Stopped:
	case info.DBRType == schema.UnknownType:
		item["status"] = "Initial sampling"
		if known && channel.State != "" {
			item["channelState"] = channel.State
		}
		return item
	default:
		s.addChannel(item, info, channel, known)
	}
	item["appliance"] = s.options.Identity
	item["pvNameOnly"] = string(info.PV)
	return item
}

func (s *Server) addChannel(item map[string]any, info *schema.TypeInfo, c ChannelStatus, known bool) {
	item["status"] = "Being archived"
	item["isMonitored"] = strconv.FormatBool(known && info.SamplingMethod == schema.Monitor)
	item["samplingPeriod"] = javaFloat(info.SamplingPeriod.Seconds())
	item["connectionState"] = strconv.FormatBool(c.Connected)
	item["lastEvent"] = reportTime(c.LastEvent)
	item["lastRotateLogs"] = reportTime(c.LastFlush)
	item["connectionFirstEstablished"] = reportTime(c.FirstConnected)
	item["connectionLastRestablished"] = reportTime(c.LastConnected)
	item["connectionLossRegainCount"] = strconv.FormatInt(c.Losses, 10)
	if c.State != "" {
		item["channelState"] = c.State
	}
	archived, _ := s.options.Archived(info.PV)
	dropped := c.OverflowDrops
	for _, n := range archived.Drops {
		dropped += n
	}
	item["eventsDropped"] = strconv.FormatUint(dropped, 10) // pvlog's own; why: see the drop log
}

// reportTime writes a time as all of the Appliance's reports do, in the
// server's zone.
func reportTime(t time.Time) string {
	if t.IsZero() {
		return "Never"
	}
	return t.Local().Format("Jan/02/2006 15:04:05 MST")
}

// javaFloat writes a number as the Appliance's JSON does: "1.0".
func javaFloat(v float64) string { return string(retrieval.AppendJavaFloat(nil, v, 32)) }
