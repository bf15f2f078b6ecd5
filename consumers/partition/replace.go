package partition

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// replacementPrefix begins the name of a file that is to take a partition's
// place. No reader and no tool of the Appliance takes it for a partition: those
// end in ".pb". The rest of the name is a number that the partition's name
// gives, so that it never is too long and a file has one replacement at most.
const replacementPrefix = ".pvlog-new-"

// ErrReplaced says that the new file is in its place but may not stay there: a
// power cut can bring the old one back until its folder was synced.
var ErrReplaced = errors.New("the new file is in its place and not yet durable")

// Replacement is a file that is being written to take the place of a
// partition, or to begin one: beside it, whole and durable before it gets its
// name. Whoever has one owns the partition (design D16), and ends it with Commit
// or Discard. It belongs to one goroutine.
type Replacement struct {
	fs     FS
	path   string // the place
	beside string // where the file stands until then
	dirs   []string
	f      Handle
	offset int64 // in the file, behind what is written
	buf    []byte
}

// replacementBuffer is how much is written at once.
const replacementBuffer = 256 << 10

// BeginReplacement makes the file beside path, and the folders if need be. What
// an interrupted one has left there is written over. A partition that is a link
// to another place is replaced there.
func BeginReplacement(fsys FS, path string) (*Replacement, error) {
	path, mode, err := replaced(path)
	if err != nil {
		return nil, fmt.Errorf("replace partition: %w", err)
	}
	r := &Replacement{fs: fsys, path: path, beside: besidePath(path)}
	if r.dirs, err = mkdirAll(fsys, filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("replace partition %s: %w", path, err)
	}
	if r.f, err = fsys.OpenFile(r.beside, os.O_WRONLY|os.O_CREATE, mode); err != nil {
		return nil, fmt.Errorf("replace partition %s: %w", path, err)
	}
	if err := r.f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("replace partition %s: %w", path, err), r.Discard())
	}
	return r, nil
}

// replaced gives the place of a partition behind links, and the mode it has.
func replaced(path string) (string, os.FileMode, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, fileMode, nil
	}
	if err != nil {
		return path, 0, err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			info, err = os.Stat(path)
		}
	}
	switch {
	case err != nil:
		return path, 0, err
	case !info.Mode().IsRegular():
		return path, 0, fmt.Errorf("%s is not a file", path)
	}
	return path, info.Mode().Perm(), nil
}

func besidePath(path string) string {
	dir, name := filepath.Split(path)
	sum := fnv.New64a()
	_, _ = io.WriteString(sum, name) // never fails
	return filepath.Join(dir, fmt.Sprintf("%s%016x", replacementPrefix, sum.Sum64()))
}

// Write adds bytes. It is an [io.Writer].
func (r *Replacement) Write(b []byte) (int, error) {
	if len(r.buf)+len(b) > replacementBuffer {
		if err := r.flush(); err != nil {
			return 0, err
		}
	}
	if len(b) >= replacementBuffer {
		return len(b), r.writeAt(b)
	}
	r.buf = append(r.buf, b...)
	return len(b), nil
}

func (r *Replacement) flush() error {
	if len(r.buf) == 0 {
		return nil
	}
	err := r.writeAt(r.buf)
	r.buf = r.buf[:0]
	return err
}

func (r *Replacement) writeAt(b []byte) error {
	n, err := r.f.WriteAt(b, r.offset)
	r.offset += int64(n)
	if err != nil {
		return fmt.Errorf("write the file that replaces partition %s: %w", r.path, err)
	}
	return nil
}

// Size is the bytes written until now.
func (r *Replacement) Size() int64 { return r.offset + int64(len(r.buf)) }

// Sync makes what was written durable, so that little is left to Commit.
func (r *Replacement) Sync() error {
	if err := r.flush(); err != nil {
		return err
	}
	if err := r.f.Sync(); err != nil {
		return fmt.Errorf("sync the file that replaces partition %s: %w", r.path, err)
	}
	return nil
}

// Commit puts the file in its place and returns when that is durable. After an
// error the place holds what it held, and the file is gone; only with
// [ErrReplaced] it is in its place, and the caller does best to do everything
// once more.
func (r *Replacement) Commit() error {
	err := r.Sync()
	if closed := r.f.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close the file that replaces partition %s: %w", r.path, closed)
	}
	r.f = nil
	if err == nil {
		if err = r.fs.Rename(r.beside, r.path); err != nil {
			err = fmt.Errorf("replace partition: %w", err)
		}
	}
	if err != nil {
		return errors.Join(err, r.Discard())
	}
	for _, dir := range unique(append(r.dirs, filepath.Dir(r.path))) {
		if err := SyncPath(r.fs, dir); err != nil {
			return fmt.Errorf("replace partition %s: %w: %w", r.path, ErrReplaced, err)
		}
	}
	return nil
}

// Discard removes the file; the partition stays as it is.
func (r *Replacement) Discard() error {
	var closed error
	if r.f != nil {
		closed = r.f.Close()
		r.f = nil
	}
	if err := errors.Join(closed, r.fs.Remove(r.beside)); err != nil {
		return fmt.Errorf("remove the file that was to replace partition %s: %w", r.path, err)
	}
	return nil
}

// Replace puts what write gives in the place of a partition, or makes one: it
// is written beside it, synced, and renamed over it, and the folder is synced.
// Whatever stops it, a power cut included, path is the old file or the whole new
// one. After an error it is the old one, except with [ErrReplaced].
func Replace(fsys FS, path string, write func(w io.Writer) error) error {
	r, err := BeginReplacement(fsys, path)
	if err != nil {
		return err
	}
	if err := write(r); err != nil {
		return errors.Join(err, r.Discard())
	}
	return r.Commit()
}

// RemoveReplacements removes what interrupted replacements have left below a
// store's root, in folders whose names do not begin with a dot, and gives their
// number. Files changed since an instant, such as the process's start, stay: they
// may be in the making. It reads all folders: it is for the time after an unclean
// end, and hinders nobody.
func RemoveReplacements(ctx context.Context, fsys FS, root string, since time.Time) (int, error) {
	removed := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil // moved meanwhile
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasPrefix(entry.Name(), replacementPrefix):
			return nil
		}
		info, err := entry.Info()
		if err != nil || !info.ModTime().Before(since) {
			return nil //nolint:nilerr // gone, or not old
		}
		removed++
		return fsys.Remove(path)
	})
	if err != nil {
		return removed, fmt.Errorf("remove what interrupted replacements have left: %w", err)
	}
	return removed, nil
}
