package web

import (
	"net/http"
	"net/url"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// named is where a name of a read led: requests may name a PV, an alias, an
// archived field, each with ca:// before it or .VAL behind.
type named struct {
	asked schema.PVName // as the client wrote it, without prefix and .VAL
	registry.Found
}

// answerName is the name that an answer with samples states: an alias as it
// was asked for, since clients look for the name they know; else the PV's.
func (n named) answerName() schema.PVName {
	if n.Alias && n.Field == "" {
		return n.asked
	}
	return n.Info.PV
}

// resolve finds what a name stands for.
func (s *Server) resolve(name string) (named, error) {
	pv, err := schema.ParsePVName(name)
	if err != nil {
		return named{}, err
	}
	found, ok := s.options.Registry.Resolve(pv)
	if !ok {
		return named{}, refuse(schema.NotFound, "archive it with /mgmt/bpl/archivePV?pv="+string(pv)+", or look for names with /retrieval/bpl/getMatchingPVs?pv=*",
			"Unable to find typeinfo for pv %s", pv)
	}
	return named{asked: pv, Found: found}, nil
}

// resolveOne finds the PV that a request is about.
func (s *Server) resolveOne(values url.Values) (named, error) {
	pv, err := onePV(values)
	if err != nil {
		return named{}, err
	}
	return s.resolve(string(pv))
}

// forPV makes a handler of one that answers for a registered PV.
func (s *Server) forPV(answer func(w http.ResponseWriter, values url.Values, n named) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		l, err := readListing(r) // POST may carry pv= in a form
		if err != nil {
			return err
		}
		if len(l.entries) == 1 && !l.values.Has("pv") {
			l.values.Set("pv", string(l.entries[0].PV))
		}
		n, err := s.resolveOne(l.values)
		if err != nil {
			return err
		}
		return answer(w, l.values, n)
	}
}

// handler answers one request; its error is answered for it.
type handler = func(w http.ResponseWriter, r *http.Request) error

// withValues makes a handler of one that needs the parameters only.
func withValues(answer func(w http.ResponseWriter, values url.Values) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		l, err := readListing(r)
		if err != nil {
			return err
		}
		return answer(w, l.values)
	}
}
