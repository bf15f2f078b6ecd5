package partition

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

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
	dir, prefix := filepath.Split(filepath.Join(root, filepath.FromSlash(chunkKey)))
	names, err := readNames(dir)
	if err != nil {
		return nil, err
	}
	return listed(dir, names, prefix, g)
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
