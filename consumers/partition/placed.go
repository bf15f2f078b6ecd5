package partition

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"pvlog/schema"
)

// Place is what a file's name says of it, and how that fits its header.
type Place struct {
	Granularity Granularity // "" if the name is not that of a partition
	Start, End  int64       // Unix seconds of the span; those of the header's year without a granularity
	Problems    []Problem   // of the kinds WrongName, WrongPath and WrongYear
}

// Placed judges a file's name and place by its header. With root, which is a
// store's, the file must be at root/chunk key + suffix; without, its path must
// end so. Partitions of 5, 15 and 30 minutes have names alike: a name stands for
// the longest that may begin there.
func Placed(path, root string, h Header) Place {
	var place Place
	wrong := func(kind Kind, format string, args ...any) {
		place.Problems = append(place.Problems, Problem{Kind: kind, Text: fmt.Sprintf(format, args...)})
	}
	place.Start, place.End = schema.YearStart(h.Year), schema.YearStart(h.Year+1)
	before, suffix := splitName(path)
	g, start, ok := suffixOf(suffix)
	if !ok {
		wrong(WrongName, "the name does not end in the time of a partition and %s, as %s2012_02_29_12%s does", extension, filepath.Base(schema.ChunkKey(h.PV)), extension)
		return place
	}
	place.Granularity, place.Start, place.End = g, start, g.Next(start)
	if year := time.Unix(start, 0).UTC().Year(); year != h.Year {
		wrong(WrongYear, "the header's year is %d, the name's %d", h.Year, year)
	}
	if want, fits := fitsPath(before, root, h.PV); !fits {
		wrong(WrongPath, "the header's PV %s has its partitions at %s%s%s", h.PV, want, suffix, extension)
	}
	return place
}

// outside tells why an instant is not of the partition, "" if it is.
func (p Place) outside(at schema.Time) string {
	if at.Sec >= p.Start && at.Sec < p.End {
		return ""
	}
	return fmt.Sprintf("%v is not in the file's span, %s to %s", at, schema.Time{Sec: p.Start}, schema.Time{Sec: p.End})
}

// splitName parts a path before the suffix: "A/B:" and "2012_02" of "A/B:2012_02.pb".
func splitName(path string) (before, suffix string) {
	bare, ok := strings.CutSuffix(path, extension)
	if !ok {
		return path, ""
	}
	begin := len(bare)
	for begin > 0 && (bare[begin-1] == '_' || bare[begin-1] >= '0' && bare[begin-1] <= '9') {
		begin--
	}
	suffix = bare[begin:]
	// A terminator that is a digit or '_' would be taken for the suffix: the year
	// is what four digits before the first '_' are.
	if i := strings.IndexByte(suffix, '_'); i > 4 {
		begin += i - 4
	} else if i == 0 {
		begin++
	} else if i < 0 && len(suffix) > 4 {
		begin += len(suffix) - 4
	}
	return bare[:begin], bare[begin:]
}

// SuffixOf gives the granularity and the first second that a file's name tells, as
// [Placed] does; ok is false for a name that is not that of a partition.
func SuffixOf(path string) (g Granularity, start int64, ok bool) {
	_, suffix := splitName(path)
	return suffixOf(suffix)
}

// suffixOf finds the granularity that a suffix is of.
func suffixOf(suffix string) (Granularity, int64, bool) {
	for i := len(granularities) - 1; i >= 0; i-- {
		g := granularities[i]
		start, err := g.parseSuffix(suffix)
		if err == nil && g.Start(schema.Time{Sec: start}) == start {
			return g, start, true
		}
	}
	return "", 0, false
}

// fitsPath reports whether what stands before a file's suffix is where the PV's
// partitions are, and gives that place.
func fitsPath(before, root string, pv schema.PVName) (want string, fits bool) {
	key := schema.ChunkKey(pv)
	if name, err := schema.ParsePVName(string(pv)); err == nil {
		key = schema.ChunkKey(name) // the Appliance's files may state a prefix or .VAL
	}
	key = filepath.FromSlash(key)
	if root != "" {
		want = filepath.Join(root, key)
		return want, want == filepath.Clean(before)
	}
	if absolute, err := filepath.Abs(before); err == nil {
		before = absolute
	}
	return key, strings.HasSuffix(before, string(filepath.Separator)+key)
}
