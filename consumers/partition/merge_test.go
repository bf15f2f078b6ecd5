package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pvlog/schema"
)

var waveHeader = Header{Type: schema.WaveformByte, PV: "R", Year: year}

// merged merges in one go and gives the new file's bytes.
func merged(t testing.TB, path string, length int64, late []Late) ([]byte, []Outcome) {
	t.Helper()
	m, err := PlanMerge(path, waveHeader, length, late)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.End(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := m.Write(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), m.Outcomes()
}

func wave(t schema.Time, value string) Late {
	return Late{t, schema.AppendBytes(schema.AppendHead(nil, t), []byte(value))}
}

// randomLate has samples at instants of the file's lines, the same and others,
// and between, before and after them, in no order and some twice.
func randomLate(rng *rand.Rand, lines []Line) []Late {
	var late []Late
	for range rng.IntN(30) {
		t := at(rng.Int64N(400), uint32(rng.IntN(3)))
		l := wave(t, fmt.Sprintf("late\n%d", rng.IntN(3)))
		if len(lines) > 0 && rng.IntN(3) == 0 {
			same := lines[rng.IntN(len(lines))]
			l = Late{same.Time, bytes.Clone(same.Event)}
			if rng.IntN(2) == 0 {
				l = wave(same.Time, "another value")
			}
		}
		late = append(late, l)
		if rng.IntN(4) == 0 {
			late = append(late, l)
		}
	}
	rng.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
	return late
}

// union is the oracle: the file's samples, and of the late ones the first of each
// free instant, sorted.
func union(lines []Line, late []Late) (all []string, outcomes []Outcome) {
	at := map[schema.Time][]byte{}
	for _, line := range lines {
		at[line.Time] = line.Event
	}
	for _, l := range late {
		there, taken := at[l.Time]
		outcome := Added
		if taken {
			outcome, _ = Compare(there, l.Event)
		} else {
			at[l.Time] = l.Event
		}
		outcomes = append(outcomes, outcome)
	}
	for t, event := range at {
		all = append(all, fmt.Sprintf("%020d.%09d %x", t.Sec, t.Nsec, event))
	}
	slices.Sort(all)
	return all, outcomes
}

func samplesOf(lines []Line) (all []string) {
	for _, line := range lines {
		all = append(all, fmt.Sprintf("%020d.%09d %x", line.Time.Sec, line.Time.Nsec, line.Event))
	}
	return all
}

// TestMergeIsTheSortOfTheUnion over random files, sound, damaged and torn: each
// line that was readable is, byte for byte, and the second merge changes nothing.
func TestMergeIsTheSortOfTheUnion(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(80) {
		rng := rand.New(rand.NewPCG(seed, 9))
		damage := rng.IntN(2) * rng.IntN(20)
		file := randomFile(rng, rng.IntN(60), 0, damage)
		path := filepath.Join(dir, fmt.Sprint(seed))
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		all, _ := readAll(t, path)
		lines := ascending(all)
		late := randomLate(rng, lines)
		content, outcomes := merged(t, path, -1, late)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		now, _ := readAll(t, path)
		want, decided := union(lines, late)
		// A damaged line may parse as one of another time and hide lines behind it.
		if damage == 0 && (!slices.Equal(samplesOf(now), want) || !slices.Equal(outcomes, decided)) {
			t.Fatalf("seed %d: %d samples, want %d; %v, want %v", seed, len(now), len(want), outcomes, decided)
		}
		within(t, seed, file, content)
		after := samplesOf(now)
		for _, line := range samplesOf(all) {
			if !slices.Contains(after, line) {
				t.Fatalf("seed %d: lost %s", seed, line)
			}
		}
		again, outcomes := merged(t, path, -1, late)
		if !bytes.Equal(again, content) || slices.Contains(outcomes, Added) {
			t.Fatalf("seed %d: the second merge changed something: %v", seed, outcomes)
		}
	}
}

// within checks that the old file's complete lines are in the new file, in order
// and with nothing but whole lines between.
func within(t *testing.T, seed uint64, old, now []byte) {
	t.Helper()
	old = old[:bytes.LastIndexByte(old, '\n')+1]
	for line := range bytes.Lines(old) {
		for {
			first, rest, found := bytes.Cut(now, []byte("\n"))
			if !found {
				t.Fatalf("seed %d: the line %x is gone or has moved", seed, line)
			}
			now = rest
			if bytes.Equal(first, bytes.TrimSuffix(line, []byte("\n"))) {
				break
			}
		}
	}
}

func TestAMergeKeepsHeaderDamageAndHealedLines(t *testing.T) {
	fields := []schema.FieldValue{{Name: "EGU", Val: "mm"}}
	header := AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "T:X", Year: year, ElementCount: 1, Fields: fields})
	one, nine := AppendLine(nil, double(at(1, 0), 1)), AppendLine(nil, double(at(9, 0), 9))
	lost := append(double(at(5, 0), 5), 4<<3, '\n', '\n') // a status of 10 as old writers left it
	damaged := []byte("damage\n")
	path := write(t, slices.Concat(header, one, damaged, lost, damaged, nine, []byte("torn")))
	late := []Late{
		{at(0, 0), double(at(0, 0), 0)}, {at(3, 0), double(at(3, 0), 3)}, {at(5, 0), double(at(5, 0), 5)},
		{at(6, 0), double(at(6, 0), 6)}, {at(9, 1), double(at(9, 1), 9.1)},
	}
	m, err := PlanMerge(path, Header{Type: schema.ScalarDouble, PV: "T:X", Year: year}, -1, late)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if err := m.End(); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := m.Write(context.Background(), &got); err != nil {
		t.Fatal(err)
	}
	line := func(i int) []byte { return AppendLine(nil, late[i].Event) }
	want := slices.Concat(header, line(0), one, damaged, line(1), lost, damaged, line(3), nine, line(4))
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("got  %q\nwant %q", got.Bytes(), want)
	}
	if want := []Outcome{Added, Added, Differs, Added, Added}; !slices.Equal(m.Outcomes(), want) { // its status is 10
		t.Errorf("%v, want %v", m.Outcomes(), want)
	}
}

// TestAMergeTakesInWhatIsAppendedMeanwhile writes the new file while the old one
// grows, with late samples among what comes.
func TestAMergeTakesInWhatIsAppendedMeanwhile(t *testing.T) {
	all := AppendHeader(nil, waveHeader)
	var ends []int
	for i := range int64(6) {
		all = AppendLine(all, wave(at(10*i, 0), strings.Repeat("v", int(i))).Event)
		ends = append(ends, len(all))
	}
	path := write(t, all[:ends[1]])
	late := []Late{wave(at(5, 0), "a"), wave(at(25, 0), "b"), wave(at(40, 0), "c"), wave(at(55, 0), "d")}
	m, err := PlanMerge(path, waveHeader, int64(ends[1]), late)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	var got bytes.Buffer
	for _, end := range []int{ends[1], ends[1], ends[3], ends[5]} {
		if err := os.WriteFile(path, all[:end], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.Extend(int64(end)); err != nil {
			t.Fatal(err)
		}
		if err := m.Write(context.Background(), &got); err != nil || !m.Changes() {
			t.Fatal(err, m.Changes())
		}
	}
	if err := errors.Join(m.End(), m.Write(context.Background(), &got)); err != nil {
		t.Fatal(err)
	}
	want, outcomes := merged(t, path, -1, late)
	if !bytes.Equal(got.Bytes(), want) || !slices.Equal(m.Outcomes(), outcomes) {
		t.Errorf("%v, %q\nwant %v, %q", m.Outcomes(), got.Bytes(), outcomes, want)
	}
	if err := m.Extend(3); err == nil {
		t.Error("a file that became shorter was taken in")
	}
	if still, err := m.Still(); !still || err != nil {
		t.Errorf("%v, %v", still, err)
	}
	if err := replaceWithNew(OSFS{}, path); err != nil {
		t.Fatal(err)
	}
	if still, err := m.Still(); still || err != nil {
		t.Errorf("replaced: %v, %v", still, err)
	}
}

func TestAMergeIntoNoFileMakesOne(t *testing.T) {
	late := []Late{wave(at(2, 0), "b"), wave(at(1, 0), "a")}
	want := AppendHeader(nil, waveHeader)
	want = AppendLine(AppendLine(want, late[1].Event), late[0].Event)
	for name, path := range map[string]string{"absent": filepath.Join(t.TempDir(), "X"), "empty": write(t, nil), "zeros": write(t, make([]byte, 9))} {
		got, outcomes := merged(t, path, -1, late)
		if !bytes.Equal(got, want) || !slices.Equal(outcomes, []Outcome{Added, Added}) {
			t.Errorf("%s: %q, %v", name, got, outcomes)
		}
	}
}

func TestAMergeOfWhatDoesNotBelongTogetherIsRefused(t *testing.T) {
	path := write(t, AppendLine(doubleHeader(), double(at(1, 0), 1)))
	for name, c := range map[string]struct {
		header Header
		length int64
		at     schema.Time
	}{
		"PV":         {Header{Type: schema.ScalarDouble, PV: "T:Y", Year: year}, -1, at(3, 0)},
		"type":       {Header{Type: schema.ScalarInt, PV: "T:X", Year: year}, -1, at(3, 0)},
		"year":       {Header{Type: schema.ScalarDouble, PV: "T:X", Year: year + 1}, -1, schema.Time{Sec: schema.YearStart(year + 1)}},
		"late year":  {Header{Type: schema.ScalarDouble, PV: "T:X", Year: year}, -1, schema.Time{Sec: schema.YearStart(year + 1)}},
		"lost bytes": {Header{Type: schema.ScalarDouble, PV: "T:X", Year: year}, 1000, at(3, 0)},
	} {
		if _, err := PlanMerge(path, c.header, c.length, []Late{{c.at, double(c.at, 1)}}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := PlanMerge(write(t, []byte("garbage\n")), waveHeader, -1, nil); err == nil {
		t.Error("garbage was taken for a partition")
	}
}

// FuzzMerge merges into any bytes: it gives an error, or a file in which what
// was readable is, the late samples are, and to which another merge adds nothing.
func FuzzMerge(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 10 {
		file := randomFile(rng, 10, 10, 20)
		f.Add(file[:min(len(file), 4000)], uint16(3), uint16(7))
	}
	f.Fuzz(func(t *testing.T, file []byte, a, b uint16) {
		path := write(t, file)
		late := []Late{wave(at(int64(a), 0), "a"), wave(at(int64(b), 1), "b")}
		m, err := PlanMerge(path, waveHeader, -1, late)
		if err != nil {
			return
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		var before []Line
		if m.p != nil {
			before, _ = readAll(t, path)
		}
		content, outcomes := merged(t, path, -1, late)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		after, _ := readAll(t, path)
		added := 0
		for _, outcome := range outcomes {
			if outcome == Added {
				added++
			}
		}
		if len(after) != len(before)+added {
			t.Fatalf("%d lines, %d added, %d now", len(before), added, len(after))
		}
	})
}
