package integration

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// health gives the status of /healthz and the texts of its faults.
func (s *server) health() (status int, faults string) {
	s.t.Helper()
	response, err := httpClient.Get("http://" + s.http + "/healthz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var health struct{ Faults []struct{ Message string } }
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, fmt.Sprint(health.Faults)
}

// poison writes a line of a time ten years ahead at the end of a PV's newest
// partitions, and gives them: this hour's and, so that the test may run into it,
// the next one's. The third is a whole file of that time.
func poison(t *testing.T, root, pv string) (lines []string, whole string) {
	t.Helper()
	hour, now := partition.PartitionHour, time.Now()
	ahead := now.AddDate(10, 0, 0)
	path := func(at time.Time) string {
		return partition.Path(root, schema.ChunkKey(schema.PVName(pv)), hour, hour.Start(schema.TimeOf(at)))
	}
	for _, at := range []time.Time{now, now.Add(time.Hour), ahead} {
		year := at.UTC().Year()
		event := binary.AppendUvarint([]byte{0x08}, uint64(ahead.Unix()-schema.YearStart(year)))
		line := partition.AppendLine(nil, schema.AppendDouble(append(event, 0x10, 0), 9))
		file := path(at)
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			text, err = partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: schema.PVName(pv), Year: year}), os.MkdirAll(filepath.Dir(file), 0o755)
		}
		if err == nil {
			err = os.WriteFile(file, append(text, line...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, file)
	}
	return lines[:2], lines[2]
}

// TestTheFutureIsMovedAside: somebody's wrong clock has left a line at the end
// of a living PV's newest file, and a file of ten years ahead. The samples of that
// hour go to the drop log, which health and why tell with the command that mends
// it; after it they are archived where they belong, and a replay brings the others.
func TestTheFutureIsMovedAside(t *testing.T) {
	ioc, s := simulated(t, simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1})
	s.start()
	s.archive("sim:a")
	s.awaitSamples("sim:a", 1)
	s.stop()
	lines, whole := poison(t, s.storeRoot(), "sim:a")
	s.losses = true
	s.start()
	s.awaitConnected("sim:a")
	put := func(v float64) {
		t.Helper()
		if err := ioc.Put("sim:a", v); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	s.waitUntil(startTimeout, "the drops of the last value, sent again, and of the new one", func() error {
		var drops []map[string]any
		err := s.getJSON("/api/v1/drops", url.Values{"pv": {"sim:a"}, "reason": {"file"}}, &drops)
		if err == nil && len(drops) != 2 {
			err = fmt.Errorf("%d drops", len(drops))
		}
		return err
	})
	s.awaitWhy("sim:a", "filter", "pvlog repair --future sim:a")
	if status, faults := s.health(); status == http.StatusOK || !strings.Contains(faults, "pvlog repair --future sim:a") {
		t.Errorf("/healthz: %d %s", status, faults)
	}
	s.tool(2, []string{"give one of them"}, "repair", "--future", "sim:a", "--pv", "sim:a")
	s.tool(0, []string{whole + ": would be moved aside as a whole (1 future)", "would be repaired (1 future)"}, "repair", "--future", "sim:a", "--dry-run")
	if _, err := os.Stat(whole); err != nil {
		t.Fatal("a dry run did it: ", err)
	}
	s.tool(0, []string{whole + ": moved aside as a whole (1 future): " + whole + ".aside", "repaired (1 future)", ".pb.bak"}, "repair", "--future", "sim:a")
	s.tool(0, []string{": 0 repaired"}, "repair", "--future", "sim:a")
	for _, file := range append(lines, whole) {
		if n := bytes.Count(readFile(t, file+".aside"), []byte("\n")); n != 2 {
			t.Errorf("%s.aside has %d lines, want header and the line of the future", file, n)
		}
	}
	if status, faults := s.health(); status != http.StatusOK || strings.Contains(faults, "future") {
		t.Errorf("/healthz after it: %d %s", status, faults)
	}
	put(2)
	s.awaitSamples("sim:a", 2)
	s.awaitWhy("sim:a", "", "reach their file")
	s.replays(0, "replay --pv sim:a --reason file", "1 replayed, 1 there already")
	all := s.awaitSamples("sim:a", 3)
	for i, v := range []float64{0, 1, 2} {
		if all[i].Val != v {
			t.Errorf("sample %d is %v, want %v", i, all[i].Val, v)
		}
	}
	s.stop()
	s.tool(0, []string{"nothing is wrong"}, "verify", lines[0])
}
