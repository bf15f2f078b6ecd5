package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Types of file systems of which it is known that syncfs reports failed writes.
const (
	magicExt4  = 0xEF53
	magicXFS   = 0x58465342
	magicBtrfs = 0x9123683E
)

// SyncFS is syncfs. It is always done, and believed where it reports failed
// writes.
func (h osHandle) SyncFS() error {
	fd := int(h.Fd())
	err := unix.Syncfs(fd)
	for errors.Is(err, unix.EINTR) {
		err = unix.Syncfs(fd)
	}
	if err != nil {
		return err
	}
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	switch uint32(stat.Type) {
	case magicExt4, magicXFS, magicBtrfs:
		if kernelReports() {
			return nil
		}
	}
	return errors.ErrUnsupported
}

// Size is the length of a file that has a name.
func (h osHandle) Size() (int64, error) {
	var stat unix.Stat_t
	err := unix.Fstat(int(h.Fd()), &stat)
	for errors.Is(err, unix.EINTR) {
		err = unix.Fstat(int(h.Fd()), &stat)
	}
	switch {
	case err != nil:
		return 0, &os.PathError{Op: "stat", Path: h.Name(), Err: err}
	case stat.Nlink == 0:
		return 0, &os.PathError{Op: "stat", Path: h.Name(), Err: unix.ENOENT}
	}
	return stat.Size, nil
}

// heldLimit is how many descriptors an [Appender] may hold.
func heldLimit() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur/2, heldMost))
}

// heldMost bounds what the kernel keeps in memory for held files, about 1.5 KB
// for each.
const heldMost = 20_000

// kernelReports tells whether the kernel's syncfs gives errors: since 5.8.
var kernelReports = sync.OnceValue(func() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	return reports(unix.ByteSliceToString(name.Release[:]))
})

func reports(release string) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 8
}

// elsewhere gives the files that are not on the root's file system, because
// something is mounted or linked below it; each folder is looked at once.
func elsewhere(root string, files []string) []string {
	home, ok := device(root)
	known := map[string]bool{}
	var left []string
	for _, path := range files {
		dir := filepath.Dir(path)
		same, seen := known[dir]
		if !seen {
			there, found := device(dir)
			same = ok && found && there == home
			known[dir] = same
		}
		if !same {
			left = append(left, path)
		}
	}
	return left
}

func device(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(stat.Dev), true
}
