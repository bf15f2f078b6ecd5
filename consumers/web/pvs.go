package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// pvRoutes are the resources of PVs.
func (s *Server) pvRoutes() []*route {
	return []*route{
		{method: http.MethodGet, path: "/api/v1/pvs", query: "glob=LAB:*&state=paused&limit=1000&after=PV", summary: "PVs with their settings and channels, page by page", handle: s.pagePVs},
		{method: http.MethodGet, path: "/api/v1/pvs/{pv}/live", query: "timeout=5", summary: "the present value, read from the IOC over the channel that archives it", handle: s.getLive},
		{method: http.MethodGet, path: "/api/v1/pvs/{pv}", query: "at=TIME", summary: "all that is known of a PV, now or at a time past", handle: s.showPV},
	}
}

// parameters reads the query of a request to /api/v1 and refuses what the path
// does not know: a misspelt dry_run must not change anything. Unlike in the
// Appliance's API '+' is a blank, as in every form.
func parameters(r *http.Request, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(schema.Invalid, "percent-encode the parameters' values", "the query is malformed: %v", err)
	}
	for name, given := range values {
		if !slices.Contains(names, name) {
			return nil, refuse(schema.Invalid, "it takes "+or(strings.Join(names, ", "), "none"), "%s does not know the parameter %q", r.URL.Path, name)
		}
		if len(given) > 1 {
			return nil, refuse(schema.Invalid, "give it once", "the parameter %s is given %d times", name, len(given))
		}
	}
	return values, nil
}

// Bounds of a page.
const (
	pageDefault = 1000
	pageLimit   = 10_000
)

// page is a part of a list in the order of its keys.
type page struct {
	limit int
	after string // the last key of the page before
}

func readPage(values url.Values) (page, error) {
	p := page{limit: pageDefault, after: values.Get("after")}
	text := values.Get("limit")
	if text == "" {
		return p, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageLimit {
		return p, refuse(schema.Invalid, "follow next for the other pages", "limit=%q is not a number from 1 to %d", text, pageLimit)
	}
	p.limit = n
	return p, nil
}

// pvStates are what state= may ask for: the registry's states, and what the
// channels of PVs that are archived are at.
var pvStates = []string{"archiving", "paused", "stopped", "alias", "connected", "disconnected", "never_connected"}

// pagePVs answers a page of PVs and aliases in the order of their names.
func (s *Server) pagePVs(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "glob", "state", "limit", "after")
	if err != nil {
		return err
	}
	page, err := readPage(values)
	if err != nil {
		return err
	}
	state := values.Get("state")
	if state != "" && !slices.Contains(pvStates, state) {
		return refuse(schema.Invalid, "use one of "+strings.Join(pvStates, ", "), "state=%q is none", state)
	}
	names := s.options.Registry.Match(values.Get("glob"), 0)
	first, found := slices.BinarySearch(names, schema.PVName(page.after))
	if found {
		first++
	}
	pvs, next := []pvJSON{}, ""
	for _, pv := range names[first:] {
		info, ok := s.entry(pv)
		if !ok || !s.inState(info, state) {
			continue
		}
		if len(pvs) == page.limit {
			next = string(pvs[len(pvs)-1].PV)
			break
		}
		pvs = append(pvs, s.pvJSON(info))
	}
	writePage(w, "pvs", pvs, next)
	return nil
}

// writePage answers a page; next is the after= of the following one.
func writePage[T any](w http.ResponseWriter, name string, items []T, next string) {
	body := map[string]any{name: list(items)}
	if next != "" {
		body["next"] = next
	}
	writeJSON(w, http.StatusOK, body)
}

// entry is what stands in the registry under a name: a PV, or an alias.
func (s *Server) entry(name schema.PVName) (*schema.TypeInfo, bool) {
	if info, ok := s.options.Registry.Get(name); ok {
		return info, true
	}
	found, ok := s.options.Registry.Resolve(name)
	if !ok || !found.Alias {
		return nil, false
	}
	return &schema.TypeInfo{PV: name, State: schema.Alias, AliasOf: found.Info.PV}, true
}

func (s *Server) inState(info *schema.TypeInfo, state string) bool {
	if state == "" || state == string(info.State) {
		return true
	}
	if info.State != schema.Archiving {
		return false
	}
	channel, _ := s.options.Channels(info.PV)
	switch state {
	case "connected":
		return channel.Connected
	case "disconnected":
		return !channel.Connected
	case "never_connected":
		return info.DBRType == schema.UnknownType
	}
	return false
}

// pathPV reads the name that a path holds.
func pathPV(r *http.Request) (schema.PVName, error) { return schema.ParsePVName(r.PathValue("pv")) }

// foundPV finds the PV that a path is about, by its name or an alias.
func (s *Server) foundPV(r *http.Request) (registry.Found, error) {
	pv, err := pathPV(r)
	if err != nil {
		return registry.Found{}, err
	}
	found, ok := s.options.Registry.Resolve(pv)
	if !ok {
		return found, unknownPV(pv)
	}
	return found, nil
}

func unknownPV(pv schema.PVName) error {
	return refuse(schema.NotFound, `archive it with POST /api/v1/pvs {"pv":"`+string(pv)+`"}, or look for names with GET /api/v1/pvs?glob=*`,
		"PV %s is not registered", pv)
}

// showPV answers one PV. Its ETag is the registry's sequence: a change that
// names it is refused when somebody else was faster.
func (s *Server) showPV(w http.ResponseWriter, r *http.Request) error {
	values, err := parameters(r, "at")
	if err != nil {
		return err
	}
	if text := values.Get("at"); text != "" {
		return s.showPVAt(w, r, text)
	}
	found, err := s.foundPV(r)
	if err != nil {
		return err
	}
	s.writePV(w, http.StatusOK, found.Info)
	return nil
}

func (s *Server) writePV(w http.ResponseWriter, status int, info *schema.TypeInfo) {
	w.Header().Set("ETag", etag(info.Sequence))
	writeJSON(w, status, s.pvJSON(info))
}

func etag(seq uint64) string { return `"` + strconv.FormatUint(seq, 10) + `"` }

// ifMatch reads the sequence that a PV must have for a change; 0: any.
func ifMatch(r *http.Request) (uint64, error) {
	text := strings.TrimSpace(r.Header.Get("If-Match"))
	if text == "" || text == "*" {
		return 0, nil
	}
	seq, err := strconv.ParseUint(strings.Trim(text, `"`), 10, 64)
	if err != nil || seq == 0 || len(text) < 3 || text[0] != '"' {
		return 0, refuse(schema.Invalid, `send the ETag of GET /api/v1/pvs/{pv}, such as If-Match: "42"`, "If-Match: %.60s is no ETag of a PV", text)
	}
	return seq, nil
}

// atTime reads a time past.
func atTime(text string) (time.Time, error) {
	t, err := parseTime("at", text)
	if err == nil && t.After(time.Now()) {
		err = refuse(schema.Invalid, "leave it out for the present state", "at=%s lies in the future", text)
	}
	return t, err
}

// showPVAt answers a PV as it was: the sum of its events up to then.
func (s *Server) showPVAt(w http.ResponseWriter, r *http.Request, text string) error {
	at, err := atTime(text)
	if err != nil {
		return err
	}
	pv, err := pathPV(r)
	if err != nil {
		return err
	}
	var info *schema.TypeInfo
	err = s.options.Registry.History(r.Context(), pv, func(seq uint64, e *logpb.RegistryEvent) error {
		if e.GetTime() <= at.UnixNano() {
			info = schema.Apply(info, seq, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if info == nil {
		return refuse(schema.NotFound, "GET /api/v1/pvs/{pv}/history tells when it was", "PV %s was not registered at %s", pv, at.UTC().Format(time.RFC3339Nano))
	}
	writeJSON(w, http.StatusOK, registeredJSON(info))
	return nil
}
