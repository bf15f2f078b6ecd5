package partition

import "path/filepath"

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
