package partition

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestVerifyTakesNoWriteForDamage verifies a file again and again while lines
// are appended to it in pieces.
func TestVerifyTakesNoWriteForDamage(t *testing.T) {
	path := stand(t, doubleHeader())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	done := make(chan struct{})
	writing.Go(func() {
		defer close(done)
		for i := range 300 {
			line := doublesOf(float64(i+1), 1)
			for _, piece := range [][]byte{line[:5], line[5:]} {
				if _, err := f.Write(piece); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		report, problems, err := Verify(path, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		// A writer that is this fast can be in a line at each try.
		delete(report.Problems, Torn)
		if !report.Sound() {
			t.Fatalf("%+v", problems)
		}
	}
	writing.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if report, problems, err := Verify(path, "", 10); err != nil || !report.Sound() || report.Samples != 300 {
		t.Errorf("%d samples, %+v, %v", report.Samples, problems, err)
	}
}

func TestVerifyBoundsWhatItTells(t *testing.T) {
	file := doubleHeader()
	for range 50 {
		file = append(file, "rubbish\n"...)
	}
	report, problems, err := Verify(stand(t, file), "", 7)
	if err != nil || len(problems) != 7 || report.Problems[BadLine] != 50 {
		t.Errorf("%d told, %v, %v", len(problems), report.Problems, err)
	}
	if _, _, err := Verify(filepath.Join(t.TempDir(), "absent.pb"), "", 7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

func TestWalkTellsWhatFilesAre(t *testing.T) {
	root := t.TempDir()
	want := map[string]Found{
		"T/X:2026.pb": Partition, "T/X:2026_01.pb": Partition, "T/X:2026.pb.bak": KeptAside, "T/X:2026.pb.aside1": KeptAside,
		"T/X:2026.pbappend": Remains, "T/X:2026.pb.damaged": Remains, "T/.pvlog-new-0011223344556677": Remains,
		"T/X:2026_tmp_8f3": Remains, "T/X:2026.mean_3600": Other, "notes.txt": Other,
	}
	for name := range want {
		standAt(t, filepath.Join(root, name), nil)
	}
	standAt(t, filepath.Join(root, ".trash", "T", "X:2026.pb"), nil)
	got := map[string]Found{}
	var order []string
	err := Walk(root, func(path string, what Found) error {
		name, err := filepath.Rel(root, path)
		got[filepath.ToSlash(name)], order = what, append(order, path)
		return err
	})
	if err != nil || !maps.Equal(got, want) || !slices.IsSorted(order) {
		t.Errorf("%v, %v", got, err)
	}
	if err := Walk(filepath.Join(root, ".trash"), func(string, Found) error { return fs.ErrClosed }); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a folder that was asked for is walked: %v", err)
	}
}
