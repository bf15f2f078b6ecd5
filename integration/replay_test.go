package integration

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// awaitDrops waits until the drop log holds n drops of PVs for their drift into the
// past. After a reconnection a last value that comes again is one for its order.
func (s *server) awaitDrops(glob string, n int) {
	s.t.Helper()
	s.waitUntil(startTimeout, fmt.Sprintf("%d drops of %s", n, glob), func() error {
		var drops []map[string]any
		if err := s.getJSON("/api/v1/drops", url.Values{"pv": {glob}, "limit": {"100000"}, "reason": {"drift_past"}}, &drops); err != nil {
			return err
		}
		if len(drops) != n {
			return fmt.Errorf("%d drops", len(drops))
		}
		return nil
	})
}

// rawTimes are the times of a PV's samples as getData.raw has them.
func (s *server) rawTimes(pv string) (all []schema.Time) {
	s.t.Helper()
	body := s.mustGet("/retrieval/data/getData.raw", url.Values{"pv": {pv}, "from": {"1990-01-01T00:00:00Z"}, "to": {"2100-01-01T00:00:00Z"}})
	year := 0
	for line := range bytes.Lines(body) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 { // a chunk ends
			year = 0
			continue
		}
		if year == 0 {
			header, err := partition.ParseHeader(line)
			if err != nil {
				s.t.Fatal(err)
			}
			year = header.Year
			continue
		}
		message, err := partition.AppendUnescaped(nil, line)
		if err != nil {
			s.t.Fatal(err)
		}
		event, err := schema.ScanEvent(message)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, event.Time(year))
	}
	return all
}

// replays runs pvlog and checks its exit code and that it says some texts.
func (s *server) replays(code int, args string, texts ...string) {
	s.t.Helper()
	out, got := s.cli("", strings.Fields(args)...)
	for _, text := range texts {
		if got != code || !strings.Contains(out, text) {
			s.t.Fatalf("pvlog %s: exit code %d, want %d and %q:\n%s", args, got, code, text, out)
		}
	}
}

// TestSamplesOfAWrongClockAreReplayed: an IOC's clock is set back for a while;
// what it sent then is in the drop log, and a replay puts it in its places among
// the samples of that hour.
func TestSamplesOfAWrongClockAreReplayed(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	ioc, s := simulated(t, simioc.Record{Name: "x", Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1})
	posts(t, ioc, "sim:x", now.Add(-65*time.Minute), 0, 1) // the first since the connection may be old
	s.start()
	s.archive("sim:x")
	s.awaitSamples("sim:x", 1)
	posts(t, ioc, "sim:x", now.Add(-time.Minute), 0, 20)
	s.awaitSamples("sim:x", 21)
	posts(t, ioc, "sim:x", now.Add(-time.Hour), 0, 30)
	s.awaitDrops("sim:*", 30)
	s.replays(0, "drops --replayed sim:x", "drift_past  ")
	s.replays(0, "replay --pv sim:* --reason drift_past", "30 left out: drift_past", "no file has changed")
	s.replays(0, "replay --pv sim:* --drift 24h --reason drift_past --dry-run", "30 would be replayed", "nothing was changed")
	s.awaitSamples("sim:x", 21)
	s.replays(0, "replay --pv sim:* --drift 24h --reason type", "0 PVs")
	s.replays(0, "replay --pv sim:* --drift 24h --reason drift_past --because clock", "sim:x: 30 replayed")
	times := s.rawTimes("sim:x")
	for i := 1; i < len(times); i++ {
		if !times[i].After(times[i-1]) {
			t.Errorf("sample %d at %v follows one at %v", i, times[i], times[i-1])
		}
	}
	if len(times) != 51 || times[1] != schema.TimeOf(now.Add(-time.Hour)) {
		t.Errorf("%d samples, the second at %v", len(times), times[1])
	}
	s.replays(0, "replay --pv sim:* --drift 24h --reason drift_past", "0 replayed, 30 there already", "no file has changed")
	s.replays(0, "drops --replayed sim:x", "drift_past, replayed")
	s.replays(0, "replay --pv sim:* --from-log", "sim:x: 0 replayed")
	s.replays(0, "replay --pv sim:* --from-log --drift 24h", "sim:x: 0 replayed")
	s.replays(0, "history sim:x", "30 samples replayed", "under drift 24h", "clock")
	posts(t, ioc, "sim:x", time.Now().Truncate(time.Millisecond), 0, 5)
	s.awaitSamples("sim:x", 56)
	s.stop()
	cutLine(t, s, "sim:x")
	s.start()
	s.awaitConnected("sim:x")
	s.replays(3, "rebuild --pv sim:*", "1 are missing", "missing")
	s.replays(3, "rebuild --pv sim:* --dry-run", "1 are missing")
	s.replays(0, "rebuild --pv sim:* --write", "1 were missing and are there now")
	s.replays(0, "rebuild --pv sim:*", "26 samples equal")
	s.replays(0, "rebuild --pv sim:* --until 1h", "sim:x")
	if n := len(s.rawTimes("sim:x")); n != 56 {
		t.Errorf("%d samples after the rebuild", n)
	}
	s.stop()
}

// cutLine takes a sample out of the end of a stopped server's newest partition of
// a PV that has some.
func cutLine(t *testing.T, s *server, pv schema.PVName) {
	t.Helper()
	files, err := partition.List(s.storeRoot(), schema.ChunkKey(pv), partition.PartitionHour)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	path := files[len(files)-1].Path
	for _, f := range slices.Backward(files) {
		if tail, err := partition.Check(f.Path); err == nil && tail.Lines > 10 {
			path = f.Path
			break
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	n := len(lines) - 4 // the last but two
	if err := os.WriteFile(path, bytes.Join(slices.Delete(lines, n, n+1), nil), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestAKilledReplayIsCompleted kills the server in the middle of a replay of many
// PVs; the next one goes on by itself, and the same command again waits for it.
func TestAKilledReplayIsCompleted(t *testing.T) {
	const pvs, each = 60, 4
	var records []simioc.Record
	var names []string
	for i := range pvs {
		name := fmt.Sprintf("p%03d", i)
		records = append(records, simioc.Record{Name: name, Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1})
		names = append(names, "sim:"+name)
	}
	ioc, s := simulated(t, records...)
	now := time.Now().Truncate(time.Millisecond).Add(time.Millisecond) // later than the records' first values
	s.start()
	s.archive(names...)
	for _, name := range names {
		posts(t, ioc, name, now, 0, 1)
		posts(t, ioc, name, now.Add(-2*time.Hour), 0, each)
	}
	s.awaitDrops("sim:*", pvs*each)
	answered := make(chan struct{})
	request, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/api/v1/replays", strings.NewReader(`{"pv":"sim:*","reasons":["drift_past"],"drift":"24h","change_id":"killed"}`))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(answered)
		if response, err := http.DefaultClient.Do(request); err == nil {
			_, _ = bytes.NewBuffer(nil).ReadFrom(response.Body)
			_ = response.Body.Close()
		}
	}()
	var record struct {
		Closed uint64
		Done   int
		Events []struct{ Added, There int }
	}
	show := func() error { return s.getJSON("/api/v1/replays/killed", nil, &record) }
	s.waitUntil(startTimeout, "some PVs replayed", func() error {
		if err := show(); err != nil {
			return err
		}
		if record.Done < 5 && record.Closed == 0 {
			return fmt.Errorf("%d are", record.Done)
		}
		return nil
	})
	s.kill()
	<-answered
	s.start()
	s.waitUntil(time.Minute, "the replay to be completed", func() error {
		if err := show(); err != nil {
			return err
		}
		if record.Closed == 0 {
			return errors.New("it is open")
		}
		return nil
	})
	placed := 0
	for _, e := range record.Events {
		placed += e.Added + e.There
	}
	if len(record.Events) != pvs || placed != pvs*each {
		t.Errorf("%d PVs have an event, of %d samples, want %d of %d", len(record.Events), placed, pvs, pvs*each)
	}
	for _, name := range names {
		late := 0
		for _, at := range s.rawTimes(name) {
			if at.Go().Before(now.Add(-time.Hour)) {
				late++
			}
		}
		if late != each {
			t.Errorf("%s has %d of the %d replayed samples", name, late, each)
		}
	}
	s.replays(0, "replay --pv sim:* --drift 24h --change-id killed", fmt.Sprintf("%d PVs", pvs))
	// After the restart the IOC sent its last values again, which are drops, too.
	s.replays(0, "replay --pv sim:* --drift 24h", fmt.Sprintf("%d PVs: 0 replayed", pvs), "no file has changed")
	s.stop()
}
