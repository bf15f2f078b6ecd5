package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What pvlog may lose of the log's tail by a power cut (log.sync_interval), and
// what is granted beside: how long this machine may take from the end of an
// interval to the end of its sync.
const (
	cutInterval = 100 * time.Millisecond
	cutSlack    = 400 * time.Millisecond
)

// TestPowerCutsLoseAtMostTheStatedInterval runs the real pvlog under load with
// its whole data directory, the log and Badger included, on a disk that keeps a
// journal; cuts the power at a random step of that; and starts pvlog again on
// what is left. It has to start by itself. What was in the log longer than the
// stated interval is in a file or a drop; what a partition had durable is there;
// what was answered of registry commands is; all else is as after a kill.
func TestPowerCutsLoseAtMostTheStatedInterval(t *testing.T) {
	planCrashes(t, 2).chains(t, func(t *testing.T, seed uint64, rounds int) {
		disk := t.TempDir()
		r := newCrashRig(t, seed, filepath.Join(disk, "data"))
		for round := range rounds {
			r.cutPower(disk)
			for r.rng.IntN(4) == 0 { // and again, while it is getting up
				r.cutAtStart(disk)
			}
			r.posts.begin()
			r.s.start()
			r.posts.follow(r.s)
			if problems := r.s.healthProblems(t); problems != "" {
				t.Logf("round %d: told: %s", round, problems)
			}
			r.check(r.sure)
		}
	})
}

// cutPower runs pvlog on a journaled disk and leaves in its place what a power
// cut has left. From then on must holds what that may not have cost.
func (r *crashRig) cutPower(dir string) {
	r.t.Helper()
	disk := mountDisk(r.t, dir)
	r.begin()
	began := len(disk.steps())
	seen := r.load(100*time.Millisecond+time.Duration(r.rng.Int64N(int64(4*time.Second))), r.s.kill)
	disk.unmount(r.t)
	steps := began + r.rng.IntN(len(disk.journal)-began) + 1
	c := r.leave(disk, dir, steps)
	kept := 0
	r.tail = nil
	for _, w := range seen {
		if w.stored.Before(c.at.Add(-cutInterval - cutSlack)) {
			r.must = append(r.must, w)
			kept++
		}
		if w.stored.Before(c.at) {
			r.tail = append(r.tail, w)
		}
	}
	r.t.Logf("power cut %v after the start of the load at %s; %d of %d samples in the log must be there", c.at.Sub(disk.journal[began-1].at).Round(time.Millisecond), c.how, kept, len(seen))
	r.sure = c.at
	r.posts.lostPower(c.at.Add(-cutInterval - cutSlack))
}

// cutAtStart lets pvlog begin to start, and cuts.
func (r *crashRig) cutAtStart(dir string) {
	r.t.Helper()
	disk := mountDisk(r.t, dir)
	r.posts.begin()
	r.startAndKill(time.Duration(r.rng.Int64N(int64(time.Second))))
	disk.unmount(r.t)
	if len(disk.journal) == 0 {
		return
	}
	c := r.leave(disk, dir, 1+r.rng.IntN(len(disk.journal)))
	r.t.Logf("power cut in a start at %s", c.how)
}

// leave puts what a power cut leaves into the folder, and notes what partitions
// had durable, which has to be in them for ever.
func (r *crashRig) leave(disk *cutDisk, dir string, steps int) cut {
	r.t.Helper()
	c := disk.cut(r.rng, steps)
	err := eachNode(c.durable, diskRoot, "", func(at string, n *diskNode) error {
		if filepath.Ext(at) != ".pb" || !strings.HasPrefix(at, "data/stores/") {
			return nil
		}
		pv, samples := soundPart(n.data)
		for _, s := range samples {
			r.must = append(r.must, reached{pv: pv, key: s.key(), stored: c.at})
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := writeNodes(c.left, dir); err != nil {
		r.t.Fatal(err)
	}
	if err := os.MkdirAll(r.s.data, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// soundPart gives the samples of a partition up to what is damaged: a power cut
// before this one may have left that, and nobody has written there since.
func soundPart(content []byte) (pv string, samples []sample) {
	for end := 0; ; {
		n := bytes.IndexByte(content[end:], '\n')
		if n < 0 {
			return pv, samples
		}
		end += n + 1
		name, more, err := parsePartition(content[:end])
		if err != nil {
			return pv, samples
		}
		pv, samples = name, more
	}
}

// steps is the journal so far.
func (d *cutDisk) steps() []diskOp {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.journal
}
