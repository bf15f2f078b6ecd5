package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// write makes the copies that are not there yet, in a folder of their own. It
// runs in the caller's goroutine: what it reads is only ever appended to.
func (c *copying) write(ctx context.Context) error {
	if err := c.compare(ctx); err != nil {
		return err
	}
	bytes := map[string]int64{} // by the store's root
	for _, f := range c.files {
		if f.written == "" && !f.there {
			bytes[f.root] += f.copy.Size()
		}
	}
	for root, n := range bytes {
		if err := c.room(root, n); err != nil {
			return err
		}
	}
	for i := range c.files {
		f := &c.files[i]
		if f.written != "" || f.there {
			continue
		}
		path, err := c.temporary(f.root, f.target)
		if err != nil {
			return err
		}
		if err := f.copy.Write(ctx, c.a.opt.FS, path); err != nil {
			return err
		}
		f.written = path
	}
	return nil
}

// compare finds what an earlier call has put in place, and refuses what else
// stands under the other name.
func (c *copying) compare(ctx context.Context) error {
	sizes := map[string]int64{}
	for _, store := range c.a.stores {
		list, err := partition.List(store.Root, schema.ChunkKey(c.to), store.Granularity)
		if err != nil {
			return err
		}
		for _, file := range list {
			sizes[file.Path] = file.Size
		}
	}
	for i := range c.files {
		f := &c.files[i]
		size, there := sizes[f.target]
		if !there {
			continue
		}
		delete(sizes, f.target)
		ours, err := f.copy.BeginsWith(ctx, f.target)
		if err != nil {
			return err
		}
		if !ours {
			return c.occupied(f.target)
		}
		f.there = size == f.copy.Size()
	}
	for path := range sizes {
		return c.occupied(path)
	}
	return nil
}

func (c *copying) occupied(path string) error {
	return schema.Errorf(schema.Conflict, "%s: %s has data of its own, such as %s: choose another name or move them away", c.what, c.to, path)
}

// temporary is where a copy stands, in its store, until all are whole.
func (c *copying) temporary(root, target string) (string, error) {
	if c.folders[root] == "" {
		top := filepath.Join(root, copyingName)
		if err := os.MkdirAll(top, 0o755); err != nil {
			return "", err
		}
		folder, err := os.MkdirTemp(top, "")
		if err != nil {
			return "", err
		}
		if c.folders == nil {
			c.folders = map[string]string{}
		}
		c.folders[root] = folder
	}
	path := filepath.Join(c.folders[root], filepath.Base(target))
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a shorter copy
		return "", err
	}
	return path, nil
}

// room refuses a copy that would fill the store: the archive needs what is
// free, and a copy that ends in the middle is of no use.
func (c *copying) room(root string, bytes int64) error {
	free, err := freeBytes(root)
	if err != nil {
		return err
	}
	if bytes > 0 && free < bytes+copySpare {
		return schema.Errorf(schema.Unavailable, "%s: the copy needs %d bytes and the store at %s has %d free: make room and try again", c.what, bytes, root, free)
	}
	return nil
}

// freeBytes is the room in the file system of a store.
func freeBytes(root string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(root, &stat); err != nil {
		return 0, fmt.Errorf("look for free space: %w", err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}
