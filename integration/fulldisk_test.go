package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// smallDisk is the environment variable that names a folder on a file system of
// its own, of about 64 MB, as of
//
//	mount -t tmpfs -o size=64m tmpfs /mnt/small
//
// Only there can a test fill the disk of a whole pvlog.
const smallDisk = "PVLOG_TEST_SMALL_DISK"

// fill takes all space of a file system, and gives back what frees it.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 16
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// TestAFullDiskLosesNothing runs pvlog on a small file system, which is filled
// and emptied under it: with SIGTERM nothing of what was posted is missing.
func TestAFullDiskLosesNothing(t *testing.T) {
	small := os.Getenv(smallDisk)
	if small == "" {
		t.Skip("set " + smallDisk + " to a folder on a file system of 64 MB")
	}
	var stat syscall.Statfs_t
	if err := syscall.Statfs(small, &stat); err != nil || stat.Blocks*uint64(stat.Bsize) > 1<<30 {
		t.Fatalf("%s: %v: too large to fill", small, err)
	}
	record := simioc.Record{Name: "a", Type: ca.DBRDouble, Value: 0.0, MDEL: -1, ADEL: -1}
	ioc, s := simulated(t, record)
	dir, err := os.MkdirTemp(small, "pvlog-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.data = filepath.Join(dir, "data")
	begin := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	posts(t, ioc, "sim:a", begin, 0, 1) // the value that a subscription gets first
	s.start()
	s.archive("sim:a")
	const step = 200
	n := 1
	s.awaitSamples("sim:a", n)
	for range 2 {
		free := fill(t, small)
		s.waitUntil(startTimeout, "the fault in /healthz", func() error {
			posts(t, ioc, "sim:a", begin, n, step) // into memory, once the log's pages are full
			n += step
			return s.faulty()
		})
		free()
		checkPosts(t, s.awaitSamples("sim:a", n), begin, n)
	}
	s.stop()
	checkFiles(t, s, "sim:a", n)
}

// faulty gives nil once /healthz tells of a fault.
func (s *server) faulty() error {
	response, err := httpClient.Get("http://" + s.http + "/healthz")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var health struct{ Faults []any }
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil {
		return err
	}
	if len(health.Faults) == 0 || response.StatusCode == http.StatusOK {
		return fmt.Errorf("status %d, faults %v", response.StatusCode, health.Faults)
	}
	return nil
}
