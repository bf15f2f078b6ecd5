package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"pvlog/schema"
)

// Tail is the end of a file, as far as it is sound.
type Tail struct {
	Header Header
	Last   schema.Time // of the last good line; zero if there is none
	Event  []byte      // its message; nil if there is none
	Length int64       // bytes up to and including the last good line, or the header; 0 if that is not complete
	Lines  int         // good lines, -1 when only the end was read
	Cut    int64       // bytes beyond Length
	Begin  int64       // offset of the first line that was looked at by Check or CheckFrom
}

// ReadTail reads a file's end backward to the last line that parses. It is for
// a file that was closed well, at most with a torn last write: what is before
// that line is not looked at. Without a complete header line Length is 0; a
// first line that is no header is a *[CorruptError].
func ReadTail(path string) (tail Tail, err error) {
	p, err := openFile(path)
	if err != nil {
		return Tail{}, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	size, err := p.size()
	if err != nil {
		return Tail{}, err
	}
	tail = Tail{Header: p.header, Length: p.body, Lines: -1}
	if p.body == 0 {
		tail.Lines = 0
	} else if err := p.readBack(&tail, size); err != nil {
		return Tail{}, err
	}
	tail.Cut = max(0, size-tail.Length)
	return tail, nil
}

// readBack finds the last good line between the header and size.
func (p *partitionFile) readBack(tail *Tail, size int64) error {
	window := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(window)
	back := backscan{r: p.file, body: p.body, window: window[:]}
	end, err := back.newlineBefore(size)
	if err != nil {
		return fmt.Errorf("read the end of partition %s: %w", p.path, err)
	}
	blank := int64(0) // an empty line behind the one that is tried
	for end >= p.body {
		before, err := back.newlineBefore(end)
		if err != nil {
			return fmt.Errorf("read the end of partition %s: %w", p.path, err)
		}
		begin := before + 1
		line, healed, err := p.lineAt(&back, begin, end)
		if err == nil {
			tail.Last, tail.Event, tail.Length = line.Time, bytes.Clone(line.Event), end+1
			if healed {
				tail.Length += blank
			}
			return nil
		}
		if !errors.Is(err, ErrLine) && !errors.Is(err, io.EOF) {
			return err
		}
		blank = 0
		if begin == end {
			blank = 1
		}
		end = before
	}
	return nil
}

// lineAt parses the line in [begin, end), from the backward buffer if it is
// there: a tail of many short lines of garbage is not read again for each.
func (p *partitionFile) lineAt(back *backscan, begin, end int64) (Line, bool, error) {
	if begin >= back.off && end <= back.off+int64(len(back.buf)) {
		return p.parser.parse(back.buf[begin-back.off:end-back.off], begin)
	}
	p.scan.seek(begin)
	return p.next()
}

// backscan finds LFs from the end of a file to its begin.
type backscan struct {
	r      io.ReaderAt
	body   int64  // offset of the first line: the byte before it is an LF
	window []byte // memory for buf
	buf    []byte
	off    int64 // in the file, of buf[0]
}

// newlineBefore is the offset of the last LF below a limit; body - 1 is one.
func (b *backscan) newlineBefore(limit int64) (int64, error) {
	for limit > b.body {
		if limit <= b.off || limit > b.off+int64(len(b.buf)) {
			if err := b.load(limit); err != nil {
				return 0, err
			}
		}
		if i := bytes.LastIndexByte(b.buf[:limit-b.off], newline); i >= 0 {
			return b.off + int64(i), nil
		}
		limit = b.off
	}
	return b.body - 1, nil
}

// load buffers what ends at limit.
func (b *backscan) load(limit int64) error {
	begin := max(b.body, limit-int64(len(b.window)))
	b.buf, b.off = b.window[:limit-begin], begin
	n, err := b.r.ReadAt(b.buf, begin)
	if n == len(b.buf) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the file became shorter
	}
	return err
}

// Check reads a file forward to the first line that does not parse or is not
// later than the one before it: that is where its sound part ends.
func Check(path string) (Tail, error) { return CheckFrom(path, schema.Time{}) }

// CheckFrom is [Check] for a file whose samples before an instant are known to
// be durable: what is wrong there is no crash's doing and cutting there would
// lose what the log cannot give back, so the check begins at the last good line
// at or before the instant. Lines is -1 if it did not begin at the first.
func CheckFrom(path string, from schema.Time) (tail Tail, err error) {
	p, err := openFile(path)
	if err != nil {
		return Tail{}, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	size, err := p.size()
	if err != nil {
		return Tail{}, err
	}
	tail = Tail{Header: p.header, Length: p.body}
	if p.body > 0 {
		begin := p.body
		if !from.IsZero() {
			if begin, err = p.search(from); err != nil {
				return Tail{}, err
			}
		}
		tail.Begin = begin
		if err := p.check(&tail, begin); err != nil {
			return Tail{}, err
		}
	}
	tail.Cut = max(0, size-tail.Length)
	return tail, nil
}

// check extends the tail line by line from an offset on.
func (p *partitionFile) check(tail *Tail, begin int64) error {
	var last Line
	blank := false // the line before was healed: an empty one may follow
	p.scan.seek(begin)
	for {
		line, healed, err := p.next()
		corrupt, bad := errors.AsType[*CorruptError](err)
		if bad && blank && p.scan.offset() == corrupt.Offset+1 {
			blank, tail.Length = false, p.scan.offset()
			continue
		}
		if bad || errors.Is(err, io.EOF) || err == nil && !tail.Last.IsZero() && !line.Time.After(tail.Last) {
			break
		}
		if err != nil {
			return err
		}
		last, blank = line, healed
		tail.Last, tail.Length = line.Time, p.scan.offset()
		tail.Lines++
	}
	if begin != p.body {
		tail.Lines = -1
	}
	return p.keepLast(tail, last)
}

// keepLast reads the last good line once more: its bytes are gone by now.
func (p *partitionFile) keepLast(tail *Tail, last Line) error {
	if tail.Last.IsZero() {
		return nil
	}
	p.scan.seek(last.Offset)
	line, _, err := p.next()
	if err != nil {
		return err
	}
	tail.Event = bytes.Clone(line.Event)
	return nil
}
