package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// Rebuild says from what a PV's partitions are derived anew.
type Rebuild struct {
	Since, Until time.Time // when the log stored what must be in files; zero: no bound
	UpTo         uint64    // what was acknowledged of the log: it is in files
	LogStart     time.Time // when the oldest message was stored that the log has
	Write        bool      // what is missing is merged in; else it is only told
	// Log gives all messages of the PV, oldest first.
	Log func(each func(streams.Message) error) error
	// Dropped gives the positions of the PV's samples that stand in the drop log.
	Dropped func(each func(streams.Position) error) error
}

// Rebuilt is how a PV's files compare with what the log gives.
type Rebuilt struct {
	Replayed                // Added: missing, and merged in if that was asked for; There: equal; Differs: another sample
	Additional int          // samples in files that the log does not have
	Findings   []Difference // the first of what is not equal
}

// Difference is a place at which a file is not what the log gives.
type Difference struct {
	Kind   string // missing, differs or additional
	Time   schema.Time
	Path   string // of the file; "" if it is missing
	Offset int64  // of the line in it
}

// Bounds of a rebuild.
const (
	rebuildBytes = 256 << 20 // of what must be in files, in memory
	maxFindings  = 100
)

// Rebuild derives from the log what the PV's partitions must hold, by the
// verdicts that the archive gave, and compares. A sample must be in a file if
// the filters keep it, it was acknowledged and it does not stand in the drop log.
// A file's sample counts as additional only if it must have been received within
// the log's range. The error is a [schema.Invalid] for a range that is too large,
// and those of [Archive.Merge].
func (a *Archive) Rebuild(ctx context.Context, pv schema.PVName, o Rebuild) (Rebuilt, error) {
	info, registered := a.opt.Registered(pv)
	if !registered {
		return Rebuilt{}, schema.Errorf(schema.NotFound, "PV %s is not registered", pv)
	}
	r := rebuilding{a: a, info: info, order: o, dropped: map[streams.Position]bool{}, known: map[schema.Time]bool{}}
	err := o.Dropped(func(p streams.Position) error {
		r.dropped[streams.Position{Seq: p.Seq, Index: p.Index}] = true
		return nil
	})
	if err == nil {
		err = o.Log(r.take)
	}
	if err == nil {
		err = r.compare()
	}
	if err != nil || len(r.missing()) == 0 || !o.Write {
		return r.done, err
	}
	return r.done, r.write(ctx)
}

// rebuilding is one call of Rebuild.
type rebuilding struct {
	a     *Archive
	info  *schema.TypeInfo
	order Rebuild
	done  Rebuilt

	dropped map[streams.Position]bool
	known   map[schema.Time]bool // of all samples that the log has
	window  time.Duration        // widest future window of those
	last    schema.Time
	hasLast bool
	must    []Late // ascending
	found   []bool // of must: there is a sample in a file
	bytes   int
}

// take judges the samples of a message as the archive did.
func (r *rebuilding) take(m streams.Message) error {
	for i := range m.Samples {
		s := &m.Samples[i]
		event, err := schema.ScanEvent(s.Event)
		at := event.Time(s.Year)
		if err != nil || at.Year() != s.Year {
			continue
		}
		r.known[at], r.window = true, max(r.window, s.DriftFuture)
		if s.Generation < r.info.Generation || s.Type != r.info.DBRType {
			continue
		}
		if !filter.Judge(*s, at, r.last, r.hasLast).Keep() || r.dropped[streams.Position{Seq: m.Seq, Index: i}] {
			continue
		}
		r.last, r.hasLast = at, true
		if m.Seq > r.order.UpTo || m.Time.Before(r.order.Since) || !r.order.Until.IsZero() && m.Time.After(r.order.Until) {
			continue
		}
		r.must = append(r.must, Late{Type: s.Type, Time: at, Event: slices.Clone(s.Event)})
		if r.bytes += len(s.Event) + refSize; r.bytes > rebuildBytes {
			return schema.Errorf(schema.Invalid, "the log has more than %d MiB of samples of PV %s in this range: ask for less with since and until", rebuildBytes>>20, r.info.PV)
		}
	}
	return nil
}

// compare reads the files of the times that must be there.
func (r *rebuilding) compare() error {
	if len(r.must) == 0 {
		return nil
	}
	r.found = make([]bool, len(r.must))
	first, last := r.must[0].Time, r.must[len(r.must)-1].Time
	for i, store := range r.a.stores {
		files, err := partition.List(store.Root, r.info.ChunkKey, store.Granularity)
		if err == nil && len(files) == 0 {
			err = r.a.checkMark(i)
		}
		if err != nil {
			return fmt.Errorf("list partitions of %s: %w", r.info.PV, err)
		}
		for _, file := range files {
			if file.End <= first.Sec || file.Start > last.Sec {
				continue
			}
			if err := r.file(file.Path, first, last); err != nil {
				return err
			}
		}
	}
	for _, i := range r.missing() {
		r.done.Added++
		at := r.must[i].Time
		if r.done.First.IsZero() {
			r.done.First = at
		}
		r.done.Last = at
		r.find("missing", at, "", 0)
	}
	return nil
}

// file compares one file's samples from first to last. Lines that do not ascend
// are no samples.
func (r *rebuilding) file(path string, first, last schema.Time) (err error) {
	reader, err := partition.Open(path)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	if err := reader.Seek(first); err != nil {
		return err
	}
	var before schema.Time
	for {
		line, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if _, corrupt := errors.AsType[*partition.CorruptError](err); corrupt {
			continue
		}
		if err != nil {
			return err
		}
		if line.Time.After(last) {
			return nil
		}
		if first.After(line.Time) || !before.IsZero() && !line.Time.After(before) {
			continue
		}
		before = line.Time
		if err := r.line(path, line); err != nil {
			return err
		}
	}
}

func (r *rebuilding) line(path string, line partition.Line) error {
	i, must := slices.BinarySearchFunc(r.must, line.Time, func(l Late, at schema.Time) int { return l.Time.Compare(at) })
	if !must {
		inRange := line.Time.After(schema.TimeOf(r.order.LogStart.Add(r.window)))
		if inRange && !r.known[line.Time] {
			r.done.Additional++
			r.find("additional", line.Time, path, line.Offset)
		}
		return nil
	}
	r.found[i] = true
	outcome, err := partition.Compare(line.Event, r.must[i].Event)
	if err != nil {
		return err
	}
	if outcome == partition.There {
		r.done.There++
		return nil
	}
	r.done.Differs++
	r.find("differs", line.Time, path, line.Offset)
	return nil
}

func (r *rebuilding) find(kind string, at schema.Time, path string, offset int64) {
	if len(r.done.Findings) < maxFindings {
		r.done.Findings = append(r.done.Findings, Difference{Kind: kind, Time: at, Path: path, Offset: offset})
	}
}

// missing are the samples that are in no file.
func (r *rebuilding) missing() (list []int) {
	for i, found := range r.found {
		if !found {
			list = append(list, i)
		}
	}
	return list
}

// write merges in what is missing; what cannot be placed is told.
func (r *rebuilding) write(ctx context.Context) error {
	var late []Late
	for _, i := range r.missing() {
		late = append(late, r.must[i])
	}
	merging := replaying{a: r.a, ctx: ctx, info: r.info, late: late}
	err := merging.merge()
	placed := merging.done
	r.done.Added, r.done.First, r.done.Last = placed.Added, placed.First, placed.Last
	r.done.There += placed.There
	r.done.Differs += placed.Differs
	r.done.Refused, r.done.Why = placed.Refused, placed.Why
	return err
}
