package simioc

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

func readScenario(t testing.TB, text string) *Scenario {
	t.Helper()
	s, err := ReadScenario([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// happening is what a client heard of one PV.
type happening struct {
	what string // connected, disconnected, access, or update
	info caclient.Info
	seen seen // of an update of one double
	u    caclient.Update
	at   time.Time
}

// watcher hears of one PV and keeps everything.
type watcher struct {
	mu   sync.Mutex
	news chan struct{} // closed and replaced at each happening
	all  []happening
}

func (w *watcher) add(h happening) {
	h.at = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, h)
	close(w.news)
	w.news = make(chan struct{})
}

func (w *watcher) Connected(ch *caclient.Channel, info caclient.Info) {
	w.add(happening{what: "connected", info: info})
	ch.Subscribe(ca.MaskValue | ca.MaskAlarm)
}
func (w *watcher) Disconnected(*caclient.Channel, error) { w.add(happening{what: "disconnected"}) }
func (w *watcher) AccessChanged(_ *caclient.Channel, info caclient.Info) {
	w.add(happening{what: "access", info: info})
}
func (w *watcher) Update(_ *caclient.Channel, u caclient.Update) {
	h := happening{what: "update", u: u}
	if h.u.Payload = append([]byte(nil), u.Payload...); u.Type == ca.DBRTimeDouble && u.Count == 1 {
		h.seen = timeDouble(h.u.Payload)
	}
	w.add(h)
}

// wait gives the first happening from the n-th on that is as wanted, and its
// number.
func (w *watcher) wait(t *testing.T, n int, what string, wanted func(h happening) bool) (happening, int) {
	t.Helper()
	deadline := time.After(2 * patience)
	for {
		w.mu.Lock()
		all, news := w.all, w.news
		w.mu.Unlock()
		for ; n < len(all); n++ {
			if wanted(all[n]) {
				return all[n], n
			}
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatalf("%s did not happen; there was %+v", what, all)
		}
	}
}

func named(what string) func(happening) bool { return func(h happening) bool { return h.what == what } }

func valued(x float64) func(happening) bool {
	return func(h happening) bool {
		return h.what == "update" && h.u.Status == ca.StatusNormal && h.seen.value == x
	}
}

// audience runs a scenario, whose steps begin when a client is connected to all
// PVs that it watches.
type audience struct {
	t        *testing.T
	scenario *Scenario
	client   *caclient.Client
	watchers map[string]*watcher
}

func watch(t *testing.T, s *Scenario, names ...string) *audience {
	t.Helper()
	ready := make(chan struct{})
	s.ready = ready
	must(t, s.Listen())
	no := false
	a := &audience{t: t, scenario: s, watchers: make(map[string]*watcher), client: caclient.New(caclient.Options{
		AddrList: s.Addrs(), AutoAddrList: &no, Repeater: &no, MaxSearchPeriod: time.Second, User: "me", Host: "here"})}
	for _, name := range names {
		w := &watcher{news: make(chan struct{})}
		a.watchers[name] = w
		a.client.Open(name, w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{s.Run, a.client.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	for name, w := range a.watchers {
		w.wait(t, 0, "the first update of "+name, named("update"))
	}
	close(ready)
	return a
}

// sees waits until the PV has seen the happenings in this order.
func (a *audience) sees(name string, wanted ...func(happening) bool) (last happening) {
	a.t.Helper()
	next := 0
	for i, f := range wanted {
		last, next = a.watchers[name].wait(a.t, next, fmt.Sprintf("happening %d of %s", i, name), f)
		next++
	}
	return last
}

func TestScenarioDoesEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a client's reconnections")
	}
	text, err := os.ReadFile(filepath.Join("testdata", "everything.yaml"))
	must(t, err)
	s := readScenario(t, string(text))
	a := watch(t, s, "sim:put", "sim:alarm", "sim:clock", "sim:change", "sim:access", "sim:ended", "sim:zombie", "sim:shared", "sim:stopped",
		"sim:count", "sim:skewed", "sim:frozen", "sim:backwards", "sim:hidden", "crash:beat", "reboot:beat", "hang:beat")
	update, disconnected, connected := named("update"), named("disconnected"), named("connected")

	put := a.sees("sim:put", valued(1), func(h happening) bool { return h.seen.severity == 2 })
	if put.seen.value != 2 || put.seen.status != statusHIHI || put.seen.time.Sec != 1614834367 || put.seen.time.Nsec != 8 {
		t.Errorf("put: %+v", put.seen)
	}
	a.sees("sim:alarm", update, func(h happening) bool { return h.seen.severity == 1 && h.seen.status == 7 }, func(h happening) bool { return h.what == "update" && h.seen.severity == 0 })
	if h := a.sees("sim:clock", valued(2)); time.Since(h.seen.time.Go()) > -23*time.Hour {
		t.Errorf("a clock skewed by a day: %v", h.seen.time)
	}
	if h := a.sees("sim:clock", valued(2), valued(3)); time.Since(h.seen.time.Go()).Abs() > patience {
		t.Errorf("a right clock: %v", h.seen.time)
	}
	a.sees("sim:access", valued(1), func(h happening) bool { return h.what == "access" && !h.info.Readable },
		func(h happening) bool { return h.u.Status == ca.StatusNoReadAccess }, func(h happening) bool { return h.what == "access" && h.info.Writable }, valued(1))
	a.sees("sim:hidden", func(h happening) bool { return h.u.Status == ca.StatusNoReadAccess })
	if h := a.sees("sim:skewed", update); time.Since(h.seen.time.Go()) < 59*time.Minute {
		t.Errorf("skewed: %v", h.seen.time)
	}
	if first, next := a.sees("sim:frozen", update), a.sees("sim:frozen", update, update); first.seen.time != next.seen.time {
		t.Errorf("frozen: %v then %v", first.seen.time, next.seen.time)
	}
	if first, next := a.sees("sim:backwards", update), a.sees("sim:backwards", update, update); next.seen.time.Go().Sub(first.seen.time.Go()) != -time.Second {
		t.Errorf("backwards: %v then %v", first.seen.time, next.seen.time)
	}

	for _, name := range []string{"sim:ended", "crash:beat", "reboot:beat"} {
		a.sees(name, update, disconnected, connected, update)
	}
	if h := a.sees("sim:change", disconnected, connected); h.info.Native != ca.DBRString {
		t.Errorf("changed: %+v", h.info)
	}
	if h := a.sees("sim:change", disconnected, update); cString(h.u.Payload[12:]) != "other text" {
		t.Errorf("changed: % x", h.u.Payload)
	}
	a.sees("sim:stopped", disconnected)
	a.quietly("sim:zombie", 300*time.Millisecond)
	a.quietly("hang:beat", 300*time.Millisecond)
	a.sees("sim:shared", connected)
	if units := get(t, s.IOC("main"), "sim:units.EGU"); units != "km" {
		t.Errorf("units are %q", units)
	}
}

// quietly waits for two updates of a PV that are so far apart, without a
// disconnection, and for the update after.
func (a *audience) quietly(name string, gap time.Duration) {
	a.t.Helper()
	var last time.Time
	a.sees(name, named("update"), func(h happening) bool {
		if h.what == "disconnected" {
			a.t.Errorf("%s is disconnected", name)
		}
		late := !last.IsZero() && h.at.Sub(last) >= gap
		last = h.at
		return late
	}, named("update"))
}

// get reads a channel as text over a circuit of its own.
func get(t *testing.T, ioc *IOC, name string) string {
	t.Helper()
	c := dial(t, ioc)
	return c.text(c.create(name).sid)
}

func TestScenarioEndsWhenAllIOCsAreStopped(t *testing.T) {
	s := readScenario(t, `
iocs:
  - records: [{name: a, type: double, value: 1}]
  - records: [{name: b, type: double, value: 1}]
steps:
  - {at: 0s, ioc: ioc1, restart: 1ms}
  - {at: 50ms, stop: true}
  - {every: 1h, stop: true}
`)
	must(t, s.Run(t.Context()))
	if names := s.Names(); len(names) != 2 || s.IOC("ioc1") == nil || s.IOC("none") != nil {
		t.Errorf("names %v", names)
	}
}

func TestRestartedIOCHasItsPortItsRecordsAndWhatTheyBecame(t *testing.T) {
	s := readScenario(t, `
iocs:
  - name: x
    records:
      - {name: a, type: double, value: 1, access: read, alarm: {severity: MAJOR, status: COMM}}
      - {name: b, type: double, value: 1}
steps:
  - {at: 0s, put: {record: a, value: 2}}
  - {at: 0s, change: {record: b, type: long, count: 2, value: [3, 4]}}
  - {at: 20ms, restart: 10ms}
`)
	a := watch(t, s, "a", "b")
	before := s.Addrs()
	a.sees("a", named("disconnected"), named("connected"), valued(1))
	if h := a.sees("a", named("disconnected"), named("connected"), named("update")); h.seen.severity != 2 || h.seen.status != 9 {
		t.Errorf("after the restart: %+v", h.seen)
	}
	a.sees("b", named("disconnected"), func(h happening) bool { return h.info.Native == ca.DBRLong && h.info.Count == 2 })
	if after := s.Addrs(); after[0] != before[0] {
		t.Errorf("it was at %v and is at %v", before, after)
	}
}

func TestWrongScenariosSayWhereAndWhat(t *testing.T) {
	const ioc = "iocs:\n  - name: x\n    records:\n      - {name: a, type: double, value: 1}\n"
	for text, want := range map[string][]string{
		"":                                      {"scenario", "iocs"},
		"iocs: []":                              {"line 1", "0 IOCs"},
		"iocs:\n  - 5":                          {"5"},
		"a: [":                                  {"scenario"},
		"iocs:\n  - name: x\n    colour: red\n": {"3", "colour"},
		"iocs: [{name: x}, {name: x}]":          {"iocs[1].name", "two IOCs"},
		"iocs:\n  - records:\n    - name: a\n      type: dubble\n":                                               {"line 4", "iocs[0].records[0].type", "dubble", "double"},
		"iocs:\n  - records:\n    - {name: a.b, type: long}\n":                                                   {"line 3", "records[0]", "dot"},
		"iocs:\n  - records:\n    - {name: a, type: long, value: 1.5}\n":                                         {"line 3", "value", "1.5"},
		"iocs:\n  - records:\n    - {name: a, type: long, value: [1, 2], count: 1}\n":                            {"list"},
		"iocs:\n  - records:\n    - {name: a, type: double, value: x}\n":                                         {"not a number"},
		"iocs:\n  - records:\n    - {name: a, type: string, value: 1}\n":                                         {"not text"},
		"iocs:\n  - records:\n    - {name: a, type: string, value: [1, 2]}\n":                                    {"not text"},
		"iocs:\n  - records:\n    - {name: a, type: double, count: 9000000}\n":                                   {"count"},
		"iocs:\n  - records:\n    - {name: a, type: double, generate: {kind: sine}}\n":                           {"rate"},
		"iocs:\n  - records:\n    - {name: a, type: double, rate: 1, generate: {kind: cosine}}":                  {"kind", "cosine", "sine"},
		"iocs:\n  - records:\n    - {name: a, type: double, rate: 1, generate: {kind: list}}":                    {"values"},
		"iocs:\n  - records:\n    - {name: a, type: long, rate: 1, generate: {kind: list, values: [1, x]}}":      {"values[1]"},
		"iocs:\n  - records:\n    - {name: a, type: double, count: 1000000, rate: 1000, generate: {kind: sine}}": {"elements a second"},
		"iocs:\n  - records:\n    - {name: a, type: double, time: {skew: 5}}":                                    {"time.skew", "unit"},
		"iocs:\n  - records:\n    - {name: a, type: double, time: {skew: 1s, frozen: true}}":                     {"time", "one of"},
		"iocs:\n  - records:\n    - {name: a, type: double, time: {}}":                                           {"time", "one of"},
		"iocs:\n  - records:\n    - {name: a, type: double, time: {absolute: 2020-01-01}}":                       {"absolute"},
		"iocs:\n  - records:\n    - {name: a, type: double, time: {absolute: \"1970-01-01T00:00:00Z\"}}":         {"1990"},
		"iocs:\n  - records:\n    - {name: a, type: double, access: some}":                                       {"access", "readwrite"},
		"iocs:\n  - records:\n    - {name: a, type: double, alarm: {severity: BAD}}":                             {"severity", "MAJOR"},
		"iocs:\n  - records:\n    - {name: a, type: double, alarm: {severity: MAJOR, record: b}}":                {"keys of steps"},
		"iocs:\n  - records:\n    - {name: a, type: double, process: 5h}":                                        {"process"},
		"iocs:\n  - records:\n    - {name: a, type: enum, labels: [x], states: [WORSE]}":                         {"states[0]"},
		"iocs:\n  - records: &r\n    - {name: a, type: double}\n  - records: *r\n":                               {"line 2", "anchors"},
		"iocs:\n  - minor: 99\n":          {"minor"},
		"iocs:\n  - beacons: [nowhere]\n": {"beacons"},
		"iocs:\n  - records: [{name: a, type: double}, {name: a, type: double}]\n":       {"records", "one of the name"},
		"iocs: [{name: x}]\n---\niocs: [{name: y}]\n":                                    {"2 YAML documents"},
		ioc + "steps:\n  - {at: 1s}":                                                     {"line 6", "steps[0]", "0 actions"},
		ioc + "steps:\n  - {put: {record: a, value: 1}}":                                 {"at or every"},
		ioc + "steps:\n  - {at: 1, stop: true}":                                          {"steps[0].at", "unit"},
		ioc + "steps:\n  - {at: 1s, stop: true, disconnect: true}":                       {"2 actions", "disconnect, stop"},
		ioc + "steps:\n  - {at: 1s, times: 3, stop: true}":                               {"times"},
		ioc + "steps:\n  - {at: 1s, ioc: y, stop: true}":                                 {"no IOC \"y\""},
		ioc + "steps:\n  - {at: 1s, put: {record: b, value: 1}}":                         {"put.record", "\"b\""},
		ioc + "steps:\n  - at: 1s\n    put:\n      record: a\n      value: text\n":       {"line 9", "steps[0].put.value"},
		ioc + "steps:\n  - {at: 1s, put: {record: a, value: 1, nanos: 5}}":               {"nanos"},
		ioc + "steps:\n  - {at: 1s, put: {record: a, value: 1, status: LOW}}":            {"severity"},
		ioc + "steps:\n  - {at: 1s, access: {record: a}}":                                {"rights"},
		ioc + "steps:\n  - {at: 1s, slow: {bytes_per_second: 0, for: 1s}}":               {"bytes_per_second"},
		ioc + "steps:\n  - {at: 1s, slow: {bytes_per_second: 5}}":                        {"slow.for"},
		ioc + "steps:\n  - {at: 1s, wedge: soon}":                                        {"wedge", "soon"},
		ioc + "steps:\n  - {at: 1s, change: {record: a, type: x}}":                       {"change.type"},
		ioc + "steps:\n  - {at: 1s, change: {record: a, type: double, count: -1}}":       {"change", "count"},
		ioc + "steps:\n  - {at: 1s, metadata: {record: a, units: much too long a unit}}": {"metadata", "units"},
		ioc + "steps:\n  - {every: 1us, stop: true}":                                     {"every"},
	} {
		_, err := ReadScenario([]byte(text))
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: the error has no %q: %v", text, w, err)
			}
		}
	}
	if _, err := ReadScenario(make([]byte, maxScenarioBytes+1)); err == nil {
		t.Error("a file of any size is accepted")
	}
}

func FuzzScenario(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "everything.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("iocs: [{records: [{name: a, type: long, value: [1, 2]}]}]\nsteps: [{at: 1s, put: {record: a, value: 5}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		begin := time.Now()
		if s, err := ReadScenario(data); err == nil {
			s.Names()
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%d bytes took %v to read", len(data), took)
		}
	})
}

func TestLimitsHaveTheirSeverities(t *testing.T) {
	s := readScenario(t, `
iocs:
  - records:
    - {name: usual, type: double, value: 1, limits: {low: 0, high: 10, hihi: 20}}
    - {name: stated, type: double, value: 1, limits: {lolo: -10, low: 0, high: 10, hihi: 20, llsv: INVALID, lsv: MAJOR, hsv: MAJOR, hhsv: MINOR}}
steps: []
`)
	watch(t, s, "usual")
	c := dial(t, s.IOC("ioc1"))
	for name, alarms := range map[string]map[float64][2]int16{
		"usual":  {5: {0, 0}, -20: {1, statusLOW}, 15: {1, statusHIGH}, 25: {2, statusHIHI}},
		"stated": {5: {0, 0}, -5: {2, statusLOW}, -20: {3, statusLOLO}, 15: {2, statusHIGH}, 25: {1, statusHIHI}},
	} {
		sid := c.create(name).sid
		for x, want := range alarms {
			c.put(sid, ca.DBRDouble, 1, double(x)...)
			if _, p := c.get(sid, ca.DBRTimeDouble, 1); timeDouble(p).severity != want[0] || timeDouble(p).status != want[1] {
				t.Errorf("%s = %v: %+v, want %v", name, x, timeDouble(p), want)
			}
		}
	}
}

// A scenario one of whose IOCs cannot listen leaves no socket behind.
func TestScenarioThatCannotListenClosesWhatItHas(t *testing.T) {
	s := readScenario(t, "iocs: [{name: good}, {name: bad, listen: nowhere}]")
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("Run: %v", err)
	}
	again := New(Options{Listen: s.Addrs()[0]})
	must(t, again.Listen())
	defer again.close()
	if again.Addr() != s.Addrs()[0] {
		t.Errorf("%s is still taken", s.Addrs()[0])
	}
}
