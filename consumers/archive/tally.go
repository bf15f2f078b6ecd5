package archive

import (
	"maps"
	"os"
	"slices"
	"time"

	"pvlog/consumers/filter"
	"pvlog/schema"
	"pvlog/streams"
)

// tally counts what became of a PV's samples since it was registered, over
// restarts (S7). A round writes what it changed to a file before it is
// acknowledged (D7), with the sequence that is acknowledged then: what comes
// again up to there has been counted. Only Run's goroutine changes tallies, with
// the lock of the PV's pvFiles held.
type tally struct {
	pv        schema.PVName
	created   int64 // of the registration, Unix nanoseconds
	stored    uint64
	duplicate uint64
	last      schema.Time              // of the newest sample that is counted as stored
	drops     map[filter.Reason]uint64 // nil until there is one
}

// tallies are those of all PVs that had samples.
type tallies struct {
	// owned by Run's goroutine
	changed map[*tally]struct{} // since the file was written
	upTo    uint64              // newest sequence whose samples have been counted
	path    string
	size    int64 // of the file, 0: it is written anew
	whole   int64 // its size when it was last written anew
	failing bool

	byPV map[schema.PVName]*tally // guarded by Archive.mu
}

// tallyOf gives the tally of a PV's registration. f is the PV's, locked.
func (a *Archive) tallyOf(f *pvFiles, info *schema.TypeInfo) *tally {
	created := info.Created.UnixNano()
	if f.tally != nil && f.tally.created == created {
		return f.tally
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tallies.byPV[info.PV]
	if t == nil || t.created != created {
		t = &tally{pv: info.PV, created: created}
		a.tallies.byPV[info.PV] = t
	}
	f.tally = t
	return t
}

// counted reports whether a message's drops and duplicates have been counted
// when it was taken before, by this process or an earlier one.
func (a *Archive) counted(m *streams.Message) bool { return m.Redelivered && m.Seq <= a.tallies.upTo }

// tallyDrop counts a drop. f is the PV's, locked; nil if it is not registered.
func (a *Archive) tallyDrop(f *pvFiles, m *streams.Message, reason filter.Reason) {
	if f != nil && f.tally != nil && !a.counted(m) {
		a.addDrops(f.tally, reason, 1)
	}
}

func (a *Archive) addDrops(t *tally, reason filter.Reason, n int) {
	if t.drops == nil {
		t.drops = make(map[filter.Reason]uint64, 1)
	}
	t.drops[reason] += uint64(n)
	a.tallies.changed[t] = struct{}{}
}

// clearDrops counts a PV's drops of a reason from 0 again: their cause is gone.
// The file knows it at once: there may be no round for long.
func (a *Archive) clearDrops(pv schema.PVName, reason filter.Reason) {
	a.clearTally(pv, reason)
	if len(a.tallies.changed) > 0 {
		a.keepTallies(a.tallies.upTo)
	}
}

// clearTally is that in memory. A tally that is in use is changed under its PV's
// lock, another one is replaced: somebody may be reading it.
func (a *Archive) clearTally(pv schema.PVName, reason filter.Reason) {
	if f := a.known(pv); f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.tally != nil {
			delete(f.tally.drops, reason)
			a.tallies.changed[f.tally] = struct{}{}
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.tallies.byPV[pv]
	if t == nil || t.drops[reason] == 0 {
		return
	}
	next := *t
	next.drops = maps.Clone(t.drops)
	delete(next.drops, reason)
	delete(a.tallies.changed, t)
	a.tallies.byPV[pv], a.tallies.changed[&next] = &next, struct{}{}
}

// tallyStored counts samples that are durable now, up to one of a time.
func (a *Archive) tallyStored(t *tally, n int, last schema.Time) {
	if t != nil {
		t.stored += uint64(n)
		t.last = last
		a.tallies.changed[t] = struct{}{}
	}
}

// tallySame counts a sample that is there already. One that an earlier process
// wrote, and could not count before it was killed, is counted now.
func (a *Archive) tallySame(f *pvFiles, m *streams.Message, at schema.Time) {
	switch {
	case f.tally == nil:
	case m.Redelivered && at.After(f.tally.last) && !at.After(f.inherited):
		a.tallyStored(f.tally, 1, at)
	case !a.counted(m):
		f.tally.duplicate++
		a.tallies.changed[f.tally] = struct{}{}
	}
}

// Status is what the archive has done for a PV since it was registered.
type Status struct {
	Stored    uint64            // samples made durable
	Duplicate uint64            // samples that were there already
	Dropped   uint64            // samples in the drop log
	Drops     map[string]uint64 // of them by reason; nil: none
	Last      schema.Time       // zero: none was seen since the archive was started
	Path      string            // of the newest partition, "" before the first flush since the start
	Bytes     int64             // its durable length
}

// Status tells how a PV fares; false if no sample of it was ever seen.
func (a *Archive) Status(pv schema.PVName) (Status, bool) {
	f, kept, ok := a.knownOrKept(pv)
	if f == nil {
		return kept, ok
	}
	if !f.lockSoon() {
		return kept, ok
	}
	defer f.mu.Unlock()
	s := f.tally.status()
	s.Last, s.Path, s.Bytes = f.last, f.file.path, f.file.length
	return s, true
}

// knownOrKept gives the state of a PV, or what earlier runs have counted of one
// that has none: nobody changes that while mu is held.
func (a *Archive) knownOrKept(pv schema.PVName) (f *pvFiles, kept Status, ok bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	t := a.tallies.byPV[pv]
	if f = a.pvs[pv]; f == nil {
		return nil, t.status(), t != nil
	}
	return f, Status{}, true
}

// status is the numbers of a tally, nil included.
func (t *tally) status() Status {
	if t == nil {
		return Status{}
	}
	s := Status{Stored: t.stored, Duplicate: t.duplicate}
	for reason, n := range t.drops {
		if s.Drops == nil {
			s.Drops = make(map[string]uint64, len(t.drops))
		}
		s.Drops[string(reason)] = n
		s.Dropped += n
	}
	return s
}

// keepTallies writes what has changed, before the acknowledgement of a
// sequence. Counters are not worth a stop: what cannot be written is told, and
// written later.
func (a *Archive) keepTallies(seq uint64) {
	s := &a.tallies
	err := a.writeTallies(seq)
	if err != nil {
		s.size = 0 // whatever is in the file now is replaced
		if !s.failing {
			a.log.Warn("the PVs' counters cannot be kept; trying again with the next round", "file", s.path, "err", err)
		}
	}
	s.failing = err != nil
}

func (a *Archive) writeTallies(seq uint64) error {
	s := &a.tallies
	if s.size == 0 || s.size > tallyFileMin && s.size > tallyFileGrowth*s.whole {
		a.mu.Lock()
		maps.DeleteFunc(s.byPV, func(pv schema.PVName, t *tally) bool {
			info, registered := a.opt.Registered(pv)
			return !registered || info.Created.UnixNano() != t.created
		})
		all := slices.Collect(maps.Values(s.byPV))
		a.mu.Unlock()
		n, err := replaceTallies(a.opt.FS, s.path, appendTallies(nil, all, seq))
		if err != nil {
			return err
		}
		s.size, s.whole = n, n
		clear(s.changed)
		return nil
	}
	n, err := appendToFile(a.opt.FS, s.path, appendTallies(nil, slices.Collect(maps.Keys(s.changed)), seq), s.size)
	if err != nil {
		return err
	}
	s.size += n
	clear(s.changed)
	return nil
}

// loadTallies takes over what earlier processes counted. A file that cannot be
// read costs the counters and nothing else.
func (a *Archive) loadTallies() {
	began := time.Now()
	list, seq, size, err := readTallies(a.tallies.path)
	if err != nil {
		a.log.Warn("the PVs' counters of earlier runs are lost", "file", a.tallies.path, "err", err)
		return
	}
	a.tallies.upTo, a.tallies.size, a.tallies.whole = seq, size, size
	if file, err := os.Stat(a.tallies.path); err != nil || file.Size() != size {
		a.tallies.size = 0 // what is torn must not stand behind what comes
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range list {
		a.tallies.byPV[t.pv] = t
	}
	a.log.Debug("counters read", "pvs", len(a.tallies.byPV), "seq", seq, "took", time.Since(began).String())
}
