package streams

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/highwayhash"
)

// account is where the server keeps our streams, below its store.
const account = "PVLOG"

func (l *Log) streamDir(stream string) string {
	return filepath.Join(l.opt.Dir, "nats", "jetstream", account, "streams", stream)
}

// examineBytes is how much of a stream, its newest part, is read at a start
// after an end in order. After any other the server reads all of it, and so do
// we.
const examineBytes = 1 << 30

// examined is what a stream's files hold, found before the server opens them.
type examined struct {
	stream string
	dir    string // of its blocks
	blocks []block
	held   []span // of all blocks that were read, in order
	aside  string // folder for blocks as they were found
	made   string // the same once something stands in it
	keep   bool   // aside holds more than what the server has now
}

// examination is that of all streams.
type examination map[string]*examined

// examine reads the streams' files before the server opens them: at the first
// bad bit of a block the server cuts off all that stands behind it
// (nats-server issues 7549, 7556, 7564). Blocks that it would change are set
// aside first, and a damaged one is replaced by one of all its intact records,
// so that only what is damaged is lost. A damaged description of a stream is
// set aside as well: the server passes the whole stream over else.
func (l *Log) examine(led *ledger, whole bool) (examination, error) {
	found := examination{}
	aside := filepath.Join(l.opt.Dir, "aside", time.Now().UTC().Format("20060102T150405.000000000Z"))
	for _, name := range []string{SamplesStream, RegistryStream, DropsStream} {
		root := l.streamDir(name)
		e := &examined{stream: name, dir: filepath.Join(root, "msgs"), aside: filepath.Join(aside, name)}
		if err := l.checkMeta(e, root); err != nil {
			return nil, err
		}
		if err := e.scan(whole); err != nil {
			return nil, err
		}
		if err := l.mend(e, led, whole); err != nil {
			return nil, fmt.Errorf("examine stream %s before the server does: %w", name, err)
		}
		found[name] = e
	}
	return found, nil
}

// scan reads the blocks, newest first, and all of them if whole.
func (e *examined) scan(whole bool) error {
	entries, err := os.ReadDir(e.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list blocks: %w", err)
	}
	for _, entry := range entries {
		text, isBlock := strings.CutSuffix(entry.Name(), ".blk")
		if index, err := strconv.Atoi(text); isBlock && err == nil {
			e.blocks = append(e.blocks, block{index: index, path: filepath.Join(e.dir, entry.Name())})
		}
	}
	slices.SortFunc(e.blocks, func(a, b block) int { return b.index - a.index })
	read := 0
	for i, b := range e.blocks {
		if read > examineBytes && !whole {
			e.blocks = e.blocks[:i]
			break
		}
		content, err := os.ReadFile(b.path)
		if err != nil {
			return fmt.Errorf("read block: %w", err)
		}
		e.blocks[i] = scanBlock(e.stream, b.index, content)
		e.blocks[i].path = b.path
		read += len(content)
	}
	slices.Reverse(e.blocks)
	for i := range e.blocks {
		for _, s := range e.blocks[i].held {
			e.held = appendSpan(e.held, s)
		}
	}
	return nil
}

func (e *examined) last() span {
	if len(e.held) == 0 {
		return span{}
	}
	return e.held[len(e.held)-1]
}

// mend sets aside what the server would change, and repairs it first.
func (l *Log) mend(e *examined, led *ledger, unclean bool) error {
	damaged := false
	for i := range e.blocks {
		b := &e.blocks[i]
		last := i == len(e.blocks)-1
		switch {
		case len(b.torn) > 0:
			if err := e.replace(b); err != nil {
				return err
			}
			damaged = true
			l.log.Warn("a block of the log is damaged; its intact messages are kept and the block was set aside",
				"stream", e.stream, "block", b.path, "aside", filepath.Join(e.aside, filepath.Base(b.path)))
		case last && unclean && b.size > 0:
			if err := e.copyAside(b); err != nil {
				l.log.Warn("the log's newest block could not be set aside", "stream", e.stream, "block", b.path, "err", err)
			}
		}
	}
	added, err := e.endAt(led)
	if err != nil || !damaged && !added {
		return err
	}
	return e.forgetIndex()
}

// replace moves a damaged block aside and puts its intact records in its place.
func (e *examined) replace(b *block) error {
	content, err := os.ReadFile(b.path)
	if err != nil {
		return err
	}
	kept := filepath.Join(e.aside, filepath.Base(b.path))
	if err := os.MkdirAll(e.aside, 0o755); err != nil {
		return fmt.Errorf("set a damaged block aside: %w", err)
	}
	temporary := b.path + ".mended"
	if err := writeSynced(temporary, b.mended(content)); err != nil {
		return errors.Join(fmt.Errorf("mend %s (make room, nothing else has to be done): %w", b.path, err), os.Remove(temporary))
	}
	if err := copyFile(b.path, kept); err != nil {
		return errors.Join(fmt.Errorf("set %s aside (make room, nothing else has to be done): %w", b.path, err), os.Remove(temporary))
	}
	if err := os.Rename(temporary, b.path); err != nil {
		return fmt.Errorf("mend block: %w", err)
	}
	e.made = e.aside
	return errors.Join(fsync(e.dir), fsync(e.aside))
}

func (e *examined) copyAside(b *block) error {
	if err := os.MkdirAll(e.aside, 0o755); err != nil {
		return err
	}
	e.made = e.aside
	return copyFile(b.path, filepath.Join(e.aside, filepath.Base(b.path)))
}

// endAt makes the server go on behind the last sequence that was on disk even
// if that message is gone: a sequence that is used twice would name two things.
func (e *examined) endAt(led *ledger) (bool, error) {
	want := led.Last[e.stream]
	if e.last().To >= want {
		return false, nil
	}
	if tomb, err := e.lastTombstone(); err != nil || tomb >= want {
		return false, err
	}
	index := 1
	if n := len(e.blocks); n > 0 {
		index = e.blocks[n-1].index + 1
	}
	if err := os.MkdirAll(e.dir, 0o755); err != nil {
		return false, err
	}
	at := led.Time
	if stored := led.Stored[e.stream]; stored != nil {
		at = *stored
	}
	path := filepath.Join(e.dir, strconv.Itoa(index)+".blk")
	if err := writeSynced(path, appendTombstone(nil, e.stream, index, want, at)); err != nil {
		return false, errors.Join(fmt.Errorf("note the end of the log: %w", err), os.Remove(path))
	}
	return true, fsync(e.dir)
}

// lastTombstone is the highest sequence that a tombstone of the newest block
// names.
func (e *examined) lastTombstone() (uint64, error) {
	if len(e.blocks) == 0 {
		return 0, nil
	}
	b := e.blocks[len(e.blocks)-1]
	content, err := os.ReadFile(b.path)
	if err != nil {
		return 0, err
	}
	h, highest := blockHash(e.stream, b.index), uint64(0)
	for at := 0; at < len(content); {
		r, ok := readRecord(content[at:], prefixOf(e.stream), h)
		if !ok {
			break
		}
		if r.none {
			highest = max(highest, r.seq)
		}
		at += r.size
	}
	return highest, nil
}

// forgetIndex removes the server's summary of the blocks, which are not what
// they were: it makes a new one.
func (e *examined) forgetIndex() error {
	if err := os.Remove(filepath.Join(e.dir, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the index of the blocks: %w", err)
	}
	return nil
}

// checkMeta puts back the description of a stream or of the archive's consumer
// that is not what it was, from the copy that the last start made. One of
// somebody else's consumer is left to the server.
func (l *Log) checkMeta(e *examined, root string) error {
	for dir, key := range describedIn(root, e.stream) {
		copied := filepath.Join(l.opt.Dir, "meta", key)
		if metaWhole(dir, key) || !metaWhole(copied, key) {
			continue
		}
		l.log.Warn("the description of a stream or consumer is damaged and was put back", "what", key, "dir", dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("put back the description of %s: %w", key, err)
		}
		for _, file := range metaFiles {
			err := moveAside(filepath.Join(dir, file), filepath.Join(e.aside, strings.ReplaceAll(key, "/", "-")+"-"+file))
			if err == nil {
				err = copyFile(filepath.Join(copied, file), filepath.Join(dir, file))
			}
			if err != nil {
				return fmt.Errorf("put back the description of %s: %w", key, err)
			}
		}
	}
	return nil
}

var metaFiles = []string{"meta.inf", "meta.sum"}

// describedIn gives the folders that hold descriptions of ours, and the names
// that key their checksums.
func describedIn(root, stream string) map[string]string {
	dirs := map[string]string{root: stream}
	if stream == SamplesStream {
		dirs[filepath.Join(root, "obs", ArchiveName)] = stream + "/" + ArchiveName
	}
	return dirs
}

// copyMeta keeps copies of the descriptions, beside the server's store.
func (l *Log) copyMeta() error {
	for _, name := range []string{SamplesStream, RegistryStream, DropsStream} {
		for dir, key := range describedIn(l.streamDir(name), name) {
			if err := copyChanged(dir, filepath.Join(l.opt.Dir, "meta", key)); err != nil {
				return fmt.Errorf("copy the description of %s: %w", key, err)
			}
		}
	}
	return nil
}

// copyChanged brings the copy of a description up to date. The server's own
// files are made durable first, which it does not do itself, and the copy is
// replaced, never written in place: whenever the power goes, one of the two is
// whole on the disk.
func copyChanged(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	changed := map[string][]byte{}
	for _, file := range metaFiles {
		now, err := os.ReadFile(filepath.Join(from, file))
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(filepath.Join(to, file)); err == nil && string(old) == string(now) {
			continue
		}
		if err := fsync(filepath.Join(from, file)); err != nil {
			return err
		}
		changed[file] = now
	}
	if len(changed) == 0 {
		return nil
	}
	if err := syncDir(from); err != nil {
		return err
	}
	for file, now := range changed {
		if err := replaceSynced(filepath.Join(to, file), now); err != nil {
			return err
		}
	}
	return syncDir(to)
}

// metaWhole reports whether a description is there and has its checksum.
func metaWhole(dir, key string) bool {
	meta, err1 := os.ReadFile(filepath.Join(dir, "meta.inf"))
	sum, err2 := os.ReadFile(filepath.Join(dir, "meta.sum"))
	k := sha256.Sum256([]byte(key))
	h, err := highwayhash.New64(k[:])
	if err != nil || err1 != nil || err2 != nil {
		return false
	}
	_, _ = h.Write(meta)
	return hex.EncodeToString(h.Sum(nil)) == string(sum)
}
