package streams

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copyFile makes a durable copy of a file, which shares its blocks on the disk
// where the file system can do that. It is never a hard link: the server
// changes its files in place.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if cloneFile(out, in) != nil {
		_, err = io.Copy(out, in)
	}
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

func writeSynced(path string, content []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// replaceSynced gives a file new content by way of one beside it, so that it
// has the old or the new content whenever the power goes. A file beside that an
// interrupted call left is written over.
func replaceSynced(path string, content []byte) error {
	temporary := path + ".new"
	if err := writeSynced(temporary, content); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, path)
}

// moveAside moves a file that may be missing.
func moveAside(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// dropAside removes what was set aside of streams of which nothing is missing.
func (x examination) dropAside() error {
	var errs []error
	for _, e := range x {
		if !e.keep {
			errs = append(errs, os.RemoveAll(e.aside))
		}
		// Only empty folders go.
		_ = os.Remove(filepath.Dir(e.aside))
		_ = os.Remove(filepath.Dir(filepath.Dir(e.aside)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove blocks that were set aside: %w", err)
	}
	return nil
}
