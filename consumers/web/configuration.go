package web

import (
	"bufio"
	"net/http"

	"pvlog/consumers/registry"
)

// configurationRoutes move a site's configuration in and out.
func (s *Server) configurationRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/api/v1/export", query: "glob=LAB:*", summary: "configuration of PVs as PVTypeInfos, and their aliases", handle: s.exportPVs},
		{method: http.MethodPost, path: "/api/v1/import", changes: true, body: s.options.MaxImport, query: "reason=TEXT", summary: "register PVs as PVTypeInfos state them: what export gives, or an Appliance's exportConfig", handle: s.importPVs},
	}
}

// exportPVs answers the PVTypeInfo of the PVs that a glob matches, those that
// never connected included, and the aliases that stand for them.
func (s *Server) exportPVs(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "glob")
	if err != nil {
		return err
	}
	glob := values.Get("glob")
	w.Header().Set("Content-Type", "application/json")
	list := &objects{w: bufio.NewWriter(w)}
	for _, info := range s.options.Registry.All() {
		if registry.Fits(glob, string(info.PV)) {
			list.add(s.typeInfo(info))
		}
	}
	for _, a := range s.options.Registry.Aliases() {
		if registry.Fits(glob, string(a.PV)) {
			list.add(map[string]string{"aliasName": string(a.Alias), "srcPVName": string(a.PV)})
		}
	}
	list.end()
	return nil
}

// importErrorJSON is a PV or an alias that was not taken.
type importErrorJSON struct {
	PV     string `json:"pv"`
	Detail string `json:"detail"`
}

// importPVs registers PVs as they are stated.
func (s *Server) importPVs(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "reason")
	if err != nil {
		return err
	}
	if media := mediaType(r); media != "" && media != "application/json" {
		return unreadable(media, "application/json")
	}
	ctx, done := s.commandContext(r)
	defer done()
	m := &importing{server: s, notes: map[string]*tally{}}
	if err := m.read(r.Body); err != nil {
		return err
	}
	imported, aliased := m.register(ctx, apiActor(r, values.Get("reason")), r)
	failed := make([]importErrorJSON, len(m.failed))
	for i, f := range m.failed {
		failed[i] = importErrorJSON{f["pvName"], f["validation"]}
	}
	writeJSON(w, http.StatusOK, map[string]any{"imported": imported, "aliases": aliased, "errors": failed, "notes": m.told()})
	return nil
}
