package partition

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// nameChange is a name that was made, moved or removed, which a power cut can
// take back.
type nameChange struct {
	from, to string   // to is "" for a removal, from for what was made
	gone     *fileWas // the file that lost its name: removed, or renamed over

	fromSynced, toSynced bool // their folders were, since
}

// fileWas is a file that may come back.
type fileWas struct {
	bytes   []byte
	mode    os.FileMode
	written *written // nil: all of it was durable
}

// Rename moves, or fails as planned.
func (f *FaultFS) Rename(from, to string) error {
	if err := f.fail(OpRename, from); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gone, err := f.was(to)
	if err != nil {
		return err
	}
	if err := f.fs.Rename(from, to); err != nil {
		return err
	}
	f.names = append(f.names, nameChange{from: from, to: to, gone: gone})
	f.moved(from, to)
	return nil
}

// Remove removes, or fails as planned.
func (f *FaultFS) Remove(path string) error {
	if err := f.fail(OpRemove, path); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	gone, err := f.was(path)
	if err != nil {
		return err
	}
	if err := f.fs.Remove(path); err != nil {
		return err
	}
	f.names = append(f.names, nameChange{from: path, gone: gone})
	delete(f.files, path)
	return nil
}

// made notes a new file or folder.
func (f *FaultFS) made(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = append(f.names, nameChange{to: path, fromSynced: true})
}

// was keeps what a file is, nil if there is none.
func (f *FaultFS) was(path string) (*fileWas, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keep what %s was: %w", path, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("keep what %s was: %w", path, err)
	}
	return &fileWas{bytes: b, mode: info.Mode().Perm(), written: f.files[path]}, nil
}

// moved carries over what is known of a file's bytes to its new name.
func (f *FaultFS) moved(from, to string) {
	w := f.files[from]
	delete(f.files, from)
	delete(f.files, to)
	if w != nil {
		f.files[to] = w
	}
}

// takeBack undoes the changes of names that are not durable, newest first, but
// for so many of the oldest.
func (f *FaultFS) takeBack(keep int) error {
	for _, c := range slices.Backward(f.names[min(keep, len(f.names)):]) {
		switch {
		case c.from == "":
			if err := os.RemoveAll(c.to); err != nil {
				return err
			}
			f.forget(c.to)
			continue
		case c.to != "":
			if err := os.Rename(c.to, c.from); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			f.moved(c.to, c.from)
		}
		if c.gone == nil {
			continue
		}
		path := c.from
		if c.to != "" {
			path = c.to
		}
		if err := os.WriteFile(path, c.gone.bytes, c.gone.mode); err != nil {
			return err
		}
		delete(f.files, path)
		if c.gone.written != nil {
			f.files[path] = c.gone.written
		}
	}
	f.names = nil
	return nil
}

// forget lets go of a file, or all below a folder, that is not there any more.
func (f *FaultFS) forget(path string) {
	maps.DeleteFunc(f.files, func(file string, _ *written) bool { return below(file, path) })
}

// below reports whether a path is another, or lies below it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}

// Durable gives what a power cut would leave of a file at the least; false if it
// could be gone.
func (f *FaultFS) Durable(path string) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range slices.Backward(f.names) {
		switch {
		case c.to != "" && below(path, c.to) && c.gone == nil:
			return nil, false
		case c.to == path || c.to == "" && c.from == path:
			return c.gone.durable()
		}
	}
	if w := f.files[path]; w != nil {
		return bytes.Clone(w.durable), true
	}
	b, err := os.ReadFile(path)
	return b, err == nil
}

func (g *fileWas) durable() ([]byte, bool) {
	switch {
	case g == nil:
		return nil, false
	case g.written == nil:
		return g.bytes, true
	}
	return g.written.durable, true
}

// entriesSynced makes the changes of names in a folder durable.
func (f *FaultFS) entriesSynced(dir string) {
	for i := range f.names {
		c := &f.names[i]
		c.fromSynced = c.fromSynced || filepath.Dir(c.from) == dir
		c.toSynced = c.toSynced || c.to == "" || filepath.Dir(c.to) == dir
	}
	f.names = slices.DeleteFunc(f.names, func(c nameChange) bool { return c.fromSynced && c.toSynced })
}
