package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// StoreOf gives the root of the store that a file or folder is in: the nearest
// folder above it, or itself, that has a store's mark. "" is none.
func StoreOf(path string) (string, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("look for the store of %s: %w", path, err)
	}
	for {
		info, err := os.Stat(filepath.Join(dir, markName))
		switch {
		case err == nil && info.Mode().IsRegular():
			return dir, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return "", fmt.Errorf("look for the store of %s: %w", path, err)
		case filepath.Dir(dir) == dir:
			return "", nil
		}
		dir = filepath.Dir(dir)
	}
}

// Lock locks a store that no archive has open, for a tool that changes files in
// it (D16). The error is [ErrLocked] while another process holds it.
func Lock(root string) (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(root, markName), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("lock the store at %s: %w", root, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("lock the store at %s: %w", root, err), f.Close())
	}
	return f.Close, nil
}
