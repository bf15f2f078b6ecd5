package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// guess finds the header of a file that has none: PV and type are those of the
// PV's other partitions in the folder, the year is the name's. It takes the type
// with which most lines can be read.
func (r *Repair) guess(root string) error {
	r.Refused = "there is no header, and no other partition of its PV in its folder with which a line could be read"
	before, suffix := splitName(r.Path)
	_, start, ok := suffixOf(suffix)
	if !ok {
		return nil
	}
	siblings, err := siblingHeaders(before, r.Path)
	if err != nil {
		return err
	}
	most := 0
	for _, s := range siblings {
		h := Header{Type: s.header.Type, PV: s.header.PV, Year: time.Unix(start, 0).UTC().Year()}
		report, strays, err := r.readAs(h, root)
		if err != nil {
			return err
		}
		if report.Samples > most {
			most, r.Refused = report.Samples, ""
			r.header, r.head, r.HeaderFrom, r.strays = h, AppendHeader(nil, h), s.path, strays
			if delete(r.Before.Problems, Future); report.Problems[Future] > 0 {
				r.Before.Problems[Future] = report.Problems[Future]
			}
			r.Before.Samples, r.Before.First, r.Before.Last = report.Samples, report.First, report.Last
		}
	}
	return nil
}

// readAs examines the file as one whose header is lost.
func (r *Repair) readAs(h Header, root string) (Report, []stray, error) {
	p, err := openAs(r.Path, h)
	if err != nil {
		return Report{}, nil, err
	}
	trial := Repair{Path: r.Path}
	x := examination{report: Report{Path: r.Path, Problems: map[Kind]int{}}, visit: trial.note, latest: r.latest}
	err = x.lines(p, root, 0)
	return x.report, trial.strays, errors.Join(err, p.close())
}

// openAs opens a file to read samples from its first byte on.
func openAs(path string, h Header) (*partitionFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open partition: %w", err)
	}
	return &partitionFile{file: file, path: path, header: h, scan: newScanner(file), parser: newParser(h)}, nil
}

// sibling is another partition of the same PV.
type sibling struct {
	path   string
	header Header
}

// siblingHeaders gives, of the partitions beside a file, one of each type that
// states a PV whose partitions are there; at most siblingsRead are looked at,
// those of the nearest times.
func siblingHeaders(before, path string) ([]sibling, error) {
	names, err := readNames(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	prefix := filepath.Base(before)
	names = slices.DeleteFunc(names, func(name string) bool {
		rest, ok := strings.CutPrefix(strings.TrimSuffix(name, extension), prefix)
		_, _, named := suffixOf(rest)
		return !ok || !named || name == filepath.Base(path)
	})
	at, _ := slices.BinarySearch(names, filepath.Base(path))
	low := max(0, min(at-siblingsRead/2, len(names)-siblingsRead))
	var found []sibling
	for _, name := range names[low:min(len(names), low+siblingsRead)] {
		p, err := openFile(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			continue // damaged as well, or gone
		}
		h, complete := p.header, p.body > 0
		if err := p.close(); err != nil || !complete {
			continue
		}
		_, fits := fitsPath(before, "", h.PV)
		known := slices.ContainsFunc(found, func(s sibling) bool { return s.header.Type == h.Type && s.header.PV == h.PV })
		if fits && !known {
			found = append(found, sibling{filepath.Join(filepath.Dir(path), name), h})
		}
	}
	return found, nil
}

// siblingsRead is how many partitions are looked at for a lost header.
const siblingsRead = 20
