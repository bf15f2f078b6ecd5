package partition

import (
	"testing"

	"pvlog/schema"
)

// TestReadersHideNothingOfADamagedFile lets every reader read every kind of
// damage: Next gives each sample that the repaired file and its side file have,
// Find and Seek each that is later than all before it, ReadTail a last one.
func TestReadersHideNothingOfADamagedFile(t *testing.T) {
	for name, test := range damagedFiles() {
		t.Run(name, func(t *testing.T) {
			path := stand(t, test.file)
			if test.want[Empty]+test.want[NoHeader] > 0 {
				if r, err := Open(path); err == nil {
					t.Errorf("it was opened: %+v, %v", r.Header(), r.Close())
				}
				return
			}
			lines, _ := readAllCloned(t, path)
			if len(lines) != test.readable {
				t.Errorf("%d samples, want %d", len(lines), test.readable)
			}
			var newest schema.Time
			for _, line := range lines {
				if !newest.IsZero() && !line.Time.After(newest) {
					continue
				}
				newest = line.Time
				event, found, err := Find(path, line.Time)
				if err != nil || !found || string(event) != string(line.Event) {
					t.Errorf("%v is not found: %v", line.Time, err)
				}
				soughtIs(t, path, line.Time)
			}
			tail, err := ReadTail(path)
			if err != nil || len(lines) > 0 && tail.Last != lines[len(lines)-1].Time {
				t.Errorf("the tail is %v, %v", tail.Last, err)
			}
		})
	}
}

// soughtIs requires that a reader that seeks an instant gives its sample.
func soughtIs(t *testing.T, path string, at schema.Time) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.Seek(at); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := r.Next()
		if _, corrupt := err.(*CorruptError); corrupt {
			continue
		}
		if err != nil || line.Time != at {
			t.Errorf("sought %v, got %v, %v", at, line.Time, err)
		}
		return
	}
}
