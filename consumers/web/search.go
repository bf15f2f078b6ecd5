package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"pvlog/schema"
)

// defaultLimit is how many names are given if the client does not say.
const defaultLimit = 500

// match gives the names of PVs that a glob matches, sorted; negative limit
// means all.
func (s *Server) match(glob string, limit int) []schema.PVName {
	if limit == 0 {
		return nil
	}
	return s.options.Registry.Match(glob, max(limit, 0))
}

// matching gives the names that pv= (a glob) or regex= (the whole name, as
// Java matches) select; all if neither is given and that is allowed.
func (s *Server) matching(values url.Values, all bool, limit int) ([]schema.PVName, error) {
	limit, err := limitOf(values, limit)
	if err != nil {
		return nil, err
	}
	glob, expr := values.Get("pv"), values.Get("regex")
	switch {
	case expr != "":
		return s.matchRegex(expr, limit)
	case glob != "":
		return s.match(glob, limit), nil
	case all:
		return s.match("*", limit), nil
	}
	return nil, refuse(schema.Invalid, "add pv=GLOB, such as pv=LINAC:*, or regex=EXPRESSION", "neither pv nor regex is given")
}

// wholeName gives what tells whether a name fits an expression as a whole;
// every name fits "".
func wholeName(expr string) (func(string) bool, error) {
	if expr == "" {
		return func(string) bool { return true }, nil
	}
	re, err := regexp.Compile(`^(?:` + expr + `)$`)
	if err != nil {
		return nil, refuse(schema.Invalid, "RE2 syntax is understood: no look-ahead, no back-references", "regex=%q: %v", expr, err)
	}
	return re.MatchString, nil
}

func (s *Server) matchRegex(expr string, limit int) ([]schema.PVName, error) {
	fits, err := wholeName(expr)
	if err != nil {
		return nil, err
	}
	found := []schema.PVName{}
	for _, pv := range s.match("*", -1) {
		if limit >= 0 && len(found) >= limit {
			break
		}
		if fits(string(pv)) {
			found = append(found, pv)
		}
	}
	return found, nil
}

// writeNames answers a JSON array, also for no names.
func writeNames(w http.ResponseWriter, names []schema.PVName) {
	list := newArray(w)
	for _, name := range names {
		list.addText(string(name))
	}
	list.end()
}

func (s *Server) getAllPVs(w http.ResponseWriter, r *http.Request) error {
	return s.listNames(w, r, true)
}

func (s *Server) getMatchingPVs(w http.ResponseWriter, r *http.Request) error {
	return s.listNames(w, r, false)
}

func (s *Server) listNames(w http.ResponseWriter, r *http.Request, all bool) error {
	l, err := readListing(r)
	if err != nil {
		return err
	}
	names, err := s.matching(l.values, all, defaultLimit)
	if err != nil {
		return err
	}
	writeNames(w, names)
	return nil
}

// searchForPVs answers one name a line and no empty line: Phoebus would take
// that for a PV.
func (s *Server) searchForPVs(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r)
	if err != nil {
		return err
	}
	if values.Get("regex") == "" {
		return refuse(schema.Invalid, "add regex=EXPRESSION", "the parameter regex is missing")
	}
	names, err := s.matching(values, false, -1)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, pv := range names {
		text.WriteString(string(pv) + "\n")
	}
	w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	_, _ = w.Write([]byte(text.String()))
	return nil
}

func (s *Server) areWeArchiving(w http.ResponseWriter, r *http.Request) error {
	values, err := query(r)
	if err != nil {
		return err
	}
	pv, err := onePV(values)
	if err != nil {
		return err
	}
	_, ok := s.options.Registry.Resolve(pv)
	writeJSON(w, http.StatusOK, map[string]string{"status": strconv.FormatBool(ok)})
	return nil
}
