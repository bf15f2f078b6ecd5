package archive

import (
	"context"
	"fmt"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Late is a sample for a partition that is written already: of the drop log, of
// the raw log, or of another PV's files.
type Late struct {
	Type  schema.DBRType
	Time  schema.Time
	Event []byte // EPICSEvent message, its seconds counted from the year of Time
}

// Placed is what became of a late sample.
type Placed struct {
	Outcome partition.Outcome // Waits: it is not in a file, and Why says why not
	Reason  string            // of Why, as of a drop: type, nanos, damaged, too_new or file
	Why     error
}

// Merged is what Merge did.
type Merged struct {
	Placed []Placed // of each sample, in the order they were given
	Files  int      // partitions that were written anew, or made
	Bytes  int64    // of them
}

// Count is how many samples had an outcome.
func (m Merged) Count(o partition.Outcome) int {
	n := 0
	for _, p := range m.Placed {
		if p.Outcome == o {
			n++
		}
	}
	return n
}

// mergeSettle is how much older than what the archive has taken a sample must
// be to become its PV's newest: what is on its way may be older still, and would
// come too late for its file.
const mergeSettle = 10 * time.Second

// mergeTries is how often a file that grows faster than it is written anew is
// begun again before what is left is done while the log waits; mergeLeft is how
// much that may be.
const (
	mergeTries = 5
	mergeLeft  = 4 << 20
)

// Merge puts late samples of a registered PV, in any order, into its partitions:
// each into the tier whose files cover its time, so that files stay in order. A
// sample that stands there already with the same value, severity and status is
// [partition.There]; at the instant of another one it is [partition.Differs] and
// left out. It is idempotent, and when it returns, what it says is in files is
// durable, even if an earlier process wrote it.
//
// A sample of a type that is not the PV's, with illegal nanoseconds, or so new
// that samples on their way would come too late for their file, is left out with
// a reason; so is one whose file cannot be written, and the others are placed.
// The error is a [schema.NotFound] for a PV that is not registered, a
// [schema.Conflict] while its files are being copied or moved, and
// [schema.Unavailable] if the archive has ended, still takes in what the last
// run had left, or cannot write now: what was placed until then stays, and the
// same call again changes nothing of it.
//
// Files are written aside, by the caller's goroutine; the archive's own only
// puts them in place.
func (a *Archive) Merge(ctx context.Context, pv schema.PVName, late []Late) (Merged, error) {
	return a.merge(ctx, pv, late, false)
}

// merge is Merge, or with dry finds what it would do.
func (a *Archive) merge(ctx context.Context, pv schema.PVName, late []Late, dry bool) (Merged, error) {
	release, err := a.hold(pv)
	if err != nil {
		return Merged{}, err
	}
	defer release()
	m := merging{a: a, pv: pv, late: late, dry: dry, what: fmt.Sprintf("merge %d samples into the files of %s", len(late), pv)}
	m.done.Placed = make([]Placed, len(late))
	err = m.run(ctx)
	return m.done, m.fault(err)
}

// merging is one call of Merge.
type merging struct {
	a    *Archive
	pv   schema.PVName
	late []Late
	what string
	dry  bool
	done Merged

	info  *schema.TypeInfo
	f     *pvFiles
	floor schema.Time // the PV's newest sample; zero: none
	until schema.Time // newer than the floor is allowed up to here
}

func (m *merging) run(ctx context.Context) error {
	if err := m.a.owning(ctx, m.what, m.look); err != nil {
		return err
	}
	targets, err := m.targets()
	if err != nil {
		return err
	}
	for _, t := range targets {
		err := m.mergeInto(ctx, t)
		if err == nil {
			continue
		}
		if schema.CodeOf(err) == schema.Unavailable || ctx.Err() != nil || m.a.storeFault("", err) {
			return err
		}
		m.refuse(t.late, err)
	}
	return nil
}

// look takes what is known of the PV, after what waits for it was written. It
// runs in Run's goroutine.
func (m *merging) look(context.Context) error {
	a := m.a
	info, registered := a.opt.Registered(m.pv)
	if !registered {
		return schema.Errorf(schema.NotFound, "PV %s is not registered: archive it first", m.pv)
	}
	if a.recovering || a.taking.IsZero() {
		return schema.Errorf(schema.Unavailable, "%s: the archive still takes in what the last run had left: try again in a moment", m.what)
	}
	m.info, m.f = info, a.files(info.PV, info.ChunkKey)
	if err := a.flushPV(m.f); err != nil {
		return err
	}
	m.until = schema.TimeOf(a.taking.Add(-mergeSettle))
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	a.tallyOf(m.f, info)
	if m.f.hasLast {
		m.floor = m.f.last
	}
	return nil
}

// refuse leaves samples out for a reason.
func (m *merging) refuse(late []int, why error) {
	for _, i := range late {
		if p := &m.done.Placed[i]; p.Outcome == partition.Waits && p.Why == nil {
			p.Reason, p.Why = reasonFile, why
		}
	}
}

// fault words a failure for whoever asked.
func (m *merging) fault(err error) error {
	told := worded(m.what, "", err)
	if schema.CodeOf(told) == schema.Internal && err != nil && m.a.storeFault("", err) {
		return schema.Errorf(schema.Unavailable, "%s: the store fails: %w", m.what, err)
	}
	return told
}

// flushPV writes what waits for one PV and makes it durable; the log is told
// with the next round. It runs in Run's goroutine. After an error the next round
// writes again what this one tried.
func (a *Archive) flushPV(f *pvFiles) error {
	if err := a.checkStore(); err != nil {
		return err
	}
	for {
		w, dirs, err := a.append(f)
		if err != nil {
			return err
		}
		if w.part != nil {
			if err := a.syncUp(w.f.file.path, a.opt.Store.Root, dirs); err != nil {
				a.appender.Release(w.f.file.path)
				return err
			}
			a.commit([]written{w})
		}
		if _, more := a.dirty[f]; !more {
			return nil
		}
	}
}

// syncUp makes a file and the entries of the folders above it, up to the store's
// root, durable: an earlier process may have made them.
func (a *Archive) syncUp(path, root string, dirs []string) error {
	for _, p := range append(foldersUp(path, root), dirs...) {
		if err := partition.SyncPath(a.opt.FS, p); err != nil {
			return err
		}
	}
	return nil
}
