package web

// changeRoutes are the requests of the Appliance's management API that change
// something.
func (s *Server) changeRoutes() []*route {
	const dir, list = "/mgmt/bpl/", "pv=A,B or a glob"
	routes := []*route{
		{path: dir + "archivePV", query: "pv=A,B&samplingmethod=MONITOR|SCAN&samplingperiod=1.0&policy=NAME&controllingPV=B&alias=C&timelimit=SECONDS", summary: "archive PVs; POST takes a JSON array of objects with these names", handle: s.archivePV},
		{path: dir + "abortArchivingPV", query: list, summary: "forget PVs that never connected", handle: s.abortPV},
		{path: dir + "abortArchivingPVForThisAppliance", query: list, summary: "the same", handle: s.abortPV},
		{path: dir + "pauseArchivingPV", query: list, summary: "stop sampling until resumed", handle: s.pausePV},
		{path: dir + "resumeArchivingPV", query: list, summary: "go on sampling", handle: s.resumePV},
		{path: dir + "stopArchivingPV", query: list, summary: "end sampling, keep registration and data (pvlog only)", handle: s.stopPV},
		{path: dir + "deletePV", query: list + "&deleteData=true|false", summary: "forget paused PVs, with their data if asked", handle: s.deletePV},
		{path: dir + "changeArchivalParameters", query: list + "&samplingperiod=1.0&samplingmethod=MONITOR|SCAN", summary: "change how PVs are sampled; POST takes a JSON array of objects with these names", handle: s.changeParameters},
		{path: dir + "modifyMetaFields", query: "pv=A&command=add,HIHI,LOLO&command=remove,DRVL&command=clear", summary: "change which fields are archived with a paused PV", handle: s.modifyFields},
		{path: dir + "skipAliasCheck", query: list, summary: "archive PVs under these names whatever their IOC calls them", handle: s.skipAliasCheck},
		{path: dir + "addAlias", query: "pv=A&aliasname=B", summary: "let a name stand for a PV", handle: s.addAlias},
		{path: dir + "removeAlias", query: "pv=A&aliasname=B", summary: "let a name stand for nothing any more", handle: s.removeAlias},
		{path: dir + "renamePV", query: "pv=A&newname=B", summary: "give a paused PV's data and settings another name, too; the old one stays until it is deleted", handle: s.renamePV},
		{path: dir + "changeTypeForPV", query: "pv=A&newtype=DBR_SCALAR_DOUBLE&lossy=true", summary: "give a paused PV another type and convert its stored samples; what would be lost is refused unless lossy=true (pvlog only)", handle: s.changeType},
		{path: dir + "appendAndAliasPV", query: "olderpv=A&newerpv=B&storage=LTS", summary: "merge the samples of one paused PV into another's and let its name stand for that", handle: s.appendAndAlias},
		{path: dir + "mergeInData", query: "pv=A&other=URL&storage=LTS&from=TIME&to=TIME", summary: "merge what another archiver has of a paused PV into its files; URL: its data_retrieval_url", handle: s.mergeInData},
		{path: dir + "modifyStoreURLForPV", query: "pv=A&storage=STS&plugin_url=URL", summary: "change the store that a paused PV's PVTypeInfo states", handle: s.modifyStoreURL},
		{path: dir + "setNamedFlag", query: "name=FLAG&value=true|false", summary: "set a named flag", handle: s.setFlag},
	}
	for _, rt := range routes {
		rt.post = true
	}
	routes = append(routes, []*route{
		{path: dir + "putPVTypeInfo", method: "POST", query: "pv=A&override=true&createnew=true", summary: "state everything about a PV; body: PVTypeInfo", handle: s.putTypeInfo},
		{path: dir + "importConfig", method: "POST", body: s.options.MaxImport, summary: "register PVs as PVTypeInfos state them; body: what exportConfig and getAllAliases answer, of any site", handle: s.importConfig},
		{path: dir + "importConfigForAppliance", method: "POST", body: s.options.MaxImport, summary: "the same for PVTypeInfos of this appliance only", handle: s.importOwnConfig},
	}...)
	for _, rt := range routes {
		rt.changes = true
	}
	return append(routes, s.laterRoutes()...)
}
