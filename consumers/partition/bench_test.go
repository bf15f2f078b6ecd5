package partition

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pvlog/schema"
)

// hourFile is a partition as the archive meets it most: an hour at 1 Hz.
func hourFile(b *testing.B) string {
	file, _ := sound(3600)
	return write(b, file)
}

func BenchmarkFind(b *testing.B) {
	path := hourFile(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % 3600
		if _, found, err := Find(path, at(int64(n+1), uint32(n))); !found || err != nil {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkReadTail(b *testing.B) {
	path := hourFile(b)
	b.ReportAllocs()
	for b.Loop() {
		if tail, err := ReadTail(path); err != nil || tail.Event == nil {
			b.Fatal(tail, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	path := hourFile(b)
	b.ReportAllocs()
	for b.Loop() {
		if tail, err := Check(path); err != nil || tail.Lines != 3600 {
			b.Fatal(tail, err)
		}
	}
}

// BenchmarkAppend is a round's share of one PV: open, check, write, close.
func BenchmarkAppend(b *testing.B) {
	root := b.TempDir()
	line := AppendLine(nil, double(at(1, 0), 1))
	var lengths [1000]int64
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % len(lengths)
		path := filepath.Join(root, fmt.Sprintf("X%d:2026.pb", n))
		length, _, err := Append(OSFS{}, path, nil, line, lengths[n])
		if err != nil {
			b.Fatal(err)
		}
		lengths[n] = length
	}
}

// BenchmarkList is one PV's listing in a folder of ten thousand.
func BenchmarkList(b *testing.B) {
	root := b.TempDir()
	for i := range 10_000 {
		path := Path(root, schema.ChunkKey(schema.PVName(fmt.Sprintf("X%05d", i))), PartitionHour, newYear)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if files, err := List(root, "X05000:", PartitionHour); err != nil || len(files) != 1 {
			b.Fatal(files, err)
		}
	}
}
