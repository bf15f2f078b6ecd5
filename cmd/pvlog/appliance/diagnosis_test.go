package appliance

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/registry"
	"pvlog/consumers/web"
	"pvlog/ingest"
	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
	"pvlog/streams"
)

// healthy is the evidence of a PV whose samples arrive.
func healthy() *evidence {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	server := netip.MustParseAddrPort("10.0.0.7:5064")
	info := &schema.TypeInfo{PV: "L:1", State: schema.Archiving, DBRType: schema.ScalarDouble, Created: now.Add(-time.Hour),
		Settings: schema.Settings{SamplingMethod: schema.Monitor, SamplingPeriod: time.Second, Policy: "Default"}}
	return &evidence{
		now: now, asked: "L:1", pv: "L:1", found: registry.Found{Info: info}, known: true,
		state: ingest.ChannelState{PV: "L:1", Connection: ingest.Connected, Subscribed: true, Minor: 13, Type: schema.ScalarDouble,
			LastEvent: now.Add(-time.Second), Counters: ingest.Counters{Received: 10, Appended: 10, Observed: schema.UnknownType}},
		running: true,
		trace: caclient.Trace{State: caclient.Connected, UDP: []netip.AddrPort{server}, Found: server, Server: server, Dialled: true,
			Circuit: ca.CircuitQuiet, Heard: now, Connected: true, Mask: 6, Info: caclient.Info{Native: ca.DBRDouble, Count: 1, Readable: true}},
		traced: true, newest: 50, newestAt: now.Add(-time.Second), logged: true,
		status: archive.Status{Path: "STS/L/1:2026_11_25_12.pb", Bytes: 400}, archived: true, health: archive.Health{Acked: 50, Round: now},
	}
}

func searched(e *evidence) {
	e.trace = caclient.Trace{State: caclient.Searched, UDP: e.trace.UDP, Search: ca.SearchState{Tries: 7, Last: e.now.Add(-3 * time.Second)}}
	e.state.Connection, e.state.LastEvent = ingest.Connecting, time.Time{}
}

func TestTheDiagnosisNamesTheLinkThatBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*evidence)
		broken string // "": none
		words  string
	}{
		"healthy":      {func(*evidence) {}, "", "reach their file"},
		"bad name":     {func(e *evidence) { e.nameErr = errors.New("is no name") }, "name", "correct the name"},
		"never asked":  {func(e *evidence) { e.known, e.running = false, false }, "registry", "pvlog archive"},
		"paused":       {func(e *evidence) { e.found.Info.State = schema.Paused; e.running = false }, "registry", "pvlog resume"},
		"not found":    {searched, "search", "searched 7 times, last 3.0 s ago, at 10.0.0.7:5064"},
		"nowhere":      {func(e *evidence) { searched(e); e.trace.UDP = nil }, "search", "addr_list"},
		"backed off":   {func(e *evidence) { searched(e); e.trace.Found = e.trace.UDP[0]; e.trace.BackOff = time.Minute }, "search", "1m0s"},
		"dialling":     {func(e *evidence) { e.trace.Dialled, e.trace.Connected = false, false }, "circuit", "firewall"},
		"unresponsive": {func(e *evidence) { e.trace.Circuit, e.trace.Connected = ca.CircuitUnresponsive, false }, "circuit", "does not answer"},
		"claimed":      {func(e *evidence) { e.trace.State, e.trace.Connected = caclient.Claimed, false }, "channel", "asked for a channel"},
		"no rights":    {func(e *evidence) { e.trace.Info.Readable = false }, "rights", "access security"},
		"type pending": {func(e *evidence) { e.state.Subscribed = false }, "subscription", "being registered"},
		"no monitor":   {func(e *evidence) { e.trace.Mask = 0 }, "subscription", "report"},
		"first update": {func(e *evidence) { e.state.Received = 0 }, "update", "no update has come"},
		"other type":   {func(e *evidence) { e.state.Observed = schema.ScalarEnum }, "update", "registered is DBR_SCALAR_DOUBLE"},
		"log unread":   {func(e *evidence) { e.logErr = errors.New("gone") }, "log", "gone"},
		"all dropped":  {func(e *evidence) { e.drops = []streams.StoredDrop{{Drop: drop(e, 50)}} }, "filter", "drift_future"},
		"once dropped": {func(e *evidence) { e.drops = []streams.StoredDrop{{Drop: drop(e, 49)}} }, "", "reach"},
		"future file": {func(e *evidence) {
			e.futures = []archive.Future{{Path: "X:2036.pb", Last: schema.TimeOf(e.now.AddDate(10, 0, 0)), Found: e.now}}
		}, "file", "X:2036.pb ends in the future"},
		"its remedy": {func(e *evidence) { e.futures = []archive.Future{{Path: "X:2036.pb"}} }, "file", "pvlog repair --future L:1"},
		"its drops": {func(e *evidence) {
			e.futures, e.drops = []archive.Future{{Path: "X:2036.pb"}}, []streams.StoredDrop{{Drop: drop(e, 50)}}
			e.drops[0].Reason = "file"
		}, "filter", "pvlog repair --future L:1"},
		"archive late": {func(e *evidence) { e.archived, e.health.Acked = false, 10 }, "buffer", "behind"},
		"disk full":    {func(e *evidence) { e.health.Fault = errors.New("no space left") }, "store", "no space left"},
		"little room":  {func(e *evidence) { e.spaces = []web.Space{{Store: "STS", Free: 1 << 30, Total: 200 << 30}} }, "store", "1.0 of 200.0 GiB"},
		"gate closed": {func(e *evidence) {
			e.found.Info.ControllingPV, e.traced = "G", false
			e.state = ingest.ChannelState{PV: "L:1", Connection: ingest.Idle, Gate: ingest.Gate{PV: "G", Known: true, Value: "0"}}
		}, "policy", `it is "0" now`},
		"gate unknown": {func(e *evidence) { e.found.Info.ControllingPV, e.state.Gate = "G", ingest.Gate{PV: "G", Open: true} }, "", "reach"},
		"gate open":    {func(e *evidence) { e.found.Info.ControllingPV = "G" }, "", "reach"},
		"scanned":      {func(e *evidence) { e.found.Info.SamplingMethod, e.trace.Mask = schema.ScanGet, 0 }, "", "reach"},
		"log was full": {func(e *evidence) { e.state.OverflowDrops = 3 }, "update", "3 were lost"},
		"alias":        {func(e *evidence) { e.asked, e.found.Alias = "NICK", true }, "", "reach"},
	} {
		t.Run(name, func(t *testing.T) {
			e := healthy()
			c.change(e)
			d := diagnose(e)
			if d.Broken != c.broken || !strings.Contains(d.Verdict, c.words) {
				t.Errorf("broken at %q, want %q: %s", d.Broken, c.broken, d.Verdict)
			}
			for _, l := range d.Links {
				if l.Detail == "" || l.State == web.LinkBroken && l.Do == "" {
					t.Errorf("a link that helps nobody: %+v", l)
				}
			}
		})
	}
}

func drop(e *evidence, seq uint64) streams.Drop {
	return streams.Drop{PV: e.pv, Reason: "drift_future", Detail: "4000 s", Position: streams.Position{Seq: seq, Time: e.now}}
}
