package web

import (
	"errors"
	"net/http"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// one reads a request about one registered PV, by its name or an alias.
func (s *Server) one(r *http.Request) (listing, *schema.TypeInfo, error) {
	l, pv, err := readOne(r)
	if err != nil {
		return l, nil, err
	}
	info, err := s.registered(pv)
	return l, info, err
}

// readOne reads a request about one PV.
func readOne(r *http.Request) (listing, schema.PVName, error) {
	l, err := readListing(r)
	if err != nil {
		return l, "", err
	}
	switch {
	case len(l.entries) == 0:
		return l, "", missingPV()
	case len(l.entries) > 1:
		return l, "", refuse(schema.Invalid, "send one request for each PV", "%s takes one PV", r.URL.Path)
	}
	pv, err := schema.ParsePVName(l.asked())
	return l, pv, err
}

// registered gives the PV that a name stands for.
func (s *Server) registered(name schema.PVName) (*schema.TypeInfo, error) {
	if found, ok := s.options.Registry.Resolve(name); ok && found.Field == "" {
		return found.Info, nil
	}
	return nil, refuse(schema.NotFound, "archive it with /mgmt/bpl/archivePV?pv="+string(name)+", or look for names with /retrieval/bpl/getMatchingPVs?pv=*",
		"Unable to find typeinfo for pv %s", name)
}

// asked is the first name of a request, as the client wrote it.
func (l listing) asked() string { return string(l.entries[0].PV) }

// single reports whether one PV was asked for by name, so that the answer is
// an object rather than an array.
func (l listing) single() bool { return len(l.entries) == 1 && !l.array && !isGlob(l.asked()) }

func (s *Server) addAlias(w http.ResponseWriter, r *http.Request) error {
	l, pv, alias, err := readAlias(r)
	if err != nil {
		return err
	}
	result := s.options.Registry.AddAlias(r.Context(), actorOf(r, l), registry.Alias{Alias: alias, PV: pv})[0]
	if result.Err != nil && !errors.Is(result.Err, registry.ErrAlready) {
		return result.Err
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "desc": "Added an alias " + l.values.Get("aliasname") + " for PV " + l.asked()})
	return nil
}

func (s *Server) removeAlias(w http.ResponseWriter, r *http.Request) error {
	l, pv, alias, err := readAlias(r)
	if err != nil {
		return err
	}
	if err := s.options.Registry.RemoveAlias(r.Context(), actorOf(r, l), registry.Alias{Alias: alias, PV: pv})[0].Err; err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "desc": "Removed an alias " + l.values.Get("aliasname") + " for PV " + l.asked()})
	return nil
}

func readAlias(r *http.Request) (l listing, pv, alias schema.PVName, err error) {
	if l, pv, err = readOne(r); err != nil {
		return l, "", "", err
	}
	name := l.values.Get("aliasname")
	if name == "" {
		return l, "", "", refuse(schema.Invalid, "add aliasname=NAME to the request", "the parameter aliasname is missing")
	}
	alias, err = schema.ParsePVName(name)
	return l, pv, alias, err
}

// setFlag sets a named flag. What the Appliance takes for false without a word
// is refused.
func (s *Server) setFlag(w http.ResponseWriter, r *http.Request) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	name := l.values.Get("name")
	if name == "" {
		return refuse(schema.Invalid, "add name=FLAG to the request", "the parameter name is missing")
	}
	value, err := parseBool("value", l.values.Get("value"))
	if err != nil {
		return err
	}
	if err := s.options.Registry.SetFlag(r.Context(), actorOf(r, l), name, value); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}
