package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Bounds of the scanner's buffer. A line longer than lineMax is not read into
// memory but skipped: the Appliance's bound, four times what Channel Access
// servers are set up to send.
const (
	bufferSize = 32 << 10
	firstRead  = 4 << 10 // bytes read after a jump: a search needs only a line
	lineMax    = 256 << 20
)

// buffers are those of files that were closed: a lookup reads little and would
// spend more on a new buffer than on the file.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// errLong says that a line is longer than lineMax.
var errLong = fmt.Errorf("%w: it has no end within %d MiB", ErrLine, lineMax>>20)

// scanner splits a file into lines, from any offset. Bytes behind the last LF
// are no line: they are the torn end of a write, or one that is going on.
type scanner struct {
	r   io.ReaderAt
	max int    // longest line
	buf []byte // the file's bytes from off on
	off int64  // in the file, of buf[0]
	pos int    // in buf, of the next line
	few int    // bytes that the next read takes, 0 for as many as there is room for

	pooled *[bufferSize]byte // the first buffer
}

func newScanner(r io.ReaderAt) scanner { return scanner{r: r, max: lineMax} }

// offset is where the next line begins.
func (s *scanner) offset() int64 { return s.off + int64(s.pos) }

// seek makes the next line begin at an offset.
func (s *scanner) seek(off int64) {
	if off >= s.off && off <= s.off+int64(len(s.buf)) {
		s.pos = int(off - s.off)
		return
	}
	s.jump(off)
}

// jump is seek that reads anew, so that what follows the offset is buffered
// together.
func (s *scanner) jump(off int64) {
	s.buf, s.off, s.pos, s.few = s.buf[:0], off, 0, firstRead
}

// next gives the next line without its LF, good until the next call. It is
// io.EOF when no LF follows, and errLong, once, for a line that it skipped.
func (s *scanner) next() ([]byte, error) {
	for from := s.pos; ; {
		if i := bytes.IndexByte(s.buf[from:], newline); i >= 0 {
			line := s.buf[s.pos : from+i]
			s.pos = from + i + 1
			return line, nil
		}
		if len(s.buf)-s.pos > s.max {
			return nil, s.skip()
		}
		from = len(s.buf) - s.pos
		if err := s.fill(); err != nil {
			s.jump(s.offset()) // what is there of a line may be cut and written anew
			return nil, err
		}
	}
}

// skip moves behind the next LF without keeping what is before it.
func (s *scanner) skip() error {
	for {
		if i := bytes.IndexByte(s.buf[s.pos:], newline); i >= 0 {
			s.pos += i + 1
			return errLong
		}
		s.pos = len(s.buf)
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// resync moves behind the next LF below a limit; false if there is none.
func (s *scanner) resync(limit int64) (bool, error) {
	for s.offset() < limit {
		window := s.buf[s.pos:]
		if left := limit - s.offset(); int64(len(window)) > left {
			window = window[:left]
		}
		if i := bytes.IndexByte(window, newline); i >= 0 {
			s.pos += i + 1
			return true, nil
		}
		s.pos += len(window)
		if s.pos < len(s.buf) {
			continue
		}
		if err := s.fill(); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return false, nil
}

// fill reads more behind what is buffered; what lies before the next line is
// let go of first. The buffer grows only when one line fills it.
func (s *scanner) fill() error {
	rest := copy(s.buf, s.buf[s.pos:])
	s.off, s.pos, s.buf = s.off+int64(s.pos), 0, s.buf[:rest]
	if s.buf == nil {
		s.pooled = buffers.Get().(*[bufferSize]byte)
		s.buf = s.pooled[:0]
	}
	if len(s.buf) == cap(s.buf) {
		s.buf = append(make([]byte, 0, 2*cap(s.buf)), s.buf...)
	}
	end := cap(s.buf)
	if s.few > 0 {
		end, s.few = min(end, rest+s.few), 0
	}
	n, err := s.r.ReadAt(s.buf[rest:end], s.off+int64(rest))
	s.buf = s.buf[:rest+n]
	if n > 0 {
		return nil // an error comes again if it lasts
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// release gives the buffer back; lines that were given are void.
func (s *scanner) release() {
	if s.pooled != nil {
		buffers.Put(s.pooled)
	}
	s.buf, s.pooled = nil, nil
}
