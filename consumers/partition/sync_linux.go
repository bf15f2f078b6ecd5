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
