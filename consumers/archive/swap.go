package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// A swap takes all files of a PV out of their places, keeps them in the trash,
// and may put others there, together with one event of the registry. The event
// decides: what a crash leaves half done is completed at the next start if the
// registry has it, and undone if not. Until then a note in StateDir tells what
// was under way, written before the first file moves and removed, both durably,
// when nothing is open any more.

// swapName is that note.
const swapName = "archive.swap"

// asideName is the folder in a store's root where the new files of a swap stand
// until they are all whole.
const asideName = ".converting"

// settleTime is how long an event whose fate is not known is waited for before
// its swap is undone.
const settleTime = 10 * time.Second

// noType is the type of a swap after which the PV is not registered.
const noType = schema.UnknownType

// swap is what is under way. It is JSON in the note.
type swap struct {
	PV         schema.PVName
	Generation uint64         // of the registration before the event
	Type       schema.DBRType // that the event gives the PV; noType: none
	Kept       string         // name of the folder in the stores' trash
	Moves      []move

	since time.Time // the event's fate is not known since then
}

// move is one place of a swap.
type move struct {
	Place string
	Kept  string // where what stands there goes; "" if nothing does
	New   string // where what comes there stands; "" if nothing comes
}

// decided reports whether the registry has the event of a swap.
func (a *Archive) decided(s *swap) bool {
	info, registered := a.opt.Registered(s.PV)
	if s.Type == noType {
		return !registered || info.State == schema.Alias
	}
	return registered && info.DBRType == s.Type && info.Generation > s.Generation
}

// carryOut moves the files and lets commit decide. It runs in Run's goroutine.
// An error of commit that leaves its fate open leaves the swap to settle.
func (a *Archive) carryOut(s *swap, commit func() error) error {
	if a.swap != nil {
		return schema.Errorf(schema.Unavailable, "files of PV %s are being replaced and it is not known yet whether that counts: try again in a moment", a.swap.PV)
	}
	if err := a.noteSwap(s); err != nil {
		return err
	}
	a.forgetPV(s.PV)
	if err := a.forward(s); err != nil {
		return errors.Join(fmt.Errorf("replace the files of %s: %w", s.PV, err), a.abandon(s))
	}
	err := commit()
	switch code := schema.CodeOf(err); {
	case err == nil:
		return a.forgetSwap()
	case code == schema.Unavailable || code == schema.Internal:
		a.leaveOpen(s)
		return err
	}
	return errors.Join(err, a.abandon(s))
}

// abandon undoes a swap; what cannot be undone now is tried again.
func (a *Archive) abandon(s *swap) error {
	err := a.backward(s)
	if err == nil {
		err = a.forgetSwap()
	}
	if err != nil {
		a.leaveOpen(s)
		return fmt.Errorf("put the files of %s back (it is tried again): %w", s.PV, err)
	}
	return nil
}

// leaveOpen lets settle find out what becomes of a swap.
func (a *Archive) leaveOpen(s *swap) {
	s.since, a.swap = time.Now(), s
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unsettled = s.PV
}

// settled ends that.
func (a *Archive) settled() {
	a.swap = nil
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unsettled = ""
}

// settle ends a swap whose event's fate was open: as soon as the registry has
// it, or when it has not come for settleTime.
func (a *Archive) settle(ctx context.Context) {
	s := a.swap
	if s == nil {
		return
	}
	switch {
	case a.decided(s):
		if err := a.forgetSwap(); err != nil {
			a.log.Warn("a note of replaced files is left; trying again", "file", a.swapPath(), "err", err)
			return
		}
		a.clearDrops(s.PV, filter.Type)
		a.settled()
	case time.Since(s.since) > settleTime:
		a.retry(ctx, "put files back that were to be replaced", func(context.Context) error {
			a.forgetPV(s.PV)
			return errors.Join(a.backward(s), a.forgetSwap())
		})
		if ctx.Err() == nil {
			a.settled()
			a.log.Warn("the files of a PV are as they were: the registry did not take the change", "pv", string(s.PV))
		}
	}
}

// recoverSwap completes or undoes what a crash left, before anything is read of
// the PV's files. The registry has read its log by then.
func (a *Archive) recoverSwap(context.Context) error {
	b, err := os.ReadFile(a.swapPath())
	if errors.Is(err, fs.ErrNotExist) {
		return a.sweep()
	}
	if err != nil {
		return fmt.Errorf("read what was under way: %w", err)
	}
	var s swap
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read what was under way in %s (look at it; without it the files stay as they are): %w", a.swapPath(), err)
	}
	done := a.decided(&s)
	if done {
		err = a.forward(&s)
	} else {
		err = a.backward(&s)
	}
	if err != nil {
		return fmt.Errorf("finish replacing the files of %s: %w", s.PV, err)
	}
	if done {
		a.clearDrops(s.PV, filter.Type)
	}
	a.log.Warn("files of a PV were being replaced when the last run ended", "pv", string(s.PV), "replaced", done)
	return errors.Join(a.forgetSwap(), a.sweep())
}

// sweep removes new files of swaps that never began.
func (a *Archive) sweep() error {
	for _, store := range a.stores {
		if err := os.RemoveAll(filepath.Join(store.Root, asideName)); err != nil {
			return fmt.Errorf("remove converted files that were not put in place: %w", err)
		}
	}
	return nil
}

func (a *Archive) swapPath() string { return filepath.Join(a.opt.StateDir, swapName) }

// noteSwap makes the note durable.
func (a *Archive) noteSwap(s *swap) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = writeDurable(a.swapPath()+".new", string(b))
	}
	if err == nil {
		err = os.Rename(a.swapPath()+".new", a.swapPath())
	}
	if err == nil {
		err = syncDir(a.opt.StateDir)
	}
	if err != nil {
		return fmt.Errorf("note that the files of %s are being replaced: %w", s.PV, err)
	}
	return nil
}

// forgetSwap removes the note. It must not come back: what it tells of would be
// done to the files of another day.
func (a *Archive) forgetSwap() error {
	if err := os.Remove(a.swapPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(a.opt.StateDir)
}

// forward brings all moves to their end, from wherever they are. First all that
// is there is kept, durably; then what is new takes its place.
func (a *Archive) forward(s *swap) error {
	err := a.keepAll(s, func(m move) string {
		if exists(m.Kept) {
			return ""
		}
		return m.Kept
	})
	if err != nil {
		return err
	}
	var dirs []string
	for _, m := range s.Moves {
		var err error
		switch {
		case m.New == "":
			err = removeIfThere(m.Place)
		case exists(m.New):
			var made []string
			if made, err = makeFolder(filepath.Dir(m.Place), a.rootOf(m.Place)); err == nil {
				dirs = append(dirs, made...)
				err = a.opt.FS.Rename(m.New, m.Place)
			}
			dirs = append(dirs, filepath.Dir(m.New))
		}
		if err != nil {
			return err
		}
		dirs = append(dirs, filepath.Dir(m.Place))
	}
	return syncDirs(dirs)
}

// backward undoes all moves, from wherever they are. What was new goes back to
// where it stood: it may be the only one of its kind.
func (a *Archive) backward(s *swap) error {
	err := a.keepAll(s, func(m move) string {
		if exists(m.New) || !exists(m.Place) {
			return ""
		}
		return m.New
	})
	if err != nil {
		return err
	}
	var dirs []string
	for _, m := range s.Moves {
		var err error
		switch {
		case m.Kept == "" && m.New != "":
			err = removeIfThere(m.Place)
		case m.Kept != "" && exists(m.Kept):
			if err = a.opt.FS.Rename(m.Kept, m.Place); err == nil && exists(m.Kept) {
				err = os.Remove(m.Kept) // both were names of one file, which a rename leaves alone
			}
			dirs = append(dirs, filepath.Dir(m.Kept))
		}
		if err != nil {
			return err
		}
		dirs = append(dirs, filepath.Dir(m.Place))
	}
	return syncDirs(dirs)
}

// keepAll gives the file in each place the second name that name says, "" for
// none, and returns when all have it, durably.
func (a *Archive) keepAll(s *swap, name func(move) string) error {
	var dirs []string
	for _, m := range s.Moves {
		a.appender.Release(m.Place)
		kept := name(m)
		if kept == "" {
			continue
		}
		made, err := a.keepFile(m.Place, kept)
		if err != nil {
			return err
		}
		dirs = append(dirs, made...)
	}
	return syncDirs(dirs)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// keepFile gives a file a second name, so that there is never a moment without
// it; where the file system has no hard links it is moved. The folders that got
// an entry are the caller's to sync.
func (a *Archive) keepFile(place, kept string) (changed []string, err error) {
	changed, err = makeFolder(filepath.Dir(kept), a.rootOf(kept))
	if err != nil {
		return changed, err
	}
	if err = os.Link(place, kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = a.opt.FS.Rename(place, kept)
	}
	return append(changed, filepath.Dir(kept), filepath.Dir(place)), err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// rootOf is the root of the store that a path is in.
func (a *Archive) rootOf(path string) string {
	for _, store := range a.stores {
		if below, err := filepath.Rel(store.Root, path); err == nil && filepath.IsLocal(below) {
			return store.Root
		}
	}
	return a.opt.Store.Root
}

// placed is a partition with its store.
type placed struct {
	partition.File
	store Store
}

// placedFiles are the partitions of a PV in all stores.
func (a *Archive) placedFiles(pv schema.PVName) ([]placed, error) {
	var files []placed
	for _, store := range a.stores {
		list, err := partition.List(store.Root, schema.ChunkKey(pv), store.Granularity)
		if err != nil {
			return nil, err
		}
		for _, file := range list {
			files = append(files, placed{file, store})
		}
	}
	if len(files) == 0 {
		return nil, a.checkStore()
	}
	return files, nil
}
