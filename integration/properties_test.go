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

// TestArchiveFieldsReachFiles_S25_S52: a field that is added to the list has its
// first value on the next sample and a change on the one after it; a restart
// knows the list.
func TestArchiveFieldsReachFiles_S25_S52(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "p", Type: ca.DBRDouble, Value: 1.0, Units: "mm", Desc: "a motor", MDEL: 0.5})
	s.start()
	s.archive("sim:p")
	s.mustGet("/mgmt/bpl/pauseArchivingPV", url.Values{"pv": {"sim:p"}})
	s.mustGet("/mgmt/bpl/modifyMetaFields", url.Values{"pv": {"sim:p"}, "command": {"add,MDEL,DESC"}})
	s.mustGet("/mgmt/bpl/resumeArchivingPV", url.Values{"pv": {"sim:p"}})
	s.awaitMetadata("sim:p", "MDEL", "0.5")
	values := 1
	post := func() { // the PV's next sample
		t.Helper()
		values++
		if err := ioc.Put("sim:p", float64(values)); err != nil {
			t.Fatal(err)
		}
		s.awaitSamples("sim:p", values)
	}
	post()
	if _, stderr, code := caTool(t, caEnvironment(ioc), "put", "-w", "20", "sim:p.DESC", "another motor"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	s.awaitMetadata("sim:p", "DESC", "another motor")
	post()
	post()
	s.kill()
	s.start()
	s.awaitMetadata("sim:p", "MDEL", "0.5")
	post()
	s.stop()
	samples := readStore(t, s.storeRoot())["sim:p"]
	if len(samples) != 5 {
		t.Fatalf("stored %v", samples)
	}
	for i, want := range []map[string]string{
		{"DESC": "a motor", "EGU": "mm", "PREC": "0"}, // of the file's first, as the registry knows them
		{"DESC": "a motor", "MDEL": "0.5"},
		{"DESC": "another motor", "MDEL": ""},
		{"DESC": "", "MDEL": "", "EGU": ""},
		{"DESC": "another motor", "MDEL": "0.5", "EGU": "mm"},
	} {
		for name, value := range want {
			if got := samples[i].fields[name]; got != value {
				t.Errorf("sample %d says %s %q, want %q: %v", i, name, got, value, samples[i].fields)
			}
		}
	}
}

// awaitMetadata waits until what is known of a PV says something.
func (s *server) awaitMetadata(pv, name, want string) {
	s.t.Helper()
	s.waitUntil(startTimeout, name+" of "+pv, func() error {
		var known map[string]any
		if err := s.getJSON("/retrieval/bpl/getMetadata", url.Values{"pv": {pv}}, &known); err != nil {
			return err
		}
		if known[name] != want {
			return fmt.Errorf("%v", known[name])
		}
		return nil
	})
}
