package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pvlog/schema"
)

// query reads the parameters of a URL. Unlike net/url it keeps what clients
// leave unencoded and what stands in PV names and times: ';' does not separate
// parameters, and '+' is a plus, since no name or time has a space.
func query(r *http.Request) (url.Values, error) { return parseQuery(r.URL.RawQuery) }

var unencoded = strings.NewReplacer(";", "%3B", ",+", ",", "%2C+", ",", "%2c+", ",", "+", "%2B")

func parseQuery(raw string) (url.Values, error) {
	values, err := url.ParseQuery(unencoded.Replace(raw))
	if err != nil {
		return nil, refuse(schema.Invalid, "percent-encode the parameters' values", "the query is malformed: %v", err)
	}
	return values, nil
}

// onePV gives the PV that a request is about.
func onePV(values url.Values) (schema.PVName, error) {
	names := values["pv"]
	switch {
	case len(names) == 0 || strings.TrimSpace(names[0]) == "":
		return "", missingPV()
	case len(names) > 1:
		return "", refuse(schema.Invalid, "ask for one PV per request", "pv is given %d times", len(names))
	}
	return schema.ParsePVName(names[0])
}

func missingPV() error {
	return refuse(schema.Invalid, "add pv=NAME to the request", "the parameter pv is missing")
}

// limitOf reads how many names are wanted; negative means all.
func limitOf(values url.Values, otherwise int) (int, error) {
	text := values.Get("limit")
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, refuse(schema.Invalid, "give a number, or -1 for all", "limit=%q is not a number", text)
	}
	return n, nil
}

// parseBool reads true or false in any case.
func parseBool(name, text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, refuse(schema.Invalid, "use "+name+"=true or "+name+"=false", "%s=%q is neither true nor false", name, text)
}

// timeLayouts are the forms of ISO 8601 that clients send; fractions of a
// second may follow the seconds in each.
var timeLayouts = []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04Z07:00"}

// parseTime reads an instant with its offset. A space where the offset begins
// is a '+' that the client did not encode.
func parseTime(name, text string) (time.Time, error) {
	s := strings.ToUpper(strings.TrimSpace(text))
	if i := strings.LastIndexByte(s, ' '); i > len("2006-01-02") {
		s = s[:i] + "+" + s[i+1:]
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil && t.UTC().Year() >= 0 && t.UTC().Year() <= 9999 {
			return t, nil
		}
	}
	return time.Time{}, refuse(schema.Invalid, "write it as 2026-11-23T17:00:00.000Z or with an offset, 2026-11-23T18:00:00%2B01:00",
		"%s=%q is not an ISO 8601 time with Z or an offset", name, text)
}

// rangeOf reads from and to. As in the Appliance to defaults to an hour from
// now, and from to a day before to.
func rangeOf(values url.Values, now time.Time) (from, to time.Time, err error) {
	to = now.Add(time.Hour)
	if text := values.Get("to"); text != "" {
		if to, err = parseTime("to", text); err != nil {
			return from, to, err
		}
	}
	from = to.AddDate(0, 0, -1)
	if text := values.Get("from"); text != "" {
		if from, err = parseTime("from", text); err != nil {
			return from, to, err
		}
	}
	if to.Before(from) {
		return from, to, refuse(schema.Invalid, "exchange from and to", "to=%s lies before from=%s",
			to.UTC().Format(time.RFC3339Nano), from.UTC().Format(time.RFC3339Nano))
	}
	return from, to, nil
}
