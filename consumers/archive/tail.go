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
// first and then the files, and goes by time. While the PV's own file does not
// answer there are none.
func (a *Archive) Tail(pv schema.PVName) []Unwritten {
	f := a.known(pv)
	if f == nil {
		return nil
	}
	if !f.lockSoon() {
		return nil
	}
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
