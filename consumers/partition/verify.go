package partition

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// verifyTries is how often a file is read again that was written to meanwhile.
const verifyTries = 5

// Verify is [Examine] of a file that somebody may be writing to: a write that is
// going on is not told from a torn one, so what is wrong with a file that has
// changed since the beginning is looked at once more. It gives at most limit
// problems; the report counts all. The error is fs.ErrNotExist for a file that
// was moved or removed meanwhile.
func Verify(path, root string, limit int) (report Report, problems []Problem, err error) {
	for range verifyTries {
		before, err := os.Stat(path)
		if err != nil {
			return Report{Path: path}, nil, fmt.Errorf("verify partition: %w", err)
		}
		problems = nil
		report, err = Examine(path, root, func(p Problem) {
			if len(problems) < limit {
				problems = append(problems, p)
			}
		})
		if err != nil || report.Sound() {
			return report, problems, err
		}
		after, err := os.Stat(path)
		if err != nil {
			return report, problems, fmt.Errorf("verify partition: %w", err)
		}
		if os.SameFile(before, after) && before.Size() == after.Size() && before.ModTime().Equal(after.ModTime()) {
			break
		}
	}
	return report, problems, nil
}

// Found says what a file is by its name.
type Found int

// What files in a store are.
const (
	Other     Found = iota // nothing of ours: caches of post-processors, archives, ...
	Partition              // to be verified
	Remains                // what an interrupted tool or a recovery left: [Leftover]
	KeptAside              // a backup or side file of [Repair]
)

// Classify tells what a file is by its name, of ours and the Appliance's.
func Classify(path string) Found {
	name := filepath.Base(path)
	switch {
	case strings.HasPrefix(name, replacementPrefix), strings.HasSuffix(name, extension+"append"),
		strings.Contains(name, extension+".damaged"), strings.Contains(name, "_tmp_"):
		return Remains
	case strings.HasSuffix(name, extension):
		return Partition
	case strings.Contains(name, extension+backupExtension), strings.Contains(name, extension+sideExtension):
		return KeptAside
	}
	return Other
}

// Walk calls take for the files below a folder, or for the one file, in order of
// their names, with what each is. Folders whose names begin with a dot, the trash
// among them, are passed by, below top.
func Walk(top string, take func(path string, what Found) error) error {
	return filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && path != top && os.IsNotExist(err):
			return nil // moved meanwhile
		case err != nil:
			return fmt.Errorf("look for partitions: %w", err)
		case entry.IsDir() && path != top && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		case path == top:
			return take(path, Partition)
		}
		return take(path, Classify(path))
	})
}
