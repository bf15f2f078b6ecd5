package partition

import (
	"errors"
	"fmt"
	"io"
	"os"

	"pvlog/schema"
)

// Report is what a file holds and what is wrong with it.
type Report struct {
	Path       string
	Header     Header // of a file that has one
	HasHeader  bool
	Size       int64 // bytes
	Samples    int   // that can be read, duplicates and what is out of order included
	First      schema.Time
	Last       schema.Time // the earliest and the latest of them
	Severities [4]int      // samples by severity, others than 0 to 3 not counted
	Changes    int         // samples with field values
	Longest    int         // bytes of the longest line
	Problems   map[Kind]int
}

// Sound reports whether nothing is wrong.
func (r Report) Sound() bool { return len(r.Problems) == 0 }

// Total is the number of problems.
func (r Report) Total() (n int) {
	for _, of := range r.Problems {
		n += of
	}
	return n
}

// Repairable reports whether [Repair] would change the file.
func (r Report) Repairable() bool {
	if !r.HasHeader {
		return r.Size > 0
	}
	for kind := range r.Problems {
		if kind.Repairable() {
			return true
		}
	}
	return false
}

// Examine reads a file from begin to end, whatever is in it, and tells see (nil
// for nobody) of each problem in the order of the file. Its memory does not
// depend on the file, but for the longest line. What does not fit the file's
// name and place is judged too, with root as the store's ("" for any: see
// [Placed]). An error says that it could not be read.
func Examine(path, root string, see func(Problem)) (Report, error) {
	x := examination{report: Report{Path: path, Problems: map[Kind]int{}}, see: see}
	return x.path(path, root)
}

// examination is one call of Examine.
type examination struct {
	report  Report
	see     func(Problem)        // nil for nobody
	visit   func(readable, Kind) // each sample, and how it stands to those before it; nil for nobody
	head    []byte               // the header line, with its LF
	other   string               // what a second header says that is not like the first, "" if nothing
	newest  newest
	outside func(schema.Time) string // why a sample is not of this partition, "" if it is
	latest  schema.Time              // later samples are of the kind Future; zero: none is
}

// path examines a file.
func (x *examination) path(path, root string) (Report, error) {
	p, err := openFile(path)
	if corrupt, ok := errors.AsType[*CorruptError](err); ok {
		info, err := os.Stat(path)
		if err != nil {
			return x.report, err
		}
		x.report.Size = info.Size()
		x.problem(Problem{Kind: NoHeader, Line: 1, Text: corrupt.Err.Error()})
		return x.report, nil
	}
	if err != nil {
		return x.report, err
	}
	err = x.file(p, root)
	return x.report, errors.Join(err, p.close())
}

func (x *examination) problem(p Problem) {
	x.report.Problems[p.Kind]++
	if x.see != nil {
		x.see(p)
	}
}

func (x *examination) file(p *partitionFile, root string) (err error) {
	if x.report.Size, err = p.size(); err != nil {
		return err
	}
	switch {
	case x.report.Size == 0:
		x.problem(Problem{Kind: Empty, Text: "0 bytes"})
		return nil
	case p.body == 0:
		x.problem(Problem{Kind: NoHeader, Line: 1, Text: errNoHeader.Error()})
		return nil
	}
	x.report.Header, x.report.HasHeader = p.header, true
	x.head = make([]byte, p.body)
	if _, err := p.file.ReadAt(x.head, 0); err != nil {
		return fmt.Errorf("read the header of partition %s: %w", p.path, err)
	}
	return x.lines(p, root, 1)
}

// lines goes through what follows a header; number is that of the line before.
func (x *examination) lines(p *partitionFile, root string, number int) error {
	place := Placed(p.path, root, p.header)
	for _, problem := range place.Problems {
		x.problem(problem)
	}
	x.outside = place.outside
	w := walker{p: p, problem: x.problem, sample: x.sample, number: number}
	err := w.walk()
	x.other = w.other
	if size, e := p.size(); e == nil {
		x.report.Size = size
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sample counts one and compares it with those before it.
func (x *examination) sample(f readable) error {
	r, at := &x.report, f.line.Time
	if r.Samples == 0 || r.First.After(at) {
		r.First = at
	}
	if r.Samples == 0 || at.After(r.Last) {
		r.Last = at
	}
	r.Samples++
	if s := f.event.Severity; s >= 0 && int(s) < len(r.Severities) {
		r.Severities[s]++
	}
	if len(f.event.Fields) > 0 {
		r.Changes++
	}
	r.Longest = max(r.Longest, len(f.line.Raw))
	if isFuture(at, x.latest) {
		x.problem(Problem{Kind: Future, Line: f.number, Offset: f.line.Offset, Text: fmt.Sprintf("%v is later than %v", at, x.latest)})
		return nil // it is taken out: nothing is compared with it
	}
	if why := x.outside(at); why != "" {
		x.problem(Problem{Kind: Outside, Line: f.number, Offset: f.line.Offset, Text: why})
	}
	kind, text := x.newest.compare(f)
	if x.visit != nil {
		x.visit(f, kind)
	}
	if kind != "" {
		x.problem(Problem{Kind: kind, Line: f.number, Offset: f.line.Offset, Text: text})
	}
	return nil
}

// isFuture reports whether a sample is later than any can be; a zero latest is
// no bound.
func isFuture(at, latest schema.Time) bool { return !latest.IsZero() && at.After(latest) }
