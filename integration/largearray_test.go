package integration

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
)

// TestAnArrayOf64MiBIsArchived through log and file, whole, and the PV beside
// it does not wait for ever.
func TestAnArrayOf64MiBIsArchived(t *testing.T) {
	const elements = ca.MaxValue / 8
	values := make([]float64, elements)
	for i := range values {
		values[i] = float64(i)
	}
	ioc, s := simulated(t,
		simioc.Record{Name: "image", Type: ca.DBRDouble, Count: elements, Value: values},
		simioc.Record{Name: "beside", Type: ca.DBRDouble, Value: 1.0})
	s.start()
	s.archive("sim:image", "sim:beside")
	s.awaitSamples("sim:beside", 1) // or 2 would be its first value
	if err := ioc.Put("sim:beside", 2.0); err != nil {
		t.Fatal(err)
	}
	s.awaitSamples("sim:beside", 2)
	s.waitUntil(3*time.Minute, "the array in its file", func() error {
		var info fs.FileInfo
		files, err := filepath.Glob(filepath.Join(s.storeRoot(), "sim", "image:*.pb"))
		if err == nil && len(files) == 1 {
			info, err = os.Stat(files[0])
		}
		if err != nil || info == nil || info.Size() < ca.MaxValue {
			return fmt.Errorf("%v, %v", files, err)
		}
		return nil
	})
	s.stop()
	samples := readStore(t, s.storeRoot())["sim:image"]
	if len(samples) != 1 {
		t.Fatalf("%d samples are stored", len(samples))
	}
	if stored, ok := samples[0].value.([]float64); !ok || !slices.Equal(stored, values) {
		t.Errorf("another array is stored: %T", samples[0].value)
	}
}
