package partition

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"pvlog/schema"
)

// Build writes the new file, the side file and the backup beside their places.
// The backup is path.bak or, with backupDir, a file of the same path below that
// folder (the path from root, if there is one). For a file that is set aside as a
// whole nothing is written. After an error nothing of it is
// left.
func (r *Repair) Build(fsys FS, root, backupDir string) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Discard())
		}
	}()
	r.fs = fsys
	if r.Whole {
		r.SetAside = r.Before.Samples
		r.Side, err = freeName(r.Path + sideExtension)
		return err
	}
	if r.main, err = BeginReplacement(fsys, r.Path); err != nil {
		return err
	}
	side := &sideFile{fs: fsys, repair: r}
	if err := r.write(side); err != nil {
		return err
	}
	if err := r.main.Sync(); err != nil {
		return err
	}
	if err := side.end(); err != nil {
		return err
	}
	return r.keep(fsys, root, backupDir)
}

// write merges the strays into the samples that stand in order.
func (r *Repair) write(side *sideFile) error {
	p, err := openAs(r.Path, r.header)
	if err != nil {
		return err
	}
	defer p.close() //nolint:errcheck // was only read
	if _, err := r.main.Write(r.head); err != nil {
		return err
	}
	m := merging{repair: r, side: side, left: r.strays, file: p.file, parser: newParser(r.header)}
	first := 0
	if r.body > 0 {
		p.scan.seek(r.body)
		first = 1
	}
	w := walker{p: p, number: first, sample: m.sample, problem: func(p Problem) {
		if p.Kind == Zeros && strings.HasSuffix(p.Text, passedBy) {
			r.Recovered++
		}
	}}
	if err := w.walk(); err != nil {
		return err
	}
	if err := m.before(nil); err != nil {
		return err
	}
	if n := r.Kept + r.Duplicates + r.SetAside; n != r.Before.Samples {
		return fmt.Errorf("repair partition %s: %d samples became %d: %w", r.Path, r.Before.Samples, n, ErrChanged)
	}
	return nil
}

// merging gives the samples of a file in the order of their time.
type merging struct {
	repair  *Repair
	side    *sideFile
	left    []stray // still to be put in
	file    io.ReaderAt
	parser  parser // of strays
	raw     []byte
	inFile  newest // that stood in the file: tells strays apart, as the plan did
	written newest
	line    []byte
}

func (m *merging) sample(f readable) error {
	if isFuture(f.line.Time, m.repair.latest) {
		m.repair.SetAside++
		m.line = AppendLine(m.line[:0], f.line.Event)
		return m.side.add(m.line)
	}
	if kind, _ := m.inFile.compare(f); kind == Order {
		return nil // its turn came, or comes
	}
	if err := m.before(&f.line.Time); err != nil {
		return err
	}
	return m.emit(f)
}

// before writes the strays that are earlier than an instant; nil is the end.
func (m *merging) before(at *schema.Time) error {
	for len(m.left) > 0 && (at == nil || at.After(m.left[0].at)) {
		s := m.left[0]
		m.left = m.left[1:]
		if cap(m.raw) < s.length {
			m.raw = make([]byte, s.length)
		}
		m.raw = m.raw[:s.length]
		if _, err := m.file.ReadAt(m.raw, s.offset); err != nil {
			return fmt.Errorf("read partition %s at byte %d: %w", m.repair.Path, s.offset, err)
		}
		line, _, err := m.parser.parse(m.raw, s.offset)
		if err != nil {
			return fmt.Errorf("read partition %s at byte %d: %w: %w", m.repair.Path, s.offset, ErrChanged, err)
		}
		if err := m.emit(readable{line: line, event: m.parser.last}); err != nil {
			return err
		}
	}
	return nil
}

// emit writes a sample that is not earlier than those written.
func (m *merging) emit(f readable) error {
	m.line = AppendLine(m.line[:0], f.line.Event)
	switch kind, text := m.written.compare(f); kind {
	case "":
		m.repair.Kept++
		_, err := m.repair.main.Write(m.line)
		return err
	case Duplicate:
		m.repair.Duplicates++
		return nil
	case Conflict:
		m.repair.SetAside++
		return m.side.add(m.line)
	default:
		return fmt.Errorf("repair partition %s: %w: %s", m.repair.Path, ErrOrder, text)
	}
}
