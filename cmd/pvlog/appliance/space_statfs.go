//go:build linux || darwin || freebsd

package appliance

import (
	"os"

	"golang.org/x/sys/unix"
)

// space asks the file system of dir for what an ordinary user may still write
// and for its size, in bytes.
func space(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}
