package streams

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTheCopyOfADescriptionIsReplaced: a link to the former copy, which stands
// for what a power cut would leave, keeps its content; what an interrupted copy
// left beside is no obstacle and does not stay.
func TestTheCopyOfADescriptionIsReplaced(t *testing.T) {
	from, to, former := t.TempDir(), filepath.Join(t.TempDir(), "meta"), t.TempDir()
	write := func(dir, suffix, content string) {
		t.Helper()
		for _, file := range metaFiles {
			if err := os.WriteFile(filepath.Join(dir, file+suffix), []byte(file+content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(dir, content string) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(metaFiles) {
			t.Errorf("%s holds %v, %v", dir, entries, err)
		}
		for _, file := range metaFiles {
			if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != file+content {
				t.Errorf("%s of %s is %q, %v", file, dir, got, err)
			}
		}
	}
	write(from, "", "one")
	if err := copyChanged(from, to); err != nil {
		t.Fatal(err)
	}
	check(to, "one")
	for _, file := range metaFiles {
		if err := os.Link(filepath.Join(to, file), filepath.Join(former, file)); err != nil {
			t.Fatal(err)
		}
	}
	write(to, ".new", "a much longer text of an interrupted copy")
	write(from, "", "two")
	if err := copyChanged(from, to); err != nil {
		t.Fatal(err)
	}
	check(to, "two")
	check(former, "one")
	if err := os.Remove(filepath.Join(from, "meta.sum")); err != nil {
		t.Fatal(err)
	}
	if err := copyChanged(from, to); err == nil {
		t.Error("a description without its checksum was copied")
	}
	check(to, "two")
}
