package partition

import (
	"errors"
	"fmt"
	"io"
	"os"

	"pvlog/schema"
)

// partitionFile is an open file whose header was read.
type partitionFile struct {
	file   *os.File
	path   string
	header Header
	body   int64 // offset of the first sample line; 0 while the header is not complete
	scan   scanner
	parser parser
}

// errNoHeader says that a file has no complete header line: it was made, and
// what was written to it is not, or not fully, there.
var errNoHeader = fmt.Errorf("no complete header line: %w", io.EOF)

// openFile opens a partition and reads its header. A file without any LF is
// given with body 0, one whose first line is no header is a CorruptError.
func openFile(path string) (*partitionFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open partition: %w", err)
	}
	p := &partitionFile{file: file, path: path, scan: newScanner(file)}
	if err := p.readHeader(); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// readHeader leaves body at 0 and gives io.EOF if there is no LF.
func (p *partitionFile) readHeader() error {
	line, err := p.scan.next()
	if errors.Is(err, io.EOF) {
		return err
	}
	if err == nil {
		p.header, err = ParseHeader(line)
	}
	if errors.Is(err, ErrHeader) || errors.Is(err, errLong) {
		return &CorruptError{Path: p.path, Err: err}
	}
	if err != nil {
		return fmt.Errorf("read partition %s: %w", p.path, err)
	}
	p.body = p.scan.offset()
	p.parser = newParser(p.header)
	return nil
}

// next gives the next line that the file has; a *CorruptError for one that does
// not parse, behind which the call after goes on; io.EOF at the end.
func (p *partitionFile) next() (line Line, healed bool, err error) {
	offset := p.scan.offset()
	raw, err := p.scan.next()
	if err == nil {
		line, healed, err = p.parser.parse(raw, offset)
	}
	switch {
	case err == nil:
		return line, healed, nil
	case errors.Is(err, ErrLine):
		return Line{}, false, &CorruptError{Path: p.path, Offset: offset, Err: err}
	case errors.Is(err, io.EOF):
		return Line{}, false, io.EOF
	}
	return Line{}, false, fmt.Errorf("read partition %s at byte %d: %w", p.path, offset, err)
}

// good gives the next line that parses and begins before limit, passing by
// those that do not; ok is false if there is none.
func (p *partitionFile) good(limit int64) (line Line, ok bool, err error) {
	for p.scan.offset() < limit {
		line, _, err := p.next()
		if errors.Is(err, io.EOF) {
			return Line{}, false, nil
		}
		if _, corrupt := errors.AsType[*CorruptError](err); corrupt {
			continue
		}
		return line, err == nil, err
	}
	return Line{}, false, nil
}

// size is the file's length now.
func (p *partitionFile) size() (int64, error) {
	info, err := p.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("stat partition: %w", err)
	}
	return info.Size(), nil
}

// close closes the file and gives the buffer back.
func (p *partitionFile) close() error {
	p.scan.release()
	return p.file.Close()
}

// Reader reads a partition from its begin or from an instant on. It sees what
// is appended while it reads. It is for one goroutine.
type Reader struct {
	p       *partitionFile
	healed  bool // the line before had lost its LF: an empty one follows
	skipped int
}

// Open opens a partition for reading. The error is fs.ErrNotExist for an absent
// file, io.EOF for one that has no complete header line yet, and a
// *[CorruptError] for one whose first line is no header.
func Open(path string) (*Reader, error) {
	p, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if p.body == 0 {
		return nil, errors.Join(fmt.Errorf("open partition %s: %w", path, errNoHeader), p.close())
	}
	return &Reader{p: p}, nil
}

// Header is the file's header.
func (r *Reader) Header() Header { return r.p.header }

// Skipped is the number of lines that did not parse until now.
func (r *Reader) Skipped() int { return r.skipped }

// Next gives the next sample, and io.EOF at the end of the last complete line; a
// later call gives what was appended meanwhile. A line that does not parse is a
// *[CorruptError], counted by Skipped; the next call goes on behind it. The
// order of lines is not checked.
func (r *Reader) Next() (Line, error) {
	line, healed, err := r.p.next()
	if corrupt, ok := errors.AsType[*CorruptError](err); ok {
		if r.healed && r.p.scan.offset() == corrupt.Offset+1 {
			r.healed = false
			return r.Next() // the empty rest of the line before
		}
		r.skipped++
	}
	r.healed = healed
	return line, err
}

// Seek makes Next give the last sample at or before an instant if the file has
// one, else the first after it.
func (r *Reader) Seek(at schema.Time) error {
	offset, err := r.p.search(at)
	if err != nil {
		return err
	}
	r.healed = false
	r.p.scan.seek(offset)
	return nil
}

// Close closes the file. The slices of lines are void then.
func (r *Reader) Close() error { return r.p.close() }
