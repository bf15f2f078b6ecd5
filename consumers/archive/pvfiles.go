package archive

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// pvFiles is what the archive knows of one PV's partitions. Its lock is the
// ownership of D16: whoever changes or reads the PV's buffers holds it.
type pvFiles struct {
	pv  schema.PVName
	key string // path below the store's root

	mu        sync.Mutex
	loaded    bool
	last      schema.Time // of the newest sample, in a buffer or on disk
	hasLast   bool
	inherited schema.Time  // newest on disk when that was read
	pending   []byte       // field records of discarded duplicates, for the next kept sample (D12)
	parts     []*unwritten // oldest partition first
	tally     *tally       // of its registration; nil before the first message
	spare     *unwritten   // written, for reuse
	file      openFile     // the partition that was written last
	slice     uint64       // the round that last wrote it; Run's goroutine's
}

// openFile is a partition file as far as the archive answers for it.
type openFile struct {
	start  int64 // of the partition; meaningless while path is ""
	path   string
	typ    schema.DBRType
	year   int
	length int64 // bytes that are durable; what is beyond is not believed
	last   schema.Time
	tried  bool // an append was begun whose bytes are not known to be durable
}

// unwritten is the samples of one PV and partition that are only in memory.
type unwritten struct {
	start       int64
	year        int
	typ         schema.DBRType
	lines       []byte // escaped, each with its LF
	refs        []ref
	first       uint64      // oldest sequence in SAMPLES that is needed to rebuild it
	begin, last schema.Time // of its samples
	again       bool        // its first sample was redelivered
	judged      judgement
}

// judgement is what the verdict on a sample depended on and its file does not
// tell: should that be unwritable, a replay of the drop must judge alike. It is
// the same for all samples of a part.
type judgement struct {
	driftPast, driftFuture time.Duration
	generation             uint64
}

func judgedBy(s *schema.RawSample) judgement {
	return judgement{s.DriftPast, s.DriftFuture, s.Generation}
}

// ref says where a buffered line stands and where it came from. There is one
// for each sample that waits, so it is small.
type ref struct {
	seq      uint64 // of the message in SAMPLES
	logged   int64  // time of that message, Unix nanoseconds
	received int64  // Unix nanoseconds
	offset   uint32 // of the line in lines
	index    uint16 // of the sample in its message
	first    bool   // since the channel connected
	again    bool   // redelivered: its drop may have been published before
}

// refSize is the bytes of a ref.
const refSize = int(unsafe.Sizeof(ref{}))

// The bounds of a part, so that its refs can count: a fuller one gets a
// sibling of the same partition.
const (
	partBytesMax = 1 << 30
	indexMax     = 1<<16 - 1
)

// load reads the PV's newest time from disk, before its first sample s at the
// given time is judged. Only the newest file can be torn: no round begins a
// partition before the one before it is durable.
func (a *Archive) load(f *pvFiles, s schema.RawSample, at schema.Time, redelivered bool) error {
	if f.loaded {
		return nil
	}
	// A sample that comes again may have been received long ago, and what is on
	// disk since: no later than now plus the window, or it is from the future.
	limit := schema.TimeOf(later(s.Received, time.Now()).Add(s.DriftFuture))
	from := at
	if at.After(limit) {
		from = schema.TimeOf(s.Received.Add(-s.DriftPast))
	}
	for i := range a.stores {
		if err := a.loadStore(f, i, limit, from, redelivered); err != nil {
			return err
		}
	}
	f.loaded = true
	return nil
}

// loadStore looks for the PV's newest time in the i-th store. What lies in a
// coarser one is mostly older, by the names of its files alone.
func (a *Archive) loadStore(f *pvFiles, i int, limit, from schema.Time, redelivered bool) error {
	s := a.stores[i]
	files, err := a.lister.List(s.Root, f.key, s.Granularity)
	if err != nil {
		return fmt.Errorf("list partitions of %s: %w", f.pv, err)
	}
	if len(files) == 0 { // a store whose mount is lost has none either
		return a.checkMark(i)
	}
	for _, file := range slices.Backward(files) {
		if f.hasLast && file.End <= f.last.Sec {
			return nil
		}
		done, err := a.loadFile(f, i, file, limit, from, redelivered)
		if err != nil || done {
			return err
		}
	}
	return nil
}

func later(t, u time.Time) time.Time {
	if t.After(u) {
		return t
	}
	return u
}

// loadFile takes the last time of one file as the PV's floor and reports
// whether it could: not from an empty file, nor from one whose last time lies
// beyond limit, which would turn every right sample into a drop (D1).
func (a *Archive) loadFile(f *pvFiles, store int, file partition.File, limit, from schema.Time, redelivered bool) (bool, error) {
	tail, err := a.tail(f, file.Path, from, redelivered)
	if err != nil {
		return false, err
	}
	if tail.Last.IsZero() {
		return false, nil
	}
	if tail.Last.After(limit) {
		a.foundFuture(f.pv, file.Path, tail.Last)
		return false, nil
	}
	if !f.hasLast || tail.Last.After(f.last) {
		f.last, f.hasLast, f.inherited = tail.Last, true, tail.Last
	}
	if store == 0 { // the others are not appended to
		f.file = fileOf(file.Path, file.Start, tail)
	}
	return true, nil
}

func fileOf(path string, start int64, tail partition.Tail) openFile {
	return openFile{start: start, path: path, typ: tail.Header.Type, year: tail.Header.Year, length: tail.Length, last: tail.Last, tried: true}
}

// tail reads the end of a file of the PV. After an unclean end a file whose
// samples are being redelivered is read forward from the first of them: a power
// cut can leave a good last line behind garbage, and the log gives back what
// stood behind that (D2). What is no partition at all is set aside.
func (a *Archive) tail(f *pvFiles, path string, from schema.Time, redelivered bool) (partition.Tail, error) {
	var tail partition.Tail
	var err error
	if a.unclean && redelivered {
		tail, err = partition.CheckFrom(path, from)
	} else {
		tail, err = partition.ReadTail(path)
	}
	if _, corrupt := errors.AsType[*partition.CorruptError](err); corrupt {
		a.appender.Release(path)
		aside, moved := partition.SetAside(a.opt.FS, path)
		if moved != nil {
			return partition.Tail{}, errors.Join(err, moved)
		}
		a.log.Error("a file in the place of a partition is none; it was set aside", "pv", string(f.pv), "partition", aside, "err", err)
		return partition.Tail{}, nil
	}
	if err != nil {
		return partition.Tail{}, fmt.Errorf("read the end of the partition: %w", err)
	}
	if tail.Length > 0 && tail.Header.PV != f.pv {
		return partition.Tail{}, fmt.Errorf("partition %s is of PV %s, not of %s: move it away", path, tail.Header.PV, f.pv)
	}
	if tail.Cut > 0 {
		a.log.Warn("a partition ends in lines that were not finished; it is cut there and the log gives the rest back",
			"pv", string(f.pv), "partition", path, "length", tail.Length, "cut", tail.Cut)
	}
	if a.unclean && redelivered {
		a.inherit(path, tail)
	}
	return tail, nil
}

// lookup finds what was written for the PV at an instant: in the buffers, then
// in the partition of that instant, in each store. What is not found in a store whose mount is
// lost is an error.
func (a *Archive) lookup(f *pvFiles, at schema.Time) (schema.Event, bool, error) {
	for _, p := range f.parts {
		if event, ok := p.find(at); ok {
			e, err := schema.ScanEvent(event)
			return e, err == nil, err
		}
	}
	for i := range a.stores {
		if e, found, err := a.lookupIn(i, f, at); err != nil || found {
			return e, found, err
		}
	}
	return schema.Event{}, false, nil
}

// lookupIn looks in the i-th store.
func (a *Archive) lookupIn(i int, f *pvFiles, at schema.Time) (schema.Event, bool, error) {
	s := a.stores[i]
	event, found, err := partition.Find(partition.Path(s.Root, f.key, s.Granularity, s.Granularity.Start(at)), at)
	if err == nil && !found {
		err = a.checkMark(i)
	}
	if err != nil || !found {
		return schema.Event{}, false, err
	}
	e, err := schema.ScanEvent(event)
	return e, err == nil, err
}

// find gives the unescaped event of an instant. Its samples ascend, so it is
// halved: a redelivery over a full buffer looks all of them up.
func (p *unwritten) find(at schema.Time) ([]byte, bool) {
	if p.begin.After(at) || at.After(p.last) {
		return nil, false
	}
	var event []byte
	low, high := 0, len(p.refs)
	for low < high {
		middle := low + (high-low)/2
		var err error
		if event, err = partition.AppendUnescaped(event[:0], p.line(middle)); err != nil {
			return nil, false // we escaped it ourselves
		}
		e, err := schema.ScanEvent(event)
		if err != nil {
			return nil, false // it was scanned before it was kept
		}
		switch e.Time(p.year).Compare(at) {
		case 0:
			return event, true
		case -1:
			low = middle + 1
		default:
			high = middle
		}
	}
	return nil, false
}

// size is the memory of the samples.
func (p *unwritten) size() int64 { return int64(len(p.lines) + refSize*len(p.refs)) }

// line is the escaped bytes of the i-th sample without its LF.
func (p *unwritten) line(i int) []byte {
	end := uint32(len(p.lines))
	if i+1 < len(p.refs) {
		end = p.refs[i+1].offset
	}
	return p.lines[p.refs[i].offset : end-1]
}

// keep buffers a sample that the filters let pass, with the field records that
// wait for it and some more, and gives the bytes that were added and whether it
// is the first that waits.
func (f *pvFiles) keep(g partition.Granularity, s *schema.RawSample, at schema.Time, m *streams.Message, index int, more []byte) (int, bool) {
	event := s.Event
	if len(f.pending)+len(more) > 0 {
		event = slices.Concat(event, f.pending, more)
		f.pending = nil
	}
	fresh := len(f.parts) == 0
	p := f.part(g.Start(at), s, at, m)
	p.first = min(p.first, m.First) // what comes again may have been refused at first
	before := len(p.lines)
	p.lines = partition.AppendLine(p.lines, event)
	p.refs = append(p.refs, ref{
		seq: m.Seq, index: uint16(min(index, indexMax)), logged: m.Time.UnixNano(),
		offset: uint32(before), received: s.Received.UnixNano(), first: s.First, again: m.Redelivered,
	})
	p.last = at
	f.last, f.hasLast = at, true
	return len(p.lines) - before + refSize, fresh
}

// part is the buffer of a partition, made if need be. Kept samples ascend, so
// it is the last one or a new one behind it.
func (f *pvFiles) part(start int64, s *schema.RawSample, at schema.Time, m *streams.Message) *unwritten {
	if n := len(f.parts); n > 0 {
		if p := f.parts[n-1]; p.start == start && p.typ == s.Type && p.judged == judgedBy(s) && len(p.lines) < partBytesMax {
			return p
		}
	}
	p := f.spare
	if p == nil {
		p = &unwritten{}
	}
	f.spare = nil
	*p = unwritten{start: start, year: s.Year, typ: s.Type, first: m.First, begin: at, again: m.Redelivered, judged: judgedBy(s), lines: p.lines[:0], refs: p.refs[:0]}
	f.parts = append(f.parts, p)
	return p
}

// drop makes the drop of the i-th buffered sample, when its file cannot be
// written.
func (p *unwritten) drop(pv schema.PVName, i int, reason filter.Reason, cause error) streams.Drop {
	event, err := partition.AppendUnescaped(nil, p.line(i))
	r := p.refs[i]
	d := streams.Drop{Reason: string(reason), Detail: cause.Error(), PV: pv, Redelivered: r.again,
		Position: streams.Position{Seq: r.seq, Index: int(r.index), Time: time.Unix(0, r.logged)}}
	if err == nil {
		d.Sample = &schema.RawSample{Type: p.typ, Registered: p.typ, Year: p.year, Received: time.Unix(0, r.received), First: r.first,
			DriftPast: p.judged.driftPast, DriftFuture: p.judged.driftFuture, Generation: p.judged.generation, Event: event}
	}
	return d
}
