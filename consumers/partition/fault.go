package partition

import (
	"bytes"
	"errors"
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
	Path    string // only on this file; "" is any
	Skip    int    // let so many such steps pass before
	Err     error  // what the step gives: syscall.ENOSPC, ...
	Written int    // of a failing write: bytes that reach the file nevertheless
	Lasting bool   // fail every step after as well, until Heal
}

// FaultFS is an [FS] for tests of crash safety, in this package and in those
// that write through it: steps fail when told to, and a power cut takes back
// what was not synced, all of it or what chance leaves. As on Linux, what was
// dirty when a sync failed is not made durable by the next one. A name that was
// made, moved or removed is durable when its folder was synced. What was there
// before it was changed through this FS counts as durable. It may be used from
// several goroutines.
type FaultFS struct {
	fs FS // set by NewFaultFS

	mu     sync.Mutex // guards what follows
	faults []*Fault
	files  map[string]*written
	names  []nameChange // not durable, oldest first
	steps  map[Op]int
	lies   bool
	hang   *hang // nil: the disk answers
}

// NewFaultFS wraps a file system.
func NewFaultFS(fs FS) *FaultFS {
	return &FaultFS{fs: fs, files: map[string]*written{}, steps: map[Op]int{}}
}

// Lie makes every sync succeed and do nothing, as a disk does that ignores the
// command: tests must notice.
func (f *FaultFS) Lie() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lies = true
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
func (f *FaultFS) step(op Op, path string) *Fault {
	f.hold(op)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps[op]++
	f.steps[OpAny]++
	for i, fault := range f.faults {
		if fault.Op != op && fault.Op != OpAny || fault.Path != "" && fault.Path != path {
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
	if fault := f.step(op, path); fault != nil {
		return &os.PathError{Op: string(op), Path: path, Err: fault.Err}
	}
	return nil
}

// OpenFile opens, or fails as planned.
func (f *FaultFS) OpenFile(path string, flag int, perm os.FileMode) (Handle, error) {
	if err := f.fail(OpOpen, path); err != nil {
		return nil, err
	}
	_, absent := os.Lstat(path)
	h, err := f.fs.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	if flag&os.O_CREATE != 0 && errors.Is(absent, os.ErrNotExist) {
		f.made(path)
	}
	return &faultHandle{Handle: h, fs: f, path: path}, nil
}

// Mkdir makes a folder, or fails as planned.
func (f *FaultFS) Mkdir(path string, perm os.FileMode) error {
	if err := f.fail(OpMkdir, path); err != nil {
		return err
	}
	err := f.fs.Mkdir(path, perm)
	if err == nil {
		f.made(path)
	}
	return err
}

type faultHandle struct {
	Handle
	fs   *FaultFS
	path string
}

func (h *faultHandle) WriteAt(b []byte, offset int64) (n int, err error) {
	fault := h.fs.step(OpWrite, h.path)
	if fault != nil {
		b = b[:min(fault.Written, len(b))]
	}
	if err := h.fs.change(h.path, change{offset: offset, data: bytes.Clone(b)}); err != nil {
		return 0, err
	}
	n, err = h.Handle.WriteAt(b, offset)
	if fault != nil {
		err = errors.Join(&os.PathError{Op: "write", Path: h.path, Err: fault.Err}, err)
	}
	return n, err
}

func (h *faultHandle) Truncate(length int64) error {
	if err := h.fs.fail(OpTruncate, h.path); err != nil {
		return err
	}
	if err := h.fs.change(h.path, change{offset: length, cut: true}); err != nil {
		return err
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
	if h.fs.lies {
		return nil
	}
	if err == nil {
		h.fs.entriesSynced(h.path)
	}
	if w := h.fs.files[h.path]; w != nil {
		w.synced(err == nil)
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
	if h.fs.lies {
		return nil
	}
	if err == nil {
		h.fs.names = nil
	}
	for _, w := range h.fs.files {
		w.synced(err == nil)
	}
	return err
}
