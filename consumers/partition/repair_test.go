package partition

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pvlog/schema"
)

// quickFS makes nothing durable: most tests are not about that.
type quickFS struct{ OSFS }

func (q quickFS) OpenFile(path string, flag int, perm os.FileMode) (Handle, error) {
	h, err := q.OSFS.OpenFile(path, flag, perm)
	return quickHandle{h}, err
}

type quickHandle struct{ Handle }

func (quickHandle) Sync() error { return nil }

// repaired repairs a file.
func repaired(t testing.TB, path string) *Repair {
	t.Helper()
	r, err := RepairFile(quickFS{}, path, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func slurp(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// told is a sample as a reader gives it: its time and its message.
func told(lines []Line) (all []string) {
	for _, l := range lines {
		all = append(all, fmt.Sprintf("%v %x", l.Time, l.Event))
	}
	return all
}

// readables gives all samples of a file as a reader gives them.
func readables(t testing.TB, path string) []string {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		return nil
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	lines, _ := readAllCloned(t, path)
	return told(lines)
}

func readAllCloned(t testing.TB, path string) (lines []Line, corrupt []*CorruptError) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for {
		line, err := r.Next()
		if bad, ok := errors.AsType[*CorruptError](err); ok {
			corrupt = append(corrupt, bad)
			continue
		}
		if err != nil {
			return lines, corrupt
		}
		line.Event = bytes.Clone(line.Event)
		lines = append(lines, line)
	}
}

// lawful checks what every repair promises, and that a second one does nothing.
func lawful(t testing.TB, path string, before []byte, r *Repair, had []string) {
	t.Helper()
	after := slurp(t, path)
	if !r.Needed() {
		if !bytes.Equal(before, after) {
			t.Fatal("a file that needs nothing was changed")
		}
		return
	}
	if !bytes.Equal(slurp(t, r.Backup), before) {
		t.Fatal("the backup is not what the file was")
	}
	kept, corrupt := readAllCloned(t, path)
	if len(corrupt) > 0 || len(kept) != r.Kept {
		t.Fatalf("%d samples, %d kept, %v", len(kept), r.Kept, corrupt)
	}
	for i := 1; i < len(kept); i++ {
		if !kept[i].Time.After(kept[i-1].Time) {
			t.Fatalf("%v after %v", kept[i].Time, kept[i-1].Time)
		}
	}
	has := told(kept)
	if r.Side != "" {
		aside := readables(t, r.Side)
		if len(aside) != r.SetAside || r.SetAside == 0 {
			t.Fatalf("%d samples in the side file, %d set aside", len(aside), r.SetAside)
		}
		has = append(has, aside...)
	}
	for _, sample := range had {
		if !slices.Contains(has, sample) && !plainRepeat(sample, has) {
			t.Fatalf("lost %s", sample)
		}
	}
	again, err := RepairFile(quickFS{}, path, "", "", nil)
	if err != nil || again.Needed() || !bytes.Equal(slurp(t, path), after) {
		t.Fatalf("a second repair: %v, %v", again.Before.Problems, err)
	}
}

// plainRepeat reports whether a sample without fields of its own stands there
// with the same time, value, severity and status, written otherwise.
func plainRepeat(sample string, has []string) bool {
	time, message, _ := strings.Cut(sample, " ")
	e := scanned(message)
	return len(e.Fields) == 0 && slices.ContainsFunc(has, func(other string) bool {
		t, m, _ := strings.Cut(other, " ")
		return t == time && scanned(m).Same(e)
	})
}

func scanned(hex string) schema.Event {
	var b []byte
	_, _ = fmt.Sscanf(hex, "%x", &b)
	e, _ := schema.ScanEvent(b)
	return e
}

func TestRepairKeepsEverySampleThatCanBeRead(t *testing.T) {
	for name, test := range damagedFiles() {
		t.Run(name, func(t *testing.T) {
			path := stand(t, test.file)
			had := readables(t, path)
			r := repaired(t, path)
			needed := false
			for kind := range test.want {
				needed = needed || kind.Repairable()
			}
			if name == "joined with another" || test.want[NoHeader] > 0 {
				if r.Refused == "" {
					t.Error("it was not refused")
				}
				needed = false
			}
			if r.Needed() != needed {
				t.Errorf("needed %v, want %v", r.Needed(), needed)
			}
			lawful(t, path, test.file, r, had)
		})
	}
}

func TestRepairSortsDropsAndSetsAside(t *testing.T) {
	file := join(doubleHeader(), doublesOf(1, 1, 5, 5), []byte("rubbish\n"), doublesOf(3, 3, 2, 2, 5, 5, 3, 3, 2, 9, 7, 7), make([]byte, 99), doublesOf(8, 8), doublesOf(9, 9)[:7])
	path := stand(t, file)
	r := repaired(t, path)
	if r.Sorted != 4 || r.Duplicates != 2 || r.SetAside != 1 || r.Kept != 6 || r.Recovered != 1 {
		t.Errorf("sorted %d, duplicates %d, aside %d, kept %d, recovered %d", r.Sorted, r.Duplicates, r.SetAside, r.Kept, r.Recovered)
	}
	if want := join(doubleHeader(), doublesOf(1, 1, 2, 2, 3, 3, 5, 5, 7, 7, 8, 8)); !bytes.Equal(slurp(t, path), want) {
		t.Errorf("%q, want %q", slurp(t, path), want)
	}
	if want := join(doubleHeader(), doublesOf(2, 9)); !bytes.Equal(slurp(t, path+".aside"), want) || r.Side != path+".aside" {
		t.Errorf("side file %s: %q, want %q", r.Side, slurp(t, path+".aside"), want)
	}
	if !bytes.Equal(slurp(t, path+".bak"), file) {
		t.Error("the backup differs")
	}
	files, err := List(filepath.Dir(filepath.Dir(path)), "T/X:", PartitionYear)
	if err != nil || len(files) != 1 {
		t.Errorf("partitions %v, %v: what is kept beside one is none", files, err)
	}
}

func TestRepairKeepsBackupsApart(t *testing.T) {
	dir := t.TempDir()
	path := standAt(t, filepath.Join(dir, "sts", "T", "X:2026.pb"), join(doubleHeader(), doublesOf(2, 2, 1, 1)))
	backups := filepath.Join(dir, "backups")
	for n, want := range []string{"T/X:2026.pb", "T/X:2026.pb1"} {
		before := slurp(t, path)
		r, err := RepairFile(OSFS{}, path, filepath.Join(dir, "sts"), backups, nil)
		if err != nil || r.Backup != filepath.Join(backups, want) || !bytes.Equal(slurp(t, r.Backup), before) {
			t.Fatalf("repair %d: backup %s, %v", n, r.Backup, err)
		}
		standAt(t, path, join(slurp(t, path), doublesOf(1, 1)))
	}
}

func TestRepairFindsALostHeader(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "T")
	enum := Header{Type: schema.ScalarEnum, PV: "T:X", Year: year}
	standAt(t, filepath.Join(dir, "X:2026_01_02.pb"), AppendHeader(nil, enum))
	standAt(t, filepath.Join(dir, "X:2025_12_31.pb"), AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "T:X", Year: year - 1}))
	standAt(t, filepath.Join(dir, "XY:2026_01_01.pb"), AppendHeader(nil, Header{Type: schema.ScalarDouble, PV: "T:XY", Year: year}))
	for name, begin := range map[string][]byte{
		"zeros instead":    append(make([]byte, 20), newline),
		"garbage":          []byte("\x08\x07garbage\n"),
		"gone":             nil,
		"zeros and no end": make([]byte, 30),
	} {
		t.Run(name, func(t *testing.T) {
			before := join(begin, doublesOf(1, 1, 3, 3, 2, 2))
			path := standAt(t, filepath.Join(dir, "X:2026_01_01.pb"), before)
			r := repaired(t, path)
			if want := join(doubleHeader(), doublesOf(1, 1, 2, 2, 3, 3)); !bytes.Equal(slurp(t, path), want) {
				t.Errorf("%q, want %q (%+v)", slurp(t, path), want, r)
			}
			if r.HeaderFrom != filepath.Join(dir, "X:2025_12_31.pb") {
				t.Errorf("header from %q", r.HeaderFrom)
			}
			lawful(t, path, before, r, nil)
		})
	}
}

// TestRepairWithAFaultLeavesTheFile lets each step of a repair fail in turn.
func TestRepairWithAFaultLeavesTheFile(t *testing.T) {
	before := join(doubleHeader(), doublesOf(2, 2, 1, 1, 2, 3))
	want := join(doubleHeader(), doublesOf(1, 1, 2, 2))
	for _, op := range []Op{OpOpen, OpWrite, OpTruncate, OpSync, OpRename} {
		failed := 0
		for skip := 0; ; skip++ {
			path := stand(t, before)
			fsys := NewFaultFS(OSFS{})
			fsys.Fail(Fault{Op: op, Skip: skip, Err: syscall.ENOSPC})
			_, err := RepairFile(fsys, path, "", "", nil)
			if err == nil {
				break
			}
			failed++
			if got := slurp(t, path); !bytes.Equal(got, before) && !(errors.Is(err, ErrReplaced) && bytes.Equal(got, want)) {
				t.Fatalf("%s %d: %v, and the file is %q", op, skip, err, got)
			}
			fsys.Heal()
			if _, err := RepairFile(fsys, path, "", "", nil); err != nil || !bytes.Equal(slurp(t, path), want) {
				t.Fatalf("%s %d: once more: %v, %q", op, skip, err, slurp(t, path))
			}
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil || len(entries) > 3 {
				t.Fatalf("%s %d: %v, %v", op, skip, entries, err)
			}
		}
		if failed == 0 {
			t.Errorf("no step %s was made to fail", op)
		}
	}
}

func TestRepairRefusesAFileThatGrew(t *testing.T) {
	path := stand(t, join(doubleHeader(), doublesOf(2, 2, 1, 1)))
	r, err := PlanRepair(path, "", nil)
	if err == nil {
		err = r.Build(OSFS{}, "", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	grown := join(slurp(t, path), doublesOf(3, 3))
	standAt(t, path, grown)
	if err := r.Commit(); !errors.Is(err, ErrChanged) {
		t.Errorf("%v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 || !bytes.Equal(slurp(t, path), grown) {
		t.Errorf("%v, %v: the file must be alone and as it was", entries, err)
	}
}

// TestRepairOfRandomDamage breaks random files in random ways.
func TestRepairOfRandomDamage(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 7))
		file := randomFile(rng, 1+rng.IntN(60), rng.IntN(12), rng.IntN(6))
		for range rng.IntN(5) {
			i := len(doubleHeader()) + rng.IntN(max(1, len(file)-len(doubleHeader())))
			switch rng.IntN(4) {
			case 0:
				file[min(i, len(file)-1)] ^= 1 << rng.IntN(8)
			case 1:
				file = insert(file, min(i, len(file)), make([]byte, rng.IntN(40)))
			case 2:
				file = file[:min(i, len(file))]
			case 3:
				file = join(file, file[min(i, len(file)):])
			}
		}
		path := stand(t, file)
		had := readables(t, path)
		r := repaired(t, path)
		lawful(t, path, file, r, had)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzRepair(f *testing.F) {
	for _, test := range damagedFiles() {
		f.Add(test.file)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := stand(t, b)
		had := readables(t, path)
		lawful(t, path, b, repaired(t, path), had)
	})
}
