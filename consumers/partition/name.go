package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pvlog/schema"
)

// extension of partitions that hold samples as they came.
const extension = ".pb"

// Path is the file of a PV's partition: root/chunkKey2012_02_29_12.pb. The chunk
// key is [schema.ChunkKey] of a name that [schema.ParsePVName] passed, so that
// it stays below the root.
func Path(root, chunkKey string, g Granularity, start int64) string {
	return filepath.Join(root, filepath.FromSlash(chunkKey)+g.Suffix(start)+extension)
}

// File is a partition file that [List] found.
type File struct {
	Path  string
	Start int64 // first Unix second of the partition, by its name
	End   int64 // first Unix second after it
	Size  int64 // bytes when it was listed
}

// List finds the partitions of a PV, oldest first. Names that are not of this
// granularity and things that are not files are skipped; a folder that is not
// there holds none.
func List(root, chunkKey string, g Granularity) ([]File, error) {
	folder, err := ReadFolder(root, chunkKey)
	if err != nil {
		return nil, err
	}
	return folder.List(chunkKey, g)
}

// Folder is what stood in a folder of a store when it was read. It finds the
// partitions of many PVs with one read: there may be 100,000 PVs in a folder.
type Folder struct {
	dir     string
	entries []os.DirEntry // by name
}

// FolderOf is the folder that holds a PV's partitions.
func FolderOf(root, chunkKey string) string {
	return filepath.Dir(filepath.Join(root, filepath.FromSlash(chunkKey)))
}

// ReadFolder reads the folder that holds a PV's partitions; one that is not
// there is empty.
func ReadFolder(root, chunkKey string) (Folder, error) {
	dir := FolderOf(root, chunkKey)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Folder{}, fmt.Errorf("list partitions: %w", err)
	}
	return Folder{dir: dir, entries: entries}, nil
}

// List is [List] for a PV whose partitions are in this folder.
func (f Folder) List(chunkKey string, g Granularity) ([]File, error) {
	prefix := chunkKey[strings.LastIndexByte(chunkKey, '/')+1:]
	first, _ := slices.BinarySearchFunc(f.entries, prefix, func(e os.DirEntry, p string) int { return strings.Compare(e.Name(), p) })
	var files []File
	for _, e := range f.entries[first:] {
		if !strings.HasPrefix(e.Name(), prefix) {
			break
		}
		file, ok, err := listed(f.dir, e, prefix, g)
		if err != nil {
			return nil, err
		}
		if ok {
			files = append(files, file)
		}
	}
	return files, nil
}

// listed makes a File of a folder's entry, if it is one of the partitions.
func listed(dir string, e os.DirEntry, prefix string, g Granularity) (File, bool, error) {
	suffix, ok := strings.CutSuffix(strings.TrimPrefix(e.Name(), prefix), extension)
	if !ok {
		return File{}, false, nil
	}
	start, err := g.parseSuffix(suffix)
	if err != nil {
		return File{}, false, nil //nolint:nilerr // another granularity's file, or no partition
	}
	path := filepath.Join(dir, e.Name())
	info, err := os.Stat(path) // follows a link to a tier elsewhere
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, false, nil // moved since the folder was read
	}
	if err != nil {
		return File{}, false, fmt.Errorf("list partitions: %w", err)
	}
	return File{Path: path, Start: start, End: g.Next(start), Size: info.Size()}, info.Mode().IsRegular(), nil
}

// Newest finds the newest partition of a PV that holds at least one sample,
// passing by those that are empty or have a header only; ok is false if there
// is none. A file that cannot be read ends the search: its samples could be the
// newest.
func Newest(root, chunkKey string, g Granularity) (file File, tail Tail, ok bool, err error) {
	files, err := List(root, chunkKey, g)
	if err != nil {
		return File{}, Tail{}, false, err
	}
	for _, file := range slices.Backward(files) {
		tail, err := ReadTail(file.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // moved to another tier since it was listed
		}
		if err != nil {
			return file, Tail{}, false, err
		}
		if tail.Event != nil {
			return file, tail, true, nil
		}
	}
	return File{}, Tail{}, false, nil
}

// LastBefore finds a PV's last sample at or before an instant; ok is false if
// there is none. The line's slices are the caller's.
func LastBefore(root, chunkKey string, g Granularity, at schema.Time) (header Header, line Line, ok bool, err error) {
	files, err := List(root, chunkKey, g)
	if err != nil {
		return Header{}, Line{}, false, err
	}
	for _, file := range slices.Backward(files) {
		if file.Start > at.Sec {
			continue
		}
		header, line, ok, err := lastIn(file.Path, at)
		if ok || err != nil {
			return header, line, ok, err
		}
	}
	return Header{}, Line{}, false, nil
}
