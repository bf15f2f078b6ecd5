package partition

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"pvlog/schema"
)

// stand writes bytes as the partition of T:X in 2026, below a new root.
func stand(t testing.TB, b []byte) string {
	t.Helper()
	return standAt(t, filepath.Join(t.TempDir(), "T", "X:2026.pb"), b)
}

func standAt(t testing.TB, path string, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// examined gives the report of a file and its problems.
func examined(t testing.TB, path string) (Report, []Problem) {
	t.Helper()
	var problems []Problem
	report, err := Examine(path, "", func(p Problem) { problems = append(problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	if report.Total() != len(problems) {
		t.Errorf("the report counts %d problems, %d were told", report.Total(), len(problems))
	}
	return report, problems
}

// lines of the test PV: second, value.
func doublesOf(pairs ...float64) (b []byte) {
	for i := 0; i < len(pairs); i += 2 {
		b = AppendLine(b, double(at(int64(pairs[i]), 0), pairs[i+1]))
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// lostLF10 is a sample with a status of 10 as old writers left it.
func lostLF10(sec int64) []byte {
	m := schema.AppendAlarm(double(at(sec, 0), 1), 2, 10)
	return append(appendEscaped(nil, m[:len(m)-1]), newline, newline)
}

// damagedFiles are files with every kind of damage that a file's bytes can have.
// readable is the number of samples that a reader gives.
func damagedFiles() map[string]struct {
	file     []byte
	readable int
	want     map[Kind]int
} {
	head, good := doubleHeader(), doublesOf(1, 1, 2, 2, 3, 3)
	otherYear := AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "T:X", Year: year - 1})
	short := AppendLine(nil, schema.AppendSint(schema.AppendHead(nil, at(9, 0)), 5))
	withField := AppendLine(nil, schema.AppendField(double(at(3, 0), 3), "EGU", "mm"))
	badField := AppendLine(nil, append(double(at(4, 0), 4), 7<<3|2, 2, 1<<3|2, 0))
	nextYear := AppendLine(nil, schema.AppendDouble(schema.AppendHeadIn(nil, at(366*86400, 0), newYear), 1))
	rawCR := append(double(at(13, 0), 4), newline)
	return map[string]struct {
		file     []byte
		readable int
		want     map[Kind]int
	}{
		"sound":                   {join(head, good), 3, nil},
		"no sample":               {head, 0, nil},
		"empty":                   {nil, 0, map[Kind]int{Empty: 1}},
		"part of a header":        {head[:7], 0, map[Kind]int{NoHeader: 1}},
		"garbage":                 {[]byte("no partition\nat all\n"), 0, map[Kind]int{NoHeader: 1}},
		"zeros":                   {make([]byte, 4096), 0, map[Kind]int{NoHeader: 1}},
		"torn tail":               {join(head, good, doublesOf(4, 4)[:9]), 3, map[Kind]int{Torn: 1}},
		"torn tail that parses":   {join(head, good, double(at(4, 0), 4)), 3, map[Kind]int{Torn: 1}},
		"zeros at the end":        {join(head, good, make([]byte, 5000)), 3, map[Kind]int{Zeros: 1}},
		"zeros before a sample":   {join(head, make([]byte, 700), good), 2, map[Kind]int{Zeros: 1}},
		"zeros as a line":         {join(head, make([]byte, 70), []byte{newline}, good), 3, map[Kind]int{Zeros: 1}},
		"lost LF":                 {join(head, good, lostLF10(4), doublesOf(5, 5)), 5, map[Kind]int{LostLF: 1}},
		"lost LF at the end":      {join(head, good, lostLF10(4)), 4, map[Kind]int{LostLF: 1}},
		"garbage between":         {join(head, good, []byte("garbage\n"), doublesOf(4, 4)), 4, map[Kind]int{BadLine: 1}},
		"empty line":              {join(head, good, []byte{newline}, doublesOf(4, 4)), 4, map[Kind]int{BadLine: 1}},
		"another type":            {join(head, good, short, doublesOf(10, 4)), 4, map[Kind]int{WrongType: 1}},
		"order":                   {join(head, doublesOf(1, 1, 3, 3, 2, 2, 4, 4)), 4, map[Kind]int{Order: 1}},
		"duplicate":               {join(head, good, doublesOf(3, 3, 4, 4)), 4 + 1, map[Kind]int{Duplicate: 1}},
		"conflict":                {join(head, good, doublesOf(3, 9, 4, 4)), 4 + 1, map[Kind]int{Conflict: 1}},
		"repeated with a field":   {join(head, good, withField), 4, map[Kind]int{Conflict: 1}},
		"joined":                  {join(head, good, head, doublesOf(4, 4)), 4, map[Kind]int{Joined: 1}},
		"joined with another":     {join(head, good, otherYear, doublesOf(4, 4)), 4, map[Kind]int{Joined: 1}},
		"another year":            {join(head, good, nextYear), 4, map[Kind]int{Outside: 1}},
		"nanoseconds":             {join(head, good, AppendLine(nil, double(at(4, 2e9), 4))), 4, map[Kind]int{BadTime: 1}},
		"a field without a value": {join(head, good, badField), 4, map[Kind]int{BadValue: 1}},
		"bare CR":                 {join(head, good, rawCR), 4, map[Kind]int{BadEscape: 1}},
	}
}

func TestExamineNamesWhatIsWrong(t *testing.T) {
	for name, test := range damagedFiles() {
		t.Run(name, func(t *testing.T) {
			report, problems := examined(t, stand(t, test.file))
			if !maps.Equal(report.Problems, nonNil(test.want)) {
				t.Errorf("%v, want %v: %+v", report.Problems, test.want, problems)
			}
			hidden := 0
			if name == "zeros before a sample" {
				hidden = 1
			}
			if report.Samples != test.readable+hidden {
				t.Errorf("%d samples, want %d", report.Samples, test.readable+hidden)
			}
			if report.Size != int64(len(test.file)) || report.Sound() != (len(test.want) == 0) {
				t.Errorf("%d bytes, sound %v", report.Size, report.Sound())
			}
		})
	}
}

func nonNil(m map[Kind]int) map[Kind]int {
	if m == nil {
		return map[Kind]int{}
	}
	return m
}

// TestExamineSaysWhere requires that the bytes at each problem's offset are
// those of the line that it numbers.
func TestExamineSaysWhere(t *testing.T) {
	file := join(doubleHeader(), doublesOf(1, 1), []byte("garbage\n"), doublesOf(2, 2, 2, 3), lostLF10(4), doublesOf(3, 3), doublesOf(5, 5)[:5])
	_, problems := examined(t, stand(t, file))
	want := []struct {
		kind   Kind
		line   int
		begins []byte
	}{
		{BadLine, 3, []byte("garbage\n")}, {Conflict, 5, doublesOf(2, 3)}, {LostLF, 6, lostLF10(4)},
		{Order, 8, doublesOf(3, 3)}, {Torn, 9, doublesOf(5, 5)[:5]},
	}
	if len(problems) != len(want) {
		t.Fatalf("%+v", problems)
	}
	for i, w := range want {
		p := problems[i]
		if p.Kind != w.kind || p.Line != w.line || !bytes.HasPrefix(file[p.Offset:], w.begins) {
			t.Errorf("%+v, want %s in line %d", p, w.kind, w.line)
		}
		if p.Text == "" {
			t.Errorf("%+v says nothing", p)
		}
	}
}

func TestExamineJudgesNames(t *testing.T) {
	file := join(doubleHeader(), doublesOf(1, 1))
	tests := map[string]struct {
		path, root string
		want       map[Kind]int
	}{
		"year":                   {"T/X:2026.pb", "", nil},
		"hour":                   {"T/X:2026_01_01_00.pb", "", nil},
		"below its root":         {"T/X:2026.pb", ".", nil},
		"below another root":     {"old/T/X:2026.pb", ".", map[Kind]int{WrongPath: 1}},
		"deep is fine unrooted":  {"old/T/X:2026.pb", "", nil},
		"no time":                {"T/X.pb", "", map[Kind]int{WrongName: 1}},
		"no date":                {"T/X:2026_13.pb", "", map[Kind]int{WrongName: 1}},
		"no begin of a span":     {"T/X:2026_01_01_00_07.pb", "", map[Kind]int{WrongName: 1}},
		"other extension":        {"T/X:2026.dat", "", map[Kind]int{WrongName: 1}},
		"other PV":               {"T/Y:2026.pb", "", map[Kind]int{WrongPath: 1}},
		"other terminator":       {"T/X_2026.pb", "", map[Kind]int{WrongPath: 1}},
		"other year":             {"T/X:2025.pb", "", map[Kind]int{WrongYear: 1, Outside: 1}},
		"sample of another hour": {"T/X:2026_01_01_07.pb", "", map[Kind]int{Outside: 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root := test.root
			if root != "" {
				root = dir
			}
			report, err := Examine(standAt(t, filepath.Join(dir, test.path), file), root, nil)
			if err != nil || !maps.Equal(report.Problems, nonNil(test.want)) {
				t.Errorf("%v, %v, want %v", report.Problems, err, test.want)
			}
		})
	}
}

// TestExamineTakesTheAppliancesFilesForSound reads files that the Java Appliance
// wrote. Their names are not those they had in its store.
func TestExamineTakesTheAppliancesFilesForSound(t *testing.T) {
	for _, path := range goldenFiles(t) {
		if filepath.Base(filepath.Dir(path)) != "pb" {
			continue
		}
		report, problems := examined(t, path)
		if !maps.Equal(report.Problems, map[Kind]int{WrongName: 1}) || report.Samples == 0 {
			t.Errorf("%s: %d samples, %+v", path, report.Samples, problems)
		}
	}
}

// TestExamineTellsAnswersFromPartitions takes bodies of getData.raw for what
// they are: headers and samples in turn, an empty line between them.
func TestExamineTellsAnswersFromPartitions(t *testing.T) {
	for _, path := range goldenFiles(t) {
		if filepath.Base(filepath.Dir(path)) == "pb" {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		chunks := readChunks(t, content)
		report, _ := examined(t, path)
		switch {
		case len(chunks) == 0:
			if report.Problems[Empty] != 1 {
				t.Errorf("%s: %v", path, report.Problems)
			}
		case report.Problems[Joined] != len(chunks)-1:
			t.Errorf("%s: %v for %d chunks", path, report.Problems, len(chunks))
		}
	}
}

// FuzzExamine requires that the samples of a report are
// those that a reader gives, and those behind zeros.
func FuzzExamine(f *testing.F) {
	for _, test := range damagedFiles() {
		f.Add(test.file)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := stand(t, b)
		report, problems := examined(t, path)
		if !report.HasHeader {
			if len(problems) != 1 || report.Samples != 0 {
				t.Fatalf("%+v", problems)
			}
			return
		}
		lines, _ := readAll(t, path)
		behind := 0
		for _, p := range problems {
			if p.Kind == Zeros && bytes.Contains([]byte(p.Text), []byte(passedBy)) {
				behind++
			}
		}
		if report.Samples != len(lines)+behind {
			t.Fatalf("%d samples, a reader gives %d and %d stand behind zeros", report.Samples, len(lines), behind)
		}
		tail, err := Check(path)
		if err != nil {
			t.Fatal(err)
		}
		ofBytes := 0
		for kind, n := range report.Problems {
			if kind.Repairable() && kind != LostLF && kind != BadEscape {
				ofBytes += n
			}
		}
		if (tail.Cut == 0) != (ofBytes == 0) {
			t.Fatalf("recovery would cut %d bytes, %v", tail.Cut, report.Problems)
		}
	})
}

func BenchmarkExamine(b *testing.B) {
	file := doubleHeader()
	const n = 200_000
	for i := range n {
		file = AppendLine(file, double(at(int64(i+1), uint32(i)*3000), float64(i)/3))
	}
	path := stand(b, file)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		report, err := Examine(path, "", nil)
		if err != nil || report.Samples != n {
			b.Fatal(report.Samples, err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "lines/s")
}
