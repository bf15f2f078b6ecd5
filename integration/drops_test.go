package integration

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/filter"
	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// fate is what became of a PV's samples, as /api/v1 counts it.
type fate struct {
	Channel struct {
		Counters struct {
			Logged uint64 `json:"logged"`
		} `json:"counters"`
		Observed string `json:"observed_type"`
	} `json:"channel"`
	Storage struct {
		Stored     uint64            `json:"stored"`
		Duplicates uint64            `json:"duplicates"`
		Drops      map[string]uint64 `json:"drops"`
	} `json:"storage"`
}

// awaitFate waits until all samples that the log took of a PV have their place,
// with some drops.
func (s *server) awaitFate(pv string, stored, duplicates uint64, drops map[string]uint64) fate {
	s.t.Helper()
	var f fate
	s.waitUntil(startTimeout, "all samples of "+pv+" have their place", func() error {
		f = fate{}
		if err := s.getJSON("/api/v1/pvs/"+url.PathEscape(pv), nil, &f); err != nil {
			return err
		}
		n := f.Storage.Stored + f.Storage.Duplicates
		for _, dropped := range f.Storage.Drops {
			n += dropped
		}
		if f.Storage.Stored != stored || f.Storage.Duplicates != duplicates || !maps.Equal(f.Storage.Drops, drops) || n != f.Channel.Counters.Logged {
			return fmt.Errorf("%+v, want %d stored, %d duplicates, drops %v", f, stored, duplicates, drops)
		}
		return nil
	})
	return f
}

// post gives a record a value with a time.
func post(t *testing.T, ioc *simioc.IOC, name string, value float64, at schema.Time) {
	t.Helper()
	if err := ioc.Put(name, value, simioc.WithTime(at)); err != nil {
		t.Fatal(err)
	}
}

// TestNothingIsLostWithoutAWord archives an IOC whose clock, types and rate are
// wrong: each sample is in a file or in the drop log, and told in every list.
func TestNothingIsLostWithoutAWord(t *testing.T) {
	begin := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	at := func(after time.Duration) schema.Time { return schema.TimeOf(begin.Add(after)) }
	record := func(name string) simioc.Record {
		return simioc.Record{Name: name, Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1}
	}
	ioc, s := simulated(t, record("clock"), record("type"), record("rate"), record("unset"))
	post(t, ioc, "sim:clock", 1, at(0))
	s.start()
	if out, code := s.cli("", "archive", "sim:rate", "--rate-events", "1"); code != 0 {
		t.Fatal(out)
	}
	s.archive("sim:clock", "sim:type", "sim:rate", "sim:unset")
	s.awaitFate("sim:clock", 1, 0, map[string]uint64{})
	for _, pv := range []string{"sim:type", "sim:rate", "sim:unset"} {
		s.awaitFate(pv, 1, 0, map[string]uint64{})
	}

	post(t, ioc, "sim:clock", 2, at(time.Second))
	post(t, ioc, "sim:clock", 3, at(10*365*24*time.Hour))            // its clock is ten years ahead
	post(t, ioc, "sim:clock", 4, at(-24*time.Hour))                  // a day late
	post(t, ioc, "sim:clock", 5, at(0))                              // back to a time that has another value
	post(t, ioc, "sim:clock", 6, schema.Time{Sec: schema.Floor - 1}) // before 1991
	post(t, ioc, "sim:clock", 7, at(2*time.Second))
	clock := map[string]uint64{"drift_future": 1, "drift_past": 1, "order": 1, "before_1991": 1}
	s.awaitFate("sim:clock", 3, 0, clock)
	ioc.DisconnectAll() // what it sends again is a duplicate
	s.awaitFate("sim:clock", 3, 1, clock)

	for n := range 3 {
		post(t, ioc, "sim:unset", float64(n+1), schema.Time{Sec: schema.EPICSEpoch})
	}
	s.awaitFate("sim:unset", 1, 0, map[string]uint64{"before_1991": 3})

	now := time.Now()
	for n := range 60 { // at once, where one a second is allowed, and ten of them at once
		post(t, ioc, "sim:rate", float64(n+1), schema.TimeOf(now.Add(time.Duration(n)*time.Millisecond)))
	}
	s.waitUntil(startTimeout, "too many events are told", func() error {
		var f fate
		if err := s.getJSON("/api/v1/pvs/sim:rate", nil, &f); err != nil {
			return err
		}
		if f.Storage.Drops["rate"] == 0 || f.Storage.Stored < 10 || f.Storage.Drops["rate"]+f.Storage.Stored+f.Storage.Duplicates != f.Channel.Counters.Logged || f.Channel.Counters.Logged < 61 {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})
	if err := ioc.Replace(simioc.Record{Name: "type", Type: ca.DBRString, Value: "text", MDEL: -1, ADEL: -1}); err != nil {
		t.Fatal(err)
	}
	s.waitUntil(startTimeout, "samples of another type are dropped", func() error {
		var f fate
		if err := s.getJSON("/api/v1/pvs/sim:type", nil, &f); err != nil {
			return err
		}
		if f.Storage.Drops["type"] == 0 || f.Channel.Observed != "DBR_SCALAR_STRING" {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})
	checkDropLists(t, s, clock)
	checkDropReports(t, s, 4)
	s.stop()
}

// checkDropLists compares the lists of the drop log with each other.
func checkDropLists(t *testing.T, s *server, want map[string]uint64) {
	t.Helper()
	var drops []drop
	if err := s.getJSON("/api/v1/drops", url.Values{"pv": {"sim:clock"}, "since": {"1h"}}, &drops); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, d := range drops {
		got[d.Reason]++
		if value := map[string]string{"drift_future": "3.0", "drift_past": "4.0", "order": "5.0", "before_1991": "6.0"}[d.Reason]; string(d.Value) != value {
			t.Errorf("the drop for %s has the value %s, want %s", d.Reason, d.Value, value)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
	text, code := s.cli("", "drops", "sim:cl*", "--format", "csv", "--since", "1h")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || code != 0 || len(rows) != len(drops)+1 || rows[0][0] != "pv" || rows[1][0] != "sim:clock" {
		t.Errorf("as CSV: %v, code %d: %s", err, code, text)
	}
	text, code = s.cli("", "drops", "sim:clock", "--format", "json", "--limit", "0")
	var all []drop
	if err := json.Unmarshal([]byte(text), &all); err != nil || code != 0 || len(all) != len(drops) {
		t.Errorf("as JSON: %v, code %d: %s", err, code, text)
	}
	text, code = s.cli("", "drops", "*", "--reason", "drift_future,drift_past")
	if code != 0 || strings.Count(text, "\n") != 3 || !strings.Contains(text, "30m0s is allowed") || !strings.Contains(text, "drift_past") {
		t.Errorf("as a table, code %d: %s", code, text)
	}
	if text, code := s.cli("", "drops", "--until", "1h"); code != 0 || strings.Count(text, "\n") != 1 {
		t.Errorf("an hour ago, code %d: %s", code, text)
	}
	if text, code := s.cli("", "drops", "--reason", "boredom"); code == 0 || !strings.Contains(text, "boredom") {
		t.Errorf("no such reason, code %d: %s", code, text)
	}
	var page []drop
	if err := s.getJSON("/api/v1/drops", url.Values{"pv": {"sim:*"}, "after": {"0"}, "limit": {"2"}}, &page); err != nil || len(page) != 2 {
		t.Errorf("a page of %d, %v", len(page), err)
	}
	text, code = s.cli("", "drops", "--summary")
	if code != 0 || !strings.Contains(text, "sim:clock") || !strings.Contains(text, "before_1991") || !strings.Contains(text, "EXPIRED") {
		t.Errorf("the summary, code %d: %s", code, text)
	}
}

// checkDropReports looks for the drops of sim:clock and sim:type where the
// Appliance tells them.
func checkDropReports(t *testing.T, s *server, clock uint64) {
	t.Helper()
	for report, want := range map[string]map[string]uint64{
		"getPVsByDroppedEventsTimestamp":  {"sim:clock": clock, "sim:unset": 3},
		"getPVsByDroppedEventsTypeChange": {"sim:type": 0},
		"getPVsByDroppedEventsBuffer":     {},
	} {
		var rows []map[string]string
		if err := s.getJSON("/mgmt/bpl/"+report, nil, &rows); err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for _, row := range rows {
			n, err := strconv.ParseUint(row["eventsDropped"], 10, 64)
			if err != nil {
				t.Errorf("%s: %v", report, row)
			}
			if got[row["pvName"]] = n; report == "getPVsByDroppedEventsTypeChange" && n > 0 {
				want[row["pvName"]] = n // how often a record of another type is read is its own affair
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", report, got, want)
		}
	}
	var states []map[string]string
	if err := s.getJSON("/mgmt/bpl/getPVStatus", url.Values{"pv": {"sim:clock"}}, &states); err != nil || len(states) != 1 || states[0]["eventsDropped"] != fmt.Sprint(clock) {
		t.Errorf("getPVStatus: %v, %v", states, err)
	}
	var details []map[string]string
	if err := s.getJSON("/mgmt/bpl/getPVDetails", url.Values{"pv": {"sim:clock"}}, &details); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"How many events lost totally so far?": fmt.Sprint(clock), "Samples dropped: order": "1", "Samples stored": "3", "Samples that were stored already": "1"} {
		if i := slices.IndexFunc(details, func(d map[string]string) bool { return d["name"] == name }); i < 0 || details[i]["value"] != want {
			t.Errorf("getPVDetails does not say %s: %s", name, want)
		}
	}
	var slow []map[string]string
	if err := s.getJSON("/mgmt/bpl/getSlowChangingPVsWithDroppedEvents", nil, &slow); err != nil || !slices.ContainsFunc(slow, func(row map[string]string) bool { return row["pvName"] == "sim:unset" }) {
		t.Errorf("the slow ones: %v, %v", slow, err)
	}
	if text, code := s.cli("", "status", "sim:clock"); code != 0 || !strings.Contains(text, "DROPPED") {
		t.Errorf("status, code %d: %s", code, text)
	}
}

// TestEveryReasonCanBeAskedFor: the words of the filters are those of the API.
func TestEveryReasonCanBeAskedFor(t *testing.T) {
	_, s := simulated(t)
	s.start()
	for _, reason := range filter.Reasons() {
		var drops []drop
		if err := s.getJSON("/api/v1/drops", url.Values{"reason": {string(reason)}}, &drops); err != nil || len(drops) != 0 {
			t.Errorf("%s: %v, %v", reason, drops, err)
		}
	}
	s.stop()
}
