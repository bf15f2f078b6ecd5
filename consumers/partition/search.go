package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"pvlog/schema"
)

// Distances below which the rest is read at once and halved in memory, and
// below which reading on is cheaper than halving.
const (
	memorySpan = firstRead
	linearSpan = 128
)

// search gives the offset of the last line at or before an instant, else of the
// first line. It halves the bytes of the file and finds a line's begin behind
// the next LF; what does not parse is passed by. Where lines are found out of
// order it reads the file from its begin instead, and goes by the lines that
// are later than all before them.
func (p *partitionFile) search(at schema.Time) (int64, error) {
	size, err := p.size()
	if err != nil {
		return 0, err
	}
	p.scan.seek(p.body)
	first, ok, err := p.good(size)
	if !ok || err != nil || first.Time.After(at) {
		return p.body, err
	}
	s := halving{p: p, at: at, low: first.Offset, lowTime: first.Time, high: size}
	ordered, err := s.narrow()
	if err != nil {
		return 0, err
	}
	if ordered {
		offset, ordered, err := p.lastBefore(s.low, at)
		if ordered || err != nil {
			return offset, err
		}
	}
	offset, _, err := p.lastBefore(p.body, at)
	return offset, err
}

// halving is a binary search over byte offsets. The line at low is at or before
// the instant; no line that begins at high or behind is.
type halving struct {
	p         *partitionFile
	at        schema.Time
	low, high int64
	lowTime   schema.Time // of the line at low
	highTime  schema.Time // of the first good line behind high, zero if there is none
}

// narrow halves until the rest is quickly read; false if it met a line that is
// out of order.
func (s *halving) narrow() (ordered bool, err error) {
	for inMemory := false; s.high-s.low > linearSpan; {
		if !inMemory && s.high-s.low <= memorySpan {
			s.p.scan.jump(s.low)
			if _, err := s.p.scan.next(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLong) {
				return false, fmt.Errorf("read partition %s at byte %d: %w", s.p.path, s.low, err)
			}
			inMemory = true
		}
		middle := s.low + (s.high-s.low)/2
		line, ok, err := s.p.lineFrom(middle, s.high)
		if err != nil {
			return false, err
		}
		if !ok { // a line longer than half the rest, or damage
			s.high = middle
			continue
		}
		if !line.Time.After(s.lowTime) || !s.highTime.IsZero() && !s.highTime.After(line.Time) {
			return false, nil
		}
		if line.Time.After(s.at) {
			s.high, s.highTime = middle, line.Time
		} else {
			s.low, s.lowTime = line.Offset, line.Time
		}
	}
	return true, nil
}

// lineFrom gives the first good line that begins in [from, limit).
func (p *partitionFile) lineFrom(from, limit int64) (Line, bool, error) {
	p.scan.seek(from - 1)
	ok, err := p.scan.resync(limit)
	if err != nil {
		return Line{}, false, fmt.Errorf("read partition %s at byte %d: %w", p.path, from, err)
	}
	if !ok {
		return Line{}, false, nil
	}
	return p.good(limit)
}

// lastBefore reads from an offset on to the last line at or before an instant
// and gives its offset, or where it began. Lines that are not later than all
// before them are passed by and reported.
func (p *partitionFile) lastBefore(from int64, at schema.Time) (offset int64, ordered bool, err error) {
	offset, ordered = from, true
	var last schema.Time
	p.scan.seek(from)
	for {
		line, ok, err := p.good(1 << 62)
		if err != nil || !ok {
			return offset, ordered, err
		}
		if !last.IsZero() && !line.Time.After(last) {
			ordered = false
			continue
		}
		if line.Time.After(at) {
			return offset, ordered, nil
		}
		last, offset = line.Time, line.Offset
	}
}

// Find gives the event at exactly an instant; found is false if there is none,
// or no file. Lines that are not later than all before them are no samples and
// not found. The event is the caller's.
func Find(path string, at schema.Time) (event []byte, found bool, err error) {
	p, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if p.body == 0 {
		return nil, false, nil
	}
	offset, err := p.search(at)
	if err != nil {
		return nil, false, err
	}
	p.scan.seek(offset)
	line, ok, err := p.good(1 << 62)
	if err != nil || !ok || line.Time != at {
		return nil, false, err
	}
	return bytes.Clone(line.Event), true, nil
}
