package web

import "net/http"

// Queries of reads, as the index shows them.
const (
	onePVQuery   = "pv=A"
	limitQuery   = "limit=100"
	regexQuery   = "regex=RE"
	listedPVs    = "body: A,B or JSON"
	identityHere = "appliance=NAME"
)

// readRoutes are the Appliance's reads, in the order of its parts.
func (s *Server) readRoutes() []*route {
	routes := append(s.mgmtReads(), s.mgmtReports()...)
	for _, rt := range routes {
		rt.post = rt.method == ""
	}
	routes = append(routes, s.engineReads()...)
	routes = append(routes, s.storeReads()...)
	return append(routes, s.absentRoutes()...)
}

func (s *Server) mgmtReads() []*route {
	const dir = "/mgmt/bpl/"
	return []*route{
		{path: dir + "getPVStatus", query: "pv=A,B or a glob", summary: "what pvlog does with PVs", handle: s.getPVStatus},
		{path: dir + "getAllPVs", query: "pv=GLOB or regex=RE&limit=500", summary: "names of PVs and aliases", handle: s.getAllPVs},
		{path: dir + "getMatchingPVsForThisAppliance", query: "pv=GLOB or regex=RE&limit=500", summary: "the same", handle: s.getAllPVs},
		{path: dir + "getAllExpandedPVNames", summary: "names of PVs with fields, and of aliases", handle: withValues(s.expandedNames)},
		{path: dir + "getTypeInfoKeys", summary: "names of the PVs whose type is known", handle: withValues(s.typeInfoKeys)},
		{path: dir + "getPVsForThisAppliance", summary: "names of PVs", handle: withValues(s.pvsHere)},
		{path: dir + "getPausedPVsForThisAppliance", summary: "names of paused PVs", handle: withValues(s.pausedHere)},
		{path: dir + "getPVTypeInfo", query: onePVQuery, summary: "all that is known of a PV", handle: s.forPV(s.getPVTypeInfo)},
		{path: dir + "getPVDetails", query: onePVQuery, summary: "a PV as every part sees it", handle: s.forPV(s.getPVDetails)},
		{path: dir + "getStoresForPV", query: onePVQuery, summary: "the stores of a PV as plugin URLs", handle: s.forPV(s.storesOf)},
		{path: dir + "getAllAliases", summary: "aliases and their PVs", handle: withValues(s.aliases)},
		{path: dir + "archivedPVs", method: http.MethodPost, query: listedPVs, summary: "which names of a list are archived", handle: s.sieve(true)},
		{path: dir + "unarchivedPVs", method: http.MethodPost, query: listedPVs, summary: "which names of a list are not archived", handle: s.sieve(false)},
		{path: dir + "archivedPVsNotInList", method: http.MethodPost, query: listedPVs, summary: "archived PVs that a list does not name", handle: s.archivedNotInList},
		{path: dir + "getNamedFlag", query: "name=FLAG", summary: "a named flag", handle: withValues(s.namedFlag)},
		{path: dir + "getAllNamedFlags", summary: "all named flags", handle: withValues(s.namedFlags)},
		{path: dir + "getVersions", summary: "version of each component", handle: s.getVersions},
		{path: dir + "getApplianceInfo", summary: "where the parts of the API are", handle: s.getApplianceInfo},
		{path: dir + "getAppliancesInCluster", summary: "the same as a list of one", handle: s.getAppliances},
		{path: dir + "getPolicyList", summary: "policies and what they are for", handle: withValues(s.policyList)},
		{path: dir + "getPolicyText", summary: "the file that defines the policies", handle: withValues(s.policyText)},
		{path: dir + "getApplianceProperties", summary: "properties of this appliance", handle: withValues(s.properties)},
		{path: dir + "exportConfig", query: "complete=true", summary: "PVTypeInfo of all PVs, with aliases and PVs that never connected if asked", handle: s.exportAll},
		{path: dir + "exportConfigForAppliance", query: "complete=true", summary: "the same", handle: s.exportAll},
		{path: dir + "getExternalArchiverServers", summary: "external archivers: none", handle: withValues(s.externalServers)},
		{path: dir + "getAggregatedApplianceInfo", query: identityHere, summary: "PVs, events and bytes per second", handle: withValues(s.aggregated)},
		{path: dir + "webAppReady", query: "webapp=ENGINE", summary: "whether a component is ready", handle: withValues(s.appReady)},
		{path: dir + "ping", summary: "pong", handle: ping},
	}
}

func (s *Server) mgmtReports() []*route {
	const dir = "/mgmt/bpl/"
	drops := func(reasons ...string) handler {
		return s.answer(s.counting("eventsDropped", func(p standing) uint64 { return s.dropped(p.info.PV, reasons...) }))
	}
	overflow := s.answer(s.counting("eventsDropped", func(p standing) uint64 { return p.channel.OverflowDrops }))
	return []*route{
		{path: dir + "getNeverConnectedPVs", summary: "PVs that no IOC has served yet", handle: s.answer(s.neverConnected())},
		{path: dir + "getNeverConnectedPVsForThisAppliance", summary: "the same", handle: s.answer(s.neverConnected())},
		{path: dir + "getMetaGets", summary: "how the search for them goes", handle: s.answer(s.metaGets())},
		{path: dir + "getCurrentlyDisconnectedPVs", summary: "PVs that have lost their IOC", handle: s.answer(s.disconnected())},
		{path: dir + "getEventRateReport", query: limitQuery, summary: "PVs by updates per second", handle: s.answer(s.eventRates())},
		{path: dir + "getStorageRateReport", query: limitQuery, summary: "PVs by bytes per time", handle: s.answer(s.storageRates())},
		{path: dir + "getRecentlyAddedPVs", query: limitQuery, summary: "newest PVs", handle: s.answer(s.recentlyAdded())},
		{path: dir + "getRecentlyAddedPVsForThisInstance", query: limitQuery, summary: "the same", handle: s.answer(s.recentlyAdded())},
		{path: dir + "getRecentlyModifiedPVs", query: limitQuery, summary: "PVs whose parameters or state changed last", handle: s.answer(s.recentlyModified())},
		{path: dir + "getRecentlyModifiedPVsForThisInstance", query: limitQuery, summary: "the same", handle: s.answer(s.recentlyModified())},
		{path: dir + "getPVsByStorageConsumed", query: limitQuery, summary: "PVs by bytes in all stores", handle: s.storageConsumed},
		{path: dir + "getLostConnectionsReport", query: limitQuery, summary: "PVs by lost connections", handle: s.answer(s.lostConnections())},
		{path: dir + "getSilentPVsReport", query: limitQuery, summary: "PVs by the age of their newest sample", handle: s.answer(s.silentPVs())},
		{path: dir + "getPVsByDroppedEventsTimestamp", query: limitQuery, summary: "PVs by samples with a wrong time", handle: drops(timestampReasons...)},
		{path: dir + "getPVsByDroppedEventsBuffer", query: limitQuery, summary: "PVs by samples that the log had no room for", handle: overflow},
		{path: dir + "getPVsByDroppedEventsTypeChange", query: limitQuery, summary: "PVs by samples of another type", handle: drops(typeReason)},
		{path: dir + "getSlowChangingPVsWithDroppedEvents", query: limitQuery, summary: "PVs with more wrong times than right ones", handle: s.answer(s.slowWithDrops())},
		{path: dir + "getPausedPVsReport", query: limitQuery, summary: "paused PVs, newest first", handle: s.answer(s.pausedPVs())},
		{path: dir + "getArchivedWaveforms", query: limitQuery, summary: "arrays by number of elements", handle: s.answer(s.waveforms())},
		{path: dir + "getTimeSpanReport", query: regexQuery, summary: "begin and newest sample of PVs", handle: s.filtered(s.timeSpan)},
		{path: dir + "getCreationReportForAppliance", query: regexQuery, summary: "begin of PVs", handle: s.filtered(s.creations)},
		{path: dir + "getInstanceMetrics", summary: "numbers of this appliance", handle: withValues(s.instanceMetrics)},
		{path: dir + "getInstanceMetricsForAppliance", query: identityHere, summary: "the same as lines", handle: withValues(s.instanceDetails)},
		{path: dir + "getApplianceMetrics", summary: "numbers of this appliance", handle: withValues(s.applianceMetrics)},
		{path: dir + "getApplianceMetricsForAppliance", query: identityHere, summary: "the same as lines", handle: withValues(s.applianceDetails)},
		{path: dir + "getMgmtMetricsForAppliance", query: identityHere, summary: "how long it has been running", handle: withValues(s.mgmtMetrics)},
		{path: dir + "getStorageMetrics", summary: "numbers of this appliance", handle: withValues(s.applianceMetrics)},
		{path: dir + "getStorageMetricsForAppliance", query: identityHere, summary: "room in each store", handle: withValues(s.spaces)},
		{path: dir + "getProcessMetrics", summary: "a day of load and memory", handle: s.processMetrics(components...)},
		{path: dir + "getProcessMetricsDataForAppliance", query: identityHere, summary: "the same as curves", handle: withValues(s.processChart)},
	}
}

func (s *Server) engineReads() []*route {
	const dir = "/engine/bpl/"
	routes := []*route{
		{path: dir + "status", query: "pv=A,B", post: true, summary: "what the engine does with PVs", handle: s.engineStatus},
		{path: dir + "getData.raw", query: "pv=A&from=TIME&to=TIME", summary: "samples that are not in a file yet", handle: s.unwritten},
		{path: dir + "getMetadata", query: onePVQuery, summary: "newest units, limits, labels and fields", handle: s.forPV(s.engineMetadata)},
		{path: dir + "getPVDetails", query: onePVQuery, summary: "a PV as the engine sees it", handle: s.forPV(s.enginePVDetails)},
		{path: dir + "getArchiveChannelObjectDetails", query: onePVQuery, summary: "the same as an object", handle: s.forPV(s.channelDetails)},
		{path: dir + "getConnectedPVCountForAppliance", summary: "PVs by the state of their connection", handle: withValues(s.connectedCounts)},
		{path: dir + "getLastKnownTimeStampReport", query: regexQuery, summary: "newest sample of PVs", handle: s.filtered(s.lastStampReport)},
		{path: dir + "listAllChannels", summary: "names of PVs with a channel", handle: withValues(s.channelsHere)},
		{path: dir + "getApplianceMetrics", summary: "numbers of the engine", handle: withValues(s.engineMetrics)},
		{path: dir + "getApplianceMetricsForAppliance", summary: "the same", handle: withValues(s.engineMetrics)},
		{path: dir + "getInstanceMetricsForAppliance", summary: "the same", handle: withValues(s.engineMetrics)},
		{path: dir + "getMetaGetsForThisAppliance", summary: "as mgmt", handle: s.answer(s.metaGets())},
		{path: dir + "getCurrentlyDisconnectedPVsForThisAppliance", summary: "as mgmt", handle: s.answer(s.disconnected())},
		{path: dir + "getProcessMetrics", summary: "a day of load and memory", handle: s.processMetrics("ENGINE")},
		{path: dir + "getVersion", summary: "version of pvlog", handle: s.getVersion},
	}
	return append(routes, s.reportsAgain(dir, "getEventRateReport", "getStorageRateReport", "getLostConnectionsReport", "getSilentPVsReport",
		"getPVsByDroppedEventsTimestamp", "getPVsByDroppedEventsBuffer", "getPVsByDroppedEventsTypeChange", "getSlowChangingPVsWithDroppedEvents", "getArchivedWaveforms")...)
}

// reportsAgain are reports of mgmt under the name that another part has for them.
func (s *Server) reportsAgain(dir string, names ...string) []*route {
	var routes []*route
	for _, rt := range s.mgmtReports() {
		for _, name := range names {
			if rt.path == "/mgmt/bpl/"+name {
				routes = append(routes, &route{path: dir + name, query: rt.query, summary: "as mgmt", handle: rt.handle})
			}
		}
	}
	return routes
}

func (s *Server) storeReads() []*route {
	const dir = "/etl/bpl/"
	return []*route{
		{path: dir + "getPVDetails", query: onePVQuery, summary: "a PV as the stores see it", handle: s.forPV(s.storePVDetails)},
		{path: dir + "getStorageDetailsForAppliance", summary: "room in each store", handle: withValues(s.spaces)},
		{path: dir + "getStorageMetricsForAppliance", summary: "the same", handle: withValues(s.spaces)},
		{path: dir + "getPVsByStorageConsumed", query: limitQuery, summary: "PVs by bytes in all stores", handle: s.storageConsumed},
		{path: dir + "getLastKnownEvent", query: onePVQuery, summary: "newest sample of a PV", handle: s.forPV(s.lastKnownEvent)},
		{path: dir + "getProcessMetrics", summary: "a day of load and memory", handle: s.processMetrics("ETL")},
		{path: dir + "getVersion", summary: "version of pvlog", handle: s.getVersion},
	}
}
