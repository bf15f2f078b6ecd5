package retrieval

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// storeSource gives the samples of one store, one file after the other.
type storeSource struct {
	// set by open
	stream *Stream
	store  Store

	// owned by the stream's goroutine
	files  []partition.File // still to be opened, oldest first
	path   string           // the open file
	reader *partition.Reader
	typ    schema.DBRType
	year   int
	cur    Sample
	ok     bool        // cur is the head
	last   schema.Time // of the head, kept over files
	any    bool        // last is set
}

// start finds the file that holds the newest sample at or before from: the one
// whose span it falls into or, when that begins later or has nothing readable,
// an older one.
func (s *storeSource) start(from schema.Time) error {
	q := s.stream.query
	all, err := partition.List(s.store.Root, q.Key, s.store.Granularity)
	if err != nil {
		return fmt.Errorf("list store %s: %w", s.store.Name, err)
	}
	end := sort.Search(len(all), func(i int) bool { return all[i].Start > s.stream.to.Sec })
	all = all[:end]
	span := sort.Search(len(all), func(i int) bool { return all[i].Start > from.Sec })
	next := span // the oldest file that has a sample after from
	for i := span - 1; i >= 0; i-- {
		s.files, s.any = all[i:][:1], false
		if err := s.enter(&from); err != nil {
			return err
		}
		if s.ok && !s.cur.Time.After(from) {
			s.files = all[i+1:]
			return nil
		}
		if s.ok {
			next = i
		}
		s.leave()
	}
	s.files, s.any = all[next:], false
	return s.enter(nil)
}

// enter moves to the next sample of the open file, else of the next that has
// one; the first file is searched for from if it is given.
func (s *storeSource) enter(from *schema.Time) error {
	s.ok = false
	for {
		if s.reader == nil {
			if len(s.files) == 0 {
				return nil
			}
			file := s.files[0]
			s.files = s.files[1:]
			if err := s.open(file.Path, from); err != nil {
				return err
			}
			continue
		}
		err := s.read()
		switch {
		case errors.Is(err, io.EOF):
			s.leave()
		case err != nil:
			return err
		case s.ok:
			return nil
		}
	}
}

// open opens a file for reading, or skips it if its header is of no use.
func (s *storeSource) open(path string, from *schema.Time) error {
	reader, err := partition.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", errMoved, path)
	}
	if errors.Is(err, io.EOF) { // created, its header not written yet
		return nil
	}
	if corrupt(err) {
		s.stream.skipped.add(skippedFile, fault{path, err})
		return nil
	}
	if err != nil {
		return err
	}
	h := reader.Header()
	if !samePV(h.PV, s.stream.query.PV) {
		s.stream.skipped.add(skippedOther, fault{path, fmt.Errorf("the file states PV %q", h.PV)})
		return reader.Close()
	}
	s.path, s.reader, s.typ, s.year = path, reader, h.Type, h.Year
	if from == nil {
		return nil
	}
	if err := reader.Seek(*from); err != nil {
		return fmt.Errorf("seek %v: %w", *from, err)
	}
	return nil
}

// read takes one line of the open file; ok stays false if it was skipped.
func (s *storeSource) read() error {
	line, err := s.reader.Next()
	if corrupt(err) {
		s.stream.skipped.add(skippedLine, fault{s.path, err})
		return nil
	}
	if err != nil {
		return err // io.EOF, or what the disk said
	}
	if s.any && !line.Time.After(s.last) {
		s.stream.skipped.add(skippedOrder, fault{path: s.path})
		return nil
	}
	s.cur = Sample{Type: s.typ, Year: s.year, Time: line.Time, Event: line.Event, Line: line.Raw}
	s.ok, s.last, s.any = true, line.Time, true
	return nil
}

func (s *storeSource) head() *Sample {
	if !s.ok {
		return nil
	}
	return &s.cur
}

func (s *storeSource) advance() error { return s.enter(nil) }

// leave closes the open file and forgets its head.
func (s *storeSource) leave() {
	if s.reader != nil {
		_ = s.reader.Close() // only read
		s.reader = nil
	}
	s.ok = false
}

func (s *storeSource) close() { s.leave(); s.files = nil }

// corrupt reports whether err is damage of the file rather than of the disk.
func corrupt(err error) bool {
	_, ok := errors.AsType[*partition.CorruptError](err)
	return ok
}

// samePV compares the PV a file states with the one asked for; files of the
// Appliance may state it with prefix or .VAL.
func samePV(stated, asked schema.PVName) bool {
	if stated == asked {
		return true
	}
	pv, err := schema.ParsePVName(string(stated))
	return err == nil && pv == asked
}
