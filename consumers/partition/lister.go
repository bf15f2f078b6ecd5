package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of a [Lister].
const (
	listerNames = 1 << 20                // names remembered at most, but for one folder that has more
	settled     = 200 * time.Millisecond // a folder younger than this may change without a new time
)

// Lister lists partitions as [List] does for many PVs of a few folders: sites
// have a hundred thousand PVs whose names differ behind the last ':' only, and
// reading such a folder once for each would take hours. A folder's names are
// remembered until its modification time changes. It may be used from several
// goroutines; the zero value is ready.
type Lister struct {
	mu      sync.Mutex // guards what follows
	folders map[string]folder
	names   int // in all folders
}

// folder is the names in a folder as of a modification time.
type folder struct {
	names    []string // sorted
	modified time.Time
	read     time.Time
}

// List finds the partitions of a PV, oldest first: see the function [List].
func (l *Lister) List(root, chunkKey string, g Granularity) ([]File, error) {
	dir, prefix := filepath.Split(filepath.Join(root, filepath.FromSlash(chunkKey)))
	names, err := l.read(dir)
	if err != nil {
		return nil, err
	}
	return listed(dir, names, prefix, g)
}

// read gives a folder's names, none if it is absent.
func (l *Lister) read(dir string) ([]string, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	l.mu.Lock()
	known, ok := l.folders[dir]
	l.mu.Unlock()
	if ok && known.modified.Equal(info.ModTime()) && known.read.Sub(known.modified) > settled {
		return known.names, nil
	}
	fresh := folder{modified: info.ModTime(), read: time.Now()}
	if fresh.names, err = readNames(dir); err != nil {
		return nil, err
	}
	l.remember(dir, fresh)
	return fresh.names, nil
}

// remember keeps a folder, if need be instead of all others.
func (l *Lister) remember(dir string, f folder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names -= len(l.folders[dir].names)
	if l.folders == nil || l.names+len(f.names) > listerNames {
		l.folders, l.names = map[string]folder{}, 0
	}
	l.folders[dir] = f
	l.names += len(f.names)
}

// Forget lets go of all names.
func (l *Lister) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.folders, l.names = nil, 0
}

// readNames gives the names of .pb files in a folder, sorted.
func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, extension) })
	slices.Sort(names)
	return names, nil
}

// listed picks a PV's partitions from the sorted names of a folder.
func listed(dir string, names []string, prefix string, g Granularity) ([]File, error) {
	var files []File
	first, _ := slices.BinarySearch(names, prefix)
	for _, name := range names[first:] {
		if !strings.HasPrefix(name, prefix) {
			break
		}
		start, err := g.parseSuffix(strings.TrimSuffix(name[len(prefix):], extension))
		if err != nil {
			continue // another granularity's file, or no partition
		}
		path := filepath.Join(dir, name)
		info, err := os.Stat(path) // follows a link to a tier elsewhere
		if errors.Is(err, fs.ErrNotExist) {
			continue // moved since the folder was read
		}
		if err != nil {
			return nil, fmt.Errorf("list partitions: %w", err)
		}
		if info.Mode().IsRegular() {
			files = append(files, File{Path: path, Start: start, End: g.Next(start), Size: info.Size()})
		}
	}
	return files, nil
}
