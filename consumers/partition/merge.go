package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"pvlog/schema"
)

// Late is a sample that is to get its place in a partition that is written
// already.
type Late struct {
	Time  schema.Time
	Event []byte // EPICSEvent message of the partition's type and year
}

// Outcome is what a merge makes of a late sample.
type Outcome uint8

// The outcomes of a late sample.
const (
	Waits   Outcome = iota // not decided: it is later than what was looked at
	Added                  // gets its place
	There                  // stands there already, with the same value, severity and status
	Differs                // another sample stands at its instant, which stays
)

// Merge puts late samples into a partition: PlanMerge finds their places, Write
// gives the bytes of the new file, lines of the old one byte for byte. It takes
// memory for the late samples, not for the file. While a Merge is open the file
// may grow, which Extend takes in, and not change otherwise. It belongs to one
// goroutine.
//
// The order of the file is that of the lines that are later than all before
// them; others, and lines that do not parse, stay where they are, so that what
// was readable is, and what was not can be repaired still.
type Merge struct {
	path     string
	p        *partitionFile // nil: there is no file, or none with a header
	header   Header
	late     []Late // ascending in time
	order    []int  // of each late sample: its place in what the caller gave
	outcomes []Outcome

	next int         // first late sample that waits
	last schema.Time // newest line before scan
	scan int64       // lines up to here were looked at
	end  int64       // of what belongs to the merge
	gaps []gap       // ascending

	copied  int64 // bytes of the file that Write gave
	written int   // gaps of which Write gave the sample
	begun   bool  // Write gave the header
}

// gap is where a late sample goes: before the line at an offset.
type gap struct {
	offset int64
	late   int
}

// PlanMerge looks at a partition's first length bytes, a length below 0 being
// all complete lines, and finds the places of late samples. header is what a new
// file would have; one that is there must have the same PV, type and year and is
// kept as it is, with its element count and fields. Whoever plans closes.
func PlanMerge(path string, header Header, length int64, late []Late) (m *Merge, err error) {
	m = &Merge{path: path, header: header, outcomes: make([]Outcome, len(late))}
	if err := m.sort(late); err != nil {
		return nil, err
	}
	p, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) && length <= 0 {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	if p.body == 0 && length <= 0 { // what is there was never a sample
		return m, p.close()
	}
	m.p = p
	if err := m.begin(length); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return m, nil
}

// sort orders the late samples; those of one instant stay in the order they were
// given.
func (m *Merge) sort(late []Late) error {
	m.order = make([]int, len(late))
	for i, l := range late {
		if l.Time.Year() != m.header.Year {
			return fmt.Errorf("merge into partition %s: a sample at %v is not of the year %d", m.path, l.Time, m.header.Year)
		}
		m.order[i] = i
	}
	slices.SortStableFunc(m.order, func(i, j int) int { return late[i].Time.Compare(late[j].Time) })
	m.late = make([]Late, len(late))
	for k, i := range m.order {
		m.late[k] = late[i]
	}
	return nil
}

// Compare decides of two events of one instant, one of a file and a late one:
// [There] or [Differs]. The error is of an event that cannot be read.
func Compare(there, late []byte) (Outcome, error) {
	a, err := schema.ScanEvent(there)
	if err != nil {
		return Differs, err
	}
	b, err := schema.ScanEvent(late)
	if err != nil {
		return Differs, err
	}
	if a.Same(b) {
		return There, nil
	}
	return Differs, nil
}

// begin looks at the file that is there.
func (m *Merge) begin(length int64) error {
	h := m.p.header
	if h.PV != m.header.PV || h.Type != m.header.Type || h.Year != m.header.Year {
		return fmt.Errorf("merge into partition %s: it holds %v of PV %s in %d, the samples are %v of %s in %d", m.path,
			h.Type, h.PV, h.Year, m.header.Type, m.header.PV, m.header.Year)
	}
	size, err := m.p.size()
	if err != nil {
		return err
	}
	if length < 0 {
		if length, err = m.p.complete(size); err != nil {
			return err
		}
	}
	if length < m.p.body || length > size {
		return fmt.Errorf("merge into partition %s: %d bytes of it are ours, it has %d", m.path, length, size)
	}
	m.scan, m.end = m.p.body, length
	if len(m.late) > 0 {
		if m.scan, err = m.p.search(m.late[0].Time); err != nil {
			return err
		}
	}
	return m.look()
}

// complete gives the length up to the last LF.
func (p *partitionFile) complete(size int64) (int64, error) {
	window := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(window)
	back := backscan{r: p.file, body: p.body, window: window[:]}
	at, err := back.newlineBefore(size)
	if err != nil {
		return 0, fmt.Errorf("read the end of partition %s: %w", p.path, err)
	}
	return at + 1, nil
}

// look finds the places that lie before a line of the file.
func (m *Merge) look() error {
	m.p.scan.seek(m.scan)
	for m.next < len(m.late) {
		line, ok, err := m.p.good(m.end)
		if err != nil {
			return err
		}
		if !ok {
			m.scan = m.end
			return nil
		}
		if m.last.IsZero() || line.Time.After(m.last) {
			if err := m.pass(line); err != nil {
				return err
			}
		}
		m.scan = m.p.scan.offset()
	}
	return nil
}

// pass decides of the late samples up to a line's time.
func (m *Merge) pass(line Line) error {
	for m.next < len(m.late) && line.Time.After(m.late[m.next].Time) {
		if err := m.add(line.Offset); err != nil {
			return err
		}
	}
	m.last = line.Time
	return m.taken(line.Time, line.Event)
}

// add gives the next late sample its place; of others at its instant it is the
// one that is there.
func (m *Merge) add(offset int64) error {
	l := m.late[m.next]
	m.gaps = append(m.gaps, gap{offset, m.next})
	m.outcomes[m.order[m.next]] = Added
	m.next++
	return m.taken(l.Time, l.Event)
}

// taken decides of the late samples at an instant at which there is one.
func (m *Merge) taken(at schema.Time, event []byte) error {
	for ; m.next < len(m.late) && m.late[m.next].Time == at; m.next++ {
		outcome, err := Compare(event, m.late[m.next].Event)
		if err != nil {
			return fmt.Errorf("merge into partition %s at %v: %w", m.path, at, err)
		}
		m.outcomes[m.order[m.next]] = outcome
	}
	return nil
}

// Extend takes in what was appended to the file since, up to a length.
func (m *Merge) Extend(length int64) error {
	if length == m.end {
		return nil
	}
	if m.p == nil || length < m.end {
		return fmt.Errorf("merge into partition %s: it has %d bytes now, %d were looked at", m.path, length, m.end)
	}
	m.end = length
	return m.look()
}

// End puts what is later than the whole file behind it.
func (m *Merge) End() error {
	for m.next < len(m.late) {
		if err := m.add(m.end); err != nil {
			return err
		}
	}
	return nil
}

// Outcomes says of each late sample, in the order they were given, what becomes
// of it.
func (m *Merge) Outcomes() []Outcome { return m.outcomes }

// Changes reports whether the new file is another than the old one, or will be
// after End.
func (m *Merge) Changes() bool { return len(m.gaps) > 0 || m.next < len(m.late) }

// Length is how much of the file was looked at; 0 if there is none.
func (m *Merge) Length() int64 { return m.end }

// Size is the bytes of the new file as far as it is decided, to see whether
// there is room for it.
func (m *Merge) Size() int64 {
	size := m.end
	for _, l := range m.late {
		size += int64(len(l.Event)) + int64(len(l.Event))/8 + 1
	}
	return size
}

// Still reports whether the path is still the file that was looked at, or still
// absent.
func (m *Merge) Still() (bool, error) {
	now, err := os.Stat(m.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m.p == nil, nil
	case err != nil:
		return false, fmt.Errorf("stat partition: %w", err)
	case m.p == nil:
		return false, nil
	}
	was, err := m.p.file.Stat()
	if err != nil {
		return false, fmt.Errorf("stat partition: %w", err)
	}
	return os.SameFile(was, now), nil
}

// Write gives what is decided and was not given before: the file's bytes and,
// in their places, the late samples. Called again after Extend and End it goes
// on.
func (m *Merge) Write(ctx context.Context, w io.Writer) error {
	if m.p == nil && !m.begun {
		if _, err := w.Write(AppendHeader(nil, m.header)); err != nil {
			return err
		}
	}
	m.begun = true
	var line []byte
	for _, gap := range m.gaps[m.written:] {
		if err := m.copyTo(ctx, w, gap.offset); err != nil {
			return err
		}
		line = AppendLine(line[:0], m.late[gap.late].Event)
		if _, err := w.Write(line); err != nil {
			return err
		}
		m.written++
	}
	return m.copyTo(ctx, w, m.end)
}

// copyTo gives the file's bytes up to an offset.
func (m *Merge) copyTo(ctx context.Context, w io.Writer, offset int64) error {
	for m.copied < offset {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.Copy(w, io.NewSectionReader(m.p.file, m.copied, min(copyChunk, offset-m.copied)))
		m.copied += n
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: the file became shorter", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return fmt.Errorf("copy partition %s at byte %d: %w", m.path, m.copied, err)
		}
	}
	return nil
}

// Close closes the file that was looked at.
func (m *Merge) Close() error {
	if m.p == nil {
		return nil
	}
	return m.p.close()
}
