package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"pvlog/schema"
)

// entry is one PV of a request, with the parameters that archivePV takes. In
// JSON every value may be a string or a number.
type entry struct {
	PV             text `json:"pv"`
	SamplingPeriod text `json:"samplingperiod"`
	SamplingMethod text `json:"samplingmethod"`
	ControllingPV  text `json:"controllingPV"`
	Policy         text `json:"policy"`
	Alias          text `json:"alias"`
	Appliance      text `json:"appliance"`
	TimeLimit      text `json:"timelimit"` // seconds; pvlog's own
}

// text is a JSON string, number or boolean as its text.
type text string

// UnmarshalJSON takes any scalar; null is "".
func (t *text) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) > 0 && b[0] == '"':
		return json.Unmarshal(b, (*string)(t))
	case len(b) > 0 && (b[0] == '{' || b[0] == '['):
		return fmt.Errorf("%.40s stands where a string is expected", b)
	case string(b) != "null":
		*t = text(b)
	}
	return nil
}

// listing is the PVs that a request names, from its URL and its body.
type listing struct {
	values  url.Values // parameters of URL and form
	entries []entry
	array   bool // the body was a JSON array, so the answer is one
}

// readListing reads the PVs of a request: pv= in the URL or a form, a JSON
// array of names or of objects, or plain names separated by commas or lines,
// whatever Content-Type says: clients send all of these.
func readListing(r *http.Request) (listing, error) {
	values, err := query(r)
	if err != nil {
		return listing{}, err
	}
	l := listing{values: values}
	body, err := readBody(r)
	if err != nil {
		return l, err
	}
	for _, v := range values["pv"] {
		l.addNames(v)
	}
	if err := l.readBody(r.Header.Get("Content-Type"), body); err != nil {
		return l, err
	}
	return l, nil
}

func (l *listing) readBody(contentType string, body []byte) error {
	media, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0:
		return nil
	case media == "application/json", media != "text/plain" && (body[0] == '[' || body[0] == '{'):
		return l.readJSON(body)
	case bytes.HasPrefix(body, []byte("pv=")), media == "application/x-www-form-urlencoded" && bytes.IndexByte(body, '=') > 0:
		return l.readForm(string(body))
	}
	l.addNames(string(body))
	return nil
}

func (l *listing) readForm(body string) error {
	form, err := parseQuery(body)
	if err != nil {
		return err
	}
	for _, v := range form["pv"] {
		l.addNames(v)
	}
	for name, vals := range form {
		l.values[name] = append(l.values[name], vals...)
	}
	return nil
}

func (l *listing) readJSON(body []byte) error {
	items := []json.RawMessage{body}
	if body[0] == '[' {
		l.array, items = true, nil
		if err := json.Unmarshal(body, &items); err != nil {
			return badJSON(err)
		}
	}
	for i, item := range items {
		var e entry
		target := any(&e)
		if len(item) > 0 && item[0] == '"' {
			target = &e.PV
		}
		if err := json.Unmarshal(item, target); err != nil {
			return badJSON(fmt.Errorf("item %d: %w", i, err))
		}
		l.entries = append(l.entries, e)
	}
	return nil
}

func badJSON(err error) error {
	return refuse(schema.Invalid, `send ["A","B"] or [{"pv":"A","samplingmethod":"MONITOR"}]`, "the body is not the JSON that is expected: %v", err)
}

// addNames adds the names of a comma or white-space separated list.
func (l *listing) addNames(list string) {
	for _, name := range splitNames(list) {
		l.entries = append(l.entries, entry{PV: text(name)})
	}
}

// splitNames splits a list at commas, line breaks and tabs. Braces keep the
// commas of a PV's JSON modifier together, unless they do not match.
func splitNames(list string) []string {
	names, depth := split(list, true)
	if depth != 0 {
		names, _ = split(list, false)
	}
	return names
}

func split(list string, braces bool) (names []string, depth int) {
	begin := 0
	add := func(end int) {
		if name := strings.TrimSpace(list[begin:end]); name != "" {
			names = append(names, name)
		}
		begin = end + 1
	}
	for i := range len(list) {
		switch c := list[i]; {
		case braces && c == '{':
			depth++
		case braces && c == '}' && depth > 0:
			depth--
		case c == '\n' || c == '\r' || c == '\t' || c == ',' && depth == 0:
			add(i)
		}
	}
	add(len(list))
	return names, depth
}

// isGlob reports whether a name stands for all PVs that it matches.
func isGlob(name string) bool { return strings.ContainsAny(name, "*?") }

// target is one PV that a command is about, or why there is none.
type target struct {
	asked string // name as the client wrote it
	pv    schema.PVName
	err   error
}

// targets resolves the names of a listing in their order; single says that the
// client asked for one PV by name and gets an object rather than an array.
func (s *Server) targets(l listing) (list []target, single bool) {
	for _, e := range l.entries {
		name := string(e.PV)
		if !isGlob(name) {
			pv, err := schema.ParsePVName(name)
			list = append(list, target{asked: name, pv: pv, err: err})
			continue
		}
		found := s.match(name, -1)
		if len(found) == 0 {
			list = append(list, target{asked: name, err: schema.Errorf(schema.NotFound, "no PV matches %q", name)})
		}
		for _, pv := range found {
			list = append(list, target{asked: string(pv), pv: pv})
		}
	}
	return list, len(l.entries) == 1 && !l.array && !isGlob(string(l.entries[0].PV))
}
