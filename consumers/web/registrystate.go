package web

import (
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// registryRoutes are what concerns the registry as a whole.
func (s *Server) registryRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/api/v1/pvs/{pv}/history", query: "limit=1000&after=SEQ", summary: "what happened to a PV, who did it and why", handle: s.showHistory},
		{method: http.MethodGet, path: "/api/v1/registry", query: "at=TIME&glob=LAB:*&limit=1000&after=PV", summary: "the registry as it is, or was", handle: s.showRegistry},
		{method: http.MethodPost, path: "/api/v1/registry/undo", changes: true, query: "dry_run=true&reason=TEXT", summary: `take back an event {"seq":42} or a change {"change_id":"ID"}`, handle: s.undo},
		{method: http.MethodPost, path: "/api/v1/registry/verify", changes: true, summary: "replay the log and compare it with the registry", handle: s.verify},
		{method: http.MethodGet, path: "/api/v1/changes", query: "limit=1000&after=SEQ", summary: "commands on many PVs, newest first", handle: s.listChanges},
		{method: http.MethodGet, path: "/api/v1/changes/{id}", summary: "one of them", handle: s.showChange},
		{method: http.MethodGet, path: "/api/v1/unjoined", summary: "archived PVs that their IOC knows as aliases of others", handle: s.listUnjoined},
		{method: http.MethodGet, path: "/api/v1/aliases", query: "glob=LAB:*&pv=PV&limit=1000&after=ALIAS", summary: "names that stand for PVs", handle: s.listAliases},
		{method: http.MethodPost, path: "/api/v1/aliases", changes: true, query: "reason=TEXT", summary: `let names stand for PVs: {"alias":"N","pv":"A"} or a list of them`, handle: s.addAliases},
		{method: http.MethodDelete, path: "/api/v1/aliases/{alias}", changes: true, query: "reason=TEXT", summary: "let a name stand for nothing any more", handle: s.deleteAlias},
		{method: http.MethodGet, path: "/api/v1/flags", summary: "named flags of the Appliance's stores", handle: s.listFlags},
		{method: http.MethodPut, path: "/api/v1/flags/{flag}", changes: true, query: "reason=TEXT", summary: `set a flag: {"value":true}`, handle: s.putFlag},
	}
}

// showRegistry answers a page of the registry, as it is or as it was.
func (s *Server) showRegistry(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "at", "glob", "limit", "after")
	if err != nil {
		return err
	}
	page, err := readPage(values)
	if err != nil {
		return err
	}
	infos, seq, at, err := s.registryAt(r, values.Get("at"))
	if err != nil {
		return err
	}
	glob := values.Get("glob")
	first := sort.Search(len(infos), func(i int) bool { return infos[i].PV > schema.PVName(page.after) })
	pvs, next := []pvJSON{}, ""
	for _, info := range infos[first:] {
		if !registry.Fits(glob, string(info.PV)) {
			continue
		}
		if len(pvs) == page.limit {
			next = string(pvs[len(pvs)-1].PV)
			break
		}
		pvs = append(pvs, registeredJSON(info))
	}
	body := map[string]any{"at": at.UTC(), "seq": seq, "pvs": pvs}
	if next != "" {
		body["next"] = next
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

// registryAt gives all PVs and aliases of a time in the order of their names,
// with the newest event that counts. A time past is replayed from the log.
func (s *Server) registryAt(r *http.Request, text string) (infos []*schema.TypeInfo, seq uint64, at time.Time, err error) {
	if text == "" {
		infos, seq = s.options.Registry.Snapshot()
		for _, a := range s.options.Registry.Aliases() {
			infos = append(infos, &schema.TypeInfo{PV: a.Alias, State: schema.Alias, AliasOf: a.PV})
		}
		sortInfos(infos)
		return infos, seq, time.Now(), nil
	}
	if at, err = atTime(text); err != nil {
		return nil, 0, at, err
	}
	release, err := s.replay(r)
	if err != nil {
		return nil, 0, at, err
	}
	defer release()
	infos, seq, err = s.options.Registry.At(r.Context(), at)
	sortInfos(infos)
	return infos, seq, at, err
}

func sortInfos(infos []*schema.TypeInfo) {
	slices.SortFunc(infos, func(a, b *schema.TypeInfo) int { return strings.Compare(string(a.PV), string(b.PV)) })
}
