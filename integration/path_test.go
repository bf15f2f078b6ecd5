package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// storeRoot is where a server of the harness keeps its partitions.
func (s *server) storeRoot() string { return filepath.Join(s.data, "stores", "STS") }

// simulated runs an IOC in the test's process and gives a server that finds it.
func simulated(t *testing.T, records ...simioc.Record) (*simioc.IOC, *server) {
	t.Helper()
	ioc := simioc.New(simioc.Options{Listen: "127.0.0.1:0", Prefix: "sim:", Records: records})
	return ioc, newServer(t, []string{"EPICS_CA_ADDR_LIST=" + runIOC(t, ioc), "EPICS_CA_AUTO_ADDR_LIST=NO"})
}

// runIOC serves an IOC until the end of the test and gives its address.
func runIOC(t *testing.T, ioc *simioc.IOC) string {
	t.Helper()
	if err := ioc.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ioc.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ioc.Addr()
}

// archive asks for PVs and waits until each is connected and being archived.
func (s *server) archive(pvs ...string) {
	s.t.Helper()
	s.mustGet("/mgmt/bpl/archivePV", url.Values{"pv": {strings.Join(pvs, ",")}})
	s.awaitConnected(pvs...)
}

func (s *server) awaitConnected(pvs ...string) {
	s.t.Helper()
	s.waitUntil(startTimeout, "all PVs connected", func() error {
		var states []map[string]any
		if err := s.getJSON("/mgmt/bpl/getPVStatus", url.Values{"pv": {strings.Join(pvs, ",")}}, &states); err != nil {
			return err
		}
		for _, state := range states {
			if state["status"] != "Being archived" || state["connectionState"] != "true" {
				return fmt.Errorf("%v", state)
			}
		}
		if len(states) != len(pvs) {
			return fmt.Errorf("%d of %d PVs have a status", len(states), len(pvs))
		}
		return nil
	})
}

// point is an element of getData.json.
type point struct {
	Secs, Nanos      int64
	Val              any
	Severity, Status int32
}

// samples reads all samples of a PV.
func (s *server) samples(pv string) ([]point, error) {
	var answer []struct{ Data []point }
	query := url.Values{"pv": {pv}, "from": {"1990-01-01T00:00:00Z"}, "to": {"2100-01-01T00:00:00Z"}}
	if err := s.getJSON("/retrieval/data/getData.json", query, &answer); err != nil {
		return nil, err
	}
	if len(answer) != 1 {
		return nil, fmt.Errorf("%d answers for one PV", len(answer))
	}
	return answer[0].Data, nil
}

// awaitSamples waits until exactly n samples of a PV are read back.
func (s *server) awaitSamples(pv string, n int) []point {
	s.t.Helper()
	var all []point
	s.waitUntil(startTimeout, fmt.Sprintf("%d samples of %s", n, pv), func() (err error) {
		if all, err = s.samples(pv); err == nil && len(all) != n {
			err = fmt.Errorf("%d samples", len(all))
		}
		return err
	})
	return all
}

// posts puts n values at exact times, one millisecond apart.
func posts(t *testing.T, ioc *simioc.IOC, name string, begin time.Time, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		at := schema.TimeOf(begin.Add(time.Duration(i) * time.Millisecond))
		severity := int16(i % 4)
		if err := ioc.Put(name, float64(i), simioc.WithTime(at), simioc.WithAlarm(severity, severity)); err != nil {
			t.Fatal(err)
		}
	}
}

// checkPosts compares what was read back with what posts put.
func checkPosts(t *testing.T, got []point, begin time.Time, n int) {
	t.Helper()
	for i, p := range got {
		at := begin.Add(time.Duration(i) * time.Millisecond)
		if p.Val != float64(i) || p.Secs != at.Unix() || p.Nanos != int64(at.Nanosecond()) || p.Severity != int32(i%4) || p.Status != int32(i%4) {
			t.Fatalf("sample %d of %d is %+v, put was %d at %v with severity %d", i, n, p, i, at, i%4)
		}
	}
	if len(got) != n {
		t.Fatalf("%d samples, want %d", len(got), n)
	}
}

func TestEveryUpdateIsReadBackThroughKillsAndStops(t *testing.T) {
	begin := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	ioc, s := simulated(t, simioc.Record{Name: "double", Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1})
	posts(t, ioc, "sim:double", begin, 0, 1) // the value that a subscription gets first
	s.start()
	s.archive("sim:double")
	const step = 400
	n := 1
	s.awaitSamples("sim:double", n)
	for _, end := range []func(){s.kill, s.stop, s.kill} {
		posts(t, ioc, "sim:double", begin, n, step)
		n += step
		checkPosts(t, s.awaitSamples("sim:double", n), begin, n)
		end()
		s.start()
		s.awaitConnected("sim:double")
		checkPosts(t, s.awaitSamples("sim:double", n), begin, n)
	}
	s.stop()
	checkFiles(t, s, "sim:double", n)
}

// checkFiles makes sure that the partitions of a stopped server hold n samples
// and are sound.
func checkFiles(t *testing.T, s *server, pv schema.PVName, n int) {
	t.Helper()
	files, err := partition.List(s.storeRoot(), schema.ChunkKey(pv), partition.PartitionHour)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, f := range files {
		tail, err := partition.Check(f.Path)
		if err != nil || tail.Cut != 0 {
			t.Fatalf("%s: %+v, %v", f.Path, tail, err)
		}
		lines += tail.Lines
	}
	if lines != n {
		t.Errorf("%d samples in %d files, want %d", lines, len(files), n)
	}
}

func TestAllRecordsOfTheDemoAreArchived(t *testing.T) {
	ioc, s := simulated(t, simioc.Demo()...)
	s.start()
	s.archive(ioc.Names()...)
	for _, pv := range ioc.Names() {
		s.waitUntil(startTimeout, "a sample or a drop of "+pv, func() error {
			all, err := s.samples(pv)
			if err != nil || len(all) > 0 {
				return err
			}
			var drops []map[string]any
			if err := s.getJSON("/api/v1/drops", url.Values{"pv": {pv}}, &drops); err != nil {
				return err
			}
			if len(drops) == 0 || drops[0]["reason"] != "before_1991" {
				return fmt.Errorf("no sample, drops %v", drops)
			}
			return nil
		})
	}
	s.stop()
}

func TestAnIOCThatRestartsIsFoundAgainAndOldValuesAreNotStoredTwice(t *testing.T) {
	begin := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	ioc, s := simulated(t, simioc.Record{Name: "double", Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1})
	posts(t, ioc, "sim:double", begin, 0, 1)
	s.start()
	s.archive("sim:double")
	s.awaitSamples("sim:double", 1)
	for n := 1; n < 4; n++ {
		ioc.DisconnectAll()
		s.waitUntil(startTimeout, "the connection is lost and regained", func() error {
			var states []map[string]any
			if err := s.getJSON("/mgmt/bpl/getPVStatus", url.Values{"pv": {"sim:double"}}, &states); err != nil {
				return err
			}
			if states[0]["connectionLossRegainCount"] != fmt.Sprint(n) || states[0]["connectionState"] != "true" {
				return fmt.Errorf("%v", states)
			}
			return nil
		})
		posts(t, ioc, "sim:double", begin, n, 1)
		checkPosts(t, s.awaitSamples("sim:double", n+1), begin, n+1)
	}
	var drops []any
	if err := s.getJSON("/api/v1/drops", url.Values{"pv": {"sim:double"}}, &drops); err != nil || len(drops) != 0 {
		t.Errorf("drops %v, %v", drops, err)
	}
	s.stop()
}

func TestPausedPVsTakeNothingAndDeletedOnesAreGone(t *testing.T) {
	begin := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	ioc, s := simulated(t, simioc.Record{Name: "double", Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1})
	posts(t, ioc, "sim:double", begin, 0, 1)
	s.start()
	s.archive("sim:double")
	s.awaitSamples("sim:double", 1)
	pv := url.Values{"pv": {"sim:double"}}
	s.mustGet("/mgmt/bpl/pauseArchivingPV", pv)
	s.waitUntil(startTimeout, "the IOC has no circuit left to post to", func() error {
		if n := ioc.Stats().Clients; n != 0 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	posts(t, ioc, "sim:double", begin, 1, 1)
	s.mustGet("/mgmt/bpl/resumeArchivingPV", pv)
	s.awaitConnected("sim:double")
	checkPosts(t, s.awaitSamples("sim:double", 2), begin, 2) // the newest value comes with the subscription
	s.mustGet("/mgmt/bpl/pauseArchivingPV", pv)
	s.mustGet("/mgmt/bpl/deletePV", url.Values{"pv": {"sim:double"}, "deleteData": {"true"}})
	if _, err := s.get("/mgmt/bpl/getPVTypeInfo", pv); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("type info of a deleted PV: %v, want 404", err)
	}
	if files, err := partition.List(s.storeRoot(), "sim/double:", partition.PartitionHour); err != nil || len(files) != 0 {
		t.Errorf("files of the deleted PV: %v, %v", files, err)
	}
	if trash, err := filepath.Glob(filepath.Join(s.storeRoot(), ".trash", "*", "sim", "*.pb")); err != nil || len(trash) == 0 {
		t.Errorf("nothing in the trash: %v, %v", trash, err)
	}
	s.stop()
}

// typeInfo is what the registry knows of a PV, without what its channel and
// its policy are about to change.
func (s *server) typeInfo(pv string) string {
	s.t.Helper()
	var info map[string]any
	if err := s.getJSON("/mgmt/bpl/getPVTypeInfo", url.Values{"pv": {pv}}, &info); err != nil {
		s.t.Fatal(err)
	}
	for name := range info {
		if strings.HasPrefix(name, "computed") {
			delete(info, name)
		}
	}
	return fmt.Sprint(info)
}

func TestTheRegistryIsRebuiltFromTheLog(t *testing.T) {
	_, s := simulated(t, simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 1.0}, simioc.Record{Name: "b", Type: ca.DBRString, Value: "x"})
	s.start()
	s.archive("sim:a", "sim:b")
	s.await("policy Default", "history", "sim:b") // no event is on its way any more
	s.await("policy Default", "history", "sim:a")
	s.mustGet("/mgmt/bpl/pauseArchivingPV", url.Values{"pv": {"sim:b"}})
	before := []string{s.typeInfo("sim:a"), s.typeInfo("sim:b")}
	s.stop()
	if err := os.RemoveAll(filepath.Join(s.data, "registry")); err != nil {
		t.Fatal(err)
	}
	s.start()
	after := []string{s.typeInfo("sim:a"), s.typeInfo("sim:b")}
	if !slices.Equal(before, after) {
		t.Errorf("before %s\nafter %s", before, after)
	}
	s.awaitConnected("sim:a")
	s.stop()
}

func TestWrongInputGetsItsClearError(t *testing.T) {
	_, s := simulated(t, simioc.Record{Name: "double", Type: ca.DBRDouble, Value: 1.0})
	s.start()
	s.archive("sim:double")
	for _, c := range []struct {
		path, query string
		status      int
		says        string
	}{
		{"/retrieval/data/getData.json", "", 400, "pv"},
		{"/retrieval/data/getData.json", "pv=sim:double&from=yesterday", 400, "yesterday"},
		{"/retrieval/data/getData.json", "pv=sim:double&from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "from"},
		{"/retrieval/data/getData.json", "pv=no:such:pv", 404, "no:such:pv"},
		{"/retrieval/data/getData.xls", "pv=sim:double", 404, "xls"},
		{"/mgmt/bpl/archivePV", "", 400, "pv"},
		{"/mgmt/bpl/archivePV", "pv=../../etc/passwd", 400, "passwd"},
		{"/mgmt/bpl/archivePV", "pv=A%20B", 400, "A B"},
		{"/mgmt/bpl/archivePV", "pv=sim:b&samplingmethod=GUESS", 400, "GUESS"},
		{"/mgmt/bpl/getPVTypeInfo", "pv=no:such:pv", 404, "no:such:pv"},
		{"/nothing/here", "", 404, "/nothing/here"},
	} {
		response, err := httpClient.Get("http://" + s.http + c.path + "?" + c.query)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != c.status || !strings.Contains(string(body), c.says) || !json.Valid(body) {
			t.Errorf("%s?%s: %d %s, want %d and JSON that names %q", c.path, c.query, response.StatusCode, body, c.status, c.says)
		}
	}
	request, _ := http.NewRequest(http.MethodGet, "http://"+s.http+"/mgmt/bpl/pauseArchivingPV?pv=sim:double", nil)
	request.Header.Set("Origin", "http://evil.example")
	response, err := httpClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a change asked for by a foreign page: %d, %v, want 403", response.StatusCode, err)
	}
	s.stop()
}

// refused runs pvlog to its end and gives what it said.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	binary, err := pvlogBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed || ctx.Err() != nil {
		t.Errorf("pvlog %s ended with %v:\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestStartsThatCannotWorkAreRefused(t *testing.T) {
	_, s := simulated(t)
	s.start()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("log:\n  durabilty: flush\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"serve", "--data", s.data, "--http", "127.0.0.1:0", "--nats", "off"}, "another"},
		{[]string{"serve", "--data", fresh, "--http", s.http, "--nats", "off"}, "--http"},
		{[]string{"serve", "--data", fresh, "--http", "nowhere"}, "host:port"},
		{[]string{"serve", "--data", fresh, "--http", "0.0.0.0:0", "--nats", "off"}, "token"},
		{[]string{"serve", "--config", file}, "durabilty"},
		{[]string{"serve", "--config", file + ".none"}, "no such file"},
		{[]string{"serve", "--wrong"}, "--wrong"},
		{[]string{"inspect", fresh + ".none"}, "no such file"},
		{[]string{"drops", "--server", "127.0.0.1:1"}, "pvlog serve"},
	} {
		if out := refused(t, c.args...); !strings.Contains(out, c.says) {
			t.Errorf("pvlog %s said:\n%s\nwant it to name %q", strings.Join(c.args, " "), out, c.says)
		}
	}
	s.stop()
}
