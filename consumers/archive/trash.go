package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Below trashName in a store's root stands a folder for each deletion of a
// PV's data, named by its time in trashLayout.
const (
	trashName   = ".trash"
	trashLayout = "2006-01-02T15-04-05.000000000Z"
)

// Trash moves the partitions of a PV into the store's trash folder, after
// what waits for it was written. It is for PVs whose registration is gone, and
// gives the folder they are in now, "" if there was nothing: with several stores
// each has one of that name, and it is the first's. The error is a
// [schema.Conflict] for a PV that is registered again, or whose files are being
// copied, [schema.Unavailable] if the archive has ended or cannot write now.
func (a *Archive) Trash(ctx context.Context, pv schema.PVName, now time.Time) (string, error) {
	release, err := a.hold(pv)
	if err != nil {
		return "", err
	}
	defer release()
	var folder string
	err = a.owning(ctx, fmt.Sprintf("move the data of %s to the trash", pv), func(ctx context.Context) (err error) {
		if _, registered := a.opt.Registered(pv); registered {
			return schema.Errorf(schema.Conflict, "PV %s has been archived again meanwhile: its data stay", pv)
		}
		if err = a.flush(ctx); err == nil {
			folder, err = a.trash(pv, now)
		}
		return err
	})
	return folder, err
}

// trash renames files one by one below .trash/TIME/; names and folders stay, so
// moving them back is a rename as well. Each rename is made durable by syncing
// both folders.
func (a *Archive) trash(pv schema.PVName, now time.Time) (folder string, err error) {
	for _, s := range a.stores {
		files, err := partition.List(s.Root, schema.ChunkKey(pv), s.Granularity)
		if err != nil {
			return folder, err
		}
		if len(files) == 0 {
			continue
		}
		a.forgetPV(pv)
		bin := filepath.Join(s.Root, trashName, now.UTC().Format(trashLayout))
		folder = cmp.Or(folder, bin)
		for _, file := range files {
			a.appender.Release(file.Path)
			if err := a.moveTo(s.Root, bin, file.Path); err != nil {
				return folder, fmt.Errorf("move %s to the trash: %w", file.Path, err)
			}
		}
	}
	return folder, nil
}

// Restored is what Restore moved back.
type Restored struct {
	Folder string // of the trash, where the files were (of several stores the first's); "" if there was nothing
	Files  int
}

// Restore moves back what the newest deletion of a PV's data since an instant
// (zero: ever) moved to the trash. A file whose place has been taken meanwhile
// stays there, the others come back, and the error is a [schema.Conflict] that
// names it. Nothing in the trash is no error.
func (a *Archive) Restore(ctx context.Context, pv schema.PVName, since time.Time) (Restored, error) {
	release, err := a.hold(pv)
	if err != nil {
		return Restored{}, err
	}
	defer release()
	var restored Restored
	err = a.owning(ctx, fmt.Sprintf("move the data of %s back from the trash", pv), func(ctx context.Context) (err error) {
		if err = a.flush(ctx); err == nil {
			restored, err = a.restore(pv, since)
		}
		return err
	})
	return restored, err
}

func (a *Archive) restore(pv schema.PVName, since time.Time) (Restored, error) {
	deletion, err := a.newestDeletion(pv, since)
	if err != nil || deletion == "" {
		return Restored{}, err
	}
	a.forgetPV(pv) // its last time is that of what comes back
	var restored Restored
	var taken []string
	for _, s := range a.stores {
		bin := filepath.Join(s.Root, trashName, deletion)
		files, err := partition.List(bin, schema.ChunkKey(pv), s.Granularity)
		if err != nil {
			return restored, err
		}
		for _, file := range files {
			restored.Folder = cmp.Or(restored.Folder, bin)
			place, err := a.restoreFile(s.Root, bin, file.Path)
			if err != nil {
				return restored, fmt.Errorf("move %s back from the trash: %w", file.Path, err)
			}
			if place != "" {
				taken = append(taken, place)
				continue
			}
			restored.Files++
			removeEmpty(filepath.Dir(file.Path), filepath.Dir(bin))
		}
	}
	if len(taken) > 0 {
		return restored, schema.Errorf(schema.Conflict,
			"%d files of %s stay in %s because there is one in their place, such as %s", len(taken), pv, restored.Folder, taken[0])
	}
	return restored, nil
}

// restoreFile moves a file back from the trash, but for one whose place below
// root is taken, which it gives.
func (a *Archive) restoreFile(root, bin, path string) (taken string, err error) {
	below, err := filepath.Rel(bin, path)
	if err != nil {
		return "", err
	}
	place := filepath.Join(root, below)
	if _, err := os.Lstat(place); err == nil {
		return place, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return "", a.moveTo(bin, root, path)
}

// newestDeletion is the name of the newest folder that has partitions of a PV
// in the trash of any store, "" for none.
func (a *Archive) newestDeletion(pv schema.PVName, since time.Time) (newest string, err error) {
	for _, s := range a.stores {
		name, err := newestTrash(s, pv, since)
		if err != nil {
			return "", err
		}
		newest = max(newest, name) // the layout sorts as the times do
	}
	return newest, nil
}

// newestTrash is newestDeletion in one store.
func newestTrash(s Store, pv schema.PVName, since time.Time) (string, error) {
	bins := filepath.Join(s.Root, trashName)
	entries, err := os.ReadDir(bins) // sorted by name, which is the time
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look into the trash: %w", err)
	}
	for _, entry := range slices.Backward(entries) {
		at, err := time.Parse(trashLayout, entry.Name())
		if err != nil {
			continue // somebody else's
		}
		if at.Before(since) {
			break
		}
		bin := filepath.Join(bins, entry.Name())
		files, err := partition.List(bin, schema.ChunkKey(pv), s.Granularity)
		if err != nil || len(files) > 0 {
			return entry.Name(), err
		}
	}
	return "", nil
}

// forgetPV lets go of what is known of a PV's files; nothing of it may wait.
func (a *Archive) forgetPV(pv schema.PVName) {
	if f := a.known(pv); f != nil {
		a.appender.Release(f.file.path)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pvs, pv)
}

// moveTo moves a file from below one folder to the same place below another.
func (a *Archive) moveTo(from, to, path string) error {
	below, err := filepath.Rel(from, path)
	if err != nil {
		return err
	}
	return partition.Move(a.opt.FS, path, filepath.Join(to, below))
}

// makeFolder makes a folder below top, and gives the folders that got an entry
// and must be synced, top itself among them.
func makeFolder(dir, top string) (changed []string, err error) {
	for at := dir; len(at) > len(top); at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break
		}
		changed = append(changed, filepath.Dir(at))
	}
	return changed, os.MkdirAll(dir, 0o755)
}

// syncDirs syncs each folder once.
func syncDirs(dirs []string) error {
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// removeEmpty removes a folder and those above it, below top, as long as they
// are empty.
func removeEmpty(dir, top string) {
	for ; len(dir) > len(top); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			return
		}
	}
}
