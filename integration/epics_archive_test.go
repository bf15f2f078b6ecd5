package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestEpicsWitnessesAgree judges the judge: libca and caproto, which share no
// code, must have recorded the same updates.
func TestEpicsWitnessesAgree(t *testing.T) {
	r := newRig(t)
	file := t.TempDir() + "/second.jsonl"
	second := startProcess(t, "second witness", r.python,
		append([]string{"epics/crosscheck.py", "--out", file}, r.pvs...), r.clientEnvironment())
	second.waitFor(t, "ready", time.Minute)
	from := time.Now().Add(time.Second)
	waitUntil(t, time.Minute, "ten seconds of updates", func() error {
		for _, file := range []string{r.records[0], file} {
			if seen, err := lastSeen(file); err != nil || seen.Before(from.Add(10*time.Second)) {
				return fmt.Errorf("the last is of %v, %w", seen, err)
			}
		}
		return nil
	})
	r.stopWitness()
	if err := second.hangUp(); err != nil {
		t.Fatalf("%s: %v\n%s", second.name, err, second.tail())
	}
	within := span{from, from.Add(9 * time.Second)}
	first, other := readRecord(t, r.records[0]), readRecord(t, file)
	compared, collapsed := 0, 0
	for pv, record := range first {
		if other[pv] == nil {
			t.Errorf("%s: the second witness saw nothing", pv)
			continue
		}
		for _, side := range [][2][]update{{record.updates, other[pv].updates}, {other[pv].updates, record.updates}} {
			found := judge(evidence{pv: pv, updates: side[0], stored: samplesOf(side[1]), spans: []span{within}, connections: len(side[1]), silent: true})
			compared += found.judged
			collapsed += found.collapsed
			for _, breach := range found.breaches {
				if !strings.Contains(breach, "twice") { // a record without a clock repeats itself
					t.Error(breach)
				}
			}
		}
	}
	t.Logf("%d updates compared, %d collapsed by the IOC", compared, collapsed)
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

func samplesOf(updates []update) []sample {
	var samples []sample
	for _, u := range updates {
		samples = append(samples, u.sample)
	}
	return samples
}

// TestEpicsAllRecordTypesAreArchived has every record type of EPICS base
// archived and read back, from the files and over HTTP.
func TestEpicsAllRecordTypesAreArchived(t *testing.T) {
	r := newRig(t)
	r.pvlog.start()
	began := time.Now()
	r.archive()
	r.beginSpan()
	r.waitForSamples(began.Add(20 * time.Second))
	r.endSpan(0)
	drops := r.settle()
	from, to := began.Add(-time.Hour), began.Add(10*time.Second)
	raw, points := map[string][]sample{}, map[string][]jsonSample{}
	for _, pv := range r.pvs {
		raw[pv], points[pv] = r.getRawSamples(pv, from, to), r.getJSONSamples(pv, from, to)
	}
	records, stored := r.finish(drops)
	for _, pv := range r.pvs {
		checkRetrieval(t, pv, stored[pv], raw[pv], points[pv], to)
	}
	checkReasons(t, drops)
	checkTypes(t, records, stored, drops)
}

// checkRetrieval requires that HTTP gives what the files hold up to an instant.
func checkRetrieval(t *testing.T, pv string, stored, raw []sample, points []jsonSample, to time.Time) {
	t.Helper()
	want := slices.DeleteFunc(slices.Clone(stored), func(s sample) bool { return s.at.Go().After(to) })
	if len(raw) != len(want) || len(points) != len(want) {
		t.Errorf("%s: the files hold %d samples up to %v, getData.raw gives %d, getData.json %d", pv, len(want), to.UTC(), len(raw), len(points))
		return
	}
	for i, s := range want {
		if raw[i].key() != s.key() {
			t.Errorf("%s: getData.raw gives %v, the file %v", pv, raw[i], s)
			return
		}
		p := points[i]
		if p.Secs != s.at.Sec || p.Nanos != s.at.Nsec || p.Severity != s.severity || p.Status != s.status || !equalsJSON(s.value, p.Val) {
			t.Errorf("%s: getData.json gives %d.%09d %d/%d %.80s, the file %v", pv, p.Secs, p.Nanos, p.Severity, p.Status, p.Val, s)
			return
		}
	}
}

// checkReasons requires that the records made to be dropped were, for the
// reason they were made for.
func checkReasons(t *testing.T, drops map[string][]drop) {
	t.Helper()
	for record, reason := range map[string]string{
		"never": "before_1991", "stampless": "before_1991", "unset": "before_1991", "ahead": "drift_future", "behind": "drift_past",
		"illegal": "nanos", "backwards": "order", "stuck": "order", "borrowed": "order", "disabled": "order", "wfOneEmpty": "type",
	} {
		if !slices.ContainsFunc(drops[epicsPrefix+record], func(d drop) bool { return d.Reason == reason }) {
			t.Errorf("%s: nothing was dropped for %s; %d drops", record, reason, len(drops[epicsPrefix+record]))
		}
	}
	for pv, list := range drops {
		if strings.HasPrefix(pv, epicsPrefix+"wf") && pv != epicsPrefix+"wfOneEmpty" && len(list) > 0 {
			t.Errorf("%s: a well-behaved waveform was dropped: %+v", pv, list[0])
		}
	}
}

// checkTypes requires that each record type was stored, and tells how much.
func checkTypes(t *testing.T, records map[string]*record, stored map[string][]sample, drops map[string][]drop) {
	t.Helper()
	counts := map[string]int{}
	for pv, kind := range recordTypes(t) {
		counts[kind] += len(stored[pv])
		if len(stored[pv]) == 0 && len(drops[pv]) == 0 {
			t.Errorf("%s (%s): nothing was stored nor dropped", pv, kind)
		}
	}
	var lines []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		lines = append(lines, fmt.Sprintf("%s %d", kind, counts[kind]))
		if counts[kind] == 0 {
			t.Errorf("no sample of a %s record was stored", kind)
		}
	}
	if len(counts) < 29 {
		t.Errorf("%d record types, want 29 or more", len(counts))
	}
	t.Logf("%d record types, %d PVs, samples stored: %s", len(counts), len(records), strings.Join(lines, ", "))
}
