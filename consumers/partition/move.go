package partition

import (
	"fmt"
	"path/filepath"
)

// Move renames a partition to another place of its file system, makes the
// folders of that, and returns when both folders are durable. Whatever stops it,
// the file is in one of the two places; after an error that may be the new one.
// Nothing may stand there, which the caller has made sure of.
func Move(fsys FS, from, to string) error {
	dirs, err := mkdirAll(fsys, filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("make a folder to move partition %s to: %w", from, err)
	}
	// A file's new folder must not vanish with it: it is durable first.
	for _, dir := range unique(dirs) {
		if err := SyncPath(fsys, dir); err != nil {
			return fmt.Errorf("move partition %s: %w", from, err)
		}
	}
	if err := fsys.Rename(from, to); err != nil {
		return fmt.Errorf("move partition: %w", err)
	}
	for _, dir := range unique([]string{filepath.Dir(to), filepath.Dir(from)}) {
		if err := SyncPath(fsys, dir); err != nil {
			return fmt.Errorf("move partition %s: %w", from, err)
		}
	}
	return nil
}
