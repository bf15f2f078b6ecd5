package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pvlog/schema"
)

// place puts the copies in their places if the PV has got no samples since the
// plan. It runs in Run's goroutine, so that nobody looks for files of the other
// name meanwhile, and undoes what it did when it fails.
func (c *copying) place(ctx context.Context) error {
	if err := c.allowed(); err != nil {
		return err
	}
	if err := c.a.flush(ctx); err != nil {
		return err
	}
	now, err := c.sources()
	if err != nil || !sameSources(now, c.files) {
		return err
	}
	c.a.forgetPV(c.to)
	var dirs, fresh []string
	for _, f := range c.files {
		c.done.Files, c.done.Bytes = c.done.Files+1, c.done.Bytes+f.copy.Size()
		if f.there {
			continue
		}
		made, existed, err := c.placeOne(f)
		dirs = append(dirs, made...)
		if err != nil {
			return errors.Join(fmt.Errorf("put the copy of %s in its place: %w", f.copy.From, err), removeAll(fresh))
		}
		if !existed {
			fresh = append(fresh, f.target)
		}
	}
	if err := syncDirs(dirs); err != nil {
		return err
	}
	c.placed = true
	return c.committed(fresh)
}

// committed calls commit and takes the copies away again if it refused.
func (c *copying) committed(fresh []string) error {
	if c.commit == nil {
		return nil
	}
	err := c.commit()
	if code := schema.CodeOf(err); err == nil || code == schema.Unavailable || code == schema.Internal {
		return err
	}
	return errors.Join(err, removeAll(fresh))
}

func (c *copying) placeOne(f copyFile) (changed []string, existed bool, err error) {
	dir := filepath.Dir(f.target)
	if changed, err = makeFolder(dir, f.root); err != nil {
		return changed, false, err
	}
	_, err = os.Lstat(f.target) // the beginning of the copy, as compare has seen
	return append(changed, dir), err == nil, c.a.opt.FS.Rename(f.written, f.target)
}

func sameSources(a, b []copyFile) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].copy.From != b[i].copy.From || a[i].copy.Size() != b[i].copy.Size() {
			return false
		}
	}
	return true
}

func removeAll(paths []string) error {
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}
