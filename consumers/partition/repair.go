package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pvlog/schema"
)

// Repair is a partition that is to be written anew without what is wrong with
// it: lines that do not parse are cut, samples are sorted in, exact duplicates
// dropped, and of several samples of one instant the first of the file stays and
// the others go to a side file. Every sample that was readable is readable after
// it, in the file or in the side file; the file as it was stays as a backup.
//
// The order is Plan, Build, Commit or Discard. Whoever calls Commit owns the
// partition (design D16); Plan and Build may run before that, and Commit refuses
// if the file has changed meanwhile.
type Repair struct {
	Path       string
	Before     Report
	HeaderFrom string // file whose header says what this one's should have been, "" if it has one
	Refused    string // why nothing can be done although something is wrong, "" if it can

	// What it does, known after Build, and of Sorted before.
	Sorted     int // samples moved to where their time belongs
	Duplicates int // samples dropped because they stand there already
	Recovered  int // samples that readers passed by
	Kept       int // samples in the file
	SetAside   int // samples in the side file
	Backup     string
	Side       string // "" if no sample went there
	// Whole says that every sample is one of the future: the file itself becomes
	// the side file, so it has no backup, and no partition is left.
	Whole bool

	fs     FS          // of Build
	latest schema.Time // later samples go to the side file; zero: there is no bound
	header Header
	head   []byte // the header line as it will stand
	body   int64  // offset of the first sample line
	strays []stray
	stat   os.FileInfo
	main   *Replacement
	beside []*Replacement // what is committed before main
}

// stray is a sample that is earlier than one before it in the file. They are
// all that Repair keeps in memory of a file.
type stray struct {
	at     schema.Time
	offset int64
	length int
}

// PlanRepair examines a file and finds what there is to do. see is told of each
// problem; root is as in [Examine].
func PlanRepair(path, root string, see func(Problem)) (*Repair, error) {
	return PlanRepairUntil(path, root, schema.Time{}, see)
}

// PlanRepairUntil is PlanRepair that also takes out what is later than latest:
// samples that a wrong clock has made (design D1). They go to the side file, in
// the order of the file; a partition of which nothing else would be left is set
// aside as a whole, by a rename. A zero latest is no bound.
func PlanRepairUntil(path, root string, latest schema.Time, see func(Problem)) (*Repair, error) {
	r := &Repair{Path: path, latest: latest}
	var err error
	if r.stat, err = os.Stat(path); err != nil {
		return nil, fmt.Errorf("repair partition: %w", err)
	}
	x := examination{report: Report{Path: path, Problems: map[Kind]int{}}, see: see, visit: r.note, latest: latest}
	r.Before, err = x.path(path, root)
	if err != nil {
		return nil, err
	}
	r.header, r.head, r.body, r.Refused = r.Before.Header, x.head, int64(len(x.head)), x.other
	if !r.Before.HasHeader && r.Before.Size > 0 {
		if err := r.guess(root); err != nil {
			return nil, err
		}
	}
	r.Sorted = len(r.strays)
	r.Whole = r.Refused == "" && r.Before.Samples > 0 && r.Before.Problems[Future] == r.Before.Samples
	slices.SortStableFunc(r.strays, func(a, b stray) int { return a.at.Compare(b.at) })
	return r, nil
}

// note remembers where samples are that are to be sorted in.
func (r *Repair) note(f readable, kind Kind) {
	if kind == Order {
		r.strays = append(r.strays, stray{f.line.Time, f.line.Offset, int(f.end - 1 - f.line.Offset)})
	}
}

// Needed reports whether there is something to do.
func (r *Repair) Needed() bool { return r.Refused == "" && r.Before.Repairable() }

// Changed reports whether the file is another than that which was planned for.
func (r *Repair) Changed() (bool, error) {
	now, err := os.Stat(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("repair partition: %w", err)
	}
	return !os.SameFile(now, r.stat) || now.Size() != r.stat.Size() || !now.ModTime().Equal(r.stat.ModTime()), nil
}

// ErrChanged says that a file has changed while something was made of it.
var ErrChanged = errors.New("the file has changed meanwhile")

// Commit puts what Build made in its place: first the side file and the backup,
// then the file. After an error the file is as it was, but for [ErrReplaced].
func (r *Repair) Commit() error {
	changed, err := r.Changed()
	if err == nil && changed {
		err = fmt.Errorf("repair partition %s: %w", r.Path, ErrChanged)
	}
	if err != nil {
		return errors.Join(err, r.Discard())
	}
	if r.Whole {
		return r.setAside()
	}
	for len(r.beside) > 0 {
		first := r.beside[0]
		r.beside = r.beside[1:]
		if err := first.Commit(); err != nil {
			return errors.Join(err, r.Discard())
		}
	}
	main := r.main
	r.main = nil
	return main.Commit()
}

// setAside gives the whole file the name of the side file.
func (r *Repair) setAside() error {
	if err := r.fs.Rename(r.Path, r.Side); err != nil {
		return fmt.Errorf("set partition aside: %w", err)
	}
	if err := SyncPath(r.fs, filepath.Dir(r.Path)); err != nil {
		return fmt.Errorf("set partition %s aside: %w: %w", r.Path, ErrReplaced, err)
	}
	return nil
}

// Discard takes back what Build made; the file stays as it was. What is in its
// place by now, a backup or side file, stays too: a later repair finds it.
func (r *Repair) Discard() error {
	var errs []error
	for _, made := range append(r.beside, r.main) {
		if made != nil {
			errs = append(errs, made.Discard())
		}
	}
	r.beside, r.main = nil, nil
	return errors.Join(errs...)
}

// RepairFile plans, builds and commits for a file that nobody else changes. Of a
// file that needs nothing, or of which nothing can be done, Kept is 0.
func RepairFile(fsys FS, path, root, backupDir string, see func(Problem)) (*Repair, error) {
	r, err := PlanRepair(path, root, see)
	if err != nil || !r.Needed() {
		return r, err
	}
	if err := r.Build(fsys, root, backupDir); err != nil {
		return r, err
	}
	return r, r.Commit()
}

// Left gives the problems that are still there after the repair.
func (r *Repair) Left() map[Kind]int {
	left := map[Kind]int{}
	if r.Whole {
		return left
	}
	for kind, n := range r.Before.Problems {
		if solved := kind.Repairable() || kind == NoHeader; !solved || !r.Needed() {
			left[kind] = n
		}
	}
	return left
}
