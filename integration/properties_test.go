package integration

import (
	"fmt"
	"net/url"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// TestChangedUnitsReachAnswersAndFiles: an operator changes a unit at the IOC;
// no sample, request or restart is needed for clients to be told, and the next
// sample carries it into its file.
func TestChangedUnitsReachAnswersAndFiles(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "p", Type: ca.DBRDouble, Value: 1.0, Units: "mm", Precision: 2, Limits: simioc.Limits{HOPR: 5}})
	s.start()
	s.archive("sim:p")
	s.awaitMeta("sim:p", "EGU", "mm")
	if _, stderr, code := caTool(t, caEnvironment(ioc), "put", "-w", "20", "sim:p.EGU", "um"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	s.awaitMeta("sim:p", "EGU", "um")
	before := s.awaitSamples("sim:p", 1)
	if err := ioc.Put("sim:p", 2.0); err != nil {
		t.Fatal(err)
	}
	s.awaitSamples("sim:p", 2)
	s.stop()
	s.start() // what changed is known before the IOC says it again
	s.awaitMeta("sim:p", "EGU", "um")
	s.stop()
	samples := readStore(t, s.storeRoot())["sim:p"]
	if len(samples) != 2 || samples[0].at.Sec != before[0].Secs {
		t.Fatalf("stored %v", samples)
	}
	for i, want := range []string{"mm", "um"} {
		if got := samples[i].fields["EGU"]; got != want {
			t.Errorf("sample %d says EGU %q, want %q", i, got, want)
		}
	}
	if samples[0].fields["PREC"] != "2" || samples[0].fields["HOPR"] != "5" || samples[1].fields["PREC"] != "" {
		t.Errorf("fields %v, then %v", samples[0].fields, samples[1].fields)
	}
}

// awaitMeta waits until the answers for a PV say something of it.
func (s *server) awaitMeta(pv, name, want string) {
	s.t.Helper()
	s.waitUntil(startTimeout, name+" of "+pv, func() error {
		var answer []struct{ Meta map[string]any }
		if err := s.getJSON("/retrieval/data/getData.json", url.Values{"pv": {pv}}, &answer); err != nil {
			return err
		}
		if len(answer) != 1 || answer[0].Meta[name] != want {
			return fmt.Errorf("%+v", answer)
		}
		return nil
	})
}
