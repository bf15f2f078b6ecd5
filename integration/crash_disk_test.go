package integration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// cutDisk is a file system in memory that keeps a journal of all that was done
// to it, syncs included, and so can tell what a power cut at any moment could
// have left. It is mounted by FUSE over a folder; what the folder held counts
// as durable.
type cutDisk struct {
	mu      sync.Mutex
	nodes   map[uint64]*diskNode
	journal []diskOp
	base    map[uint64]*diskNode // as it was mounted
	server  *fuse.Server
}

// diskNode is a file or folder.
type diskNode struct {
	id      uint64
	mode    uint32
	changed time.Time
	data    []byte            // of a file
	entries map[string]uint64 // of a folder; nil for a file
}

// diskOp is one step of the journal.
type diskOp struct {
	kind     diskKind
	at       time.Time
	node     uint64 // that is written, cut, synced or gets its first name
	from, to diskName
	offset   int64
	data     []byte
	folder   bool
}

type diskName struct {
	dir  uint64
	name string
}

type diskKind int

const (
	diskWrite diskKind = iota
	diskTruncate
	diskSync
	diskCreate
	diskRemove
	diskRename
)

const diskRoot = 1

// mountDisk mounts a disk over a folder, with what is in it. The test is skipped
// where that cannot be done.
func mountDisk(t testing.TB, dir string) *cutDisk {
	t.Helper()
	d := &cutDisk{nodes: map[uint64]*diskNode{}}
	if err := d.load(dir); err != nil {
		t.Fatal(err)
	}
	d.base = cloneNodes(d.nodes)
	long := time.Hour // nobody else changes it
	server, err := fusefs.Mount(dir, &diskInode{disk: d, id: diskRoot}, &fusefs.Options{
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "cutdisk", MaxWrite: 1 << 20},
		EntryTimeout: &long, AttrTimeout: &long,
		RootStableAttr: &fusefs.StableAttr{Ino: diskRoot, Mode: fuse.S_IFDIR},
	})
	if err != nil {
		t.Skipf("a power cut of the whole data directory needs FUSE (/dev/fuse, and the right to mount): %v", err)
	}
	d.server = server
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // of a test that failed
	return d
}

// unmount ends the disk; what was only in the kernel's cache is in the journal.
func (d *cutDisk) unmount(t testing.TB) {
	t.Helper()
	if err := d.server.Unmount(); err != nil {
		t.Fatalf("unmount: %v", err)
	}
	d.server.Wait()
}

func cloneNodes(nodes map[uint64]*diskNode) map[uint64]*diskNode {
	cloned := make(map[uint64]*diskNode, len(nodes))
	for id, n := range nodes {
		c := *n
		c.data, c.entries = slices.Clone(n.data), maps.Clone(n.entries)
		cloned[id] = &c
	}
	return cloned
}

func (d *cutDisk) node(mode uint32) *diskNode {
	n := &diskNode{id: uint64(len(d.nodes) + diskRoot), mode: mode, changed: time.Now()}
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		n.entries = map[string]uint64{}
	}
	d.nodes[n.id] = n
	return n
}

// load reads a folder of a real disk.
func (d *cutDisk) load(dir string) error {
	ids := map[string]*diskNode{}
	return filepath.WalkDir(dir, func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		kind := uint32(syscall.S_IFREG)
		if e.IsDir() {
			kind = syscall.S_IFDIR
		}
		n := d.node(kind | uint32(info.Mode().Perm()))
		n.changed = info.ModTime()
		if ids[at] = n; at != dir {
			ids[filepath.Dir(at)].entries[e.Name()] = n.id
		}
		if !e.IsDir() {
			n.data, err = os.ReadFile(at)
		}
		return err
	})
}

// write replaces what a real folder holds by what nodes hold.
func writeNodes(nodes map[uint64]*diskNode, dir string) error {
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return eachNode(nodes, diskRoot, "", func(at string, n *diskNode) error {
		at = filepath.Join(dir, filepath.FromSlash(at))
		if n.entries != nil {
			return os.MkdirAll(at, os.FileMode(n.mode)&os.ModePerm)
		}
		if err := os.WriteFile(at, n.data, os.FileMode(n.mode)&os.ModePerm); err != nil {
			return err
		}
		return os.Chtimes(at, n.changed, n.changed)
	})
}

// eachNode calls each with all that can be reached from a node, folders first.
func eachNode(nodes map[uint64]*diskNode, id uint64, at string, each func(string, *diskNode) error) error {
	n := nodes[id]
	if err := each(at, n); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		if err := eachNode(nodes, n.entries[name], path.Join(at, name), each); err != nil {
			return err
		}
	}
	return nil
}

// apply does a step of the journal to nodes; what it needs may be missing.
func (o diskOp) apply(nodes map[uint64]*diskNode) {
	switch o.kind {
	case diskWrite:
		n := nodes[o.node]
		n.data = grown(n.data, o.offset+int64(len(o.data)))
		copy(n.data[o.offset:], o.data)
		n.changed = o.at
	case diskTruncate:
		n := nodes[o.node]
		n.data = grown(n.data, o.offset)[:o.offset]
		n.changed = o.at
	case diskCreate:
		setEntry(nodes, o.to, o.node)
	case diskRemove:
		if dir := nodes[o.from.dir]; dir != nil {
			delete(dir.entries, o.from.name)
		}
	case diskRename:
		if dir := nodes[o.from.dir]; dir != nil && dir.entries[o.from.name] == o.node {
			delete(dir.entries, o.from.name)
			setEntry(nodes, o.to, o.node)
		}
	}
}

func setEntry(nodes map[uint64]*diskNode, at diskName, node uint64) {
	if dir := nodes[at.dir]; dir != nil {
		dir.entries[at.name] = node
	}
}

func grown(b []byte, size int64) []byte {
	if int64(len(b)) < size {
		b = append(b, make([]byte, size-int64(len(b)))...)
	}
	return b
}

// cut is what a power cut after the first steps of the journal leaves: all that
// was synced, and of the rest what chance keeps. Names are kept as a journaling
// file system does (ext4, xfs, btrfs): in the order in which they were made, and
// a sync of any file or folder keeps all before it. Bytes are kept file by file;
// some file systems (ext4 as it is mounted by default) write those of a file that
// is renamed over another before its name, so that happens, or not.
type cut struct {
	durable map[uint64]*diskNode // with nothing that was not synced
	left    map[uint64]*diskNode
	at      time.Time
	how     string
}

func (d *cutDisk) cut(rng *rand.Rand, steps int) cut {
	nodes := cloneNodes(d.base)
	flushing := rng.IntN(2) == 0
	var names []diskOp             // not yet durable
	bytes := map[uint64][]diskOp{} // not yet durable, by file
	for _, o := range d.journal[:steps] {
		switch o.kind {
		case diskWrite, diskTruncate:
			bytes[o.node] = append(bytes[o.node], o)
		case diskSync:
			for _, n := range names {
				n.apply(nodes)
			}
			names = names[:0]
			for _, b := range bytes[o.node] {
				b.apply(nodes)
			}
			delete(bytes, o.node)
		case diskCreate:
			mode := uint32(syscall.S_IFREG | 0o644)
			var entries map[string]uint64
			if o.folder {
				mode, entries = syscall.S_IFDIR|0o755, map[string]uint64{}
			}
			nodes[o.node] = &diskNode{id: o.node, mode: mode, entries: entries, changed: o.at}
			names = append(names, o)
		default:
			if flushing && o.kind == diskRename {
				for _, b := range bytes[o.node] {
					b.apply(nodes)
				}
				delete(bytes, o.node)
			}
			names = append(names, o)
		}
	}
	c := cut{durable: cloneNodes(nodes), left: nodes, at: d.journal[steps-1].at}
	keep := []string{"nothing", "all", "prefixes", "writes", "4096", "512"}[rng.IntN(6)]
	kept := 0
	if keep != "nothing" {
		kept = rng.IntN(len(names) + 1)
		if keep == "all" {
			kept = len(names)
		}
	}
	for _, n := range names[:kept] {
		n.apply(nodes)
	}
	for _, id := range slices.Sorted(maps.Keys(bytes)) {
		keepBytes(rng, keep, bytes[id], nodes)
	}
	c.how = fmt.Sprintf("step %d of %d, kept %s of %d files and %d of %d names, renames flush: %v", steps, len(d.journal), keep, len(bytes), kept, len(names), flushing)
	return c
}

// keepBytes applies what chance keeps of a file's writes.
func keepBytes(rng *rand.Rand, keep string, writes []diskOp, nodes map[uint64]*diskNode) {
	whole := len(writes)
	switch keep {
	case "nothing":
		return
	case "prefixes":
		whole = rng.IntN(len(writes) + 1)
	}
	for _, o := range writes[:whole] {
		switch {
		case keep == "all" || keep == "prefixes":
			o.apply(nodes)
		case o.kind == diskTruncate || keep == "writes":
			if rng.IntN(2) == 0 {
				o.apply(nodes)
			}
		default:
			eachBlock(o, map[string]int64{"4096": 4096, "512": 512}[keep], func(block diskOp) {
				if rng.IntN(2) == 0 {
					block.apply(nodes)
				}
			})
		}
	}
	if keep == "prefixes" && whole < len(writes) && writes[whole].kind == diskWrite {
		torn := writes[whole]
		torn.data = torn.data[:rng.IntN(len(torn.data)+1)]
		torn.apply(nodes)
	}
}

// eachBlock splits a write at the bounds of blocks.
func eachBlock(o diskOp, size int64, each func(diskOp)) {
	for at, end := o.offset, o.offset+int64(len(o.data)); at < end; {
		next := min(end, (at/size+1)*size)
		block := o
		block.offset, block.data = at, o.data[at-o.offset:next-o.offset]
		each(block)
		at = next
	}
}

// done does a step and notes it. The caller holds mu.
func (d *cutDisk) done(o diskOp) {
	o.at = time.Now()
	o.apply(d.nodes)
	d.journal = append(d.journal, o)
}

// diskInode shows a node to the kernel.
type diskInode struct {
	fusefs.Inode
	disk *cutDisk
	id   uint64
}

var (
	_ fusefs.NodeLookuper  = (*diskInode)(nil)
	_ fusefs.NodeGetattrer = (*diskInode)(nil)
	_ fusefs.NodeSetattrer = (*diskInode)(nil)
	_ fusefs.NodeCreater   = (*diskInode)(nil)
	_ fusefs.NodeMkdirer   = (*diskInode)(nil)
	_ fusefs.NodeUnlinker  = (*diskInode)(nil)
	_ fusefs.NodeRmdirer   = (*diskInode)(nil)
	_ fusefs.NodeRenamer   = (*diskInode)(nil)
	_ fusefs.NodeOpener    = (*diskInode)(nil)
	_ fusefs.NodeReader    = (*diskInode)(nil)
	_ fusefs.NodeWriter    = (*diskInode)(nil)
	_ fusefs.NodeFsyncer   = (*diskInode)(nil)
	_ fusefs.NodeFlusher   = (*diskInode)(nil)
	_ fusefs.NodeReaddirer = (*diskInode)(nil)
	_ fusefs.NodeStatfser  = (*diskInode)(nil)
)

// lock gives the node with the disk locked.
func (i *diskInode) lock() (*diskNode, func()) {
	i.disk.mu.Lock()
	return i.disk.nodes[i.id], i.disk.mu.Unlock
}

func (n *diskNode) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Size, out.Nlink = n.id, n.mode, uint64(len(n.data)), 1
	out.Blocks, out.Blksize = (out.Size+511)/512, 4096
	out.Uid, out.Gid = uint32(os.Getuid()), uint32(os.Getgid())
	out.SetTimes(&n.changed, &n.changed, &n.changed)
}

func (i *diskInode) child(ctx context.Context, n *diskNode, out *fuse.EntryOut) *fusefs.Inode {
	n.attributes(&out.Attr)
	return i.NewInode(ctx, &diskInode{disk: i.disk, id: n.id}, fusefs.StableAttr{Mode: n.mode & syscall.S_IFMT, Ino: n.id})
}

func (i *diskInode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	n, unlock := i.lock()
	defer unlock()
	id, ok := n.entries[name]
	if !ok {
		return nil, syscall.ENOENT
	}
	return i.child(ctx, i.disk.nodes[id], out), 0
}

func (i *diskInode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n, unlock := i.lock()
	defer unlock()
	n.attributes(&out.Attr)
	return 0
}

func (i *diskInode) Setattr(_ context.Context, _ fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n, unlock := i.lock()
	defer unlock()
	if size, ok := in.GetSize(); ok {
		i.disk.done(diskOp{kind: diskTruncate, node: i.id, offset: int64(size)})
	}
	if mode, ok := in.GetMode(); ok {
		n.mode = n.mode&syscall.S_IFMT | mode&0o7777
	}
	if at, ok := in.GetMTime(); ok {
		n.changed = at
	}
	n.attributes(&out.Attr)
	return 0
}

func (i *diskInode) make(name string, mode uint32) *diskNode {
	n := i.disk.node(mode)
	i.disk.done(diskOp{kind: diskCreate, node: n.id, to: diskName{i.id, name}, folder: n.entries != nil})
	return n
}

func (i *diskInode) Create(ctx context.Context, name string, flags uint32, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	_, unlock := i.lock()
	defer unlock()
	return i.child(ctx, i.make(name, syscall.S_IFREG|mode&0o7777), out), handleOf(flags), fuse.FOPEN_KEEP_CACHE, 0
}

func (i *diskInode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	_, unlock := i.lock()
	defer unlock()
	return i.child(ctx, i.make(name, syscall.S_IFDIR|mode&0o7777), out), 0
}

func (i *diskInode) Unlink(_ context.Context, name string) syscall.Errno {
	n, unlock := i.lock()
	defer unlock()
	if _, ok := n.entries[name]; !ok {
		return syscall.ENOENT
	}
	i.disk.done(diskOp{kind: diskRemove, from: diskName{i.id, name}})
	return 0
}

func (i *diskInode) Rmdir(ctx context.Context, name string) syscall.Errno {
	n, unlock := i.lock()
	if id, ok := n.entries[name]; ok && len(i.disk.nodes[id].entries) > 0 {
		unlock()
		return syscall.ENOTEMPTY
	}
	unlock()
	return i.Unlink(ctx, name)
}

func (i *diskInode) Rename(_ context.Context, name string, parent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	n, unlock := i.lock()
	defer unlock()
	to, ok := parent.EmbeddedInode().Operations().(*diskInode)
	if !ok || flags&^1 != 0 { // RENAME_NOREPLACE alone
		return syscall.EINVAL
	}
	id, ok := n.entries[name]
	if !ok {
		return syscall.ENOENT
	}
	if _, there := i.disk.nodes[to.id].entries[newName]; there && flags&1 != 0 {
		return syscall.EEXIST
	}
	i.disk.done(diskOp{kind: diskRename, node: id, from: diskName{i.id, name}, to: diskName{to.id, newName}})
	return 0
}

func (i *diskInode) Open(_ context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	_, unlock := i.lock()
	defer unlock()
	if flags&syscall.O_TRUNC != 0 {
		i.disk.done(diskOp{kind: diskTruncate, node: i.id})
	}
	return handleOf(flags), fuse.FOPEN_KEEP_CACHE, 0
}

func (i *diskInode) Read(_ context.Context, _ fusefs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, unlock := i.lock()
	defer unlock()
	if off >= int64(len(n.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.data[off:])]), 0
}

// diskHandle is an open file; each of its writes is a sync, too, if it was
// opened so.
type diskHandle struct{ sync bool }

func handleOf(flags uint32) *diskHandle { return &diskHandle{sync: flags&syscall.O_DSYNC != 0} }

func (i *diskInode) Write(_ context.Context, f fusefs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	_, unlock := i.lock()
	defer unlock()
	i.disk.done(diskOp{kind: diskWrite, node: i.id, offset: off, data: slices.Clone(data)})
	if h, ok := f.(*diskHandle); ok && h.sync {
		i.disk.done(diskOp{kind: diskSync, node: i.id})
	}
	return uint32(len(data)), 0
}

func (i *diskInode) Fsync(context.Context, fusefs.FileHandle, uint32) syscall.Errno {
	_, unlock := i.lock()
	defer unlock()
	i.disk.done(diskOp{kind: diskSync, node: i.id})
	return 0
}

func (i *diskInode) Flush(context.Context, fusefs.FileHandle) syscall.Errno { return 0 }

func (i *diskInode) Readdir(context.Context) (fusefs.DirStream, syscall.Errno) {
	n, unlock := i.lock()
	defer unlock()
	var list []fuse.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		c := i.disk.nodes[n.entries[name]]
		list = append(list, fuse.DirEntry{Name: name, Ino: c.id, Mode: c.mode & syscall.S_IFMT})
	}
	return fusefs.NewListDirStream(list), 0
}

func (i *diskInode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	out.Blocks, out.Bfree, out.Bavail = 4<<20, 3<<20, 3<<20 // 16 GiB
	out.Files, out.Ffree = 1<<20, 1<<20
	return 0
}

// TestTheCutDiskForgetsOnlyWhatWasNotSynced holds the disk of the power cuts to
// its word: through the kernel, with a file mapped by nobody.
func TestTheCutDiskForgetsOnlyWhatWasNotSynced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "before"), []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	disk := mountDisk(t, dir)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	f, err := os.Create(filepath.Join(dir, "sub", "file.new"))
	must(err)
	_, err = f.WriteString("synced")
	must(errors.Join(err, f.Sync()))
	must(os.Rename(f.Name(), filepath.Join(dir, "sub", "file")))
	d, err := os.Open(filepath.Join(dir, "sub"))
	must(err)
	must(errors.Join(d.Sync(), d.Close()))
	_, err = f.WriteString(", not synced")
	must(errors.Join(err, f.Close()))
	must(os.WriteFile(filepath.Join(dir, "later"), []byte("later"), 0o644))
	must(os.Remove(filepath.Join(dir, "before")))
	got, err := os.ReadFile(filepath.Join(dir, "sub", "file"))
	must(err)
	if string(got) != "synced, not synced" {
		t.Errorf("the file holds %q", got)
	}
	disk.unmount(t)
	ways := map[string]bool{}
	for seed := range uint64(60) {
		c := disk.cut(rand.New(rand.NewPCG(seed, 0)), len(disk.journal))
		must(writeNodes(c.left, dir))
		got, err := os.ReadFile(filepath.Join(dir, "sub", "file"))
		if err != nil || !strings.HasPrefix(string(got), "synced") || len(got) > len("synced, not synced") {
			t.Errorf("%s: %q, %v", c.how, got, err)
		}
		_, before := os.Stat(filepath.Join(dir, "before"))
		later, _ := os.ReadFile(filepath.Join(dir, "later"))
		ways[fmt.Sprint(len(got), before == nil, string(later))] = true
		must(writeNodes(c.durable, dir))
		if got, err = os.ReadFile(filepath.Join(dir, "sub", "file")); err != nil || string(got) != "synced" {
			t.Errorf("%s: durable is %q, %v", c.how, got, err)
		}
	}
	if len(ways) < 6 {
		t.Errorf("only %d ways: %v", len(ways), ways)
	}
}
