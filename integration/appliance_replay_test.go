package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// recorded is a request that a real Appliance was sent, and what it answered.
type recorded struct {
	Path      string
	Post      string
	PostCtype string `json:"post_ctype"`
	Status    int    // 0: it never answered
	Ctype     string
	Text      string
}

// recording reads testdata/appliance-mgmt.json.
func recording(t testing.TB) []recorded {
	t.Helper()
	b, err := os.ReadFile("testdata/appliance-mgmt.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []recorded
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// applianceRecords are the records whose PVs the recorded Appliance archived,
// as its PVTypeInfo describes them.
func applianceRecords() []simioc.Record {
	number := func(n uint64, _ time.Time) any { return float64(n) }
	texts := func(n uint64, _ time.Time) any { return fmt.Sprintf("%d.000000", n) }
	alarms := simioc.Limits{Alarm: true, HIGH: 20, HIHI: 60, LOW: -1e9, LOLO: -1e9}
	return []simioc.Record{
		{Name: "AAO", Type: ca.DBRDouble, Count: 5, RTYP: "aao", Value: []float64{1, 2, 3, 4, 5}},
		{Name: "AI", Aliases: []string{"ALIAS"}, Type: ca.DBRDouble, RTYP: "ai", Units: "mm", Precision: 2, Rate: 10, Generate: number},
		{Name: "AIDB", Type: ca.DBRDouble, RTYP: "ai", MDEL: 7, ADEL: 3, Rate: 10, Generate: number},
		{Name: "AO", Type: ca.DBRDouble, RTYP: "ao", Value: 1.0},
		{Name: "BI", Type: ca.DBREnum, Labels: []string{"Off", "On"}, Rate: 10, Generate: func(n uint64, _ time.Time) any { return uint16(n % 2) }},
		{Name: "CNT", Type: ca.DBRDouble, RTYP: "calc", Units: "mA", Precision: 3, Limits: alarms, Rate: 10, Generate: number},
		{Name: "DIR", Type: ca.DBRLong, RTYP: "mbbiDirect", Rate: 10, Generate: func(n uint64, _ time.Time) any { return int32(n % 256) }},
		{Name: "EVT", Type: ca.DBRString, RTYP: "event", Value: "1"},
		{Name: "I64", Type: ca.DBRDouble, RTYP: "int64in", Rate: 10, Generate: number},
		{Name: "LI", Type: ca.DBRLong, RTYP: "longin", Rate: 10, Generate: func(n uint64, _ time.Time) any { return int32(n) }},
		{Name: "LSI", Type: ca.DBRString, RTYP: "lsi", Rate: 10, Generate: texts},
		{Name: "MBBI", Type: ca.DBREnum, Labels: []string{"Zero", "One", "Two", "Three", `Four "q"`}, Rate: 10, Generate: func(n uint64, _ time.Time) any { return uint16(n % 5) }},
		{Name: "MOD", Type: ca.DBRDouble, RTYP: "ai", Rate: 10, Generate: number},
		{Name: "NEVER", Type: ca.DBRDouble, RTYP: "ao"},
		{Name: "OLD", Type: ca.DBRDouble, RTYP: "ai"},
		{Name: "SI", Type: ca.DBRString, Rate: 10, Generate: texts},
		{Name: "SI39", Type: ca.DBRString, Rate: 0.5, Generate: texts},
		{Name: "TS-5", Type: ca.DBRDouble, RTYP: "ai", Rate: 10, Generate: number},
		{Name: "W1", Type: ca.DBRDouble, Count: 1, RTYP: "waveform"},
		{Name: "WBIG", Type: ca.DBRDouble, Count: 20000},
		{Name: "WC", Type: ca.DBRChar, Count: 64},
		{Name: "WD", Type: ca.DBRDouble, Count: 16},
		{Name: "WF", Type: ca.DBRFloat, Count: 16},
		{Name: "WL", Type: ca.DBRLong, Count: 16},
		{Name: "WS", Type: ca.DBRShort, Count: 16},
		{Name: "WSTR", Type: ca.DBRString, Count: 8},
		{Name: "WUC", Type: ca.DBRChar, Count: 64},
		{Name: "WUL", Type: ca.DBRDouble, Count: 8},
	}
}

// recordedNow is when the recording's requests for samples were sent.
var recordedNow = time.Date(2026, 11, 23, 17, 47, 6, 0, time.UTC)

var stamp = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)

// shifted moves the times of a request from the recording's day to ours.
func (r recorded) shifted(now time.Time) recorded {
	r.Path = stamp.ReplaceAllStringFunc(r.Path, func(text string) string {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return text
		}
		return now.Add(at.Sub(recordedNow)).UTC().Format("2006-01-02T15:04:05.000Z")
	})
	return r
}

// send sends a recorded request and reads the whole answer.
func (s *server) send(r recorded) (status int, media string, body []byte) {
	s.t.Helper()
	method := http.MethodGet
	if r.Post != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequest(method, "http://"+s.http+"/"+r.Path, strings.NewReader(r.Post))
	if err != nil {
		s.t.Fatal(err)
	}
	if r.PostCtype != "" {
		request.Header.Set("Content-Type", r.PostCtype)
	}
	response, err := httpClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, err = io.ReadAll(response.Body); err != nil {
		s.t.Fatalf("read %s: %v", r.Path, err)
	}
	media, _, _ = mime.ParseMediaType(response.Header.Get("Content-Type"))
	return response.StatusCode, media, body
}

// judged compares an answer with the recorded one; the complaints are none if
// a client cannot tell them apart but in what the tables say.
func judged(t *testing.T, i int, r recorded, status int, media string, body []byte) []string {
	t.Helper()
	d := differences[i]
	j := &resemblance{path: r.Path, partial: d.partial}
	want, text := r.Status, r.Text
	if d.status != 0 {
		want = d.status
	}
	if d.like != "" {
		text = d.like
	}
	if d.repair != nil {
		text = d.repair(text)
	}
	if status != want {
		j.complain("HTTP status %d, want %d: %.300s", status, want, body)
	}
	if want >= 400 && d.like == "" {
		text = refusalLike
	}
	wantMedia, _, _ := mime.ParseMediaType(r.Ctype)
	if wantMedia == "text/html" || wantMedia == "" {
		wantMedia = "application/json" // a page of Tomcat, or no type at all
	}
	if media != wantMedia {
		j.complain("Content-Type %q, want %q", media, wantMedia)
	}
	if wantMedia != "application/json" {
		if string(body) != text {
			j.complain("%q, want %q", body, text)
		}
		return j.complaints
	}
	var wanted, got any
	if err := json.Unmarshal([]byte(text), &wanted); err != nil {
		t.Fatalf("%d %s: the recorded answer is no JSON, and the table has none to compare with: %v", i, r.Path, err)
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&got); err != nil {
		j.complain("no JSON: %v: %.300s", err, body)
		return j.complaints
	}
	j.value("", wanted, got)
	return j.complaints
}

// prepareAppliance archives what the recorded Appliance archived, and asks for what it
// had been asked for in vain.
func prepareAppliance(s *server) {
	s.t.Helper()
	s.mustGet("/mgmt/bpl/archivePV", url.Values{"pv": {"R:ALIAS,no:such:pv"}}) // R:AI will be archived, as its IOC says
	pvs := []string{"R:AI"}
	for _, r := range applianceRecords() {
		if r.Name != "AI" {
			pvs = append(pvs, "R:"+r.Name)
		}
	}
	s.awaitConnected("R:AI")
	s.archive(pvs...)
	s.waitUntil(startTimeout, "a rate of R:CNT", func() error {
		var rates []map[string]string
		if err := s.getJSON("/mgmt/bpl/getEventRateReport", nil, &rates); err != nil {
			return err
		}
		for _, row := range rates {
			if row["pvName"] == "R:CNT" && row["eventRate"] != "0" {
				return nil
			}
		}
		return errors.New("it is 0")
	})
	s.waitUntil(startTimeout, "numbers of all parts", func() error { // each comes out of another part
		var lines []map[string]string
		if err := s.getJSON("/mgmt/bpl/getInstanceMetricsForAppliance", nil, &lines); err != nil {
			return err
		}
		missing := map[string]bool{"Total number of CAJ channels": true, "Connected PV count": true, "Event Rate (in events/sec)": true,
			"Data Rate (in bytes/sec)": true, "Avg channels written per cycle": true, "Benchmark - writing at (events/sec)": true}
		for _, line := range lines {
			if line["value"] != "0" {
				delete(missing, line["name"])
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("0 are %v", missing)
		}
		return nil
	})
	for _, pv := range []string{"R:CNT", "R:SI", "R:LSI", "R:MBBI", "R:AI"} { // some samples, as every client expects
		s.waitUntil(startTimeout, "samples of "+pv, func() error {
			all, err := s.samples(pv)
			if err == nil && len(all) < 5 {
				err = fmt.Errorf("%d samples", len(all))
			}
			return err
		})
	}
}

func TestRecordedRequestsAreAnsweredAsByTheAppliance(t *testing.T) {
	ioc := simioc.New(simioc.Options{Listen: "127.0.0.1:0", Prefix: "R:", Records: applianceRecords()})
	config := filepath.Join(t.TempDir(), "pvlog.yaml")
	if err := os.WriteFile(config, []byte("identity: appliance0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, []string{"EPICS_CA_ADDR_LIST=" + runIOC(t, ioc), "EPICS_CA_AUTO_ADDR_LIST=NO"}, "--config", config)
	s.start()
	prepareAppliance(s)
	begin := time.Now()
	for i, r := range recording(t) {
		status, media, body := s.send(r.shifted(begin))
		for _, c := range judged(t, i, r, status, media, body) {
			t.Errorf("%d %s: %s", i, r.Path, c)
		}
	}
	for name, used := range usedAllowances {
		if !used {
			t.Errorf("the tables allow %s, which does not occur: take it out", name)
		}
	}
}

// keysOf are the keys of an object in order.
func keysOf(m map[string]any) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
