package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Bounds of what is merged at once.
const (
	mergeBytes   = 32 << 20
	mergeSamples = 100_000
)

// Moved is what became of the samples of a PV that went into another's files.
type Moved struct {
	Samples int
	Merged  int // put into the other's files
	There   int // they were there already
	Differs int // another sample stands at their instant: they were left out
	Waits   int // left out for a reason that may pass
	Why     error
}

// add counts what one Merge did.
func (m *Moved) add(done Merged) {
	for _, p := range done.Placed {
		m.Samples++
		switch p.Outcome {
		case partition.There:
			m.There++
		case partition.Differs:
			m.Differs++
		case partition.Waits:
			m.Waits++
			m.Why = p.Why
		default:
			m.Merged++
		}
	}
}

// MergeFrom merges all stored samples of a PV that is not sampled into the files
// of another registered one, as [Archive.Merge] does; from keeps its files. It
// may be repeated. With count only nothing is merged and the samples are counted.
func (a *Archive) MergeFrom(ctx context.Context, from, into schema.PVName, count bool) (Moved, error) {
	var moved Moved
	release, err := a.hold(from)
	if err != nil {
		return moved, err
	}
	defer release()
	asked, what := time.Now(), fmt.Sprintf("merge the data of %s into %s", from, into)
	var files []placed
	err = a.owning(ctx, what, func(ctx context.Context) error {
		if info, registered := a.opt.Registered(from); registered && info.State == schema.Archiving && !count {
			return schema.Errorf(schema.Conflict, "PV %s is being archived: pause it first", from)
		}
		if err := a.takeUntil(ctx, asked); err != nil {
			return err
		}
		files, err = a.placedFiles(from)
		return err
	})
	if err != nil {
		return moved, err
	}
	for _, file := range files {
		err := a.eachLate(ctx, file.Path, from, func(late []Late) error {
			if count {
				moved.Samples += len(late)
				return nil
			}
			done, err := a.Merge(ctx, into, late)
			if err == nil {
				moved.add(done)
			}
			return err
		})
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// eachLate gives the samples of a partition in portions. A line that cannot be
// read ends it: what is lost must not go unsaid.
func (a *Archive) eachLate(ctx context.Context, path string, pv schema.PVName, take func([]Late) error) error {
	r, err := partition.Open(path)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // was only read
	if r.Header().PV != pv {
		return schema.Errorf(schema.Conflict, "partition %s is of PV %s, not of %s: move it away", path, r.Header().PV, pv)
	}
	var late []Late
	size := 0
	for {
		line, err := r.Next()
		if err == nil {
			late = append(late, Late{Type: r.Header().Type, Time: line.Time, Event: append([]byte(nil), line.Event...)})
			size += len(line.Event)
		} else if !errors.Is(err, io.EOF) {
			return schema.Errorf(schema.Conflict, "%w: repair the file first (pvlog repair)", err)
		}
		if len(late) > 0 && (err != nil || size >= mergeBytes || len(late) >= mergeSamples) {
			if err := take(late); err != nil {
				return err
			}
			late, size = nil, 0
		}
		if err != nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// Retire moves the files of a PV that is not sampled to the trash, together with
// the event that ends its registration: commit, which is given the name of their
// folder. Which of both came first, a crash, a refusal and an event whose fate
// is not known do not matter: see [Archive.Convert].
func (a *Archive) Retire(ctx context.Context, pv schema.PVName, commit func(kept string) error) error {
	release, err := a.hold(pv)
	if err != nil {
		return err
	}
	defer release()
	asked := time.Now()
	return a.owning(ctx, fmt.Sprintf("move the data of %s to the trash", pv), func(ctx context.Context) error {
		info, registered := a.opt.Registered(pv)
		if !registered || info.State == schema.Archiving {
			return schema.Errorf(schema.Conflict, "PV %s is not paused: its data stay", pv)
		}
		if err := a.takeUntil(ctx, asked); err != nil {
			return err
		}
		files, err := a.placedFiles(pv)
		if err != nil {
			return err
		}
		s := &swap{PV: pv, Generation: info.Generation, Type: noType}
		if len(files) > 0 {
			s.Kept = asked.UTC().Format(trashLayout)
		}
		for _, f := range files {
			bin, err := keptPath(f.store, s.Kept, f.Path)
			if err != nil {
				return err
			}
			s.Moves = append(s.Moves, move{Place: f.Path, Kept: bin})
		}
		return a.carryOut(s, func() error { return commit(s.Kept) })
	})
}

// Unretire moves the files back that Retire moved to a folder of the trash. Files
// that are back are no error; a place that is taken is a [schema.Conflict].
func (a *Archive) Unretire(ctx context.Context, pv schema.PVName, kept string) error {
	release, err := a.hold(pv)
	if err != nil {
		return err
	}
	defer release()
	return a.owning(ctx, fmt.Sprintf("move the data of %s back from the trash", pv), func(ctx context.Context) error {
		if kept == "" {
			return nil
		}
		if err := a.flush(ctx); err != nil {
			return err
		}
		a.forgetPV(pv)
		for _, s := range a.stores {
			bin := filepath.Join(s.Root, trashName, kept)
			files, err := partition.List(bin, schema.ChunkKey(pv), s.Granularity)
			if err != nil {
				return err
			}
			for _, file := range files {
				taken, err := a.restoreFile(s.Root, bin, file.Path)
				if err != nil {
					return fmt.Errorf("move %s back from the trash: %w", file.Path, err)
				}
				if taken != "" {
					return schema.Errorf(schema.Conflict, "a file stands in the place of %s of the trash: move %s away", file.Path, taken)
				}
				removeEmpty(filepath.Dir(file.Path), filepath.Dir(bin))
			}
		}
		return nil
	})
}
