package web

import (
	"net/http"

	"pvlog/schema"
)

// absent are the reads of the Appliance that pvlog has no answer to, and the
// part that is missing: they change nothing and answer 501.
var absent = []struct {
	path, missing string
	post          bool
}{
	{"/mgmt/bpl/test/compareWithChannelArchiver", "pvlog reads no ChannelArchiver", true},
	{"/engine/bpl/getCommandThreadDetails", "pvlog has no command threads of Channel Access: /engine/bpl/getPVDetails tells of a channel", false},
	{"/engine/bpl/getDataAtTime", "values at one time for many PVs are not served yet: ask /retrieval/data/getData.json with from and to at that time", true},
	{"/retrieval/data/getDataAtTime", "values at one time for many PVs are not served yet: ask /retrieval/data/getData.json with from and to at that time", true},
	{"/etl/bpl/getApplianceMetrics", "samples do not move between stores yet, so nothing is measured of it", false},
	{"/etl/bpl/getApplianceMetricsForAppliance", "samples do not move between stores yet, so nothing is measured of it", false},
	{"/etl/bpl/getInstanceMetricsForAppliance", "samples do not move between stores yet, so nothing is measured of it", false},
}

func (s *Server) absentRoutes() []*route {
	var routes []*route
	for _, a := range absent {
		routes = append(routes, &route{path: a.path, post: a.post, summary: "501: " + a.missing,
			handle: func(http.ResponseWriter, *http.Request) error {
				return refuse(schema.Unavailable, a.missing, "%s is not served: %s", a.path, a.missing).as(http.StatusNotImplemented)
			}})
	}
	return routes
}
