package web

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pvlog/schema"
)

// neverConnected lists the PVs that were asked for and are not known yet, the
// longest waiting first. The words of currentState are those of the
// Appliance's archive workflow.
func (s *Server) neverConnected() report {
	return report{limit: -1, ascending: true,
		rank: func(p standing) (float64, bool) {
			return instant(p.info.Created), p.info.State == schema.Archiving && p.info.DBRType == schema.UnknownType
		},
		row: func(p standing) texts {
			requested := reportTime(p.info.Created)
			return texts{"pvName", string(p.info.PV), "appliance", s.options.Identity,
				"requestTime", requested, "startOfWorkflow", requested, "currentState", workflowState(p)}
		}}
}

// workflowState is how far a PV came that is not known yet.
func workflowState(p standing) string {
	switch {
	case !p.running:
		return "START"
	case p.channel.Connected:
		return "METAINFO_OBTAINED"
	}
	return "METAINFO_GATHERING"
}

// disconnected lists the PVs that were connected once, in this run or another,
// and are not; the longest first.
func (s *Server) disconnected() report {
	return report{channels: true, limit: -1, ascending: true, stamps: true,
		rank: func(p standing) (float64, bool) {
			return instant(s.lostAt(p)), p.info.State == schema.Archiving && p.info.DBRType != schema.UnknownType && !p.channel.Connected && !p.channel.Gated
		},
		row: func(p standing) texts {
			lost := s.lostAt(p)
			return texts{"pvName", string(p.info.PV), "instance", s.options.Identity,
				"hostName", or(or(p.channel.Host, p.info.Host), "N/A"), "connectionLostAt", reportTime(lost),
				"noConnectionAsOfEpochSecs", strconv.FormatInt(lost.Unix(), 10), "lastKnownEvent", reportTime(p.last),
				"commandThreadID", noThread}
		}}
}

// noThread is the number of the Channel Access command thread in reports:
// clients parse it, and pvlog has none.
const noThread = "0"

// lostAt is when the connection was lost; of a PV that has not connected since
// the start it is the start, as in the Appliance.
func (s *Server) lostAt(p standing) time.Time {
	if p.channel.LostAt.After(s.started) {
		return p.channel.LostAt
	}
	return s.started
}

// metaGets tells how the search for what is not known of new PVs goes.
func (s *Server) metaGets() report {
	rep := s.neverConnected()
	rep.row = func(p standing) texts {
		return texts{"pvName", string(p.info.PV), "appliance", s.options.Identity, "usePVAccess", "false",
			"isScheduled", strconv.FormatBool(p.running), "scheduleStart", reportTime(p.info.Created),
			"eventsSoFar", strconv.FormatUint(p.channel.Received, 10), "storageSoFar", "0",
			"mainMeta", "<ul><li>state:" + workflowState(p) + "</li></ul>", "lowLevel", jsonText(s.channelAccess(p))}
	}
	return rep
}

// connectedCounts answers the numbers of PVs by the state of their connection.
// One that its controlling PV holds back counts as paused, as in the Appliance.
func (s *Server) connectedCounts(w http.ResponseWriter, _ url.Values) error {
	e := s.options.Engine()
	paused := s.options.Registry.Counts()[schema.Paused] + e.Gated
	writeJSON(w, http.StatusOK, map[string]string{"total": strconv.Itoa(e.Total + paused), "connected": strconv.Itoa(e.Connected),
		"disconnected": strconv.Itoa(e.Total - e.Connected), "paused": strconv.Itoa(paused)})
	return nil
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
