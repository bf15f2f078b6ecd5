package web

import (
	"net/http"
	"slices"

	"pvlog/schema"
)

// What pvlog cannot do yet, or will not.
const (
	noMoves    = "pvlog does not move data between stores yet"
	noRewrites = "pvlog does not rewrite stored data yet"
	noImports  = "pvlog does not read data of other archivers yet"
	noCluster  = "pvlog is one appliance: there is no other to give a PV to"
	noServers  = "pvlog reads no external archivers"
	noWorkflow = "pvlog has no workflow of archive requests to restart: each PV connects by itself"
	inCluster  = "that is said between the Appliance's parts: pvlog is one process"
)

// laterRoutes are the changing requests of the Appliance that pvlog answers
// with 501. Those about a PV are checked first: what is wrong with them is told
// in the Appliance's words, so that a client learns of the missing part only
// when nothing else is in the way. Nothing is changed.
func (s *Server) laterRoutes() []*route {
	const dir = "/mgmt/bpl/"
	routes := []*route{
		{path: dir + "consolidateDataForPV", query: "pv=A&storage=LTS", summary: "501: " + noMoves, handle: s.consolidate},
		{path: dir + "changeStore", query: "pv=A&storage=LTS&newbackend=URL", summary: "501: " + noRewrites, handle: s.changeStore},
		{path: dir + "importDataFromPlugin", query: "pv=A&src=URL&dest=LTS&from=TIME&to=TIME", summary: "501: " + noImports, handle: s.importData},
		{path: dir + "reshardPV", query: "pv=A&appliance=NAME&storage=LTS", summary: "501: " + noCluster, handle: s.reshard},
		{path: dir + "reassignAppliance", query: "pv=A&appliance=NAME", summary: "501: " + noCluster, handle: s.reshard},
	}
	for _, m := range []struct{ path, missing string }{
		{dir + "uploadChannelArchiverConfiguration", noServers},
		{dir + "importChannelArchiverConfiguration", noServers},
		{dir + "addExternalArchiverServer", noServers},
		{dir + "addExternalArchiverServerArchives", noServers},
		{dir + "removeExternalArchiverServer", noServers},
		{dir + "refreshPVDataFromChannelArchivers", noServers},
		{dir + "resetFailoverCaches", noServers},
		{dir + "restartArchivePVWorkflowThreadForThisAppliance", noWorkflow},
		{"/engine/bpl/changeArchivalParameters", inCluster},
		{"/engine/bpl/deletePV", inCluster},
		{"/engine/bpl/pausePVsonShutdown", inCluster},
		{"/engine/bpl/cleanUpAnyImmortalChannels", inCluster},
		{"/etl/bpl/consolidateDataForPV", inCluster},
		{"/etl/bpl/deletePV", inCluster},
		{"/etl/bpl/changeStore", inCluster},
		{"/retrieval/bpl/resetFailoverCachesForThisAppliance", noServers},
	} {
		routes = append(routes, &route{path: m.path, summary: "501: " + m.missing,
			handle: func(_ http.ResponseWriter, r *http.Request) error { return missing(r, m.missing) }})
	}
	for _, rt := range routes {
		rt.post, rt.changes = true, true
	}
	return routes
}

// missing answers that a part of pvlog is missing.
func missing(r *http.Request, part string) error {
	hint := "nothing was changed; GET / lists what this server does"
	if part == inCluster {
		hint = "use /mgmt/bpl: it has all that changes something"
	}
	ref := refuse(schema.Unavailable, hint, "%s: %s", r.URL.Path, part).as(http.StatusNotImplemented)
	ref.fields = map[string]any{"code": "not implemented"}
	return ref
}

// need gives the error of parameters that are missing.
func (l listing) need(names ...string) error {
	for _, name := range names {
		if l.values.Get(name) == "" {
			return refuse(schema.Invalid, "add "+name+"= to the request", "the parameter %s is missing", name)
		}
	}
	return nil
}

// hasStore reports whether a PV's PVTypeInfo states a store.
func (s *Server) hasStore(info *schema.TypeInfo, storage string) bool {
	return slices.ContainsFunc(s.storeURLs(info), func(u string) bool { name, err := storeName(u); return err == nil && name == storage })
}

func (s *Server) consolidate(w http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err == nil {
		err = l.need("storage")
	}
	switch {
	case err != nil:
		return err
	case info.State == schema.Archiving:
		return s.cannot(w, "Cannot consolidate unless PV %s is paused.", info.PV)
	case !s.hasStore(info, l.values.Get("storage")):
		return s.cannot(w, "Cannot find storage with name %s for pv %s", l.values.Get("storage"), info.PV)
	}
	return missing(r, noMoves)
}

func (s *Server) changeStore(w http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err == nil {
		err = l.need("newbackend", "storage")
	}
	if err == nil {
		_, err = storeName(l.values.Get("newbackend"))
	}
	switch {
	case err != nil:
		return err
	case info.State == schema.Archiving:
		return s.cannot(w, "Need to pause PV before changing type for %s", info.PV) // the Appliance's words
	case !s.hasStore(info, l.values.Get("storage")):
		return s.cannot(w, "Cannot find storage with name %s for pv %s", l.values.Get("storage"), info.PV)
	}
	return missing(r, noRewrites)
}

func (s *Server) importData(_ http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err == nil {
		err = l.need("from", "to", "src", "dest")
	}
	if err == nil {
		_, err = parseTime("from", l.values.Get("from"))
	}
	if err == nil {
		_, err = parseTime("to", l.values.Get("to"))
	}
	switch {
	case err != nil:
		return err
	case !s.hasStore(info, l.values.Get("dest")):
		return refuse(schema.NotFound, "/mgmt/bpl/getStoresForPV lists the PV's stores", "Unable to find storage plugin with name %s for pv %s", l.values.Get("dest"), info.PV)
	}
	return missing(r, noImports)
}

// reshard answers reshardPV and reassignAppliance: the PV is here, and there is
// no other appliance.
func (s *Server) reshard(_ http.ResponseWriter, r *http.Request) error {
	l, info, err := s.one(r)
	if err == nil {
		err = l.need("appliance")
	}
	switch {
	case err != nil:
		return err
	case l.values.Get("appliance") == s.options.Identity:
		return refuse(schema.Invalid, "the PV is where it shall be", "Attempting to reshard onto same appliance - %s/%s (PV %s)", s.options.Identity, s.options.Identity, info.PV)
	}
	return missing(r, noCluster)
}
