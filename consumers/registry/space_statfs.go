//go:build linux || darwin || freebsd

package registry

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"pvlog/schema"
)

// freeSpace asks the file system of dir for its size and for what an ordinary
// user may still write, in bytes.
func freeSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// lockFile makes sure that no other process works in the same folder.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = schema.Errorf(schema.Conflict, "another pvlog uses it: stop that one first")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("flock %s: %w", path, err), f.Close())
	}
	return f, nil
}
