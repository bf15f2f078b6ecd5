package integration

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// archiveAs asks for a PV with parameters and waits until it is connected.
func (s *server) archiveAs(pv string, parameters ...string) {
	s.t.Helper()
	query := url.Values{"pv": {pv}}
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	s.mustGet("/mgmt/bpl/archivePV", query)
	s.awaitConnected(pv)
}

// resampled changes how a PV is sampled.
func (s *server) resampled(pv, method, period string) {
	s.t.Helper()
	s.mustGet("/mgmt/bpl/changeArchivalParameters", url.Values{"pv": {pv}, "samplingmethod": {method}, "samplingperiod": {period}})
}

// awaitPoints waits until at least n samples of a PV are read back.
func (s *server) awaitPoints(pv string, n int) []point {
	s.t.Helper()
	var all []point
	s.waitUntil(startTimeout, fmt.Sprintf("%d samples of %s", n, pv), func() (err error) {
		if all, err = s.samples(pv); err == nil && len(all) < n {
			err = fmt.Errorf("%d samples", len(all))
		}
		return err
	})
	return all
}

// undropped fails the test if a sample of a PV was dropped.
func (s *server) undropped(pv string) {
	s.t.Helper()
	var list []drop
	if err := s.getJSON("/api/v1/drops", url.Values{"pv": {pv}}, &list); err != nil || len(list) != 0 {
		s.t.Errorf("%s: %d drops, the first %+v: %v", pv, len(list), list[:min(len(list), 1)], err)
	}
}

func (p point) time() time.Time { return time.Unix(p.Secs, p.Nanos) }

// TestSamplingMethodsChangeWhileTheyRun_S45_S46_S47: a PV whose value does not
// change gives one sample as monitor, one in a period with pvlog's time when it
// is read, one value per period when it is scanned; nothing is dropped or
// reconnected on the way.
func TestSamplingMethodsChangeWhileTheyRun_S45_S46_S47(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "still", Type: ca.DBRDouble, Value: 5.0},
		simioc.Record{Name: "fast", Type: ca.DBRLong, Rate: 20, Generate: func(n uint64, _ time.Time) any { return int32(n) }})
	s.start()
	s.archive("sim:still")
	ofIOC := s.awaitSamples("sim:still", 1)[0].time()
	s.resampled("sim:still", "SCAN_GET", "0.2")
	read := s.awaitPoints("sim:still", 12)
	for i, p := range read[1:] {
		if p.Val != 5.0 || !p.time().After(ofIOC) || time.Since(p.time()) > time.Minute {
			t.Errorf("sample %d: %v at %v", i+1, p.Val, p.time())
		}
	}
	for i := 3; i < len(read); i++ { // the first ones are those of the change
		if d := read[i].time().Sub(read[i-1].time()); d < 50*time.Millisecond || d > 2*time.Second {
			t.Errorf("sample %d comes %v after the one before, the period is 200 ms", i, d)
		}
	}
	s.resampled("sim:still", "MONITOR", "1")
	if err := ioc.Put("sim:still", 6.0); err != nil {
		t.Fatal(err)
	}
	s.waitUntil(startTimeout, "the value of the monitor", func() error {
		all, err := s.samples("sim:still")
		if err == nil && all[len(all)-1].Val != 6.0 {
			err = fmt.Errorf("the last of %d samples is %v", len(all), all[len(all)-1].Val)
		}
		return err
	})
	s.archiveAs("sim:fast", "samplingmethod", "SCAN", "samplingperiod", "0.5")
	scanned := s.awaitPoints("sim:fast", 5)
	for i := 1; i < len(scanned); i++ {
		if d := scanned[i].time().Sub(scanned[i-1].time()); d < 475*time.Millisecond {
			t.Errorf("scanned sample %d comes %v after the one before", i, d)
		}
	}
	s.resampled("sim:fast", "MONITOR", "1")
	before := len(s.awaitPoints("sim:fast", len(scanned)+1))
	s.awaitPoints("sim:fast", before+20)
	s.undropped("sim:still")
	s.undropped("sim:fast")
	var states []map[string]any
	if err := s.getJSON("/mgmt/bpl/getPVStatus", url.Values{"pv": {"sim:still,sim:fast"}}, &states); err != nil {
		t.Fatal(err)
	}
	for _, state := range states {
		if state["connectionLossRegainCount"] != "0" {
			t.Errorf("reconnected: %v", state)
		}
	}
	s.stop()
}

// TestAControllingPVSuspendsItsPVs: archiving stops while its value is 0 and
// goes on, as after a resume, when it is not, and none of that is the
// registry's.
func TestAControllingPVSuspendsItsPVs_S17_S18_S38(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "beam", Type: ca.DBREnum, Labels: []string{"off", "on"}, Value: 1},
		simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 1.0}, simioc.Record{Name: "free", Type: ca.DBRDouble, Value: 1.0})
	s.start()
	s.archiveAs("sim:a", "controllingPV", "sim:beam")
	s.archive("sim:free")
	s.awaitSamples("sim:a", 1)
	put := func(name string, v any) {
		t.Helper()
		if err := ioc.Put(name, v); err != nil {
			t.Fatal(err)
		}
	}
	put("sim:beam", 0)
	s.awaitMetric("pvlog_ingest_gated_pvs", 1)
	put("sim:a", 2.0)
	put("sim:free", 2.0)
	s.awaitSamples("sim:free", 2) // what came at the same time is there
	if all, err := s.samples("sim:a"); err != nil || len(all) != 1 {
		t.Errorf("%d samples while the beam was off: %v", len(all), err)
	}
	s.awaitWhy("sim:a", "policy", `it is "0" now`)
	if body := s.mustGet("/mgmt/bpl/getCurrentlyDisconnectedPVs", nil); strings.Contains(string(body), "sim:a") {
		t.Errorf("reported as disconnected: %s", body)
	}
	put("sim:beam", 1)
	s.awaitMetric("pvlog_ingest_gated_pvs", 0)
	s.awaitSamples("sim:a", 2)
	s.undropped("sim:a")
	s.stop()
	stored := readStore(t, s.storeRoot())["sim:a"]
	if len(stored) != 2 || stored[1].fields["startup"] != "true" || stored[1].value != 2.0 {
		t.Errorf("stored %v", stored)
	}
	s.start()
	if out, code := s.cli("", "history", "sim:a"); code != 0 || strings.Contains(out, "paused") || strings.Contains(out, "resumed") {
		t.Errorf("the registry was told: %s", out)
	}
	s.stop()
}

// awaitMetric waits until a metric without labels has a value.
func (s *server) awaitMetric(name string, want float64) {
	s.t.Helper()
	s.waitUntil(startTimeout, fmt.Sprintf("%s %v", name, want), func() error {
		body, err := s.get("/metrics", nil)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(body)) {
			if line == fmt.Sprintf("%s %v\n", name, want) {
				return nil
			}
		}
		return fmt.Errorf("it is not in %d bytes of metrics", len(body))
	})
}

// TestCountersOfAPVSurviveAKill_S7: stored samples and drops by reason go on
// counting where they were.
func TestCountersOfAPVSurviveAKill_S7(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 1.0})
	s.start()
	s.archive("sim:a")
	s.awaitSamples("sim:a", 1)
	begin := time.Now().Truncate(time.Millisecond)
	posts(t, ioc, "sim:a", begin, 0, 40)
	posts(t, ioc, "sim:a", begin.Add(-time.Minute), 0, 10) // earlier: drops
	posts(t, ioc, "sim:a", begin, 40, 10)
	s.awaitSamples("sim:a", 51)
	s.awaitDetail("sim:a", "Samples stored", "51")
	s.awaitDetail("sim:a", "Samples dropped: order", "10")
	s.kill()
	s.start()
	s.awaitMetric("pvlog_ingest_samples_received_total", 1) // it is subscribed again
	posts(t, ioc, "sim:a", begin, 50, 5)
	s.awaitDetail("sim:a", "Samples stored", "56")
	s.awaitDetail("sim:a", "Samples dropped: order", "10")
	s.stop()
}

// awaitDetail waits for a line of a PV's details.
func (s *server) awaitDetail(pv, name, want string) {
	s.t.Helper()
	s.waitUntil(startTimeout, name+" "+want, func() error {
		var lines []struct{ Name, Value string }
		if err := s.getJSON("/mgmt/bpl/getPVDetails", url.Values{"pv": {pv}}, &lines); err != nil {
			return err
		}
		for _, l := range lines {
			if l.Name == name {
				if l.Value == want {
					return nil
				}
				return fmt.Errorf("%s is %s", name, l.Value)
			}
		}
		return fmt.Errorf("%s is not among %d lines", name, len(lines))
	})
}
