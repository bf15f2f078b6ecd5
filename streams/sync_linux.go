package streams

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// syncDir makes everything below dir durable: with one syncfs where that
// reports errors, else file by file.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open log directory: %w", err)
	}
	defer func() { _ = d.Close() }()
	if !syncfsTells(int(d.Fd())) {
		return fsyncTree(dir)
	}
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", dir, err)
	}
	return nil
}

// syncfsTells reports whether syncfs gives write errors back: on Linux 5.8 and
// later, and on file systems known to pass them on.
func syncfsTells(fd int) bool {
	var s unix.Statfs_t
	if unix.Fstatfs(fd, &s) != nil || !kernelAtLeast(5, 8) {
		return false
	}
	switch int64(s.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
		return true
	}
	return false
}

func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	fields := strings.FieldsFunc(unix.ByteSliceToString(u.Release[:]), func(r rune) bool { return r < '0' || r > '9' })
	if len(fields) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(fields[0])
	b, err2 := strconv.Atoi(fields[1])
	return err1 == nil && err2 == nil && (a > major || a == major && b >= minor)
}

// cloneFile lets to share from's blocks, where the file system can do that.
func cloneFile(to, from *os.File) error {
	return unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
}
