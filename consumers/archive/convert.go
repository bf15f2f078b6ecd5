package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// lossesMax is how many losses a report names; it counts all.
const lossesMax = 20

// Conversion asks for all stored samples of a PV as values of another type.
type Conversion struct {
	PV     schema.PVName
	To     schema.DBRType
	Labels []string // of the states of an enum, nil if they are not known
	Lossy  bool     // values that the type cannot hold become the nearest it can
	DryRun bool     // only tell what would become of them
}

// Convertible is what became, or would become, of a PV's files.
type Convertible struct {
	Files   int // that were converted
	Kept    string
	Samples int
	Lost    int               // values that change, or hinder the conversion without Lossy
	Losses  []*partition.Loss // the first of them
	Bytes   int64             // of the new files
}

// Convert converts all partitions of a PV in all stores to another type. The PV
// must not be sampled; what waits for it, in the log and in memory, is written
// before. The new files are made aside and take the old ones' places together,
// which stay in the trash, in the folder that commit is given the name of: it
// gives the PV its new type in the registry. If commit refuses, the old files
// are back; if it gives [schema.Unavailable] or an error that is none of
// schema's, they are unless the registry has the new type within moments. So it
// is after a crash: see swap.go. A file of the new type already stays.
//
// A value that the new type cannot hold, without Lossy, and a line that cannot
// be read are a [schema.Conflict] that names file, line and value, and nothing
// is changed; so is a PV that is sampled, copied or converted just now.
// [schema.Unavailable] says that the archive cannot write now, or that a store
// has no room.
func (a *Archive) Convert(ctx context.Context, q Conversion, commit func(kept string) error) (Convertible, error) {
	release, err := a.hold(q.PV)
	if err != nil {
		return Convertible{}, err
	}
	defer release()
	c := converting{a: a, q: q, commit: commit, what: fmt.Sprintf("convert the data of %s to %v", q.PV, q.To), asked: time.Now()}
	defer c.clean()
	for range copyTries {
		if err := a.owning(ctx, c.what, c.plan); err != nil {
			return c.done, c.fault(err)
		}
		if err := c.write(ctx); err != nil {
			return c.done, c.fault(err)
		}
		if q.DryRun {
			return c.done, nil
		}
		if err := a.owning(ctx, c.what, c.place); err != nil {
			return c.done, c.fault(err)
		}
		if c.placed {
			return c.done, nil
		}
	}
	return c.done, schema.Errorf(schema.Conflict, "%s: samples keep coming: pause it first", c.what)
}

// converting is one call of Convert.
type converting struct {
	a      *Archive
	q      Conversion
	commit func(kept string) error
	what   string
	asked  time.Time

	generation uint64
	files      []convertedFile
	folders    []string // where new files stand, one for each store that has some
	placed     bool
	done       Convertible
}

// convertedFile is a partition and what becomes of it.
type convertedFile struct {
	placed
	length int64  // that is sound, when it was planned
	fresh  string // the new file, "" if there is none
}

// plan takes what the log has of the PV and finds its files. It runs in Run's
// goroutine.
func (c *converting) plan(ctx context.Context) error {
	info, registered := c.a.opt.Registered(c.q.PV)
	switch {
	case !registered:
		return schema.Errorf(schema.NotFound, "PV %s is not registered", c.q.PV)
	case info.State == schema.Archiving && !c.q.DryRun:
		return schema.Errorf(schema.Conflict, "PV %s is being archived: pause it first", c.q.PV)
	case info.DBRType == schema.UnknownType:
		return schema.Errorf(schema.Conflict, "PV %s has never connected: it has no type that could be changed", c.q.PV)
	}
	c.generation = info.Generation
	if err := c.a.takeUntil(ctx, c.asked); err != nil {
		return err
	}
	if c.a.recovering {
		return schema.Errorf(schema.Unavailable, "%s: the archive still takes in what the last run had left: try again in a moment", c.what)
	}
	files, err := c.present()
	c.files = files
	return err
}

// present are the PV's files as they are now.
func (c *converting) present() ([]convertedFile, error) {
	list, err := c.a.placedFiles(c.q.PV)
	if err != nil {
		return nil, err
	}
	files := make([]convertedFile, 0, len(list))
	for _, file := range list {
		tail, err := partition.ReadTail(file.Path)
		if err != nil {
			return nil, schema.Errorf(schema.Conflict, "read the partition to convert: %w", err)
		}
		files = append(files, convertedFile{placed: file, length: tail.Length})
	}
	return files, nil
}

// write makes the new files, or only looks what would become of the old ones.
// It runs in the caller's goroutine: what it reads is only ever appended to.
func (c *converting) write(ctx context.Context) error {
	c.clean()
	c.done, c.folders = Convertible{}, nil
	conversion := schema.Conversion{To: c.q.To, Labels: c.q.Labels, Lossy: c.q.Lossy}
	folders := map[string]string{}
	for i := range c.files {
		f := &c.files[i]
		target := ""
		if !c.q.DryRun {
			folder, err := c.folder(folders, f.store.Root)
			if err != nil {
				return err
			}
			target = filepath.Join(folder, fmt.Sprintf("%d.pb", i))
		}
		if err := c.room(f.store.Root, f.length); err != nil {
			return err
		}
		one, err := partition.Convert(ctx, c.a.opt.FS, f.Path, target, c.q.PV, conversion, c.lose)
		if loss, ok := errors.AsType[*partition.Loss](err); ok {
			return schema.Errorf(schema.Conflict, "%s: %w (a dry run lists all such values, lossy takes the nearest)", c.what, loss)
		}
		if err != nil {
			return err
		}
		if one.Bytes == 0 {
			continue // of the new type already, or without a header
		}
		f.fresh = target
		c.done.Files++
		c.done.Samples, c.done.Lost, c.done.Bytes = c.done.Samples+one.Samples, c.done.Lost+one.Lost, c.done.Bytes+one.Bytes
	}
	return nil
}

func (c *converting) lose(l *partition.Loss) {
	if len(c.done.Losses) < lossesMax {
		c.done.Losses = append(c.done.Losses, l)
	}
}

// folder is where the new files of a store are made.
func (c *converting) folder(known map[string]string, root string) (string, error) {
	if folder := known[root]; folder != "" {
		return folder, nil
	}
	top := filepath.Join(root, asideName)
	if err := os.MkdirAll(top, 0o755); err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp(top, "")
	if err == nil {
		known[root] = folder
		c.folders = append(c.folders, folder)
	}
	return folder, err
}

// room refuses a conversion that would fill the store.
func (c *converting) room(root string, bytes int64) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(root, &stat); err != nil {
		return fmt.Errorf("look for free space: %w", err)
	}
	if free := int64(stat.Bavail) * int64(stat.Bsize); !c.q.DryRun && free < 2*bytes+copySpare {
		return schema.Errorf(schema.Unavailable, "%s: the store at %s has %d bytes free, and the next file needs up to %d: make room and try again", c.what, root, free, 2*bytes)
	}
	return nil
}

// place puts the new files in the places of the old ones if the PV has got no
// samples since the plan. It runs in Run's goroutine.
func (c *converting) place(ctx context.Context) error {
	if err := c.a.flush(ctx); err != nil {
		return err
	}
	now, err := c.present()
	if err != nil || !c.same(now) {
		return err
	}
	info, registered := c.a.opt.Registered(c.q.PV)
	if !registered || info.State == schema.Archiving || info.Generation != c.generation {
		return schema.Errorf(schema.Conflict, "PV %s was resumed or changed while its data were converted: nothing was converted", c.q.PV)
	}
	s := &swap{PV: c.q.PV, Generation: c.generation, Type: c.q.To}
	if len(c.files) > 0 {
		s.Kept = time.Now().UTC().Format(trashLayout)
	}
	kept, note := s.Kept, converted{}
	for _, f := range c.files {
		if f.fresh == "" {
			note[f.Path] = standing{Bytes: f.Size}
			continue
		}
		info, err := os.Stat(f.fresh)
		if err != nil {
			return err
		}
		note[f.Path] = standing{Bytes: info.Size(), Converted: true}
		bin, err := keptPath(f.store, kept, f.Path)
		if err != nil {
			return err
		}
		s.Moves = append(s.Moves, move{Place: f.Path, Kept: bin, New: f.fresh})
	}
	if err := c.a.noteConverted(c.q.PV, kept, note); err != nil {
		return err
	}
	if err := syncDirs(append([]string(nil), c.folders...)); err != nil {
		return err
	}
	c.done.Kept, c.placed = kept, true
	return c.a.carryOut(s, func() error {
		if err := c.commit(kept); err != nil {
			return err
		}
		c.a.clearDrops(c.q.PV, filter.Type)
		return nil
	})
}

func (c *converting) same(now []convertedFile) bool {
	if len(now) != len(c.files) {
		return false
	}
	for i, f := range c.files {
		if now[i].Path != f.Path || now[i].length != f.length {
			return false
		}
	}
	return true
}

// clean removes new files that were not put in place, unless their swap is open.
func (c *converting) clean() {
	if s := c.a.swapOpen(); s {
		return // the next start, or settling, removes what it does not need
	}
	for _, folder := range c.folders {
		if err := os.RemoveAll(folder); err != nil {
			c.a.log.Warn("converted files that are of no use are left until the next start", "folder", folder, "err", err)
		}
	}
}

// swapOpen reports whether a note of a swap stands.
func (a *Archive) swapOpen() bool { return exists(a.swapPath()) }

func (c *converting) fault(err error) error {
	return worded(c.what, ", nothing was converted", err)
}

// keptPath is where a file of a store goes in a folder of its trash.
func keptPath(store Store, kept, path string) (string, error) {
	below, err := filepath.Rel(store.Root, path)
	return filepath.Join(store.Root, trashName, kept, below), err
}
