package archive

import (
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Unwritten is one sample that is not yet in a file.
type Unwritten struct {
	Type  schema.DBRType
	Year  int
	Event []byte
}

// Tail gives the samples of a PV that are not yet known to be in a file, oldest
// first. Some may be in the file already: whoever reads both takes the tail
// first and then the files, and goes by time.
func (a *Archive) Tail(pv schema.PVName) []Unwritten {
	f := a.known(pv)
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var tail []Unwritten
	for _, p := range f.parts {
		for i := range p.refs {
			if event, err := partition.AppendUnescaped(nil, p.line(i)); err == nil {
				tail = append(tail, Unwritten{Type: p.typ, Year: p.year, Event: event})
			}
		}
	}
	return tail
}

// Status is what the archive has done for a PV since it was started.
type Status struct {
	Stored    uint64 // samples made durable
	Duplicate uint64 // samples that were there already
	Dropped   uint64 // samples in the drop log
	Last      schema.Time
	Path      string // of the newest partition, "" before the first flush
	Bytes     int64  // its durable length
}

// Status tells how a PV fares; false if no sample of it was seen yet.
func (a *Archive) Status(pv schema.PVName) (Status, bool) {
	f := a.known(pv)
	if f == nil {
		return Status{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Last, s.Path, s.Bytes = f.last, f.file.path, f.file.length
	return s, true
}
