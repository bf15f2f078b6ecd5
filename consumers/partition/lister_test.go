package partition

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pvlog/schema"
)

// touch makes an empty file and gives its folder a modification time.
func touch(t testing.TB, path string, modified time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Dir(path), modified, modified); err != nil {
		t.Fatal(err)
	}
}

// TestAListerSaysWhatListSays for many PVs, before and after changes.
func TestAListerSaysWhatListSays(t *testing.T) {
	root := t.TempDir()
	var l Lister
	old := time.Now().Add(-time.Hour)
	key := func(i int) string { return schema.ChunkKey(schema.PVName(fmt.Sprintf("L:%d:X%d", i%3, i))) }
	same := func(when string) {
		t.Helper()
		for i := range 40 {
			want, err := List(root, key(i), PartitionHour)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := l.List(root, key(i), PartitionHour); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, %s: %+v, %v, want %+v", when, key(i), got, err, want)
			}
		}
	}
	same("nothing there")
	for i := range 30 {
		for h := range int64(1 + i%4) {
			touch(t, Path(root, key(i), PartitionHour, newYear+h*3600), old)
		}
	}
	same("files made")
	same("asked again")
	touch(t, Path(root, key(35), PartitionHour, newYear), old.Add(time.Minute))
	same("one more")
	if err := os.Remove(Path(root, key(7), PartitionHour, newYear)); err != nil {
		t.Fatal(err)
	}
	same("one less")
	l.Forget()
	same("forgotten")
}

// TestAListerReadsASettledFolderOnce: a name that is made behind its back,
// without a new time of the folder, is not seen; in a folder that changed just
// now it is.
func TestAListerReadsASettledFolderOnce(t *testing.T) {
	for name, c := range map[string]struct {
		age  time.Duration
		want int
	}{"settled": {time.Hour, 1}, "fresh": {0, 2}} {
		root := t.TempDir()
		var l Lister
		modified := time.Now().Add(-c.age)
		touch(t, Path(root, "X:", PartitionHour, newYear), modified)
		if files, err := l.List(root, "X:", PartitionHour); err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		touch(t, Path(root, "X:", PartitionHour, newYear+3600), modified)
		if files, err := l.List(root, "X:", PartitionHour); err != nil || len(files) != c.want {
			t.Errorf("%s: %d files, %v, want %d", name, len(files), err, c.want)
		}
	}
}

func TestAListersMemoryIsBounded(t *testing.T) {
	var l Lister
	for i := range 10 {
		l.remember(fmt.Sprint(i), folder{names: make([]string, listerNames/4)})
		l.remember(fmt.Sprint(i), folder{names: make([]string, listerNames/4)})
		if l.names > listerNames || l.names != len(l.folders)*listerNames/4 {
			t.Fatalf("%d names in %d folders", l.names, len(l.folders))
		}
	}
}

func BenchmarkLister(b *testing.B) {
	root := b.TempDir()
	for i := range 10_000 {
		path := Path(root, schema.ChunkKey(schema.PVName(fmt.Sprintf("X%05d", i))), PartitionHour, newYear)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(root, old, old); err != nil {
		b.Fatal(err)
	}
	var l Lister
	b.ReportAllocs()
	for b.Loop() {
		if files, err := l.List(root, "X05000:", PartitionHour); err != nil || len(files) != 1 {
			b.Fatal(files, err)
		}
	}
}
