package partition

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
)

// Op is a step of an [FS] that can be made to fail.
type Op string

// The steps that change something or make it durable.
const (
	OpOpen     Op = "open"
	OpMkdir    Op = "mkdir"
	OpWrite    Op = "write"
	OpTruncate Op = "truncate"
	OpSync     Op = "sync"   // of a file or folder
	OpSyncFS   Op = "syncfs" // of the whole file system
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpAny      Op = "" // in a Fault: whichever step comes
)

// Fault is one planned failure.
type Fault struct {
	Op      Op
	Skip    int   // let so many such steps pass before
	Err     error // what the step gives: syscall.ENOSPC, ...
	Written int   // of a failing write: bytes that reach the file nevertheless
	Lasting bool  // fail every step after as well, until Heal
}

// FaultFS is an [FS] for tests of crash safety, in this package and in those
// that write through it: steps fail when told to, and a power cut takes back
// what was not synced. As on Linux, what was dirty when a sync failed is not
// made durable by the next one. A rename or removal is durable when its folder
// was synced. It may be used from several goroutines.
type FaultFS struct {
	fs FS // set by NewFaultFS

	mu     sync.Mutex // guards what follows
	faults []*Fault
	files  map[string]*written
	names  []nameChange // not durable, oldest first
	steps  map[Op]int
}

// written is what became of a file's bytes.
type written struct {
	durable int64 // so many would be there after a power cut
	lost    bool  // a sync failed: bytes from durable on must be written again
}

// NewFaultFS wraps a file system.
func NewFaultFS(fs FS) *FaultFS {
	return &FaultFS{fs: fs, files: map[string]*written{}, steps: map[Op]int{}}
}

// Fail plans a failure. Of several that fit a step, the one planned first fires.
func (f *FaultFS) Fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Heal forgets all planned failures.
func (f *FaultFS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// Steps is how often a step was begun, with OpAny any of them.
func (f *FaultFS) Steps(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps[op]
}

// step counts a step and gives the fault that is due.
func (f *FaultFS) step(op Op) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps[op]++
	f.steps[OpAny]++
	for i, fault := range f.faults {
		if fault.Op != op && fault.Op != OpAny {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		if !fault.Lasting {
			f.faults = slices.Delete(f.faults, i, i+1)
		}
		return fault
	}
	return nil
}

func (f *FaultFS) fail(op Op, path string) error {
	if fault := f.step(op); fault != nil {
		return &os.PathError{Op: string(op), Path: path, Err: fault.Err}
	}
	return nil
}

// PowerCut leaves of each file what was durable, and of the rest what tear
// makes of it: half, zeros, garbage; nil leaves nothing, not even a file of
// which nothing was durable. Renames and removals that are not durable are taken
// back.
func (f *FaultFS) PowerCut(tear func(path string, lost []byte) []byte) error {
	return f.PowerCutKeeping(0, tear)
}

// PowerCutKeeping is PowerCut that keeps so many of the oldest renames and
// removals that are not durable: a file system may have written them by itself.
func (f *FaultFS) PowerCutKeeping(keep int, tear func(path string, lost []byte) []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.takeBack(keep); err != nil {
		return fmt.Errorf("cut power: %w", err)
	}
	for path, w := range f.files {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cut power: %w", err)
		}
		durable := min(w.durable, int64(len(b)))
		switch {
		case tear != nil:
			b = append(bytes.Clone(b[:durable]), tear(path, b[durable:])...)
		case durable == 0:
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("cut power: %w", err)
			}
			continue
		default:
			b = b[:durable]
		}
		if err := os.WriteFile(path, b, fileMode); err != nil {
			return fmt.Errorf("cut power: %w", err)
		}
	}
	clear(f.files)
	return nil
}

// OpenFile opens, or fails as planned.
func (f *FaultFS) OpenFile(path string, flag int, perm os.FileMode) (Handle, error) {
	if err := f.fail(OpOpen, path); err != nil {
		return nil, err
	}
	h, err := f.fs.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultHandle{Handle: h, fs: f, path: path}, nil
}

// Mkdir makes a folder, or fails as planned.
func (f *FaultFS) Mkdir(path string, perm os.FileMode) error {
	if err := f.fail(OpMkdir, path); err != nil {
		return err
	}
	return f.fs.Mkdir(path, perm)
}

// change notes what a write or cut from an offset on does to durability. What
// was there when the file was first changed counts as durable.
func (f *FaultFS) change(path string, offset, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.files[path]
	if w == nil {
		w = &written{durable: size}
		f.files[path] = w
	}
	if offset <= w.durable {
		w.durable, w.lost = offset, false
	}
}

// synced notes the end of a sync of a file that is now size bytes long.
func (w *written) synced(ok bool, size int64) {
	switch {
	case !ok:
		w.lost = true
	case !w.lost:
		w.durable = size
	}
}

type faultHandle struct {
	Handle
	fs   *FaultFS
	path string
}

func (h *faultHandle) WriteAt(b []byte, offset int64) (int, error) {
	if size, err := h.Size(); err == nil {
		h.fs.change(h.path, offset, size)
	}
	fault := h.fs.step(OpWrite)
	if fault == nil {
		return h.Handle.WriteAt(b, offset)
	}
	n, err := h.Handle.WriteAt(b[:min(fault.Written, len(b))], offset)
	return n, errors.Join(&os.PathError{Op: "write", Path: h.path, Err: fault.Err}, err)
}

func (h *faultHandle) Truncate(length int64) error {
	if err := h.fs.fail(OpTruncate, h.path); err != nil {
		return err
	}
	if size, err := h.Size(); err == nil {
		h.fs.change(h.path, length, size)
	}
	return h.Handle.Truncate(length)
}

func (h *faultHandle) Sync() error {
	err := h.fs.fail(OpSync, h.path)
	if err == nil {
		err = h.Handle.Sync()
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err == nil {
		h.fs.entriesSynced(h.path)
	}
	if w := h.fs.files[h.path]; w != nil {
		size, _ := h.Size()
		w.synced(err == nil, size)
	}
	return err
}

// SyncFS syncs what was written through this FS, as if it were a file system
// of its own that reports failures.
func (h *faultHandle) SyncFS() error {
	err := h.fs.fail(OpSyncFS, h.path)
	if err == nil {
		err = h.Handle.SyncFS()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return err // the files will be synced one by one
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err == nil {
		h.fs.names = nil
	}
	for path, w := range h.fs.files {
		if info, statErr := os.Stat(path); statErr == nil {
			w.synced(err == nil, info.Size())
		}
	}
	return err
}
