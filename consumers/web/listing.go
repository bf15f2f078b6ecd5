package web

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// listPVs answers the names of the PVs that a test chooses, in order.
func (s *Server) listPVs(w http.ResponseWriter, chosen func(info *schema.TypeInfo) bool) error {
	list := newArray(w)
	for _, info := range s.options.Registry.All() {
		if chosen(info) {
			list.addText(string(info.PV))
		}
	}
	list.end()
	return nil
}

func (s *Server) typeInfoKeys(w http.ResponseWriter, _ url.Values) error {
	return s.listPVs(w, func(info *schema.TypeInfo) bool { return typed(info) == nil })
}

func (s *Server) pvsHere(w http.ResponseWriter, _ url.Values) error {
	return s.listPVs(w, func(*schema.TypeInfo) bool { return true })
}

func (s *Server) pausedHere(w http.ResponseWriter, _ url.Values) error {
	return s.listPVs(w, func(info *schema.TypeInfo) bool { return info.State == schema.Paused })
}

func (s *Server) channelsHere(w http.ResponseWriter, _ url.Values) error {
	return s.listPVs(w, func(info *schema.TypeInfo) bool { return s.standing(info).running })
}

// expandedNames answers every name that retrieval knows: of PVs, with .VAL and
// their archived fields, and of aliases. The first element is none, as in the
// Appliance.
func (s *Server) expandedNames(w http.ResponseWriter, _ url.Values) error {
	list := newArray(w)
	list.addText("EPICS:Archiver:Appliance")
	for _, info := range s.options.Registry.All() {
		list.addText(string(info.PV))
		if info.PV.Field() != "" {
			continue
		}
		list.addText(string(info.PV) + ".VAL")
		for _, field := range info.ArchiveFields {
			list.addText(string(info.PV) + "." + field)
		}
	}
	for _, alias := range s.options.Registry.Aliases() {
		list.addText(string(alias.Alias))
		if alias.Alias.Field() == "" {
			list.addText(string(alias.Alias) + ".VAL")
		}
	}
	list.end()
	return nil
}

func (s *Server) aliases(w http.ResponseWriter, _ url.Values) error {
	list := newArray(w)
	for _, alias := range s.options.Registry.Aliases() {
		list.addTexts(texts{"aliasName", string(alias.Alias), "srcPVName", string(alias.PV)})
	}
	list.end()
	return nil
}

// namesOf reads the names that a request lists; none is an error.
func namesOf(r *http.Request) ([]string, error) {
	l, err := readListing(r)
	if err != nil {
		return nil, err
	}
	if len(l.entries) == 0 && !l.array {
		return nil, refuse(schema.Invalid, `send ["A","B"], pv=A,B or one name a line as the body`, "the request names no PVs")
	}
	names := make([]string, len(l.entries))
	for i, e := range l.entries {
		names[i] = string(e.PV)
	}
	return names, nil
}

// known finds the PV that a name stands for; a name that none can have stands
// for none.
func (s *Server) known(name string) (registry.Found, bool) {
	pv, err := schema.ParsePVName(name)
	if err != nil {
		return registry.Found{}, false
	}
	return s.options.Registry.Resolve(pv)
}

// sieve makes the handler that answers the names of a request's list which are
// archived here, or which are not, in the order of the list and once each.
func (s *Server) sieve(archived bool) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		names, err := namesOf(r)
		if err != nil {
			return err
		}
		list, seen := newArray(w), make(map[string]bool, len(names))
		for _, name := range names {
			if _, ok := s.known(name); ok == archived && !seen[name] {
				list.addText(name)
			}
			seen[name] = true
		}
		list.end()
		return nil
	}
}

// archivedNotInList answers the archived PVs that no name of the list stands
// for.
func (s *Server) archivedNotInList(w http.ResponseWriter, r *http.Request) error {
	names, err := namesOf(r)
	if err != nil {
		return err
	}
	listed := make(map[schema.PVName]bool, len(names))
	for _, name := range names {
		if found, ok := s.known(name); ok {
			listed[found.Info.PV] = true
		}
	}
	return s.listPVs(w, func(info *schema.TypeInfo) bool { return !listed[info.PV] })
}

// namedFlag answers the value of one flag; one that was never set is false.
func (s *Server) namedFlag(w http.ResponseWriter, values url.Values) error {
	name := values.Get("name")
	if name == "" {
		return refuse(schema.Invalid, "add name=FLAG; getAllNamedFlags lists those that were set", "the parameter name is missing")
	}
	writeJSON(w, http.StatusOK, map[string]bool{name: s.options.Registry.Flags()[name]})
	return nil
}

func (s *Server) namedFlags(w http.ResponseWriter, _ url.Values) error {
	flags := s.options.Registry.Flags()
	if flags == nil {
		flags = map[string]bool{}
	}
	writeJSON(w, http.StatusOK, flags)
	return nil
}

func (s *Server) policyList(w http.ResponseWriter, _ url.Values) error {
	list := map[string]string{}
	for _, p := range s.options.Policies.list() {
		list[p.Name] = p.Description
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) policyText(w http.ResponseWriter, _ url.Values) error {
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	_, text, _ := s.options.Policies.file()
	_, _ = w.Write(text)
	return nil
}

func (s *Server) properties(w http.ResponseWriter, _ url.Values) error {
	properties := s.options.Properties
	if properties == nil {
		properties = map[string]string{}
	}
	writeJSON(w, http.StatusOK, properties)
	return nil
}

// externalServers answers the external archivers: there are none.
func (s *Server) externalServers(w http.ResponseWriter, _ url.Values) error {
	writeJSON(w, http.StatusOK, []string{})
	return nil
}

// aggregated answers the load of this appliance by which the Appliance shares
// PVs out.
func (s *Server) aggregated(w http.ResponseWriter, values url.Values) error {
	if err := s.mine(values); err != nil {
		return err
	}
	t := s.totals()
	writeJSON(w, http.StatusOK, map[string]string{"totalPVCount": strconv.Itoa(t.Total + t.paused),
		"totalEventRate": plain(t.events), "totalStorageRate": plain(t.bytes)})
	return nil
}

// appReady answers whether a component of the Appliance is ready: all are one
// process here, which is when the registry has caught up.
func (s *Server) appReady(w http.ResponseWriter, values url.Values) error {
	name := values.Get("webapp")
	if name != "MGMT" && name != "ENGINE" && name != "ETL" && name != "RETRIEVAL" {
		return refuse(schema.Invalid, "add webapp=MGMT, ENGINE, ETL or RETRIEVAL", "webapp=%q is no component", name)
	}
	select {
	case <-s.options.Registry.CaughtUp():
	default:
		return refuse(schema.Unavailable, "try again", "the registry is still reading its log")
	}
	writeJSON(w, http.StatusOK, map[string]string{"webapp": name, "status": "ok", "since": reportTime(s.started.Truncate(time.Second))})
	return nil
}
