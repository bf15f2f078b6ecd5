package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pvlog/consumers/partition"
	"pvlog/schema"
	"pvlog/streams"
)

// syncfsFS is a file system of which syncfs reports failures, wherever the test
// runs; or one, such as FUSE, of which it does nothing.
type syncfsFS struct {
	partition.OSFS
	err error // of syncfs
}

func (s syncfsFS) OpenFile(path string, flag int, perm os.FileMode) (partition.Handle, error) {
	h, err := s.OSFS.OpenFile(path, flag, perm)
	return syncfsHandle{h, s.err}, err
}

type syncfsHandle struct {
	partition.Handle
	err error
}

func (h syncfsHandle) SyncFS() error { return h.err }

// recorder holds each acknowledgement against what is durable at that moment:
// every kept sample of an acknowledged message stands in a file whose bytes and
// names were synced, every rejected one in a drop log that was.
type recorder struct {
	t     *testing.T
	root  string
	log   *memLog
	files *partition.FaultFS

	synced  map[streams.Position]bool // drops
	checked map[schema.PVName]int
}

// record makes a log tell a recorder of its acknowledgements.
func record(t *testing.T, dir string, log *memLog, files *partition.FaultFS) *recorder {
	r := &recorder{t: t, root: filepath.Join(dir, "sts"), log: log, files: files,
		synced: map[streams.Position]bool{}, checked: map[schema.PVName]int{}}
	log.onAck = r.acknowledged
	return r
}

// syncLog is the archive's Options.SyncLog.
func (r *recorder) syncLog() error {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	for p := range r.log.drops {
		r.synced[p] = true
	}
	return nil
}

// acknowledged is called with the log locked.
func (r *recorder) acknowledged(seq uint64) {
	kept, drops := oracle(r.log.messages[:seq])
	durable := map[string][]byte{}
	for pv, all := range kept {
		for _, s := range all[r.checked[pv]:] {
			path := partition.Path(r.root, schema.ChunkKey(pv), hour, hour.Start(s.at))
			if _, read := durable[path]; !read {
				durable[path], _ = r.files.Durable(path)
			}
			if !bytes.Contains(durable[path], partition.AppendLine(nil, []byte(s.event))) {
				r.t.Errorf("acknowledged up to %d, and the sample of %s at %v is not durable in %s", seq, pv, s.at, path)
				return
			}
		}
		r.checked[pv] = len(all)
	}
	for p := range drops {
		if !r.synced[p] {
			r.t.Errorf("acknowledged up to %d, and the drop at %+v was not durable", seq, p)
			return
		}
	}
}

// mutantVariable names a part of the test's world that is spoilt, to prove that
// the test sees it: "lie" or "forget".
const mutantVariable = "PVLOG_TEST_MUTANT"

// forgetful is a log whose consumer does not go back: what was delivered and not
// acknowledged before a crash comes after what is new, as a server does by itself
// (D4).
type forgetful struct{ *memLog }

func (f forgetful) Reset(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seenUpTo, f.failAck = max(f.seenUpTo, f.delivered), nil
	return nil
}

// TestNothingIsAcknowledgedBeforeItIsDurable lets steps of the file system fail
// and the power go at any time, with any part of what was not synced left, and
// asks at each acknowledgement what is durable. Then all must be there.
func TestNothingIsAcknowledgedBeforeItIsDurable(t *testing.T) {
	ops := []partition.Op{partition.OpOpen, partition.OpMkdir, partition.OpWrite, partition.OpTruncate, partition.OpSync, partition.OpSyncFS, partition.OpRename}
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			dir, log := t.TempDir(), randomLog(t, rng, 300)
			var world syncfsFS
			if seed%2 == 0 {
				world.err = errors.ErrUnsupported
			}
			files := partition.NewFaultFS(world)
			source := Source(log)
			switch os.Getenv(mutantVariable) {
			case "lie":
				files.Lie()
			case "forget":
				source = forgetful{log}
			}
			r := record(t, dir, log, files)
			change := func(o *Options) {
				o.FS, o.SyncLog, o.Source, o.SyncPerFile = files, r.syncLog, source, rng.IntN(2) == 0
			}
			for range 10 {
				a := open(t, dir, log, change)
				for range rng.IntN(4) {
					// EIO that comes again is one file's fault, whose samples are drops then
					files.Fail(partition.Fault{Op: ops[rng.IntN(len(ops))], Skip: rng.IntN(12), Written: rng.IntN(200),
						Err: []error{syscall.EDQUOT, syscall.ENOSPC}[rng.IntN(2)], Lasting: rng.IntN(4) == 0})
				}
				work(t, a, log, rng.IntN(12), func() bool { return rng.IntN(3) > 0 })
				crash(t, a)
				files.Heal()
				if rng.IntN(3) == 0 {
					continue // only the process ended
				}
				if err := files.PowerCutAtRandom(rng); err != nil {
					t.Fatal(err)
				}
			}
			run(t, open(t, dir, log, change))
			checkAgainstOracle(t, dir, log)
		})
	}
}

// TestWhatAFailedSyncLeftIsNotBelievedByTheNextProcess kills a process whose
// syncs fail: the next finds its lines in the page cache, whose pages count as
// clean by then, and may acknowledge them only when they are on the disk.
func TestWhatAFailedSyncLeftIsNotBelievedByTheNextProcess(t *testing.T) {
	for name, c := range map[string]struct {
		op     partition.Op
		syncfs error
		first  error // of the next process's first round
	}{
		"syncfs": {partition.OpSyncFS, nil, nil}, "fsync": {partition.OpSync, errors.ErrUnsupported, nil},
		"syncfs, then file by file": {partition.OpSyncFS, nil, syscall.EIO},
		"fsync, then file by file":  {partition.OpSync, errors.ErrUnsupported, syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			dir, log := t.TempDir(), newMemLog(t, 100)
			for i := range 20 {
				log.add("R:1", double(after(time.Duration(i)*time.Second), float64(i)))
			}
			files := partition.NewFaultFS(syncfsFS{err: c.syncfs})
			r := record(t, dir, log, files)
			change := func(o *Options) { o.FS, o.SyncLog = files, r.syncLog }
			a := open(t, dir, log, change)
			files.Fail(partition.Fault{Op: c.op, Err: syscall.ENOSPC, Lasting: true})
			work(t, a, log, 1, func() bool { return true })
			if n := len(read(t, dir, "R:1")); log.acked() != 0 || n == 0 {
				t.Fatalf("acknowledged %d, %d samples in the page cache", log.acked(), n)
			}
			crash(t, a)
			files.Heal()
			a = open(t, dir, log, change)
			if c.first != nil { // a sync of all that fails has the next round sync file by file
				files.Fail(partition.Fault{Op: c.op, Err: c.first})
				a.drain(t.Context())
				if err := a.flush(t.Context()); !errors.Is(err, c.first) {
					t.Fatalf("the first round gave %v", err)
				}
			}
			run(t, a)
			checkAgainstOracle(t, dir, log)
		})
	}
}

// TestASpoiltWorldIsSeen proves the test above: on a disk that ignores syncs,
// and with a consumer that does not go back, it fails.
func TestASpoiltWorldIsSeen(t *testing.T) {
	for _, mutant := range []string{"lie", "forget"} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestNothingIsAcknowledgedBeforeItIsDurable$", "-test.failfast")
		cmd.Env = append(os.Environ(), mutantVariable+"="+mutant)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "is not durable in") && !strings.Contains(string(out), "samples in files, want") {
			t.Errorf("mutant %q: %v\n%.2000s", mutant, err, out)
		}
	}
}
