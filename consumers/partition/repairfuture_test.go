package partition

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pvlog/schema"
)

// repairedUntil plans, builds and commits.
func repairedUntil(fsys FS, path string, latest schema.Time) (*Repair, error) {
	r, err := PlanRepairUntil(path, "", latest, nil)
	if err != nil || !r.Needed() {
		return r, err
	}
	if err := r.Build(fsys, "", ""); err != nil {
		return r, err
	}
	return r, r.Commit()
}

func TestRepairMovesTheFutureAside(t *testing.T) {
	header := doubleHeader()
	for name, test := range map[string]struct{ file, want, aside []byte }{
		"a poisoned end":             {doublesOf(1, 1, 2, 2, 99, 9), doublesOf(1, 1, 2, 2), doublesOf(99, 9)},
		"right samples behind it":    {doublesOf(1, 1, 99, 9, 2, 2, 3, 3), doublesOf(1, 1, 2, 2, 3, 3), doublesOf(99, 9)},
		"the last that may be stays": {doublesOf(1, 1, 5, 5, 6, 6), doublesOf(1, 1, 5, 5), doublesOf(6, 6)},
		"and a conflict":             {doublesOf(99, 9, 2, 2, 1, 1, 2, 3, 98, 8), doublesOf(1, 1, 2, 2), doublesOf(99, 9, 2, 3, 98, 8)},
		"and a torn end":             {join(doublesOf(1, 1, 99, 9), doublesOf(7, 7)[:5]), doublesOf(1, 1), doublesOf(99, 9)},
	} {
		t.Run(name, func(t *testing.T) {
			before := join(header, test.file)
			path := stand(t, before)
			r, err := repairedUntil(quickFS{}, path, at(5, 0))
			if err != nil || r.Whole || r.Side != path+".aside" || r.Backup != path+".bak" {
				t.Fatalf("%+v, %v", r, err)
			}
			if got := slurp(t, path); !bytes.Equal(got, join(header, test.want)) {
				t.Errorf("left %q, want %q", got, test.want)
			}
			if got := slurp(t, r.Side); !bytes.Equal(got, join(header, test.aside)) {
				t.Errorf("aside %q, want %q", got, test.aside)
			}
			if !bytes.Equal(slurp(t, r.Backup), before) || len(r.Left()) != 0 {
				t.Errorf("the backup differs, or %v is left", r.Left())
			}
			if again, err := repairedUntil(quickFS{}, path, at(5, 0)); err != nil || again.Needed() {
				t.Errorf("a second repair: %v, %v", again.Before.Problems, err)
			}
		})
	}
}

func TestAPartitionOfTheFutureIsSetAsideAsAWhole(t *testing.T) {
	before := join(doubleHeader(), doublesOf(98, 8, 99, 9), []byte("half"))
	for _, op := range []Op{OpRename, OpSync} {
		path := stand(t, before)
		fsys := NewFaultFS(OSFS{})
		fsys.Fail(Fault{Op: op, Err: syscall.EIO})
		r, err := repairedUntil(fsys, path, at(5, 0))
		if !errors.Is(err, syscall.EIO) || errors.Is(err, ErrReplaced) != (op == OpSync) {
			t.Errorf("%s: %v", op, err)
		}
		fsys.Heal()
		if op == OpRename {
			r, err = repairedUntil(fsys, path, at(5, 0))
		}
		if !r.Whole || r.SetAside != 2 || r.Backup != "" || !bytes.Equal(slurp(t, path+".aside"), before) {
			t.Errorf("%s: %+v, %v", op, r, err)
		}
		if _, err := repairedUntil(fsys, path, at(5, 0)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it is still there: %v", op, err)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("%s: %v, %v", op, entries, err)
		}
	}
	path := stand(t, join(doubleHeader(), AppendHeader(nil, Header{Type: schema.ScalarEnum, PV: "T:X", Year: year}), doublesOf(99, 9)))
	if r, err := repairedUntil(quickFS{}, path, at(5, 0)); err != nil || r.Whole || r.Refused == "" {
		t.Errorf("a file of two partitions: %+v, %v", r, err)
	}
}

func TestWithoutABoundNothingIsOfTheFuture(t *testing.T) {
	path := stand(t, join(doubleHeader(), doublesOf(1, 1, 99, 9)))
	if r := repaired(t, path); r.Needed() || r.Before.Problems[Future] != 0 {
		t.Errorf("%+v", r.Before.Problems)
	}
}
