package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// lines are the sample lines of a PV's files, byte for byte, by the part of the
// file's name that tells the partition.
func (s *server) lines(pv string) map[string]string {
	s.t.Helper()
	key := strings.ReplaceAll(pv, ":", "/") + ":"
	paths, err := filepath.Glob(filepath.Join(s.data, "stores", "STS", key+"*.pb"))
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[string]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		_, rest, _ := bytes.Cut(b, []byte("\n"))
		found[path[strings.LastIndex(path, ":"):]] = string(rest)
	}
	return found
}

// command sends a changing request and gives its answer's status and text.
func (s *server) command(path string, query url.Values) string {
	s.t.Helper()
	return string(s.mustGet("/mgmt/bpl/"+path, query))
}

// TestARenamedPVHasItsDataUnderBothNames renames a PV right after it was paused,
// while its samples are still on their way to the files, kills pvlog, resumes
// the new name and deletes the old one with its data.
func TestARenamedPVHasItsDataUnderBothNames(t *testing.T) {
	number := func(n uint64, _ time.Time) any { return float64(n) }
	ioc := simioc.New(simioc.Options{Listen: "127.0.0.1:0", Prefix: "REN:", Records: []simioc.Record{
		{Name: "OLD", Type: ca.DBRDouble, RTYP: "ai", Rate: 50, Generate: number},
		{Name: "NEW", Type: ca.DBRDouble, RTYP: "ai", Rate: 50, Generate: number},
	}})
	s := newServer(t, []string{"EPICS_CA_ADDR_LIST=" + runIOC(t, ioc), "EPICS_CA_AUTO_ADDR_LIST=NO"})
	s.start()
	s.archive("REN:OLD")
	s.waitUntil(startTimeout, "samples", func() error {
		all, err := s.samples("REN:OLD")
		if err == nil && len(all) < 100 {
			err = fmt.Errorf("%d samples", len(all))
		}
		return err
	})
	rename := url.Values{"pv": {"REN:OLD"}, "newname": {"REN:NEW"}}
	if answer := s.command("renamePV", rename); !strings.Contains(answer, "Need to pause PV") {
		t.Fatal(answer)
	}
	s.command("pauseArchivingPV", url.Values{"pv": {"REN:OLD"}})
	if answer := s.command("renamePV", rename); !strings.Contains(answer, `"ok"`) {
		t.Fatal(answer)
	}
	if answer := s.command("renamePV", rename); !strings.Contains(answer, "already exists") {
		t.Fatal(answer)
	}
	s.kill()
	s.start()
	old, copies := s.lines("REN:OLD"), s.lines("REN:NEW")
	if len(old) == 0 || fmt.Sprint(old) != fmt.Sprint(copies) {
		t.Fatalf("lines under the new name are not those under the old: %d and %d files", len(copies), len(old))
	}
	before, err := s.samples("REN:OLD")
	if err != nil {
		t.Fatal(err)
	}
	if under, err := s.samples("REN:NEW"); err != nil || !slices.Equal(under, before) {
		t.Fatalf("%d samples under the new name, %d under the old, %v", len(under), len(before), err)
	}
	s.command("resumeArchivingPV", url.Values{"pv": {"REN:NEW"}})
	s.waitUntil(startTimeout, "samples of the new name", func() error {
		all, err := s.samples("REN:NEW")
		if err == nil && len(all) < len(before)+50 {
			err = fmt.Errorf("%d samples, %d of them copied", len(all), len(before))
		}
		return err
	})
	if all, err := s.samples("REN:NEW"); err != nil || !slices.Equal(all[:len(before)], before) {
		t.Fatalf("new samples changed the copied ones, %v", err)
	}
	s.command("deletePV", url.Values{"pv": {"REN:OLD"}, "deleteData": {"true"}})
	if left := s.lines("REN:OLD"); len(left) != 0 {
		t.Errorf("%d files of the deleted name are left", len(left))
	}
	if all, err := s.samples("REN:NEW"); err != nil || !slices.Equal(all[:len(before)], before) {
		t.Errorf("deleting the old name changed the new one's samples, %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.data, "stores", "STS", ".copying")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	} else if entries, _ := os.ReadDir(filepath.Join(s.data, "stores", "STS", ".copying")); len(entries) != 0 {
		t.Errorf("the copy left %v", entries)
	}
	s.stop()
}

// TestAnUndoneDeletionBringsTheDataBack deletes a PV with its data, twice, and
// takes the second deletion back.
func TestAnUndoneDeletionBringsTheDataBack(t *testing.T) {
	ioc := simioc.New(simioc.Options{Listen: "127.0.0.1:0", Prefix: "DEL:", Records: []simioc.Record{
		{Name: "A", Type: ca.DBRDouble, RTYP: "ai", Rate: 50, Generate: func(n uint64, _ time.Time) any { return float64(n) }}}})
	s := newServer(t, []string{"EPICS_CA_ADDR_LIST=" + runIOC(t, ioc), "EPICS_CA_AUTO_ADDR_LIST=NO"})
	s.start()
	var lines map[string]string
	for range 2 {
		s.archive("DEL:A")
		s.waitUntil(startTimeout, "samples", func() error {
			all, err := s.samples("DEL:A")
			if err == nil && len(all) < 50 {
				err = fmt.Errorf("%d samples", len(all))
			}
			return err
		})
		s.command("pauseArchivingPV", url.Values{"pv": {"DEL:A"}})
		s.stop() // all is in files
		lines = s.lines("DEL:A")
		s.start()
		s.command("deletePV", url.Values{"pv": {"DEL:A"}, "deleteData": {"true"}})
		if left := s.lines("DEL:A"); len(left) != 0 {
			t.Fatalf("%d files are left", len(left))
		}
	}
	var history struct{ Events []struct{ Seq uint64 } }
	if err := s.getJSON("/api/v1/pvs/DEL:A/history", nil, &history); err != nil || len(history.Events) == 0 {
		t.Fatal(history, err)
	}
	s.says("taken back", "registry", "undo", fmt.Sprint(history.Events[len(history.Events)-1].Seq))
	if back := s.lines("DEL:A"); fmt.Sprint(back) != fmt.Sprint(lines) {
		t.Fatalf("%d files are back, not as the %d were", len(back), len(lines))
	}
	if answer := s.command("getPVStatus", url.Values{"pv": {"DEL:A"}}); !strings.Contains(answer, `"Paused"`) {
		t.Error(answer)
	}
	before, err := s.samples("DEL:A")
	if err != nil || len(before) < 50 {
		t.Fatal(len(before), err)
	}
	s.command("resumeArchivingPV", url.Values{"pv": {"DEL:A"}})
	s.waitUntil(startTimeout, "further samples", func() error {
		all, err := s.samples("DEL:A")
		if err == nil && (len(all) <= len(before) || !slices.Equal(all[:len(before)], before)) {
			err = fmt.Errorf("%d samples, %d of them were there", len(all), len(before))
		}
		return err
	})
	s.stop()
}
