package partition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes of what is made: everyone may read archives.
const (
	fileMode   = 0o644
	folderMode = 0o755
)

// Append writes lines (escaped, each with its LF) to the file at path, which
// must be exactly length bytes long. With length 0 it is made if it is absent,
// with its folders, and header is written first, in the same write. It returns
// the new length and the folders that got an entry, which [Syncer.Sync] must
// make durable with the file. Nothing is durable before that; after an error
// nothing that stands beyond length may be believed: see [Truncate].
func Append(fsys FS, path string, header, lines []byte, length int64) (newLength int64, dirs []string, err error) {
	f, dirs, err := openAppend(fsys, path, length)
	if err != nil {
		return length, dirs, openError(err)
	}
	newLength, err = appendTo(f, path, header, lines, length)
	return closeAppend(f, path, newLength, length, err, dirs)
}

func openError(err error) error { return fmt.Errorf("open partition for appending: %w", err) }

// closeAppend ends an append to a file that is not kept open.
func closeAppend(f Handle, path string, newLength, length int64, err error, dirs []string) (int64, []string, error) {
	if closed := f.Close(); closed != nil && err == nil {
		newLength, err = length, fmt.Errorf("close partition %s: %w", path, closed)
	}
	return newLength, dirs, err
}

// appendTo writes to an open file that must be exactly length bytes long, and
// gives its new length.
func appendTo(f Handle, path string, header, lines []byte, length int64) (int64, error) {
	size, err := f.Size()
	if err != nil {
		return length, fmt.Errorf("stat partition %s: %w", path, err)
	}
	if size != length {
		return length, fmt.Errorf("append to partition %s: it has %d bytes, %d are ours: something else writes to it or cut it", path, size, length)
	}
	if length == 0 && len(header) > 0 {
		lines = append(header[:len(header):len(header)], lines...)
	}
	if _, err := f.WriteAt(lines, length); err != nil {
		return length, fmt.Errorf("append %d bytes to partition %s at byte %d: %w", len(lines), path, length, err)
	}
	return length + int64(len(lines)), nil
}

// openAppend opens or makes the file. Its folder counts as changed whenever
// length is 0: an earlier process may have made the file and not synced it.
func openAppend(fsys FS, path string, length int64) (Handle, []string, error) {
	if length > 0 {
		f, err := fsys.OpenFile(path, os.O_WRONLY, 0)
		return f, nil, err
	}
	dir := filepath.Dir(path)
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE, fileMode)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, []string{dir}, err
	}
	dirs, err := mkdirAll(fsys, dir)
	if err != nil {
		return nil, dirs, err
	}
	f, err = fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE, fileMode)
	return f, append(dirs, dir), err
}

// mkdirAll makes a folder and those above it that are absent, and gives the
// folders that got an entry, from above.
func mkdirAll(fsys FS, dir string) (changed []string, err error) {
	parent := filepath.Dir(dir)
	err = fsys.Mkdir(dir, folderMode)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if changed, err = mkdirAll(fsys, parent); err != nil {
			return changed, err
		}
		err = fsys.Mkdir(dir, folderMode)
	}
	if errors.Is(err, fs.ErrExist) {
		return changed, nil // made meanwhile, or not a folder, which the open will say
	}
	if err != nil {
		return changed, err
	}
	return append(changed, parent), nil
}

// Truncate cuts a file to the length that is believed of it. An absent file has
// length 0; one that is shorter than length has lost durable bytes and is an
// error. The cut is durable after the next [Syncer.Sync] of the file.
func Truncate(fsys FS, path string, length int64) (err error) {
	f, err := fsys.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) && length == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open partition to cut it: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	switch {
	case err != nil:
		return fmt.Errorf("stat partition %s: %w", path, err)
	case size < length:
		return fmt.Errorf("cut partition %s to %d bytes: it has only %d, the rest is lost", path, length, size)
	case size == length:
		return nil
	}
	if err := f.Truncate(length); err != nil {
		return fmt.Errorf("cut partition %s from %d to %d bytes: %w", path, size, length, err)
	}
	return nil
}

// Renew writes the bytes of a file from one offset up to another once more, as
// they are, so that the next [Syncer.Sync] makes them durable. After a failed
// sync Linux takes pages for clean that never reached the disk: a process that
// finds them in the page cache cannot tell. A file that is gone or has become
// shorter is no error: whoever did that has made it durable.
func Renew(fsys FS, path string, from, to int64) error {
	if from >= to {
		return nil
	}
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("renew partition: %w", err)
	}
	defer func() { _ = in.Close() }() // was only read
	out, err := fsys.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("renew partition: %w", err)
	}
	buffer := make([]byte, min(copyChunk, to-from))
	for at := from; at < to && err == nil; {
		b := buffer[:min(int64(len(buffer)), to-at)]
		var n int
		if n, err = in.ReadAt(b, at); err == nil {
			_, err = out.WriteAt(b, at)
		} else if errors.Is(err, io.EOF) {
			_, err = out.WriteAt(b[:n], at)
			to = at
		}
		at += int64(len(b))
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("renew partition %s: %w", path, err)
	}
	return nil
}

// SetAside renames a file that is no partition to path.damaged, or path.damaged1
// and so on, so that its bytes are kept for people and a new file can take its
// place. It returns the new path; the folder must be synced.
func SetAside(fsys FS, path string) (string, error) {
	for n := range 1000 {
		aside := path + ".damaged"
		if n > 0 {
			aside = fmt.Sprintf("%s%d", aside, n)
		}
		if _, err := os.Lstat(aside); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("set partition aside: %w", err)
		}
		if err := fsys.Rename(path, aside); err != nil {
			return "", fmt.Errorf("set partition aside: %w", err)
		}
		return aside, nil
	}
	return "", fmt.Errorf("set partition aside: %s.damaged has a thousand siblings; look at them", path)
}
