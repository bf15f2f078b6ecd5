package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/schema"
)

// reportFixture has PVs A to E: A and B busy, C lost, D paused, E never seen.
func reportFixture(t *testing.T) *fixture {
	t.Helper()
	event := begin.Add(time.Hour)
	channels := map[schema.PVName]ChannelStatus{
		"A": {State: "Connected", Connected: true, Host: "ioc:5064", LastEvent: event, FirstConnected: begin, EventRate: 2.5, ByteRate: 1024, Received: 10, OverflowDrops: 3, Losses: 1},
		"B": {State: "Connected", Connected: true, Host: "ioc:5064", LastEvent: event.Add(-time.Minute), FirstConnected: begin, EventRate: 10, ByteRate: 512, Received: 4},
		"C": {State: "Disconnected", Host: "ioc:5064", LastEvent: event.Add(-time.Hour), FirstConnected: begin, LostAt: time.Now().Add(time.Hour), Losses: 7},
		"E": {State: "Connecting"},
		"G": {State: "Idle", Gated: true, Gate: "not archived: its value is 0"},
	}
	archived := map[schema.PVName]Archived{
		"A": {Stored: 9, Last: event, Drops: map[string]uint64{"order": 2, "drift_future": 1, "type": 5, "file": 1}},
		"B": {Stored: 1, Last: event.Add(-time.Minute), Drops: map[string]uint64{"before_1991": 3}},
	}
	f := newFixture(t, func(o *Options) {
		o.Channels = func(pv schema.PVName) (ChannelStatus, bool) { c, ok := channels[pv]; return c, ok }
		o.Parts = Parts{
			Archived: func(pv schema.PVName) (Archived, bool) { a, ok := archived[pv]; return a, ok },
			Engine: func() Engine {
				return Engine{Gated: 1, Total: 4, Connected: 2, Connecting: 1, Disconnected: 1, CAChannels: 6, Searching: 2, Rounds: 2, Files: 5}
			},
			Spaces: func() []Space { return []Space{{Store: "STS", Free: 3 << 30, Total: 4 << 30}} },
		}
	})
	f.archive("A", "B", "C", "D", "G")
	f.must(f.registry.Archive(context.Background(), actor, registry.Request{PV: "E"}))
	f.must(f.registry.Pause(context.Background(), actor, "D"))
	f.put("A", 2)
	f.put("C", 70)
	return f
}

// rows writes the rows of a report as "pv:value", in order.
func rows(t *testing.T, answer any, key string) string {
	t.Helper()
	list, ok := answer.([]any)
	if !ok {
		t.Fatalf("no list: %v", answer)
	}
	var got []string
	for _, row := range list {
		m := row.(map[string]any)
		for name, val := range m {
			if _, text := val.(string); !text {
				t.Errorf("%s is no text: %v", name, m)
			}
		}
		got = append(got, fmt.Sprint(m["pvName"], ":", m[key]))
	}
	return strings.Join(got, " ")
}

func TestReportsTellWhatIsCounted(t *testing.T) {
	f := reportFixture(t)
	for _, c := range []struct{ path, key, want string }{
		{"mgmt/bpl/getEventRateReport", "eventRate", "B:10 A:2.5 C:0 E:0 G:0"},
		{"mgmt/bpl/getEventRateReport?limit=1", "eventRate", "B:10"},
		{"mgmt/bpl/getEventRateReport?limit=0", "eventRate", ""},
		{"engine/bpl/getEventRateReport?limit=-1", "eventRate", "B:10 A:2.5 C:0 E:0 G:0"},
		{"mgmt/bpl/getStorageRateReport?limit=2", "storageRate_KBperHour", "A:3600 B:1800"},
		{"mgmt/bpl/getStorageRateReport?limit=1", "storageRate_MBperDay", "A:84.375"},
		{"mgmt/bpl/getLostConnectionsReport", "lostConnections", "C:7 A:1 B:0 E:0 G:0"},
		{"mgmt/bpl/getLostConnectionsReport?limit=1", "currentlyConnected", "C:No"},
		{"mgmt/bpl/getPVsByDroppedEventsTimestamp", "eventsDropped", "A:3 B:3"},
		{"mgmt/bpl/getPVsByDroppedEventsTypeChange", "eventsDropped", "A:5"},
		{"mgmt/bpl/getPVsByDroppedEventsBuffer", "eventsDropped", "A:3"},
		{"mgmt/bpl/getSlowChangingPVsWithDroppedEvents", "totalEvents", "B:4"},
		{"mgmt/bpl/getPausedPVsReport", "instance", "D:appliance0"},
		{"mgmt/bpl/getNeverConnectedPVs", "currentState", "E:METAINFO_GATHERING"},
		{"mgmt/bpl/getMetaGets", "isScheduled", "E:true"},
		{"mgmt/bpl/getCurrentlyDisconnectedPVs", "commandThreadID", "C:0"},
		{"mgmt/bpl/getSilentPVsReport?limit=1", "instance", "E:appliance0"},
		{"mgmt/bpl/getRecentlyModifiedPVs", "instance", "D:appliance0"},
		{"mgmt/bpl/getRecentlyAddedPVs?limit=2", "instance", "E:appliance0 G:appliance0"},
		{"mgmt/bpl/getArchivedWaveforms", "elementCount", ""},
	} {
		status, answer := f.get("/" + c.path)
		if got := rows(t, answer, c.key); status != 200 || got != c.want {
			t.Errorf("%s: %d %q, want %q", c.path, status, got, c.want)
		}
	}
}

func TestSilentPVsAreOldestFirst(t *testing.T) {
	f := reportFixture(t)
	_, answer := f.get("/mgmt/bpl/getSilentPVsReport")
	// that of C is read from its file, as it had none since the start
	want := "E:Never G:Never B:" + reportTime(begin.Add(59*time.Minute)) + " A:" + reportTime(begin.Add(time.Hour)) + " C:" + reportTime(begin.Add(69*time.Minute))
	if got := rows(t, answer, "lastKnownEvent"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestStorageConsumedIsReadFromTheStores(t *testing.T) {
	f := reportFixture(t)
	for _, dir := range []string{"/mgmt/bpl/", "/etl/bpl/"} {
		_, answer := f.get(dir + "getPVsByStorageConsumed")
		got := rows(t, answer, "storageConsumed")
		if !strings.HasPrefix(got, "C:") || !strings.Contains(got, " A:") || strings.Contains(got, ":0") || len(answer.([]any)) != 2 {
			t.Errorf("%s: %s", dir, got)
		}
	}
	_, answer := f.get("/mgmt/bpl/getStorageMetricsForAppliance?appliance=appliance0")
	if m := answer.([]any)[0].(map[string]any); m["name"] != "STS" || m["total_space"] != "4" || m["available_space_percent"] != "75" {
		t.Errorf("%v", m)
	}
}

func TestTimeSpansHoldTheNewestSampleOnDisk(t *testing.T) {
	f := reportFixture(t)
	f.put("D", 3) // no sample since the start: its file tells
	_, answer := f.get("/mgmt/bpl/getTimeSpanReport?regex=[AD]")
	spans := answer.(map[string]any)
	if len(spans) != 2 {
		t.Fatalf("%v", spans)
	}
	for pv, want := range map[string]string{"A": fmt.Sprint(begin.Add(time.Hour).Unix()), "D": fmt.Sprint(begin.Add(2 * time.Minute).Unix())} {
		if m := spans[pv].(map[string]any); m["lastEvent"] != want || m["paused"] != fmt.Sprint(pv == "D") {
			t.Errorf("%s: %v, want %s", pv, m, want)
		}
	}
	_, answer = f.get("/engine/bpl/getLastKnownTimeStampReport?regex=A|D")
	if got := rows(t, answer, "lastEvent"); got != "A:"+fmt.Sprint(begin.Add(time.Hour).Unix()) {
		t.Errorf("the engine has no channel for D: %s", got)
	}
}

func TestMetricsAreSums(t *testing.T) {
	f := reportFixture(t)
	f.get("/retrieval/data/getData.json?pv=A&from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z")
	_, answer := f.get("/mgmt/bpl/getInstanceMetrics")
	m := answer.([]any)[0].(map[string]any)
	for key, want := range map[string]string{"eventRate": "12.5", "dataRate": "1536", "pvCount": "6", "connectedPVCount": "2", "disconnectedPVCount": "2",
		"avgChannelsWrittenPerCycle": "2.5", "Number of Retrieval Requests": "1", "Number of unique users": "1", "status": "Working", "instance": "appliance0"} {
		if m[key] != want {
			t.Errorf("%s is %v, want %s", key, m[key], want)
		}
	}
	_, answer = f.get("/engine/bpl/getConnectedPVCountForAppliance")
	if fmt.Sprint(answer) != "map[connected:2 disconnected:2 paused:2 total:6]" {
		t.Errorf("%v", answer)
	}
	_, answer = f.get("/mgmt/bpl/getApplianceMetricsForAppliance?appliance=appliance0")
	lines := map[string]any{}
	for _, line := range answer.([]any) {
		lines[line.(map[string]any)["name"].(string)] = line.(map[string]any)["value"]
	}
	if lines["Channels with pending search requests"] != "2 of 6" || lines["PVs in archive workflow"] != "1" || lines["Paused PV count"] != "2" {
		t.Errorf("%v", lines)
	}
	if status, answer := f.get("/mgmt/bpl/getApplianceMetricsForAppliance?appliance=other"); status != http.StatusNotFound {
		t.Errorf("another appliance: %d %v", status, answer)
	}
	_, answer = f.get("/retrieval/bpl/getPVDetails?pv=A")
	if line := answer.([]any)[0].(map[string]any); line["value"] != "1" || line["source"] != "RETRIEVAL" {
		t.Errorf("%v", answer)
	}
}

func TestDetailsCountWhatBecameOfEvents(t *testing.T) {
	f := reportFixture(t)
	_, answer := f.get("/mgmt/bpl/getPVDetails?pv=A")
	lines := map[string]any{}
	for _, line := range answer.([]any) {
		lines[line.(map[string]any)["name"].(string)] = line.(map[string]any)["value"]
	}
	for name, want := range map[string]string{ // as clients look them up
		"PV Name": "A", "Instance archiving PV": "appliance0", "Is this PV currently connected?": "yes", "Are we using PVAccess?": "No",
		"When did we receive the last event?": reportTime(begin.Add(time.Hour)), "When did we last lose a connection to this PV?": "Never",
		"How many times have we lost and regained the connection to this PV?":                      "1",
		"How many events lost because the timestamp is in the far future or past so far?":          "3",
		"How many events lost because the sample buffer is full so far?":                           "3",
		"How many events lost because the DBR_Type of the PV has changed from what it used to be?": "5",
		"How many events lost totally so far?":                                                     "12", "Hostname of PV from CA": "ioc:5064", "The CAJ command thread id": "0",
		"Sampling method:": "MONITOR", "Sampling period:": "1.0", "Estimated storage rate (MB/day)": "84.38", "STS partitions": "1",
	} {
		if lines[name] != want {
			t.Errorf("%s: %v, want %s", name, lines[name], want)
		}
	}
}

func TestProcessMetricsHoldADay(t *testing.T) {
	p := process{}
	for i := range momentsMax + 3 {
		p.note(moment{at: begin.Add(time.Duration(i) * momentEvery)})
	}
	if day := p.day(); len(day) != momentsMax || day[0].at != begin.Add(3*momentEvery) {
		t.Errorf("%d moments from %v", len(day), day[0].at)
	}
	if h := heapPercent(); h <= 0 || h > 100 {
		t.Errorf("heap %v %%", h)
	}
}

func TestUptimeReadsAsTheAppliances(t *testing.T) {
	for d, want := range map[time.Duration]string{
		163698 * time.Millisecond: "2m 43.698s", 250 * time.Millisecond: "0.250s", 25*time.Hour + time.Second: "1d 1h 0m 1.000s",
	} {
		if got := uptime(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// A report of a hundred thousand PVs takes well under a second.
func BenchmarkReports(b *testing.B) {
	f := newFixture(b, func(o *Options) {
		o.Channels = func(schema.PVName) (ChannelStatus, bool) {
			return ChannelStatus{Connected: true, EventRate: 1, ByteRate: 20, LastEvent: begin}, true
		}
	})
	for i := range 100 {
		var requests []registry.Request
		for k := range 1000 {
			requests = append(requests, registry.Request{PV: schema.PVName(fmt.Sprintf("LAB:S%02d:PV%03d", i, k))})
		}
		f.must(f.registry.Archive(context.Background(), actor, requests...))
	}
	for _, path := range []string{"/mgmt/bpl/getEventRateReport", "/mgmt/bpl/getEventRateReport?limit=1000", "/mgmt/bpl/getSilentPVsReport?limit=1000",
		"/mgmt/bpl/getNeverConnectedPVs", "/mgmt/bpl/getInstanceMetrics", "/mgmt/bpl/getAllExpandedPVNames", "/mgmt/bpl/getPVStatus?pv=*"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				if resp, text := f.ask(http.MethodGet, path, "", ""); resp.StatusCode != 200 {
					b.Fatal(text)
				}
			}
		})
	}
}
