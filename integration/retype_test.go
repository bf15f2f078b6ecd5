package integration

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// values are a PV's samples without their times.
func (s *server) values(pv string) (values []any) {
	s.t.Helper()
	all, err := s.samples(pv)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range all {
		values = append(values, p.Val)
	}
	return values
}

// awaitValues waits until a PV has these samples.
func (s *server) awaitValues(pv string, want ...any) {
	s.t.Helper()
	s.waitUntil(startTimeout, "samples of "+pv, func() error {
		if got := s.values(pv); !slices.Equal(got, want) {
			return fmt.Errorf("%v, want %v", got, want)
		}
		return nil
	})
}

// awaitTypeDrops waits until a PV has so many drops in the report of PVs whose
// type changed; 0: it is not in it.
func (s *server) awaitTypeDrops(pv, want string) {
	s.t.Helper()
	s.waitUntil(startTimeout, want+" drops of "+pv, func() error {
		var rows []struct{ PVName, EventsDropped string }
		if err := s.getJSON("/mgmt/bpl/getPVsByDroppedEventsTypeChange", nil, &rows); err != nil {
			return err
		}
		got := "0"
		for _, r := range rows {
			if r.PVName == pv {
				got = r.EventsDropped
			}
		}
		if got != want {
			return fmt.Errorf("%s: %+v", got, rows)
		}
		return nil
	})
}

// TestAPVThatChangedItsTypeIsConvertedAndArchivedOn lets an IOC change a record
// from DOUBLE to LONG: its samples are drops until the PV's type is changed.
func TestAPVThatChangedItsTypeIsConvertedAndArchivedOn(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "level", Type: ca.DBRDouble, Value: 1.0})
	put := func(v any) {
		t.Helper()
		if err := ioc.Put("sim:level", v); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.archive("sim:level")
	put(2.0)
	s.awaitValues("sim:level", 1.0, 2.0)
	if err := ioc.Replace(simioc.Record{Name: "level", Type: ca.DBRLong, Value: int32(7)}); err != nil {
		t.Fatal(err)
	}
	s.awaitTypeDrops("sim:level", "1")
	change := url.Values{"pv": {"sim:level"}, "newtype": {"DBR_SCALAR_INT"}}
	if answer := s.command("changeTypeForPV", change); !strings.Contains(answer, "Need to pause PV before changing type for sim:level") {
		t.Fatal(answer)
	}
	s.says("would be converted from SCALAR_DOUBLE to SCALAR_INT", "retype", "sim:level", "scalar_int", "--dry-run")
	s.command("pauseArchivingPV", url.Values{"pv": {"sim:level"}})
	if answer := s.command("changeTypeForPV", change); strings.TrimSpace(answer) != `{"status":"ok"}` {
		t.Fatal(answer)
	}
	s.kill()
	s.start()
	s.awaitTypeDrops("sim:level", "0")
	if typ := s.typeInfo("sim:level"); !strings.Contains(typ, "DBR_SCALAR_INT") {
		t.Errorf("type %s", typ)
	}
	s.command("resumeArchivingPV", url.Values{"pv": {"sim:level"}})
	s.awaitConnected("sim:level")
	put(int32(8))
	s.awaitValues("sim:level", 1.0, 2.0, 7.0, 8.0)
	s.says("converted to DBR_SCALAR_INT", "history", "sim:level")
	s.stop()
}

// TestAChangeOfTypeRefusesALossAndIsTakenBack names the value that would be
// lost; what was converted comes back byte for byte.
func TestAChangeOfTypeRefusesALossAndIsTakenBack(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "half", Type: ca.DBRDouble, Value: 1.0})
	s.start()
	s.archive("sim:half")
	if err := ioc.Put("sim:half", 2.5); err != nil {
		t.Fatal(err)
	}
	s.awaitValues("sim:half", 1.0, 2.5)
	s.says("paused", "pause", "sim:half")
	if out, code := s.cli("", "retype", "sim:half", "SCALAR_INT"); code == 0 || !strings.Contains(out, "line 3") || !strings.Contains(out, "2.5 cannot be converted without loss") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if out, code := s.cli("", "retype", "sim:half", "SCALAR_INT", "--dry-run"); code != 3 || !strings.Contains(out, "1 with another value") {
		t.Errorf("exit %d: %s", code, out)
	}
	before := s.lines("sim:half")
	s.says("2 samples", "retype", "sim:half", "SCALAR_INT", "--lossy", "--reason", "as whole numbers")
	s.awaitValues("sim:half", 1.0, 2.0)
	var history struct{ Events []struct{ Seq uint64 } }
	if err := s.getJSON("/api/v1/pvs/sim:half/history", nil, &history); err != nil || len(history.Events) == 0 {
		t.Fatal(history, err)
	}
	seq := history.Events[len(history.Events)-1].Seq
	s.says("taken back", "registry", "undo", fmt.Sprint(seq))
	s.awaitValues("sim:half", 1.0, 2.5)
	if now := s.lines("sim:half"); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("the files are not as they were: %q, were %q", now, before)
	}
	s.kill()
	s.start() // nothing is left to be settled
	s.awaitValues("sim:half", 1.0, 2.5)
	s.says("2 samples", "retype", "sim:half", "WAVEFORM_STRING", "--dry-run", "--format", "text")
	s.stop()
}

// TestAPVIsJoinedWithItsRealOne archives a record under both of its names, joins
// them and takes that back.
func TestAPVIsJoinedWithItsRealOne(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "real", Aliases: []string{"alias"}, Type: ca.DBRDouble, Value: 1.0})
	put := func(v float64) {
		t.Helper()
		if err := ioc.Put("sim:real", v); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.says("archived", "archive", "sim:alias", "--skip-alias-check")
	s.awaitConnected("sim:alias")
	put(2)
	s.awaitValues("sim:alias", 1.0, 2.0)
	s.archive("sim:real")
	s.awaitConnected("sim:real")
	put(3)
	s.awaitValues("sim:alias", 1.0, 2.0, 3.0)
	s.awaitValues("sim:real", 2.0, 3.0)
	s.says("would become an alias of sim:real", "alias", "join", "sim:alias", "--with", "sim:real", "--dry-run")
	before := s.lines("sim:alias")
	out := s.says("sim:alias is an alias of sim:real: 1 samples were merged, 2 were there already", "alias", "join", "sim:alias", "--with", "sim:real")
	s.awaitValues("sim:real", 1.0, 2.0, 3.0)
	s.awaitAliases("sim:alias sim:real")
	if left := s.lines("sim:alias"); len(left) > 0 {
		t.Errorf("files are left: %q", left)
	}
	put(4)
	s.awaitValues("sim:alias", 1.0, 2.0, 3.0, 4.0) // by its other name
	_, change, _ := strings.Cut(out, "registry undo ")
	change, _, _ = strings.Cut(change, " ")
	s.says("taken back", "registry", "undo", change)
	if now := s.lines("sim:alias"); len(before) > 0 && fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("the files are not back: %q, were %q", now, before)
	}
	s.awaitConnected("sim:alias")
	s.stop()
}

// TestAnotherArchiversSamplesAreMerged lets two archivers follow a record, one
// of them later, and gives that one what it missed.
func TestAnotherArchiversSamplesAreMerged(t *testing.T) {
	ioc, first := simulated(t, simioc.Record{Name: "twice", Type: ca.DBRDouble, Value: 1.0})
	second := newServer(t, []string{"EPICS_CA_ADDR_LIST=" + ioc.Addr(), "EPICS_CA_AUTO_ADDR_LIST=NO"})
	first.start()
	first.archive("sim:twice")
	for _, v := range []float64{2, 3} {
		if err := ioc.Put("sim:twice", v); err != nil {
			t.Fatal(err)
		}
	}
	first.awaitValues("sim:twice", 1.0, 2.0, 3.0)
	second.start()
	second.archive("sim:twice")
	if err := ioc.Put("sim:twice", 4.0); err != nil {
		t.Fatal(err)
	}
	first.awaitValues("sim:twice", 1.0, 2.0, 3.0, 4.0)
	second.awaitValues("sim:twice", 3.0, 4.0)
	second.command("pauseArchivingPV", url.Values{"pv": {"sim:twice"}})
	merge := url.Values{"pv": {"sim:twice"}, "storage": {"STS"}, "other": {"http://" + first.http + "/retrieval"}}
	for _, want := range []string{"2 samples were merged", "0 samples were merged"} {
		if answer := second.command("mergeInData", merge); !strings.Contains(answer, `"ok"`) || !strings.Contains(answer, want) {
			t.Errorf("%s, want %q", answer, want)
		}
	}
	second.awaitValues("sim:twice", 1.0, 2.0, 3.0, 4.0)
	first.stop()
	second.stop()
}
