package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pvlog/schema"
)

// sound is a file with n samples, one a second from second 1 on, and the
// lengths after the header and each line.
func sound(n int) (file []byte, ends []int) {
	file = doubleHeader()
	ends = append(ends, len(file))
	for i := range n {
		file = AppendLine(file, double(at(int64(i+1), uint32(i)), float64(i)))
		ends = append(ends, len(file))
	}
	return file, ends
}

// TestTornFilesEndAtTheirLastWholeLine tears a file at every byte, from nothing
// over the header to the last LF.
func TestTornFilesEndAtTheirLastWholeLine(t *testing.T) {
	file, ends := sound(3)
	path := filepath.Join(t.TempDir(), "X:2026.pb")
	for n := 0; n <= len(file); n++ {
		if err := os.WriteFile(path, file[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		length, lines := 0, -1
		for i, end := range ends {
			if end <= n {
				length, lines = end, i
			}
		}
		for name, read := range map[string]func(string) (Tail, error){"ReadTail": ReadTail, "Check": Check} {
			tail, err := read(path)
			if err != nil || tail.Length != int64(length) || tail.Cut != int64(n-length) {
				t.Fatalf("%s of %d bytes: %+v, %v, want length %d", name, n, tail, err, length)
			}
			if lines <= 0 != (tail.Event == nil) || lines <= 0 != tail.Last.IsZero() {
				t.Fatalf("%s of %d bytes: %+v", name, n, tail)
			}
			if lines > 0 && tail.Last != at(int64(lines), uint32(lines-1)) {
				t.Fatalf("%s of %d bytes: last is %v, want that of line %d", name, n, tail.Last, lines)
			}
			if name == "Check" && tail.Lines != max(0, lines) {
				t.Fatalf("%d bytes: %d lines, want %d", n, tail.Lines, lines)
			}
		}
		tornReader(t, path, lines)
	}
}

// tornReader checks that a reader gives the whole lines and no half ones.
func tornReader(t *testing.T, path string, lines int) {
	t.Helper()
	if lines >= 0 {
		if got, corrupt := readAll(t, path); len(got) != lines || len(corrupt) != 0 {
			t.Fatalf("%d lines are read, %v, want %d", len(got), corrupt, lines)
		}
		return
	}
	if _, err := Open(path); !errors.Is(err, io.EOF) {
		t.Fatalf("Open of a torn header: %v, want io.EOF", err)
	}
	if _, ok, err := Find(path, at(1, 0)); ok || err != nil {
		t.Fatalf("Find in a torn header: %v, %v", ok, err)
	}
}

// TestWhatACrashCanLeave is the table of FORMAT.md.
func TestWhatACrashCanLeave(t *testing.T) {
	file, ends := sound(9)
	last := len(file) - ends[8] // bytes of the last line
	late := AppendLine(nil, double(at(5, 0), 0))
	for name, c := range map[string]struct {
		damage      func(b []byte) []byte
		back, forth int // lines that ReadTail and Check believe
	}{
		"nothing":                      {func(b []byte) []byte { return b }, 9, 9},
		"half a line":                  {func(b []byte) []byte { return b[:len(b)-last/2] }, 8, 8},
		"zeros behind":                 {func(b []byte) []byte { return append(b, make([]byte, 5000)...) }, 9, 9},
		"zeros for the last line":      {func(b []byte) []byte { clear(b[ends[8]:]); return b }, 8, 8},
		"zeros over two lines":         {func(b []byte) []byte { clear(b[ends[7]:]); return b }, 7, 7},
		"zeros for the rest of a line": {func(b []byte) []byte { clear(b[len(b)-5:]); return b }, 8, 8},
		"zeros in the middle":          {func(b []byte) []byte { clear(b[ends[3]:ends[4]]); return b }, 9, 3},
		"garbage behind":               {func(b []byte) []byte { return append(b, 0xff, 0xfe, '\n', 1, 2, 3) }, 9, 9},
		"garbage lines behind":         {func(b []byte) []byte { return append(b, bytes.Repeat([]byte("garbage\n"), 50_000)...) }, 9, 9},
		"a good line behind garbage":   {func(b []byte) []byte { copy(b[ends[6]:ends[7]], "garbage"); return b }, 9, 6},
		"empty lines":                  {func(b []byte) []byte { return append(b, "\n\n\n"...) }, 9, 9},
		"an empty line in the middle":  {func(b []byte) []byte { return insert(b, ends[4], []byte{'\n'}) }, 9, 4},
		"an older line at the end":     {func(b []byte) []byte { return append(b, late...) }, 10, 9},
		"an older line in the middle":  {func(b []byte) []byte { return insert(b, ends[7], late) }, 10, 7},
		"the last line twice":          {func(b []byte) []byte { return append(b, b[ends[8]:]...) }, 10, 9},
		"a header in the middle":       {func(b []byte) []byte { return insert(b, ends[7], doubleHeader()) }, 9, 7},
		"only the header":              {func(b []byte) []byte { return b[:ends[0]] }, 0, 0},
		"header and garbage":           {func(b []byte) []byte { return append(b[:ends[0]], "xx\nyy\nzz"...) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.damage(bytes.Clone(file)))
			back, err := ReadTail(path)
			if err != nil || c.back < 10 && back.Length < int64(ends[c.back]) || c.back == 0 != back.Last.IsZero() {
				t.Errorf("ReadTail: %+v, %v, want %d lines", back, err, c.back)
			}
			if c.back > 0 && c.back < 10 && back.Last != at(int64(c.back), uint32(c.back-1)) {
				t.Errorf("ReadTail: last is %v, want that of line %d", back.Last, c.back)
			}
			forth, err := Check(path)
			if err != nil || forth.Lines != c.forth || forth.Length != int64(ends[c.forth]) {
				t.Errorf("Check: %+v, %v, want %d lines", forth, err, c.forth)
			}
		})
	}
}

func insert(b []byte, i int, what []byte) []byte {
	return append(bytes.Clone(b[:i]), append(what, b[i:]...)...)
}

// TestDamageBeforeTheRedeliveredSamplesIsNotCut: the log cannot give back what
// was acknowledged long ago, so a bad line there costs that line only.
func TestDamageBeforeTheRedeliveredSamplesIsNotCut(t *testing.T) {
	file, ends := sound(2000)
	copy(file[ends[100]:], "rot")
	copy(file[ends[1990]:], "rot")
	path := write(t, file)
	tail, err := CheckFrom(path, at(1501, 0))
	if err != nil || tail.Length != int64(ends[1990]) || tail.Last != at(1990, 1989) || tail.Lines != -1 {
		t.Errorf("%+v, %v, want the end of line 1990", tail, err)
	}
	if tail, err := CheckFrom(path, at(1, 0)); err != nil || tail.Length != int64(ends[100]) {
		t.Errorf("from the begin: %+v, %v, want the end of line 100", tail, err)
	}
	if tail, err := CheckFrom(path, at(9_999_999, 0)); err != nil || tail.Length != int64(len(file)) || tail.Cut != 0 {
		t.Errorf("from behind the end: %+v, %v", tail, err)
	}
}

func TestAFileThatIsNoPartitionIsToldApartFromATornOne(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		corrupt bool
	}{
		"no bytes":             {"", false},
		"zeros only":           {string(make([]byte, 10_000)), false},
		"garbage without LF":   {"garbage", false},
		"a first line of text": {"garbage\n", true},
		"zeros, then lines":    {string(make([]byte, 40)) + "\n" + string(AppendLine(nil, double(at(1, 0), 1))), true},
		"a sample first":       {string(AppendLine(nil, double(at(1, 0), 1))), true},
		"an empty first line":  {"\n" + string(doubleHeader()), true},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, []byte(c.file))
			for what, read := range map[string]func(string) error{
				"ReadTail": func(p string) error { _, err := ReadTail(p); return err },
				"Check":    func(p string) error { _, err := Check(p); return err },
				"Find":     func(p string) error { _, _, err := Find(p, at(1, 0)); return err },
			} {
				err := read(path)
				bad, corrupt := errors.AsType[*CorruptError](err)
				if corrupt != c.corrupt || !corrupt && err != nil {
					t.Errorf("%s gives %v", what, err)
				}
				if corrupt && (bad.Path != path || bad.Offset != 0 || !errors.Is(err, ErrHeader)) {
					t.Errorf("%s gives %+v", what, bad)
				}
			}
		})
	}
	if _, err := ReadTail(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file gives %v", err)
	}
	if _, err := ReadTail(t.TempDir()); err == nil {
		t.Error("a folder is taken for a file")
	}
}

// TestLinesOfMegabytesAreReadFromBothEnds has arrays far longer than any
// buffer, whole and torn.
func TestLinesOfMegabytesAreReadFromBothEnds(t *testing.T) {
	file := AppendHeader(nil, Header{Type: schema.WaveformDouble, PV: "W", Year: year})
	var ends []int
	for i := range 4 {
		event := schema.AppendHead(nil, at(int64(i+1), 0))
		event = schema.AppendDoubles(event, 80_000*(i+1), func(j int) float64 { return float64(j * (i + 1)) })
		file = AppendLine(file, event)
		ends = append(ends, len(file))
	}
	for _, cut := range []int{0, 1, 100_000} {
		want := 4
		if cut > 0 {
			want = 3
		}
		path := write(t, file[:len(file)-cut])
		lines, _ := readAll(t, path)
		back, err := ReadTail(path)
		if err != nil || len(lines) != want || back.Length != int64(ends[want-1]) || !bytes.Equal(back.Event, lines[want-1].Event) {
			t.Errorf("%d bytes cut: %d lines, tail %v %d, %v", cut, len(lines), back.Last, back.Length, err)
		}
		for i := range want {
			if event, ok, err := Find(path, at(int64(i+1), 0)); !ok || err != nil || !bytes.Equal(event, lines[i].Event) {
				t.Errorf("%d bytes cut: Find of line %d: %v, %v", cut, i, ok, err)
			}
		}
	}
}

// TestALineBeyondTheBoundIsPassedByInLittleMemory lowers the bound: the real
// one is too large for a test.
func TestALineBeyondTheBoundIsPassedByInLittleMemory(t *testing.T) {
	long := bytes.Repeat([]byte{'x'}, 3<<20)
	file := append(append([]byte("first\n"), long...), "\nlast\nrest"...)
	s := newScanner(bytes.NewReader(file))
	s.max = 1 << 20
	var got []string
	for {
		line, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, ErrLine) {
			got = append(got, "long")
			continue
		}
		got = append(got, string(line))
	}
	if fmt.Sprint(got) != "[first long last]" || cap(s.buf) > 4<<20 {
		t.Errorf("%v, buffer of %d bytes", got, cap(s.buf))
	}
}

func TestListFindsThePartitionsOfOnePVAndGranularity(t *testing.T) {
	root := t.TempDir()
	key := schema.ChunkKey("A:B-C")
	hour := func(h int) string { return Path(root, key, PartitionHour, newYear+int64(h)*3600) }
	if files, err := List(root, key, PartitionHour); len(files) != 0 || err != nil {
		t.Fatalf("in no folder: %v, %v", files, err)
	}
	lines := func(secs ...int64) []byte {
		b := AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "A:B-C", Year: year})
		for _, s := range secs {
			b = AppendLine(b, double(at(s, 5), float64(s)))
		}
		return b
	}
	if err := os.MkdirAll(filepath.Dir(hour(0)), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, b := range map[string][]byte{
		hour(0): lines(10, 20), hour(2): lines(7200, 7300), hour(3): lines(), hour(4): {}, hour(5): lines()[:4],
		filepath.Join(root, "A/B/C:2026_01.pb"):               lines(99),   // another granularity
		filepath.Join(root, "A/B/C:2026_01_01_09.pbappend"):   lines(99),   // another extension
		filepath.Join(root, "A/B/C2:2026_01_01_09.pb"):        lines(99),   // another PV
		filepath.Join(root, "A/B/C:X:2026_01_01_09.pb"):       lines(99),   // another PV's, odd
		filepath.Join(root, "A/B/C:2026_01_01_09.pb.damaged"): []byte("x"), // set aside
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(hour(6), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := List(root, key, PartitionHour)
	if err != nil || len(files) != 5 || files[1].Path != hour(2) || files[1].Start != newYear+7200 || files[1].End != newYear+10800 || files[1].Size != int64(len(lines(7200, 7300))) {
		t.Errorf("List gives %+v, %v", files, err)
	}
}

// FuzzTail checks the laws that hold for any bytes: what is believed lies
// within the file and ends in an LF, and a file cut there is believed whole.
func FuzzTail(f *testing.F) {
	file, ends := sound(3)
	f.Add(file)
	f.Add(file[:len(file)-3])
	f.Add(insert(file, ends[1], []byte{'\n'}))
	f.Add(append(bytes.Clone(file[:len(file)-1]), 0x28, '\n', '\n', '\n'))
	f.Add([]byte("garbage\n"))
	path := filepath.Join(f.TempDir(), "fuzz.pb")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		back, backErr := ReadTail(path)
		forth, forthErr := Check(path)
		if (backErr == nil) != (forthErr == nil) {
			t.Fatalf("ReadTail %v, Check %v", backErr, forthErr)
		}
		if backErr != nil {
			if _, ok := errors.AsType[*CorruptError](backErr); !ok {
				t.Fatal(backErr)
			}
			return
		}
		if forth.Length > back.Length {
			t.Fatalf("Check believes %d bytes, ReadTail %d", forth.Length, back.Length)
		}
		if back.Length > 0 {
			_, _, _ = Find(path, back.Last)
			readAll(t, path)
		}
		believed(t, path, b, back, ReadTail)
		believed(t, path, b, forth, Check)
	})
}

func believed(t *testing.T, path string, b []byte, tail Tail, read func(string) (Tail, error)) {
	t.Helper()
	n := tail.Length
	if n < 0 || n > int64(len(b)) || tail.Cut != int64(len(b))-n || n > 0 && b[n-1] != '\n' {
		t.Fatalf("%+v of %d bytes", tail, len(b))
	}
	if err := os.WriteFile(path, b[:n], 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := read(path)
	if err != nil || again.Length != n || again.Cut != 0 || again.Last != tail.Last || !bytes.Equal(again.Event, tail.Event) {
		t.Fatalf("cut to %+v it gives %+v, %v", tail, again, err)
	}
}
