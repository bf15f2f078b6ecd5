package streams

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synadia-io/orbit.go/jetstreamext"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// known is what a log was filled with: the bytes of each message by stream and
// sequence.
type known map[string]map[uint64]string

// content reads all that the server gives.
func content(t testing.TB, l *Log) known {
	t.Helper()
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	all := known{}
	for _, name := range []string{SamplesStream, RegistryStream, DropsStream} {
		all[name] = map[uint64]string{}
		stream, err := s.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		state := stream.CachedInfo().State
		for next := max(state.FirstSeq, 1); next <= state.LastSeq; {
			batch, err := jetstreamext.GetBatch(within(t, time.Minute), s.js, name, 1000, jetstreamext.GetBatchSeq(next))
			if err != nil {
				t.Fatal(err)
			}
			before := next
			for m, err := range batch {
				if err != nil {
					t.Logf("%s from %d: %v", name, next, err)
					break
				}
				all[name][m.Sequence] = m.Subject + "\x00" + string(m.Data)
				next = m.Sequence + 1
			}
			if next == before {
				break
			}
		}
	}
	return all
}

// fillLog puts samples of some PVs, events and drops into a log.
func fillLog(t testing.TB, l *Log, samples int) {
	t.Helper()
	stop := runLog(t, l)
	ctx := within(t, time.Minute)
	large := sampleOf(0) // so that there is more than one block
	large.Event = append(large.Event, make([]byte, 100<<10)...)
	for i := range 45 {
		if err := l.Samples().Append(ctx, pvName(i), large); err != nil {
			t.Fatal(err)
		}
	}
	for i := range samples {
		if err := l.Samples().Append(ctx, pvName(i%7), sampleOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	for i := range 40 {
		pv := fmt.Sprintf("TEST:EVENT%03d", i)
		event := &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}
		if _, err := l.Events().Append(ctx, Proposal{Event: event}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 150 {
		s := sampleOf(i)
		if err := l.Drops().Append(ctx, []Drop{{Reason: "order", Detail: "a test", PV: pvName(i % 5), Position: Position{Seq: uint64(i + 1), Time: time.Now()}, Sample: &s}}); err != nil {
			t.Fatal(err)
		}
	}
}

// damage is one thing that may happen to the server's files.
type damage struct {
	name string
	do   func(t *testing.T, r *rand.Rand, root string)
}

func pick(t *testing.T, r *rand.Rand, root, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %q, %v", pattern, files, err)
	}
	return files[r.IntN(len(files))]
}

func flipped(t *testing.T, r *rand.Rand, path string, bits int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		t.Fatalf("%s: %d bytes, %v", path, len(b), err)
	}
	for range bits {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, r *rand.Rand, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, r.Int64N(info.Size()+1)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, _ *rand.Rand, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// damages are all that one file may suffer.
func damages() []damage {
	var all []damage
	for _, file := range []string{
		"SAMPLES/msgs/*.blk", "REGISTRY/msgs/*.blk", "DROPS/msgs/*.blk",
		"*/msgs/index.db", "*/meta.inf", "*/meta.sum",
		"SAMPLES/obs/archive/meta.inf", "SAMPLES/obs/archive/meta.sum", "SAMPLES/obs/archive/o.dat",
	} {
		all = append(all,
			damage{"a bit of " + file, func(t *testing.T, r *rand.Rand, root string) { flipped(t, r, pick(t, r, root, file), 1) }},
			damage{"twenty bits of " + file, func(t *testing.T, r *rand.Rand, root string) { flipped(t, r, pick(t, r, root, file), 20) }},
			damage{"the end of " + file, func(t *testing.T, r *rand.Rand, root string) { cut(t, r, pick(t, r, root, file)) }},
			damage{"all of " + file, func(t *testing.T, r *rand.Rand, root string) { remove(t, r, pick(t, r, root, file)) }},
		)
	}
	return all
}

// TestDamageOfTheServersFilesIsTold damages one file of the server between two
// runs: whatever it is, the log opens, gives nothing that was not stored, has
// all that is intact in the files, and says exactly what is missing.
func TestDamageOfTheServersFilesIsTold(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	l := openLog(t, Options{Dir: whole, LimitBytes: 8 << 20, DropsMaxBytes: 1 << 20})
	fillLog(t, l, 3000)
	fetchSamples(t, l.Archive(), 1500, true)
	floor := l.Archive().Floor()
	for stream, n := range map[string]int{SamplesStream: 2, RegistryStream: 1, DropsStream: 1} {
		blocks, err := filepath.Glob(filepath.Join(l.streamDir(stream), "msgs/*.blk"))
		if err != nil || len(blocks) < n {
			t.Fatalf("%s has blocks %q, %v", stream, blocks, err)
		}
	}
	want, times := content(t, l), timesOf(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("PVLOG_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for i, d := range damages() {
		for _, unclean := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s unclean %v", d.name, unclean), func(t *testing.T) {
				t.Logf("PVLOG_TEST_SEED=%d", seed)
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				dir := filepath.Join(t.TempDir(), "log")
				if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				if unclean {
					replaceIn(t, filepath.Join(dir, "ledger.json"), `"clean": true`, `"clean": false`)
				}
				root := filepath.Join(dir, "nats/jetstream/PVLOG/streams")
				d.do(t, r, root)
				intact := intactIn(t, root, want)
				l := openLog(t, Options{Dir: dir, LimitBytes: 8 << 20, DropsMaxBytes: 1 << 20})
				checkDamaged(t, l, want, intact, floor)
				checkRanges(t, l, want, times)
			})
		}
	}
}

// timesOf is when each message was stored.
func timesOf(t *testing.T, l *Log) map[string]map[uint64]time.Time {
	t.Helper()
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[uint64]time.Time{}
	for _, name := range []string{SamplesStream, RegistryStream, DropsStream} {
		all[name] = map[uint64]time.Time{}
		batch, err := jetstreamext.GetBatch(within(t, time.Minute), s.js, name, 100_000, jetstreamext.GetBatchSeq(1))
		if err != nil {
			t.Fatal(err)
		}
		for m, err := range batch {
			if err != nil {
				t.Fatal(err)
			}
			all[name][m.Sequence] = m.Time
		}
	}
	return all
}

// checkRanges checks the times and PVs that are told of what is lost: each lost
// message lies in the range, and a named PV has one in it unless its name was
// damaged as well.
func checkRanges(t *testing.T, l *Log, want known, times map[string]map[uint64]time.Time) {
	t.Helper()
	for _, x := range l.Losses() {
		ofPV := map[schema.PVName]bool{}
		for seq := x.From; seq <= x.To; seq++ {
			at := times[x.Stream][seq]
			if !x.After.IsZero() && at.Before(x.After) || !x.Before.IsZero() && at.After(x.Before) {
				t.Errorf("%s %d was stored at %v: %s", x.Stream, seq, at, x)
			}
			subject, _, _ := strings.Cut(want[x.Stream][seq], "\x00")
			pv, err := subjectPV(subject)
			if err != nil {
				t.Fatal(err)
			}
			ofPV[pv] = true
		}
		wrong := 0
		for _, pv := range x.PVs {
			if !ofPV[pv] {
				wrong++
			}
		}
		if wrong > flipsOutside || len(x.PVs) > 0 && wrong == len(x.PVs) && wrong > 2 {
			t.Errorf("%d of the named PVs have lost nothing: %s", wrong, x)
		}
		if x.Messages() == 1 && len(x.PVs) == 1 && !ofPV[x.PVs[0]] && len(l.Losses()) == 1 {
			t.Logf("a damaged name: %s", x)
		}
		if x.Before.IsZero() && x.After.IsZero() {
			t.Errorf("no time is told: %s", x)
		}
	}
}

func replaceIn(t *testing.T, path, old, new string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), old) {
		t.Fatalf("%s: %s, %v", path, b, err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), old, new)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// intactIn finds by their bytes, and not by the format, which messages still
// stand in the block files.
func intactIn(t *testing.T, root string, want known) known {
	t.Helper()
	found := known{}
	for name, messages := range want {
		found[name] = map[uint64]string{}
		files, err := filepath.Glob(filepath.Join(root, name, "msgs/*.blk"))
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
		text := all.String()
		for seq, m := range messages {
			subject, data, _ := strings.Cut(m, "\x00")
			if strings.Contains(text, subject) && strings.Contains(text, data) {
				found[name][seq] = m
			}
		}
	}
	return found
}

// checkDamaged compares what the log gives and says with what was stored.
func checkDamaged(t *testing.T, l *Log, want, intact known, floor uint64) {
	t.Helper()
	got := content(t, l)
	told := known{}
	for _, x := range l.Losses() {
		if told[x.Stream] == nil {
			told[x.Stream] = map[uint64]string{}
		}
		for seq := x.From; seq <= x.To; seq++ {
			told[x.Stream][seq] = x.String()
		}
	}
	if n := len(l.Losses()); n != len(l.Problems()) {
		t.Errorf("%d losses, but %q", n, l.Problems())
	}
	for name, messages := range want {
		damaged := len(messages) - len(intact[name])
		for seq, m := range messages {
			switch given, ok := got[name][seq]; {
			case ok && given != m:
				t.Errorf("%s %d is given as %q, was stored as %q", name, seq, given, m)
			case ok && told[name][seq] != "":
				t.Errorf("%s %d is there, but %s", name, seq, told[name][seq])
			case !ok && told[name][seq] == "":
				t.Errorf("%s %d is missing and nobody says so", name, seq)
			}
		}
		for seq := range got[name] {
			if messages[seq] == "" {
				t.Errorf("%s %d was never stored", name, seq)
			}
		}
		if missing := len(messages) - len(got[name]); missing > damaged+flipsOutside {
			t.Errorf("%s: %d messages are missing, %d are damaged in the files", name, missing, damaged)
		}
		for seq := range told[name] {
			if messages[seq] == "" {
				t.Errorf("%s %d is told as lost and was never stored", name, seq)
			}
		}
	}
	if f := consumerFloor(t, l); f > floor {
		t.Errorf("the archive's floor is %d, it had acknowledged %d", f, floor)
	}
	checkGoesOn(t, l, slices.Max(slices.Collect(maps.Keys(want[SamplesStream]))))
}

// flipsOutside is how many messages a damage may cost whose subject and payload
// are intact: those with a bit turned in their length, sequence, time or hash.
const flipsOutside = 20

func consumerFloor(t *testing.T, l *Log) uint64 {
	t.Helper()
	state, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state.Floor
}

// checkGoesOn stores something new in each stream; no sequence is used twice.
func checkGoesOn(t *testing.T, l *Log, last uint64) {
	t.Helper()
	store(t, l, 100_000, 1)
	ctx := within(t, time.Minute)
	event := &logpb.RegistryEvent{Pv: "TEST:NEW", What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}
	seqs, err := l.Events().Append(ctx, Proposal{Event: event})
	if err != nil || seqs[0] != 41 {
		t.Errorf("a new event got %v, %v", seqs, err)
	}
	if err := l.Drops().Append(ctx, []Drop{{Reason: "order", PV: "TEST:NEW", Position: Position{Seq: 1, Time: time.Now()}, Raw: []byte("x")}}); err != nil {
		t.Error(err)
	}
	state, err := l.State(ctx)
	if err != nil || state.Samples.Last != last+1 {
		t.Errorf("a new sample got %d, the last was %d; %v", state.Samples.Last, last, err)
	}
}
