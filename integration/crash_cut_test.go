package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pvlog/streams"
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
		told := map[uint64]bool{}
		for round := range rounds {
			durable := r.cutPower(disk)
			again := false
			for r.rng.IntN(4) == 0 { // and again, while it is getting up
				r.cutAtStart(disk)
				again = true
			}
			r.posts.begin()
			r.s.start()
			r.posts.follow(r.s)
			problems := r.s.healthProblems(t)
			if problems != "" {
				t.Logf("round %d: told: %s", round, problems)
			}
			toldOf(t, problems, durable, told)
			for _, seq := range r.s.missing(t) {
				if !told[seq] && !again { // what a start told that was cut is not known here
					t.Errorf("message %d is missing in the middle of the log, and nothing is told of it", seq)
				}
				told[seq] = true
			}
			r.check(r.sure)
		}
	})
}

// lossText is how /healthz tells which messages of SAMPLES are missing.
var lossText = regexp.MustCompile(`SAMPLES has lost [^,;]*, (\d+) to (\d+)`)

// toldOf adds to told the messages of SAMPLES that health tells to be lost. None
// of them may have been durable at the cut: the disk's journal knows.
func toldOf(t *testing.T, problems string, durable, told map[uint64]bool) {
	t.Helper()
	for _, m := range lossText.FindAllStringSubmatch(problems, -1) {
		from, err1 := strconv.ParseUint(m[1], 10, 64)
		to, err2 := strconv.ParseUint(m[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil || from == 0 || to-from > 1<<24 {
			t.Fatalf("%q: %v", m[0], err)
		}
		for seq := from; seq <= to; seq++ {
			if durable[seq] {
				t.Errorf("message %d was synced before the cut, and: %s", seq, m[0])
			}
			told[seq] = true
		}
	}
}

// missing are the messages in the middle of SAMPLES that the log does not give.
func (s *server) missing(t *testing.T) []uint64 {
	t.Helper()
	nc, err := nats.Connect("nats://" + s.nats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, streams.SamplesStream)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Deleted
}

// durableMessages are the messages of SAMPLES whose bytes and files were synced,
// read by the format of the server's blocks and not by pvlog.
func durableMessages(t testing.TB, nodes map[uint64]*diskNode) map[uint64]bool {
	t.Helper()
	found := map[uint64]bool{}
	err := eachNode(nodes, diskRoot, "", func(at string, n *diskNode) error {
		if path.Ext(at) == ".blk" && strings.HasSuffix(path.Dir(at), "/SAMPLES/msgs") {
			blockMessages(n.data, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// blockMessages adds the sequences of the whole records of a block: length,
// sequence, time, length of the subject, subject, payload, checksum.
func blockMessages(b []byte, found map[uint64]bool) {
	const head, checksum, headed, noMessage = 22, 8, 1 << 31, 3 << 62
	for len(b) >= head+checksum {
		size := int(binary.LittleEndian.Uint32(b) &^ headed)
		if size < head+checksum || size > len(b) {
			return
		}
		seq := binary.LittleEndian.Uint64(b[4:])
		if seq&noMessage == 0 {
			if !bytes.HasPrefix(b[head:], []byte("samples.")) {
				return
			}
			found[seq] = true
		}
		b = b[size:]
	}
}

// cutPower runs pvlog on a journaled disk and leaves in its place what a power
// cut has left. From then on must holds what that may not have cost. It gives
// the messages of SAMPLES that were durable.
func (r *crashRig) cutPower(dir string) map[uint64]bool {
	r.t.Helper()
	disk := mountDisk(r.t, dir)
	r.begin()
	began := len(disk.steps())
	seen := r.load(100*time.Millisecond+time.Duration(r.rng.Int64N(int64(4*time.Second))), r.s.kill)
	disk.unmount(r.t)
	steps := began + r.rng.IntN(len(disk.journal)-began) + 1
	c := r.leave(disk, dir, steps)
	durable := durableMessages(r.t, c.durable)
	kept, synced := 0, 0
	r.tail = nil
	for _, w := range seen {
		if durable[w.seq] {
			synced++
		}
		if durable[w.seq] || w.stored.Before(c.at.Add(-cutInterval-cutSlack)) {
			r.must = append(r.must, w)
			kept++
		}
		if w.stored.Before(c.at) {
			r.tail = append(r.tail, w)
		}
	}
	r.t.Logf("power cut %v after the start of the load at %s; %d of %d samples in the log must be there, %d were synced", c.at.Sub(disk.journal[began-1].at).Round(time.Millisecond), c.how, kept, len(seen), synced)
	r.sure = c.at
	r.posts.lostPower(c.at.Add(-cutInterval - cutSlack))
	return durable
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

// TestToldLossesAreHeldAgainstTheDisk reads what health tells as the power cuts do.
func TestToldLossesAreHeldAgainstTheDisk(t *testing.T) {
	text := "SAMPLES has lost 4 messages in its middle, 6676 to 6679, stored after 2026-11-25T13:25:20Z; of which PVs is not known" +
		"; SAMPLES has lost its newest 1 messages, 7000 to 7000; REGISTRY has lost its newest 1 messages, 5 to 5"
	told := map[uint64]bool{}
	toldOf(t, text, map[uint64]bool{5: true, 6675: true, 6680: true}, told)
	if len(told) != 5 || !told[6676] || !told[6679] || !told[7000] {
		t.Errorf("%v", told)
	}
	record := func(seq uint64) []byte {
		b := make([]byte, 22, 64)
		b = append(b, "samples.X12345678"...)
		binary.LittleEndian.PutUint32(b, uint32(len(b)))
		binary.LittleEndian.PutUint64(b[4:], seq)
		return b
	}
	found := map[uint64]bool{}
	block := bytes.Join([][]byte{record(7), record(8 | 1<<62), record(9), record(10)[:30]}, nil)
	blockMessages(block, found)
	if len(found) != 2 || !found[7] || !found[9] {
		t.Errorf("%v", found)
	}
}
