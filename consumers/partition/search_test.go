package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"pvlog/schema"
)

// randomFile is a waveform file whose lines are of very different length,
// ascending in time unless disorder is asked for, with some lines damaged and
// perhaps a torn end.
func randomFile(rng *rand.Rand, n, disorder, damage int) []byte {
	file := AppendHeader(nil, Header{Type: schema.WaveformByte, PV: "R", Year: year})
	now := int64(0)
	for range n {
		now += 1 + rng.Int64N(5)
		t := at(now, uint32(rng.IntN(3)))
		if rng.IntN(100) < disorder {
			t.Sec -= rng.Int64N(now + 1)
		}
		size := rng.IntN(40)
		if rng.IntN(60) == 0 {
			size = rng.IntN(100_000)
		}
		value := make([]byte, size)
		for i := range value {
			value[i] = byte(rng.IntN(30)) // many bytes that are escaped
		}
		line := AppendLine(nil, schema.AppendBytes(schema.AppendHead(nil, t), value))
		if rng.IntN(100) < damage {
			line[rng.IntN(len(line))] = byte(rng.IntN(256))
		}
		file = append(file, line...)
	}
	if rng.IntN(2) == 0 {
		file = append(file, file[len(file)-min(len(file), 1+rng.IntN(30)):len(file)-1]...)
	}
	return file
}

// ascending is the oracle's view: the lines that are later than all before.
func ascending(lines []Line) []Line {
	var kept []Line
	for _, line := range lines {
		if len(kept) == 0 || line.Time.After(kept[len(kept)-1].Time) {
			kept = append(kept, line)
		}
	}
	return kept
}

// wanted is where a linear reader would begin: the last line at or before t,
// else the first.
func wanted(kept []Line, t schema.Time) (line Line, exact bool) {
	for i, l := range kept {
		if l.Time.After(t) && i > 0 {
			break
		}
		line = l
	}
	return line, line.Time == t
}

// TestSeekAndFindAgreeWithALinearSearch is the property on sound and damaged
// files, asked for each line's time and for times between.
func TestSeekAndFindAgreeWithALinearSearch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "X:2026.pb")
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		damage := []int{0, 0, 3, 40}[seed%4]
		if err := os.WriteFile(path, randomFile(rng, rng.IntN(400), 0, damage), 0o600); err != nil {
			t.Fatal(err)
		}
		lines, _ := readAll(t, path)
		kept := ascending(lines)
		if len(kept) != len(lines) {
			continue // a damaged line states another time: see the test below
		}
		for range 60 {
			when := at(rng.Int64N(1300), uint32(rng.IntN(3)))
			if len(kept) > 0 && rng.IntN(2) == 0 {
				when = kept[rng.IntN(len(kept))].Time
			}
			sameAsLinear(t, fmt.Sprintf("seed %d", seed), path, kept, when)
		}
	}
}

func sameAsLinear(t *testing.T, name, path string, kept []Line, when schema.Time) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.Seek(when); err != nil {
		t.Fatalf("%s: seek %v: %v", name, when, err)
	}
	want, exact := wanted(kept, when)
	got, err := r.Next()
	for err != nil && !errors.Is(err, io.EOF) {
		got, err = r.Next() // damage before the first good line
	}
	if len(kept) == 0 {
		if !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %v in a file without samples", name, err)
		}
		return
	}
	if err != nil || got.Offset != want.Offset || got.Time != want.Time || !bytes.Equal(got.Event, want.Event) {
		t.Fatalf("%s: seek %v gives %v at byte %d, %v, want %v at byte %d", name, when, got.Time, got.Offset, err, want.Time, want.Offset)
	}
	event, found, err := Find(path, when)
	if err != nil || found != exact || found && !bytes.Equal(event, want.Event) {
		t.Fatalf("%s: find %v: %v, %v, want %v", name, when, found, err, exact)
	}
}

// TestDisorderIsReadLinearly has a file whose disorder shows on the way: a
// block of old samples behind newer ones.
func TestDisorderIsReadLinearly(t *testing.T) {
	file := doubleHeader()
	for i := range 1000 {
		file = AppendLine(file, double(at(int64(5000+i), 0), 1))
	}
	for i := range 3000 {
		file = AppendLine(file, double(at(int64(1000+i), 0), 2)) // an older copy was appended
	}
	for i := range 1000 {
		file = AppendLine(file, double(at(int64(6000+i), 0), 3))
	}
	path := write(t, file)
	lines, _ := readAll(t, path)
	kept := ascending(lines)
	if len(kept) != 2000 {
		t.Fatalf("%d kept", len(kept))
	}
	for _, sec := range []int64{0, 999, 5000, 5500, 5999, 6000, 6500, 6999, 9000} {
		sameAsLinear(t, "disorder", path, kept, at(sec, 0))
	}
}

// TestAnyDisorderEndsTheSearch: where disorder cannot show, the answer may be
// another line, but it is a line of the file, and time is bounded.
func TestAnyDisorderEndsTheSearch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "X:2026.pb")
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 2))
		if err := os.WriteFile(path, randomFile(rng, 300, 20, 20), 0o600); err != nil {
			t.Fatal(err)
		}
		lines, _ := readAll(t, path)
		offsets := map[int64]schema.Time{}
		for _, l := range lines {
			offsets[l.Offset] = l.Time
		}
		for range 20 {
			when := at(rng.Int64N(1000), 0)
			r, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Seek(when); err != nil {
				t.Fatal(err)
			}
			if line, err := r.Next(); err == nil && offsets[line.Offset] != line.Time {
				t.Fatalf("seed %d: a line at byte %d that is none", seed, line.Offset)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			event, found, err := Find(path, when)
			if err != nil {
				t.Fatal(err)
			}
			if e, scanErr := schema.ScanEvent(event); found && (scanErr != nil || e.Time(year) != when) {
				t.Fatalf("seed %d: found %x at %v", seed, event, when)
			}
		}
	}
}

func TestAReaderSeesWhatIsAppendedMeanwhile(t *testing.T) {
	file, ends := sound(5)
	path := write(t, file[:ends[2]+4]) // two lines and a part of the third
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for i := range 2 {
		if line, err := r.Next(); err != nil || line.Time != at(int64(i+1), uint32(i)) {
			t.Fatal(line, err)
		}
	}
	if line, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("half a line is read as %+v, %v", line, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(file[ends[2]+4:]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for i := 2; i < 5; i++ {
		if line, err := r.Next(); err != nil || line.Time != at(int64(i+1), uint32(i)) {
			t.Fatal(line, err)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Skipped() != 0 {
		t.Fatalf("%v, %d skipped", err, r.Skipped())
	}
	if err := r.Seek(at(4, 9)); err != nil {
		t.Fatal(err)
	}
	if line, err := r.Next(); err != nil || line.Time != at(4, 3) {
		t.Fatal(line, err)
	}
}

// TestAReaderDoesNotJoinATornLineToItsRepair: the archive cuts a torn line and
// writes there again, perhaps another sample.
func TestAReaderDoesNotJoinATornLineToItsRepair(t *testing.T) {
	file, ends := sound(2)
	path := write(t, file[:ends[1]+7])
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := Truncate(OSFS{}, path, int64(ends[1])); err != nil {
		t.Fatal(err)
	}
	repaired := double(at(77, 999_999_999), -1)
	if _, _, err := Append(OSFS{}, path, nil, AppendLine(nil, repaired), int64(ends[1])); err != nil {
		t.Fatal(err)
	}
	if line, err := r.Next(); err != nil || !bytes.Equal(line.Event, repaired) {
		t.Errorf("%x, %v, want %x", line.Event, err, repaired)
	}
}

func TestFindInNoFileIsNotFound(t *testing.T) {
	if event, found, err := Find(filepath.Join(t.TempDir(), "absent"), at(1, 0)); event != nil || found || err != nil {
		t.Error(event, found, err)
	}
}

func FuzzSearch(f *testing.F) {
	file, _ := sound(4)
	f.Add(file, int64(2))
	f.Add(randomFile(rand.New(rand.NewPCG(1, 1)), 20, 10, 10), int64(9))
	path := filepath.Join(f.TempDir(), "fuzz.pb")
	f.Fuzz(func(t *testing.T, b []byte, sec int64) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			return
		}
		defer func() { _ = r.Close() }()
		lines, _ := readAll(t, path)
		kept := ascending(lines)
		if len(kept) == len(lines) {
			sameAsLinear(t, "fuzz", path, kept, schema.Time{Sec: sec})
			for _, l := range lines[:min(3, len(lines))] {
				sameAsLinear(t, "fuzz", path, kept, l.Time)
			}
			return
		}
		if err := r.Seek(schema.Time{Sec: sec}); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkSeek looks for ten minutes in a year file of five million samples.
func BenchmarkSeek(b *testing.B) {
	const samples = 5_000_000
	file := doubleHeader()
	for i := range int64(samples) {
		file = AppendLine(file, double(at(i*6, 500_000_000), float64(i)))
	}
	path := write(b, file)
	b.ReportAllocs()
	rng := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		r, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Seek(at(6*rng.Int64N(samples), 0)); err != nil {
			b.Fatal(err)
		}
		for range 100 {
			if _, err := r.Next(); err != nil && !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	file, _ := sound(100_000)
	path := write(b, file)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
