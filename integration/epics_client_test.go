package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
)

// clientLine is a sample as epics/retrieve.py tells it.
type clientLine struct {
	PV               string
	Secs             int64
	Nanos            uint32
	Severity, Status int32
	Value            []json.RawMessage
}

// applianceClients are programs that read an Appliance, with the PVs that they can: each
// has faults of its own, which are not pvlog's.
var applianceClients = []struct {
	name  string
	exact bool // tells nanoseconds and status
	types []schema.DBRType
}{
	// reads shorts and enums with the wrong width, pads arrays, and cuts strings
	// after 40 bytes (which Latin-1 text may exceed as UTF-8)
	{"aaclient", true, []schema.DBRType{schema.ScalarDouble, schema.ScalarInt, schema.ScalarString, schema.WaveformDouble, schema.WaveformInt, schema.WaveformFloat}},
	// wants arrays of one length, has times as float64, and strips white space
	// off a chunk, which the sixth state of an enum ends with (0x0C)
	{"aapy", false, []schema.DBRType{schema.ScalarDouble, schema.ScalarInt, schema.ScalarEnum}},
	{"aapy-json", false, []schema.DBRType{schema.ScalarDouble, schema.ScalarInt, schema.ScalarEnum, schema.ScalarString}},
}

// TestEpicsApplianceClientsReadPvlog has clients that were written for the
// Java Appliance read everything, and compares with the files.
func TestEpicsApplianceClientsReadPvlog(t *testing.T) {
	r := newRig(t)
	r.pvlog.start()
	began := time.Now()
	r.archive()
	r.beginSpan()
	r.waitForSamples(began.Add(10 * time.Second))
	r.endSpan(0)
	drops := r.settle()
	var readable []string
	for _, pv := range r.pvs {
		if !slices.Contains(epicsSilent, pv) && len(drops[pv]) == 0 && pv != epicsPrefix+"wfBig" {
			readable = append(readable, pv)
		}
	}
	told, until := map[string]map[string][]clientLine{}, time.Now()
	for _, c := range applianceClients {
		pvs := slices.DeleteFunc(r.ofTypes(readable, c.types), func(pv string) bool {
			return c.name == "aapy" && pv == epicsPrefix+"unnamed"
		})
		told[c.name] = r.retrieve(c.name, pvs)
	}
	_, stored := r.finish(drops)
	for _, c := range applianceClients {
		if len(told[c.name]) == 0 {
			t.Errorf("%s read nothing", c.name)
		}
		n := 0
		for pv, lines := range told[c.name] {
			n += compareClient(t, c.name, c.exact, pv, lines, stored[pv], until)
		}
		t.Logf("%s: %d samples of %d PVs", c.name, n, len(told[c.name]))
	}
}

// ofTypes chooses the PVs whose samples have one of the types.
func (r *rig) ofTypes(pvs []string, types []schema.DBRType) []string {
	r.t.Helper()
	var chosen []string
	for _, pv := range pvs {
		chunks, err := parseRaw(r.pvlog.mustGet("/retrieval/data/getData.raw", timeRange(pv, time.Now().Add(-time.Hour), time.Now())))
		if err != nil {
			r.t.Fatal(err)
		}
		if len(chunks) > 0 && slices.Contains(types, chunks[0].dbr) {
			chosen = append(chosen, pv)
		}
	}
	return chosen
}

// retrieve runs a client on PVs.
func (r *rig) retrieve(client string, pvs []string) map[string][]clientLine {
	r.t.Helper()
	cmd := exec.Command(r.python, append([]string{"epics/retrieve.py", "--server", r.pvlog.http, "--client", client}, pvs...)...)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr = cleanEnvironment(), &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s cannot read pvlog: %v\n%s", client, err, stderr.Bytes())
	}
	told := map[string][]clientLine{}
	for line := range bytes.Lines(out) {
		var l clientLine
		if err := json.Unmarshal(line, &l); err != nil {
			r.t.Fatalf("%s: %v: %s", client, err, line)
		}
		told[l.PV] = append(told[l.PV], l)
	}
	return told
}

// compareClient requires that a client read what the files hold up to an
// instant, and gives how many samples that were.
func compareClient(t *testing.T, client string, exact bool, pv string, lines []clientLine, stored []sample, until time.Time) int {
	t.Helper()
	until = until.Add(-time.Second) // aapy asks in whole seconds
	last := func(at schema.Time) bool { return at.Go().After(until) }
	stored = slices.DeleteFunc(slices.Clone(stored), func(s sample) bool { return last(s.at) })
	lines = slices.DeleteFunc(slices.Clone(lines), func(l clientLine) bool { return last(schema.Time{Sec: l.Secs, Nsec: l.Nanos}) })
	if len(lines) != len(stored) {
		t.Errorf("%s read %d samples of %s, the files hold %d", client, len(lines), pv, len(stored))
		return 0
	}
	for i, l := range lines {
		if err := compareLine(l, stored[i], exact); err != nil {
			t.Errorf("%s read %s as %+v, the file has %v: %v", client, pv, l, stored[i], err)
			return 0
		}
	}
	return len(lines)
}

func compareLine(l clientLine, s sample, exact bool) error {
	apart := l.at().Sub(s.at.Go()).Abs()
	if exact && (apart != 0 || l.Status != s.status) || apart > time.Microsecond || l.Severity != s.severity {
		return fmt.Errorf("time or alarm differ")
	}
	elements := clientElements(s.value)
	if len(l.Value) < len(elements) {
		return fmt.Errorf("%d elements", len(l.Value))
	}
	for i, text := range l.Value {
		if i >= len(elements) {
			if string(text) != "0" && string(text) != "0.0" && string(text) != `""` {
				return fmt.Errorf("element %d is not padding", i)
			}
			continue
		}
		if !clientEquals(elements[i], text, exact) {
			return fmt.Errorf("element %d", i)
		}
	}
	return nil
}

func (l clientLine) at() time.Time { return time.Unix(l.Secs, int64(l.Nanos)) }

// clientElements gives a value as the list that retrieve.py makes of it.
func clientElements(value any) []any {
	var all []any
	switch v := value.(type) {
	case []float64:
		for _, e := range v {
			all = append(all, e)
		}
	case []float32:
		for _, e := range v {
			all = append(all, e)
		}
	case []int32:
		for _, e := range v {
			all = append(all, e)
		}
	default:
		all = []any{value}
	}
	return all
}

// clientEquals compares an element; retrieve.py writes what is not finite as
// text, and a client that reads JSON has null for it. cut says that the client
// cuts strings.
func clientEquals(value any, text json.RawMessage, cut bool) bool {
	if s, isString := value.(string); isString && cut {
		value = s[:min(len(s), 40)]
	}
	f, isFloat := value.(float64)
	if !isFloat || !notFinite(f) {
		return equalsJSON(value, text)
	}
	word := strings.Trim(string(text), `"`)
	if word == "null" {
		return true
	}
	got, err := strconv.ParseFloat(word, 64)
	return err == nil && (got == f || math.IsNaN(got) && math.IsNaN(f))
}
