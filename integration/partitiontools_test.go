package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// foreignFile writes a partition as the Appliance would, with n samples a minute
// apart, and then what more says.
func foreignFile(t *testing.T, root string, pv schema.PVName, g partition.Granularity, start string, n int, more ...byte) string {
	t.Helper()
	begin, err := time.Parse(time.RFC3339, start)
	if err != nil {
		t.Fatal(err)
	}
	file := partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: pv, Year: begin.Year()})
	for i := range n {
		file = append(file, foreignLine(begin.Unix()+int64(i)*60, float64(i))...)
	}
	path := partition.Path(root, schema.ChunkKey(pv), g, begin.Unix())
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(file, more...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func foreignLine(sec int64, v float64) []byte {
	return partition.AppendLine(nil, schema.AppendDouble(schema.AppendHead(nil, schema.Time{Sec: sec}), v))
}

// tool runs pvlog and requires its exit code and words of its output.
func (s *server) tool(code int, says []string, args ...string) string {
	s.t.Helper()
	out, got := s.cli("", args...)
	if got != code {
		s.t.Errorf("pvlog %s ended with %d, want %d:\n%s", strings.Join(args, " "), got, code, out)
	}
	for _, text := range says {
		if !strings.Contains(out, text) {
			s.t.Errorf("pvlog %s said:\n%s\nwithout %q", strings.Join(args, " "), out, text)
		}
	}
	return out
}

func TestToolsFindAndRepairDamagedFiles(t *testing.T) {
	s := newServer(t, nil) // never started: files need no server
	root := t.TempDir()
	sound := foreignFile(t, root, "A:SOUND", partition.PartitionYear, "2014-01-01T00:00:00Z", 100)
	early := foreignLine(time.Date(2014, 1, 1, 0, 0, 30, 0, time.UTC).Unix(), 0.5)
	damaged := foreignFile(t, root, "A:B-C", partition.PartitionYear, "2014-01-01T00:00:00Z", 100,
		bytes.Join([][]byte{early, []byte("rubbish\n"), make([]byte, 512), []byte("\ntorn")}, nil)...)
	headless := foreignFile(t, root, "A:B-C", partition.PartitionYear, "2015-01-01T00:00:00Z", 10)
	content := readFile(t, headless)
	if err := os.WriteFile(headless, append(bytes.Repeat([]byte{0}, 12), content[bytes.IndexByte(content, '\n'):]...), 0o644); err != nil {
		t.Fatal(err)
	}
	before := readFile(t, damaged)
	s.tool(0, []string{"1 files, 100 samples", "nothing is wrong"}, "verify", sound)
	s.tool(3, []string{damaged + ":102: byte ", ": order: ", ": line: ", ": zeros: ", ": torn: ", headless + ":1: byte 0: no_header: ", "3 files, 201 samples", "5 problems in 2 files"}, "verify", root)
	s.tool(1, []string{"samples:  101", "alarms:   101 none", "line 102, byte"}, "inspect", damaged)
	s.tool(0, []string{"would be repaired (1 line, 1 order, 1 torn, 1 zeros): 101 samples, 1 sorted in", "3 files: 2 would be repaired"}, "repair", root, "--dry-run")
	if !bytes.Equal(readFile(t, damaged), before) {
		t.Error("a dry run changed a file")
	}
	s.tool(0, []string{"1 sorted in", damaged + ".bak", "header as that of " + damaged, "3 files: 2 repaired"}, "repair", root)
	s.tool(0, []string{"3 files, 211 samples", "nothing is wrong"}, "verify", root)
	s.tool(0, []string{"3 files: 0 repaired"}, "repair", root)
	if !bytes.Equal(readFile(t, damaged+".bak"), before) {
		t.Error("the backup is not what the file was")
	}
	if !bytes.Equal(readFile(t, headless), content) {
		t.Errorf("the header was not found: %q", readFile(t, headless)[:60])
	}
	var summary struct{ Summary struct{ Files, Samples int } }
	out := s.tool(0, nil, "verify", "--json", root)
	if err := json.Unmarshal([]byte(out), &summary); err != nil || summary.Summary.Files != 3 || summary.Summary.Samples != 211 {
		t.Errorf("%v: %s", err, out)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestToolsLeaveARunningServersFilesToIt damages a partition of a server that
// goes on writing.
func TestToolsLeaveARunningServersFilesToIt(t *testing.T) {
	_, s := simulated(t, simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 1.5, Rate: 10, Generate: func(n uint64, _ time.Time) any { return float64(n) }, ADEL: -1, MDEL: -1})
	s.start()
	s.archive("sim:a")
	root := filepath.Join(s.data, "stores", "STS")
	file := ""
	s.waitUntil(startTimeout, "samples in a file", func() error {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".pb" && bytes.Count(readFile(t, path), []byte("\n")) > 5 {
				file = path
			}
			return err
		})
		if err == nil && file == "" {
			err = errors.New("there is none")
		}
		return err
	})
	s.tool(0, []string{"nothing is wrong"}, "verify", "--pv", "sim:*")
	s.tool(0, []string{"nothing is wrong"}, "verify", root)
	s.tool(1, []string{"another process writes this store", "--pv"}, "repair", root)
	damage(t, file)
	s.tool(3, []string{": line: "}, "verify", "--pv", "sim:a")
	s.tool(0, []string{"repaired (1 line)", ".pb.bak"}, "repair", "--pv", "sim:a")
	s.tool(0, []string{"nothing is wrong"}, "verify", "--pv", "sim:a")
	size := len(readFile(t, file))
	s.waitUntil(startTimeout, "the file to grow again", func() error {
		if n := len(readFile(t, file)); n <= size {
			return fmt.Errorf("%d bytes", n)
		}
		return nil
	})
	s.tool(1, []string{"no registered PV matches"}, "verify", "--pv", "nobody:*")
	s.stop()
	s.tool(0, []string{"nothing is wrong"}, "verify", root)
	s.tool(0, []string{"0 repaired"}, "repair", root)
}

// damage overwrites the third line of a file, as long as it is.
func damage(t *testing.T, path string) {
	t.Helper()
	b := readFile(t, path)
	begin := 0
	for range 2 {
		begin += bytes.IndexByte(b[begin:], '\n') + 1
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("\x07\x07\x07\x07"), int64(begin)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestImportAdoptsAnAppliancesStore(t *testing.T) {
	s := newServer(t, []string{"EPICS_CA_ADDR_LIST=127.0.0.1:1", "EPICS_CA_AUTO_ADDR_LIST=NO"})
	config := filepath.Join(t.TempDir(), "pvlog.yaml")
	theirs := t.TempDir()
	inPlace := filepath.Join(theirs, "day")
	if err := os.WriteFile(config, fmt.Appendf(nil, "stores:\n  - name: STS\n    granularity: PARTITION_HOUR\n  - name: MTS\n    granularity: PARTITION_DAY\n    root: %q\n  - name: LTS\n    granularity: PARTITION_YEAR\n", inPlace), 0o644); err != nil {
		t.Fatal(err)
	}
	s.args = []string{"--config", config}
	lts := filepath.Join(theirs, "lts")
	year := foreignFile(t, lts, "A:B-C", partition.PartitionYear, "2014-01-01T00:00:00Z", 100)
	foreignFile(t, lts, "A:B-C", partition.PartitionYear, "2015-01-01T00:00:00Z", 50, []byte("torn")...)
	foreignFile(t, lts, "A:D", partition.PartitionYear, "2015-01-01T00:00:00Z", 7)
	foreignFile(t, lts, "A:D", partition.PartitionMonth, "2016-03-01T00:00:00Z", 7)
	foreignFile(t, inPlace, "A:E", partition.PartitionDay, "2016-03-04T00:00:00Z", 9)
	s.start()
	s.tool(3, []string{"3 would be adopted", "2 would be registered as paused", "1 files of PARTITION_MONTH have no store", "granularity: PARTITION_MONTH"}, "import", "--dry-run", lts)
	if out, _ := s.cli("", "list", "*"); strings.Contains(out, "A:") {
		t.Errorf("a dry run registered PVs: %s", out)
	}
	s.tool(3, []string{"4 files found: 3 adopted", "157 samples", "2 registered as paused", "1 without a store", "has problems: 1 torn"}, "import", "--link", lts)
	s.tool(3, []string{"4 files found: 0 adopted, 3 there already", "2 were registered"}, "import", "--link", lts)
	s.tool(0, []string{"A:B-C\nA:D\n"}, "list", "A:*")
	var data []struct {
		Data []struct{ Secs int64 }
	}
	err := s.getJSON("/retrieval/data/getData.json", map[string][]string{"pv": {"A:B-C"}, "from": {"2013-01-01T00:00:00Z"}, "to": {"2017-01-01T00:00:00Z"}}, &data)
	if err != nil || len(data) != 1 || len(data[0].Data) != 150 {
		t.Errorf("retrieved %d chunks, %v", len(data), err)
	}
	s.tool(0, []string{"1 files found: 0 adopted, 1 there already", "1 registered as archiving"}, "import", "--in-place", "--archive", inPlace)
	s.tool(0, []string{"A:E"}, "list", "A:E")
	// Another file in the place of one that was adopted.
	replaced := foreignFile(t, filepath.Join(theirs, "other"), "A:B-C", partition.PartitionYear, "2014-01-01T00:00:00Z", 120)
	before := readFile(t, year)
	s.tool(3, []string{"differs: the store has a file"}, "import", filepath.Dir(filepath.Dir(filepath.Dir(replaced))))
	if !bytes.Equal(readFile(t, year), before) {
		t.Error("a file in a store was changed without --merge")
	}
	s.tool(0, []string{"1 files merged: 20 samples added, 100 were there"}, "import", "--merge", filepath.Dir(filepath.Dir(filepath.Dir(replaced))))
	if !bytes.Equal(readFile(t, filepath.Join(s.data, "stores", "LTS", "A", "B", "C:2014.pb")), readFile(t, replaced)) {
		t.Error("the merged file is not the longer one")
	}
	s.tool(0, []string{"1 adopted"}, "import", "--move", foreignDir(t))
	s.stop()
}

// foreignDir is a store with one PV that moves.
func foreignDir(t *testing.T) string {
	root := t.TempDir()
	foreignFile(t, root, "A:MOVED", partition.PartitionYear, "2014-01-01T00:00:00Z", 3)
	return root
}
