package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pvlog/schema"
)

func TestTimesThatClientsSend(t *testing.T) {
	utc := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	good := map[string]time.Time{
		"2026-11-23T17:00:00Z":                utc,
		"2026-11-23T17:00:00.000Z":            utc,
		"2026-11-23T17:00:00.123456Z":         utc.Add(123456 * time.Microsecond),
		"2026-11-23T17:00:00.123456789Z":      utc.Add(123456789),
		"2026-11-23T18:00:00+01:00":           utc,
		"2026-11-23T18:00:00.000 01:00":       utc, // '+' not encoded
		"2026-11-23T09:00:00.678-08:00":       utc.Add(678 * time.Millisecond),
		"2026-11-23T12:30:00-0430":            utc,
		"2026-11-23T18:00:00+01":              utc,
		"2026-11-23T17:00Z":                   utc,
		"2026-11-23t17:00:00z":                utc,
		" 2026-11-23T17:00:00Z ":              utc,
		"1970-01-01T00:00:00Z":                time.Unix(0, 0),
		"9999-12-31T23:59:59.999999999Z":      time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		"2024-02-29T00:00:00Z":                time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		"2026-11-23T17:00:00.5+00:00":         utc.Add(500 * time.Millisecond),
		"2012-11-03T00:00:00-07:00":           time.Date(2012, 11, 3, 7, 0, 0, 0, time.UTC),
		"2026-11-24T00:00:00.000000000+07:00": utc,
	}
	for text, want := range good {
		if got, err := parseTime("from", text); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "now", "-1h", "1700000000", "2026-11-23", "2026-11-23 17:00:00", "2026-11-23T17:00:00", "2026-13-01T00:00:00Z",
		"2023-02-29T00:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T17:00:00Zjunk", "99999-01-01T00:00:00Z", "2026-11-23T17:00:00+25:00"} {
		if got, err := parseTime("from", text); schema.CodeOf(err) != schema.Invalid {
			t.Errorf("%q is %v, %v, want an error of code invalid", text, got, err)
		}
	}
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-11-23T17:00:00Z", "2026-11-23T18:00:00.000 01:00", "9999-12-31T23:59:59.9-14:00", "0000-01-01T00:00:00+14:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTime("from", s)
		if err != nil {
			return
		}
		again, err := parseTime("from", got.UTC().Format(time.RFC3339Nano))
		if err != nil || !again.Equal(got) {
			t.Errorf("%q is %v, written and read again %v, %v", s, got, again, err)
		}
	})
}

func TestRangeDefaultsAreTheAppliances(t *testing.T) {
	now := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	from, to, err := rangeOf(url.Values{}, now)
	if err != nil || !to.Equal(now.Add(time.Hour)) || !from.Equal(now.Add(-23*time.Hour)) {
		t.Errorf("%v to %v, %v", from, to, err)
	}
	_, _, err = rangeOf(url.Values{"from": {"2026-11-23T17:00:00.000000001Z"}, "to": {"2026-11-23T17:00:00Z"}}, now)
	if schema.CodeOf(err) != schema.Invalid {
		t.Errorf("from after to: %v", err)
	}
}

func TestQueryKeepsWhatClientsLeaveUnencoded(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/x?pv=P;Q[1]+2&from=2026-01-01T00:00:00+02:00&to=a%20b&list=A,+B&donotchunk=", nil)
	got, err := query(r)
	want := url.Values{"pv": {"P;Q[1]+2"}, "from": {"2026-01-01T00:00:00+02:00"}, "to": {"a b"}, "list": {"A,B"}, "donotchunk": {""}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	r.URL.RawQuery = "pv=%zz"
	if _, err := query(r); schema.CodeOf(err) != schema.Invalid {
		t.Error(err)
	}
}

func TestListingsOfAllShapes(t *testing.T) {
	ab := []entry{{PV: "A"}, {PV: "B"}}
	cases := map[string]struct {
		query, contentType, body string
		want                     []entry
		array                    bool
	}{
		"url list":            {query: "pv=A,B", want: ab},
		"url repeated":        {query: "pv=A&pv=B", want: ab},
		"form":                {contentType: "application/x-www-form-urlencoded", body: "pv=A%2CB", want: ab},
		"form unencoded":      {contentType: "application/x-www-form-urlencoded", body: "pv=A,B", want: ab},
		"names as curl sends": {contentType: "application/x-www-form-urlencoded", body: "A,B", want: ab},
		"names, no type":      {body: "A,B", want: ab},
		"lines":               {contentType: "text/plain", body: "A\r\nB\n", want: ab},
		"json":                {contentType: "application/json", body: `["A","B"]`, want: ab, array: true},
		"json with charset":   {contentType: "application/json; charset=utf-8", body: ` ["A","B"] `, want: ab, array: true},
		"json, no type":       {body: `["A","B"]`, want: ab, array: true},
		"json objects":        {contentType: "application/json", body: `[{"pv":"A","samplingperiod":2,"samplingmethod":"SCAN","policy":null,"appliance":"x"},"B"]`, want: []entry{{PV: "A", SamplingPeriod: "2", SamplingMethod: "SCAN", Appliance: "x"}, {PV: "B"}}, array: true},
		"json object":         {contentType: "application/json", body: `{"pv":"A","controllingPV":"C"}`, want: []entry{{PV: "A", ControllingPV: "C"}}},
		"empty json":          {contentType: "application/json", body: `[]`, array: true},
		"empty":               {query: "pv="},
		"blanks":              {query: "pv=A,,%20B,", want: ab},
		"modifier":            {query: `pv=A.{"dbnd":{"abs":1,"x":2}},B`, want: []entry{{PV: `A.{"dbnd":{"abs":1,"x":2}}`}, {PV: "B"}}},
		"lone brace":          {query: "pv=A{,B", want: []entry{{PV: "A{"}, {PV: "B"}}},
	}
	for name, c := range cases {
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(c.body))
		r.URL.RawQuery = strings.ReplaceAll(c.query, `"`, "%22")
		r.Header.Set("Content-Type", c.contentType)
		l, err := readListing(r)
		if err != nil || !slices.Equal(l.entries, c.want) || l.array != c.array {
			t.Errorf("%s: %+v array %v, %v", name, l.entries, l.array, err)
		}
	}
	for name, body := range map[string]string{"garbage": "garbage", "torn": `["A"`, "trailing": `["A"] x`, "nested": `[["A"]]`, "object in pv": `[{"pv":{"a":1}}]`} {
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		if l, err := readListing(r); schema.CodeOf(err) != schema.Invalid {
			t.Errorf("%s: %+v, %v, want an error of code invalid", name, l, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"A,B", `A.{"x":[1,2]},B`, "A{,B", "ca://A.VAL\nB", "a\xff,,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names := splitNames(s)
		for _, name := range names {
			if name == "" || strings.TrimSpace(name) != name || !strings.Contains(s, name) {
				t.Errorf("%q holds the name %q", s, name)
			}
			pv, err := schema.ParsePVName(name)
			if err == nil && (pv == "" || !utf8.ValidString(string(pv))) {
				t.Errorf("%q is PV %q", name, pv)
			}
		}
	})
}
