package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pvlog/schema"
)

// epicsPrefix begins the names of the PVs of epics/all_types.db.
const epicsPrefix = "EP:"

// epicsTicker is the PV by which tests tell that time has passed in the archive.
const epicsTicker = epicsPrefix + "calc"

// epicsFields are PVs beside the records' values: long strings, string fields, and
// the arrays of an aSub record.
var epicsFields = []string{
	epicsPrefix + "lsi.VAL$", epicsPrefix + "lso.VAL$", epicsPrefix + "printf.VAL$", epicsPrefix + "ai.DESC$", epicsPrefix + "ai.EGU", epicsPrefix + "ai.RTYP",
	epicsPrefix + "aSub.VALA", epicsPrefix + "aSub.VALB", epicsPrefix + "aSub.VALC",
}

// epicsSilent are records whose value also changes without a LOG or ALARM event.
var epicsSilent = []string{epicsPrefix + "deadband", epicsPrefix + "fanout", epicsPrefix + "seq", epicsPrefix + "event"}

// needEPICS skips a test unless `make test-epics` runs it, and gives the Python
// of .epics.
func needEPICS(t testing.TB) string {
	t.Helper()
	if os.Getenv("PVLOG_EPICS") != "1" {
		t.Skip("needs a real EPICS IOC: run make test-epics")
	}
	python := filepath.Join(repositoryRoot(t), ".epics", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("PVLOG_EPICS=1 but there is no real EPICS: run make epics (%v)", err)
	}
	return python
}

// databasePVs gives the PVs of all_types.db: every record and the fields.
func databasePVs(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("epics", "all_types.db"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^record\(\w+, "\$\(P=EP:\)([^"]+)"\)`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, epicsPrefix+m[1])
	}
	return append(names, epicsFields...)
}

// recordTypes gives the record type of each PV of all_types.db.
func recordTypes(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("epics", "all_types.db"))
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^record\((\w+), "\$\(P=EP:\)([^"]+)"\)`).FindAllStringSubmatch(string(text), -1) {
		types[epicsPrefix+m[2]] = m[1]
	}
	return types
}

// rig is a real IOC, the witness that watches it, and a pvlog that archives it.
type rig struct {
	t       testing.TB
	python  string
	port    int // of the IOC, for search and circuits
	pvs     []string
	ioc     *process
	witness *process
	records []string // files of the witnesses, one after the other
	pvlog   *server

	connections int // how often pvlog has connected
	spans       []span
}

// newRig starts the IOC and the witness; pvlog is not started.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, python: needEPICS(t), port: freePort(t), pvs: databasePVs(t)}
	r.startIOC()
	r.startWitness()
	r.pvlog = newServer(t, r.clientEnvironment())
	return r
}

// startWitness runs a witness with a file of its own.
func (r *rig) startWitness() {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "witness.jsonl")
	r.witness = startProcess(r.t, "witness", r.python,
		append([]string{filepath.Join("epics", "record.py"), "--out", file}, r.pvs...), r.clientEnvironment())
	r.witness.waitFor(r.t, "ready", startTimeout)
	r.records = append(r.records, file)
}

// stopWitness ends the witness, whose file is whole then.
func (r *rig) stopWitness() {
	r.t.Helper()
	if err := r.witness.hangUp(); err != nil {
		r.t.Fatalf("the witness did not end cleanly: %v\n%s", err, r.witness.tail())
	}
}

// restartIOC kills the IOC and starts it again. pvlog is held still (SIGSTOP)
// until a new witness watches the new IOC, so that pvlog sees nothing that no
// witness sees: libca alone would search again ten seconds later than pvlog.
func (r *rig) restartIOC() {
	r.t.Helper()
	_ = r.ioc.end(syscall.SIGKILL) // a crash
	r.waitDisconnected()
	r.stopWitness()
	if err := r.pvlog.process.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	r.startIOC()
	r.startWitness()
	if err := r.pvlog.process.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
}

// startIOC runs the IOC on the rig's port.
func (r *rig) startIOC() {
	r.t.Helper()
	r.ioc = startProcess(r.t, "IOC", r.python, []string{filepath.Join("epics", "ioc.py"), "-d", filepath.Join("epics", "all_types.db")}, append(
		r.clientEnvironment(), // its own CA links search nowhere else
		"EPICS_CAS_INTF_ADDR_LIST=127.0.0.1",
		"EPICS_CAS_SERVER_PORT="+strconv.Itoa(r.port),
		"EPICS_CAS_AUTO_BEACON_ADDR_LIST=NO",
	))
	r.ioc.waitFor(r.t, "IOC Running", startTimeout)
}

// clientEnvironment points a CA client at the rig's IOC and nothing else.
func (r *rig) clientEnvironment() []string {
	return []string{"EPICS_CA_ADDR_LIST=127.0.0.1:" + strconv.Itoa(r.port), "EPICS_CA_AUTO_ADDR_LIST=NO"}
}

// freePort is a port that nobody listens on now, in TCP and in UDP. It lies
// below the ports that systems hand out by themselves, or some client might
// get it while the IOC is down.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		tcp, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return port
		}
	}
	t.Fatal("found no port that is free in TCP and UDP")
	return 0
}

// archive asks pvlog to archive all PVs of the IOC.
func (r *rig) archive() {
	r.t.Helper()
	var answers []struct{ PVName, Status string }
	query := url.Values{"pv": {strings.Join(r.pvs, ",")}}
	if err := r.pvlog.getJSON("/mgmt/bpl/archivePV", query, &answers); err != nil {
		r.t.Fatal(err)
	}
	for _, a := range answers {
		if a.Status != "Archive request submitted" {
			r.t.Errorf("archive %s: %s", a.PVName, a.Status)
		}
	}
	if len(answers) != len(r.pvs) {
		r.t.Errorf("archivePV answers for %d PVs of %d", len(answers), len(r.pvs))
	}
}

// beginSpan waits until pvlog monitors every PV: from then on it has to have
// what the witness has.
func (r *rig) beginSpan() {
	r.t.Helper()
	r.pvlog.waitUntil(time.Minute, "all PVs to be connected", func() error {
		var missing []string
		status, err := r.status()
		if err != nil {
			return err
		}
		for _, pv := range r.pvs {
			if status[pv].ConnectionState != "true" {
				missing = append(missing, pv)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d are not: %.200s", len(missing), strings.Join(missing, " "))
		}
		return nil
	})
	r.connections++
	// the first update of a PV may still be under way
	r.spans = append(r.spans, span{from: time.Now().Add(time.Second)})
}

// endSpan ends what began with beginSpan, margin before now: what the witness
// saw later may have been on its way to the log.
func (r *rig) endSpan(margin time.Duration) {
	r.spans[len(r.spans)-1].to = time.Now().Add(-margin)
}

type pvStatus struct{ PVName, Status, ConnectionState string }

func (r *rig) status() (map[string]pvStatus, error) {
	var list []pvStatus
	if err := r.pvlog.getJSON("/mgmt/bpl/getPVStatus", url.Values{"pv": {strings.Join(r.pvs, ",")}}, &list); err != nil {
		return nil, err
	}
	status := map[string]pvStatus{}
	for _, s := range list {
		status[s.PVName] = s
	}
	return status, nil
}

// waitForSamples waits until the archive gives back a sample of the ticker
// that the IOC made after an instant: all that came before it was processed,
// for the archive works in the order of the log.
func (r *rig) waitForSamples(after time.Time) {
	r.t.Helper()
	r.pvlog.waitUntil(time.Minute+time.Until(after), "samples after "+after.UTC().Format(time.RFC3339Nano), func() error {
		last, err := r.lastTime(epicsTicker)
		if err == nil && !last.After(schema.TimeOf(after)) {
			err = fmt.Errorf("the newest is of %v", last)
		}
		return err
	})
}

// lastTime is the time of a PV's newest sample now.
func (r *rig) lastTime(pv string) (schema.Time, error) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	body, err := r.pvlog.get("/retrieval/data/getData.raw", url.Values{"pv": {pv}, "from": {now}, "to": {now}})
	if err != nil {
		return schema.Time{}, err
	}
	chunks, err := parseRaw(body)
	if err != nil {
		return schema.Time{}, err
	}
	var last schema.Time
	for _, c := range chunks {
		for _, s := range c.samples {
			last = s.at
		}
	}
	return last, nil
}

// settle waits until all that was received so far is archived, and gives the
// drop log of every PV.
func (r *rig) settle() map[string][]drop {
	r.t.Helper()
	// the archive publishes drops with its flush rounds, a second apart
	r.waitForSamples(time.Now().Add(3 * time.Second))
	drops := map[string][]drop{}
	for _, pv := range r.pvs {
		var list []drop
		if err := r.pvlog.getJSON("/api/v1/drops", url.Values{"pv": {pv}, "limit": {"100000"}}, &list); err != nil {
			r.t.Fatal(err)
		}
		for _, d := range list {
			if d.PV != pv {
				r.t.Errorf("the drops of %s name %s", pv, d.PV)
			}
		}
		drops[pv] = list
	}
	return drops
}

// finish stops pvlog and the witness and judges every PV by the files.
func (r *rig) finish(drops map[string][]drop) (map[string]*record, map[string][]sample) {
	r.t.Helper()
	r.pvlog.stop()
	r.stopWitness()
	records := map[string]*record{}
	for _, file := range r.records {
		for pv, more := range readRecord(r.t, file) {
			if records[pv] == nil {
				records[pv] = &record{}
			}
			records[pv].updates = append(records[pv].updates, more.updates...)
		}
	}
	stored := readStore(r.t, filepath.Join(r.pvlog.data, "stores", "STS"))
	for pv, samples := range stored {
		checkOrder(r.t, pv, samples)
	}
	for _, pv := range r.pvs {
		if records[pv] == nil {
			r.t.Errorf("the witness saw nothing of %s", pv)
		}
	}
	if names := unwatched(records, stored); len(names) > 0 {
		r.t.Errorf("stored, but nobody asked for it: %v", names)
	}
	judgeAll(r.t, gather(records, stored, drops, r.spans, r.connections, epicsSilent))
	return records, stored
}

// checkOrder requires that a PV's files follow each other in time.
func checkOrder(t testing.TB, pv string, samples []sample) {
	t.Helper()
	for i := 1; i < len(samples); i++ {
		if !samples[i].at.After(samples[i-1].at) {
			t.Errorf("%s: stored %v after %v", pv, samples[i], samples[i-1])
			return
		}
	}
}

// jsonSample is a point of getData.json.
type jsonSample struct {
	Secs             int64
	Nanos            uint32
	Severity, Status int32
	Val              json.RawMessage
}

// getJSONSamples reads a PV's samples through getData.json.
func (r *rig) getJSONSamples(pv string, from, to time.Time) []jsonSample {
	r.t.Helper()
	var answer []struct {
		Meta map[string]any
		Data []jsonSample
	}
	if err := r.pvlog.getJSON("/retrieval/data/getData.json", timeRange(pv, from, to), &answer); err != nil {
		r.t.Fatal(err)
	}
	if len(answer) != 1 || answer[0].Meta["name"] != pv {
		r.t.Fatalf("getData.json of %s gives %d streams", pv, len(answer))
	}
	return answer[0].Data
}

// getRawSamples reads a PV's samples through getData.raw.
func (r *rig) getRawSamples(pv string, from, to time.Time) []sample {
	r.t.Helper()
	chunks, err := parseRaw(r.pvlog.mustGet("/retrieval/data/getData.raw", timeRange(pv, from, to)))
	if err != nil {
		r.t.Fatalf("getData.raw of %s: %v", pv, err)
	}
	var samples []sample
	for _, c := range chunks {
		if c.pv != pv {
			r.t.Errorf("getData.raw of %s has a header of %s", pv, c.pv)
		}
		samples = append(samples, c.samples...)
	}
	return samples
}

func timeRange(pv string, from, to time.Time) url.Values {
	const layout = "2006-01-02T15:04:05.000000000Z"
	return url.Values{"pv": {pv}, "from": {from.UTC().Format(layout)}, "to": {to.UTC().Format(layout)}}
}

// waitDisconnected waits until pvlog has noticed that the IOC is gone.
func (r *rig) waitDisconnected() {
	r.t.Helper()
	r.pvlog.waitUntil(time.Minute, "all PVs to be disconnected", func() error {
		status, err := r.status()
		if err != nil {
			return err
		}
		for _, pv := range r.pvs {
			if status[pv].ConnectionState == "true" {
				return fmt.Errorf("%s is connected", pv)
			}
		}
		return nil
	})
}
