package partition

import "os"

// FS is what changing partitions needs of a file system: [OSFS], or [FaultFS]
// in tests of crash safety. Reading goes to the operating system directly.
type FS interface {
	// OpenFile opens a file or, for reading, a folder, as os.OpenFile does.
	OpenFile(path string, flag int, perm os.FileMode) (Handle, error)
	// Mkdir makes one folder, as os.Mkdir does.
	Mkdir(path string, perm os.FileMode) error
	// Rename moves a file, as os.Rename does.
	Rename(from, to string) error
	// Remove removes a file, as os.Remove does.
	Remove(path string) error
}

// Handle is an open file or folder of an [FS].
type Handle interface {
	// WriteAt writes all of b at an offset or gives an error.
	WriteAt(b []byte, offset int64) (int, error)
	// Size is the file's length; fs.ErrNotExist when no name is left of it,
	// where that can be told.
	Size() (int64, error)
	// Truncate cuts the file to a length.
	Truncate(length int64) error
	// Sync makes the file, or the entries of the folder, durable.
	Sync() error
	// SyncFS makes the whole file system durable on which the file is. It gives
	// errors.ErrUnsupported where failed writes would not be reported by it.
	SyncFS() error
	// Close gives the descriptor back.
	Close() error
}

// OSFS is the operating system's files.
type OSFS struct{}

// OpenFile is os.OpenFile.
func (OSFS) OpenFile(path string, flag int, perm os.FileMode) (Handle, error) {
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return osHandle{f}, nil
}

// Mkdir is os.Mkdir.
func (OSFS) Mkdir(path string, perm os.FileMode) error { return os.Mkdir(path, perm) }

// Rename is os.Rename.
func (OSFS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is os.Remove.
func (OSFS) Remove(path string) error { return os.Remove(path) }

type osHandle struct{ *os.File }
