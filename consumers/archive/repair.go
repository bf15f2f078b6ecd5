package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Checked is one partition that Verify has read.
type Checked struct {
	Store    string
	Report   partition.Report
	Problems []partition.Problem // the first of them
}

// Verify reads all partitions of a PV in all stores and changes none; it takes
// nothing that is being written for damage. At most limit problems of each file
// are given. The error is a [schema.Unavailable] for a store that cannot be read.
func (a *Archive) Verify(ctx context.Context, pv schema.PVName, limit int) ([]Checked, error) {
	var checked []Checked
	for _, s := range a.stores {
		files, err := partition.List(s.Root, schema.ChunkKey(pv), s.Granularity)
		if err != nil {
			return nil, schema.Errorf(schema.Unavailable, "verify the partitions of %s: %w", pv, err)
		}
		for _, file := range files {
			if err := ctx.Err(); err != nil {
				return nil, schema.Errorf(schema.Unavailable, "verify the partitions of %s: it was ended: %w", pv, err)
			}
			report, problems, err := partition.Verify(file.Path, s.Root, limit)
			if errors.Is(err, fs.ErrNotExist) {
				continue // moved meanwhile
			}
			if err != nil {
				report.Problems = map[partition.Kind]int{partition.Unreadable: 1}
				problems = []partition.Problem{{Kind: partition.Unreadable, Text: err.Error()}}
			}
			checked = append(checked, Checked{Store: s.Name, Report: report, Problems: problems})
		}
	}
	return checked, nil
}

// repairTries is how often a repair begins anew because samples came; then what
// is shorter than repairHeld bytes is repaired while the log waits.
const (
	repairTries = 3
	repairHeld  = 8 << 20
)

// RepairOptions say what a repair does.
type RepairOptions struct {
	DryRun bool // it changes nothing and says what it would do
	// Latest is the latest time that a sample of the PV can have: now and its
	// window. What is later is moved aside (D1). Zero leaves it where it stands.
	Latest schema.Time
}

// Repair takes out of all partitions of a PV what [partition.Repair] can, and
// gives what it did, or would do, with each. A file whose header no
// longer is one is not among them. With Latest no partition ends in the future
// after it, and [Archive.Futures] has none of its files. What waits for the PV is written before; the
// new files are built aside, in the caller's goroutine, and put in place by the
// archive's own. The error is a [schema.Conflict] while the PV's files are copied
// or moved, or when its samples come too fast for a large file, and
// [schema.Unavailable] if the archive has ended or cannot write now. What was
// repaired until then is.
func (a *Archive) Repair(ctx context.Context, pv schema.PVName, o RepairOptions) ([]*partition.Repair, error) {
	release, err := a.hold(pv)
	if err != nil {
		return nil, err
	}
	defer release()
	r := repairing{a: a, pv: pv, RepairOptions: o, what: fmt.Sprintf("repair the files of %s", pv)}
	var done []*partition.Repair
	for _, s := range a.stores {
		files, err := partition.List(s.Root, schema.ChunkKey(pv), s.Granularity)
		if err != nil {
			return done, r.fault(err)
		}
		for _, file := range files {
			one, err := r.file(ctx, s.Root, file.Path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return done, r.fault(err)
			}
			done = append(done, one)
		}
	}
	return done, nil
}

// repairing is one call of Repair.
type repairing struct {
	RepairOptions
	a    *Archive
	pv   schema.PVName
	what string
}

func (r *repairing) file(ctx context.Context, root, path string) (*partition.Repair, error) {
	for range repairTries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.a.owning(ctx, r.what, r.flush); err != nil {
			return nil, err
		}
		one, err := r.plan(path, root)
		if err != nil || r.DryRun || !one.Needed() {
			return one, err
		}
		if err := r.room(root, one); err != nil {
			return nil, err
		}
		if err := one.Build(r.a.opt.FS, root, ""); err != nil {
			if errors.Is(err, partition.ErrChanged) {
				continue
			}
			return nil, err
		}
		err = r.a.owning(ctx, r.what, func(ctx context.Context) error { return r.commit(ctx, one) })
		if err == nil || !errors.Is(err, partition.ErrChanged) {
			return one, errors.Join(err, one.Discard())
		}
	}
	var one *partition.Repair
	err := r.a.owning(ctx, r.what, func(ctx context.Context) (err error) {
		one, err = r.held(ctx, root, path)
		return err
	})
	return one, err
}

// plan plans for one file. One in which nothing is later than Latest is no longer
// told to end in the future: so many minutes ahead may be right.
func (r *repairing) plan(path, root string) (*partition.Repair, error) {
	one, err := partition.PlanRepairUntil(path, root, r.Latest, nil)
	if err == nil && !r.DryRun && !r.Latest.IsZero() && one.Before.HasHeader && one.Before.Problems[partition.Future] == 0 {
		r.a.noFuture(path)
	}
	return one, err
}

// held repairs a file that grows faster than it can be built aside. It runs in
// Run's goroutine.
func (r *repairing) held(ctx context.Context, root, path string) (*partition.Repair, error) {
	if err := r.flush(ctx); err != nil {
		return nil, err
	}
	one, err := r.plan(path, root)
	if err != nil || !one.Needed() {
		return one, err
	}
	if one.Before.Size > repairHeld && !one.Whole {
		return nil, schema.Errorf(schema.Conflict, "%s: samples keep coming to %s: pause the PV first", r.what, path)
	}
	if err := one.Build(r.a.opt.FS, root, ""); err != nil {
		return nil, err
	}
	return one, r.commit(ctx, one)
}

// flush writes what waits for the PV. It runs in Run's goroutine. While the log
// gives back what an unclean end has cost, files are left to recovery: it cuts
// them where the damage begins, and what stood behind comes again.
func (r *repairing) flush(context.Context) error {
	if r.a.recovering || r.a.taking.IsZero() {
		return schema.Errorf(schema.Unavailable, "%s: the archive still takes in what the last run had left: try again in a moment", r.what)
	}
	if f := r.a.known(r.pv); f != nil {
		return r.a.flushPV(f)
	}
	return r.a.checkStore()
}

// commit puts a repaired file in its place and lets go of what was known of the
// old one, so that it is read from the disk when the next sample comes. It runs in
// Run's goroutine.
func (r *repairing) commit(ctx context.Context, one *partition.Repair) error {
	if err := r.flush(ctx); err != nil {
		return errors.Join(err, one.Discard())
	}
	f := r.a.known(r.pv)
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	r.a.appender.Release(one.Path)
	err := one.Commit()
	if err != nil && !errors.Is(err, partition.ErrReplaced) {
		return err
	}
	if f != nil {
		f.reread()
	}
	if !r.Latest.IsZero() {
		r.a.noFuture(one.Path)
	}
	return err
}

// reread lets what is known of the PV's files be read from the disk when the next
// sample comes; nothing may wait. f is locked.
func (f *pvFiles) reread() {
	f.loaded, f.hasLast, f.last, f.inherited, f.file = false, false, schema.Time{}, schema.Time{}, openFile{}
}

// room refuses a repair that would fill the store: it needs the file and its
// backup once more, unless it is only renamed.
func (r *repairing) room(root string, one *partition.Repair) error {
	if one.Whole {
		return nil
	}
	size := one.Before.Size
	free, err := freeBytes(root)
	if err != nil {
		return err
	}
	if free < 2*size+copySpare {
		return fmt.Errorf("it needs %d bytes and %s has %d free: %w", 2*size, root, free, syscall.ENOSPC)
	}
	return nil
}

// fault words a failure for whoever asked.
func (r *repairing) fault(err error) error { return worded(r.what, "", err) }
