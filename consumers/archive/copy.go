package archive

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
)

// copyingName is the folder in a store's root where copies stand until all of
// them are whole. Whoever opens the store removes it.
const copyingName = ".copying"

// copyTries is how often files that have grown meanwhile are copied again. A
// paused PV gets at most what was on its way when it was paused.
const copyTries = 3

// copySpare is the free space that a copy leaves, as the Appliance's moves do.
const copySpare = 1 << 20

// Copied is what Copy put in place.
type Copied struct {
	Files int
	Bytes int64
}

// Copy copies all partitions of a PV to another name, which must not be
// registered: each file with a header that names the other PV, the lines byte
// for byte. What waits for the PV, in the log and in memory, is written first.
// The copies are made aside and put in their places together, durable; then, and
// before anybody else can work on files, commit (nil for nothing) is called: it
// registers the other name. If it refuses, the copies are gone again; if it
// gives [schema.Unavailable] or an error that is none of schema's, so that
// nobody knows whether it did its work, they stay. A crash in that short moment
// leaves some of them in place: a later call with the same names takes what it
// finds of the same samples for its own and goes on.
//
// A file in the place of a copy that is not the beginning of it, or any other
// partition of the other name, is a [schema.Conflict] and nothing is copied; so
// is a PV that is being sampled or copied. [schema.Unavailable] says that the
// archive cannot write now, or that the store has no room.
func (a *Archive) Copy(ctx context.Context, from, to schema.PVName, commit func() error) (Copied, error) {
	if schema.ChunkKey(from) == schema.ChunkKey(to) {
		return Copied{}, schema.Errorf(schema.Conflict, "PV %s and PV %s have the same files (':', '-' and '/' all become folders)", from, to)
	}
	release, err := a.hold(from, to)
	if err != nil {
		return Copied{}, err
	}
	defer release()
	c := copying{a: a, from: from, to: to, commit: commit, what: fmt.Sprintf("copy the data of %s to %s", from, to), asked: time.Now()}
	defer c.clean()
	for range copyTries {
		if err := a.owning(ctx, c.what, c.plan); err != nil {
			return Copied{}, c.fault(err)
		}
		if err := c.write(ctx); err != nil {
			return Copied{}, c.fault(err)
		}
		if err := a.owning(ctx, c.what, c.place); err != nil {
			return Copied{}, c.fault(err)
		}
		if c.placed {
			return c.done, nil
		}
	}
	return Copied{}, schema.Errorf(schema.Conflict, "%s: samples of %s keep coming: pause it first", c.what, from)
}

// hold keeps others from working on the files of PVs until release is called.
func (a *Archive) hold(pvs ...schema.PVName) (release func(), err error) {
	return a.holdEven("", pvs...)
}

// holdEven is hold that takes a PV even if its files were replaced and the
// registry has not decided yet. Others of these are refused only if it still has
// not when Run's goroutine has looked.
func (a *Archive) holdEven(open schema.PVName, pvs ...schema.PVName) (release func(), err error) {
	if a.undecided(open, pvs) {
		if err := a.owning(context.Background(), "look for files that were replaced", func(ctx context.Context) error {
			a.settle(ctx)
			return nil
		}); err != nil {
			return nil, err
		}
	}
	undecided := a.undecided(open, pvs)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, pv := range pvs {
		if a.held[pv] || undecided {
			return nil, schema.Errorf(schema.Conflict, "the files of PV %s are being copied or moved just now: try again later", pv)
		}
	}
	for _, pv := range pvs {
		a.held[pv] = true
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, pv := range pvs {
			delete(a.held, pv)
		}
	}, nil
}

// undecided reports whether one of some PVs, but for open, waits for the registry.
func (a *Archive) undecided(open schema.PVName, pvs []schema.PVName) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.unsettled != "" && a.unsettled != open && slices.Contains(pvs, a.unsettled)
}

// copying is one call of Copy.
type copying struct {
	a        *Archive
	from, to schema.PVName
	commit   func() error // nil: nothing
	what     string
	asked    time.Time

	folders map[string]string // where the copies stand, by the store's root
	files   []copyFile        // store by store, in the order of their time
	placed  bool
	done    Copied
}

// copyFile is one partition and its copy.
type copyFile struct {
	copy    partition.Copy
	root    string // of its store
	target  string // its place
	written string // where the copy stands until then, "" if it need not
	there   bool   // an earlier call has put the whole of it in its place
}

// plan takes what the log has of the PV and finds what is to be copied where.
// It runs in Run's goroutine.
func (c *copying) plan(ctx context.Context) error {
	if err := c.allowed(); err != nil {
		return err
	}
	if err := c.a.takeUntil(ctx, c.asked); err != nil {
		return err
	}
	files, err := c.sources()
	if err != nil {
		return err
	}
	known := make(map[string]copyFile, len(c.files))
	for _, f := range c.files {
		known[f.copy.From] = f
	}
	for i, f := range files {
		if k, ok := known[f.copy.From]; ok && k.copy.Size() == f.copy.Size() {
			files[i] = k
		}
	}
	c.files = files
	return nil
}

// allowed refuses a copy that would meet samples: of a PV that is sampled, or
// under a name that is registered.
func (c *copying) allowed() error {
	if info, registered := c.a.opt.Registered(c.from); registered && info.State == schema.Archiving {
		return schema.Errorf(schema.Conflict, "PV %s is being archived: pause it first", c.from)
	}
	if _, registered := c.a.opt.Registered(c.to); registered {
		return schema.Errorf(schema.Conflict, "PV %s is registered already", c.to)
	}
	return nil
}

// sources are the PV's partitions as they are now.
func (c *copying) sources() ([]copyFile, error) {
	var files []copyFile
	for i, store := range c.a.stores {
		list, err := partition.List(store.Root, schema.ChunkKey(c.from), store.Granularity)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			if err := c.a.checkMark(i); err != nil {
				return nil, err
			}
		}
		for _, file := range list {
			plan, err := partition.PlanCopy(file.Path, c.from, c.to)
			if err != nil {
				return nil, schema.Errorf(schema.Conflict, "%w", err)
			}
			if plan.Size() > 0 {
				target := partition.Path(store.Root, schema.ChunkKey(c.to), store.Granularity, file.Start)
				files = append(files, copyFile{copy: plan, root: store.Root, target: target})
			}
		}
	}
	return files, nil
}

// clean removes copies that were not put in place.
func (c *copying) clean() {
	for _, folder := range c.folders {
		if err := os.RemoveAll(folder); err != nil {
			c.a.log.Warn("copies that are of no use are left until the next start", "folder", folder, "err", err)
		}
	}
}

// fault words a failure for whoever asked.
func (c *copying) fault(err error) error {
	return worded(c.what, ", nothing was copied", err)
}
