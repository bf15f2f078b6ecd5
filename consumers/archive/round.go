package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
)

// How long the end of Run may drain, and wait for more, before it flushes, and
// how long the log's part in that flush may take.
const (
	drainTime = 10 * time.Second
	drainWait = 50 * time.Millisecond
	flushTime = 20 * time.Second
)

// spareMax is the largest buffer of lines, and of what is noted beside them,
// that is kept for reuse when it is written: at 100,000 PVs each has one.
const spareMax = 4 << 10

// written is one append of a round.
type written struct {
	f      *pvFiles
	part   *unwritten
	length int64 // of the file, once durable
}

// flush does rounds until nothing waits in memory. A round writes at most one
// partition per PV, so that no partition is begun before the one before it is
// durable: after a crash only a PV's newest file can be torn.
func (a *Archive) flush(ctx context.Context) error {
	for {
		if err := a.round(ctx); err != nil {
			return err
		}
		if len(a.dirty) == 0 {
			return nil
		}
	}
}

// round appends what waits, makes it durable and acknowledges it, in this
// order (D3). When it fails nothing is acknowledged and nothing forgotten: the
// next one cuts the files to their durable length and writes again.
func (a *Archive) round(ctx context.Context) error {
	started := time.Now()
	if err := a.checkStore(); err != nil {
		return err
	}
	appends, dirs, err := a.appendAll()
	if err != nil {
		return err
	}
	syncing := time.Now()
	if appends, err = a.makeDurable(ctx, appends, dirs); err != nil {
		return err
	}
	a.syncTook = time.Since(syncing)
	a.commit(appends)
	a.turned()
	if err := a.acknowledge(ctx); err != nil {
		return err
	}
	a.roundDone(started)
	return nil
}

// append writes a PV's oldest waiting partition. A fault of this file alone
// turns its samples into drops and is no error.
func (a *Archive) append(f *pvFiles) (written, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a.progress()
	if len(f.parts) == 0 {
		delete(a.dirty, f)
		return written{}, nil, nil
	}
	p := f.parts[0]
	length, dirs, err := a.appendPart(f, p)
	if err == nil {
		return written{f: f, part: p, length: length}, dirs, nil
	}
	err = fmt.Errorf("append %d samples of %s to %s: %w", len(p.refs), f.pv, f.file.path, err)
	if a.storeFault(f.file.path, err) {
		return written{}, dirs, err
	}
	a.rejectPart(f, p, err)
	return written{}, dirs, nil
}

func (a *Archive) appendPart(f *pvFiles, p *unwritten) (int64, []string, error) {
	if err := a.openPart(f, p); err != nil {
		return 0, nil, err
	}
	path, length, tried := f.file.path, f.file.length, f.file.tried
	f.file.tried = true
	var header []byte
	if length == 0 {
		header = partition.AppendHeader(nil, partition.Header{Type: p.typ, PV: f.pv, Year: p.year})
	}
	// Only this goroutine changes what is used here. Whoever reads the PV's
	// buffers does not wait for the disk.
	f.mu.Unlock()
	defer f.mu.Lock()
	if tried {
		// An earlier append may have left bytes here, or, after a failed sync,
		// only in the page cache: they are not believed.
		a.appender.Release(path)
		if err := partition.Truncate(a.opt.FS, path, length); err != nil {
			return 0, nil, err
		}
	}
	a.metrics.files.Inc()
	return a.appender.Append(path, header, p.lines, length)
}

// openPart makes f.file the file of the part, reading what is there already.
func (a *Archive) openPart(f *pvFiles, p *unwritten) error {
	if f.file.path == "" || f.file.start != p.start {
		path := partition.Path(a.opt.Store.Root, f.key, a.opt.Store.Granularity, p.start)
		a.appender.Release(f.file.path)
		tail, err := a.tail(f, path, p.begin, p.again)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.file = fileOf(path, p.start, tail)
	}
	switch {
	case f.file.length == 0:
		f.file.typ, f.file.year = p.typ, p.year
		return nil
	case f.file.year != p.year:
		return fmt.Errorf("the file counts from the year %d, the samples are of %d: move the file aside", f.file.year, p.year)
	case f.file.typ != p.typ:
		return fmt.Errorf("the file holds %v, the samples are %v: change the PV's type or move the file aside", f.file.typ, p.typ)
	case !f.file.last.IsZero() && !p.begin.After(f.file.last):
		return fmt.Errorf("the file ends at %v, the samples begin at %v: a time in the future stands in it: pvlog repair --future %s, then pvlog replay --pv %s --reason file", f.file.last, p.begin, f.pv, f.pv)
	}
	return nil
}

// rejectPart moves a partition's waiting samples to the drop log.
func (a *Archive) rejectPart(f *pvFiles, p *unwritten, cause error) {
	a.log.Error("a partition cannot be written; its samples go to the drop log", "pv", string(f.pv), "partition", f.file.path, "err", cause)
	for i := range p.refs {
		a.drops = append(a.drops, p.drop(f.pv, i, filter.File, cause))
		a.metrics.drops.WithLabelValues(string(filter.File)).Inc()
	}
	if f.tally != nil {
		a.addDrops(f.tally, filter.File, len(p.refs))
	}
	a.forget(f, p)
	a.appender.Release(f.file.path)
	f.file = openFile{}
	if len(f.parts) == 0 { // else the PV's last time is that of what still waits
		f.loaded, f.hasLast = false, false
	}
}

// makeDurable syncs what the round wrote and, if samples were dropped since
// the last round, the log that holds them (D6). It gives what is durable in
// files: all, but for files that were found to be damaged.
func (a *Archive) makeDurable(ctx context.Context, appends []written, dirs []string) (kept []written, err error) {
	if err := a.renew(); err != nil {
		return nil, err
	}
	single := a.singly
	if single {
		if appends, err = a.syncSingly(appends, dirs); err != nil {
			a.appender.Close()
			return nil, err
		}
	}
	if err := a.publishDrops(ctx); err != nil {
		return nil, err
	}
	if !single {
		if err := a.syncAll(appends, dirs); err != nil {
			return nil, err
		}
	}
	if !a.dropped {
		return appends, nil
	}
	if err := a.syncLog(); err != nil {
		return nil, fmt.Errorf("make the drop log durable: %w", err)
	}
	a.dropped = false
	return appends, nil
}

// syncAll makes all that the round wrote durable at once.
func (a *Archive) syncAll(appends []written, dirs []string) error {
	paths := make([]string, len(appends))
	for i, w := range appends {
		paths[i] = w.f.file.path
	}
	a.progress()
	if err := a.syncer.Sync(paths, dirs); err != nil {
		a.appender.Close()
		a.singly = errors.Is(err, syscall.EIO)
		return fmt.Errorf("make %d partitions durable: %w", len(paths), err)
	}
	a.inherited = nil
	return nil
}

// inherited is a part of a file that a killed process has left: its samples
// count as replays, and a sync of that process may have failed.
type inherited struct {
	path     string
	from, to int64
}

// inherit has what was found in a file made durable with the next round.
func (a *Archive) inherit(path string, tail partition.Tail) {
	if tail.Length == 0 {
		return
	}
	from := tail.Begin
	if tail.Lines >= 0 { // from the first line on: the header may be as young
		from = 0
	}
	a.inherited = append(a.inherited, inherited{path, from, tail.Length})
	a.syncer.Found(path)
}

func (a *Archive) renew() error {
	for _, p := range a.inherited {
		if err := partition.Renew(a.opt.FS, p.path, p.from, p.to); err != nil {
			return fmt.Errorf("write again what the last run left: %w", err)
		}
	}
	return nil
}

// commit takes over what is durable now and lets go of its buffers.
func (a *Archive) commit(appends []written) {
	for _, w := range appends {
		w.f.mu.Lock()
		w.f.file.length, w.f.file.tried = w.length, false
		w.f.file.last = w.part.last
		delete(a.strikes, w.f.file.path)
		a.metrics.stored.Add(float64(len(w.part.refs)))
		a.metrics.events.Add(float64(len(w.part.refs)))
		a.tallyStored(w.f.tally, len(w.part.refs), w.part.last)
		a.forget(w.f, w.part)
		w.f.mu.Unlock()
	}
}

// forget removes the PV's oldest part; its buffer is kept for the next one.
func (a *Archive) forget(f *pvFiles, p *unwritten) {
	a.buffered -= p.size()
	last := copy(f.parts, f.parts[1:])
	f.parts[last] = nil
	if f.parts = f.parts[:last]; last > 0 {
		return
	}
	delete(a.dirty, f)
	if cap(p.lines) <= spareMax && cap(p.refs)*refSize <= spareMax {
		f.spare = p
	}
}

// acknowledge moves the floor to the low-water mark: the last sequence before
// the oldest sample that is still only in memory. A consumer that cannot take
// it, because the log's server was restarted, must be reset: what is durable
// comes again and is known. Trying the same again would never end.
func (a *Archive) acknowledge(ctx context.Context) error {
	mark := a.taken
	for f := range a.dirty {
		mark = min(mark, f.parts[0].first-1)
	}
	if mark <= a.acked {
		return nil
	}
	a.keepTallies(mark)
	a.rest()
	defer a.progress()
	if err := a.opt.Source.Ack(ctx, mark); err != nil {
		a.lose(ctx, "acknowledge", err)
		return ctx.Err()
	}
	a.acked = mark
	a.metrics.lowWater.Set(float64(mark))
	return nil
}

func (a *Archive) roundDone(started time.Time) {
	a.lastRound = time.Now()
	a.roundTook = a.lastRound.Sub(started)
	a.unacked = int(a.taken - min(a.acked, a.taken))
	a.metrics.rounds.Observe(a.roundTook.Seconds())
	a.observe()
	a.mu.Lock()
	a.health.Round, a.health.Took, a.health.Acked = a.lastRound, a.roundTook, a.acked
	a.mu.Unlock()
}
