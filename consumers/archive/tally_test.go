package archive

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pvlog/consumers/filter"
	"pvlog/schema"
)

// checkTallies compares the counters with those of an archive that was never
// interrupted.
func checkTallies(t *testing.T, a *Archive, log *memLog) {
	t.Helper()
	kept, drops := oracle(log.messages)
	reasons := map[schema.PVName]map[string]uint64{}
	for p, reason := range drops {
		pv := log.messages[p.Seq-1].PV
		if reasons[pv] == nil {
			reasons[pv] = map[string]uint64{}
		}
		reasons[pv][reason]++
	}
	received := map[schema.PVName]uint64{}
	for _, m := range log.messages {
		received[m.PV] += uint64(len(m.Samples))
	}
	for pv, n := range received {
		if s, ok := a.Status(pv); !ok || s.Stored+s.Duplicate+s.Dropped != n {
			t.Errorf("%s: received %d, which are not %d stored, %d duplicates and %d drops", pv, n, s.Stored, s.Duplicate, s.Dropped)
		}
	}
	for pv, all := range kept {
		s, ok := a.Status(pv)
		if !ok || s.Stored != uint64(len(all)) || !maps.Equal(s.Drops, reasons[pv]) {
			t.Errorf("%s: %d stored, drops %v; want %d and %v", pv, s.Stored, s.Drops, len(all), reasons[pv])
		}
	}
}

// TestCountersSurviveAKillAtAnyMoment_S7 puts back what a kill would have left:
// the files are durable, the counters or the acknowledgement are not yet.
func TestCountersSurviveAKillAtAnyMoment_S7(t *testing.T) {
	for name, lost := range map[string]struct{ counters, floor bool }{
		"after the acknowledgement":  {false, false},
		"before the acknowledgement": {false, true},
		"before the counters":        {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				rng := rand.New(rand.NewPCG(seed, 9))
				dir, log := t.TempDir(), randomLog(t, rng, 100)
				a := open(t, dir, log)
				for range 1 + rng.IntN(3) {
					a.step(t.Context())
				}
				before, floor := readFile(t, a.tallies.path), log.floor
				a.step(t.Context())
				crash(t, a)
				if lost.counters {
					writeFile(t, a.tallies.path, before)
				}
				if lost.floor {
					log.floor = floor
				}
				a = open(t, dir, log)
				run(t, a)
				checkAgainstOracle(t, dir, log)
				checkTallies(t, a, log)
			}
		})
	}
}

// flushed is a step that ends with a round.
func flushed(t *testing.T, a *Archive) {
	t.Helper()
	a.lastRound = time.Time{}
	a.step(t.Context())
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCountersBeginAnewWithARegistration_S8(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10)
	created := time.Unix(1000, 0)
	of := func(o *Options) {
		o.Registered = func(pv schema.PVName) (*schema.TypeInfo, bool) {
			info, ok := registered(pv)
			info.Created = created
			return info, ok
		}
	}
	log.add("P", double(after(0), 1), double(after(0), 2))
	a := open(t, dir, log, of)
	run(t, a)
	if s, _ := a.Status("P"); s.Stored != 1 || s.Dropped != 1 || s.Drops["order"] != 1 {
		t.Errorf("status %+v", s)
	}
	created = time.Unix(2000, 0)
	log.add("P", double(after(time.Second), 1))
	a = open(t, dir, log, of)
	run(t, a)
	if s, _ := a.Status("P"); s.Stored != 1 || s.Drops != nil {
		t.Errorf("status of the new registration %+v", s)
	}
}

func TestAFileOfCountersIsWrittenAnewBeforeItIsLarge(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 1)
	a := open(t, dir, log)
	a.tallies.byPV["GONE:not"] = &tally{pv: "not:registered"}
	for i := range 3 {
		log.add("P", double(after(time.Duration(i)*time.Second), 1))
		flushed(t, a)
		if i == 1 { // as after a day
			a.tallies.size = 2 * tallyFileMin
		}
	}
	if list, seq, size, err := readTallies(a.tallies.path); err != nil || len(list) != 1 || list[0].stored != 3 || seq != 3 || size != a.tallies.size || size > 200 {
		t.Errorf("%d PVs up to %d in %d bytes: %v", len(list), seq, size, err)
	}
}

func TestCountersThatCannotBeWrittenStopNothing(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 1)
	a := open(t, dir, log)
	path := a.tallies.path
	a.tallies.path = filepath.Join(path+".none", "file")
	if err := os.WriteFile(filepath.Dir(a.tallies.path), nil, 0o600); err != nil { // no folder
		t.Fatal(err)
	}
	log.add("P", double(after(0), 1))
	flushed(t, a)
	if log.acked() != 1 || a.Health().Fault != nil {
		t.Errorf("acknowledged %d, fault %v", log.acked(), a.Health().Fault)
	}
	a.tallies.path = path
	log.add("P", double(after(time.Second), 1))
	flushed(t, a)
	if list, seq, _, err := readTallies(path); err != nil || len(list) != 1 || list[0].stored != 2 || seq != 2 {
		t.Errorf("%+v up to %d: %v", list, seq, err)
	}
}

func TestADamagedFileOfCountersCostsOneRound(t *testing.T) {
	first := []*tally{{pv: "A B", created: -5, stored: 1, last: schema.Time{Sec: -1, Nsec: 5}, duplicate: 2}, {pv: "C", drops: map[filter.Reason]uint64{filter.Order: 3, filter.Type: 1}}}
	second := []*tally{{pv: "C", stored: 9}}
	whole := appendTallies([]byte(tallyVersion), first, 7)
	both := appendTallies(bytes.Clone(whole), second, 8)
	path := filepath.Join(t.TempDir(), tallyName)
	seqOf := func(b []byte) uint64 {
		writeFile(t, path, b)
		list, seq, size, err := readTallies(path)
		switch {
		case err != nil && seq+uint64(size)+uint64(len(list)) != 0:
			t.Errorf("%v beside %d PVs", err, len(list))
		case seq == 7 && (len(list) != 2 || list[1].drops[filter.Order] != 3 || list[0].created != -5 || size != int64(len(whole))),
			seq == 8 && (len(list) != 2 || list[1].stored != 9 || list[0].duplicate != 2 || size != int64(len(both))):
			t.Errorf("up to %d: %+v", seq, list)
		}
		return seq
	}
	if seq := seqOf(both); seq != 8 {
		t.Fatalf("the whole file is read up to %d", seq)
	}
	for i := range both {
		damaged := bytes.Clone(both)
		damaged[i] ^= 0x11
		for what, seq := range map[string]uint64{"cut": seqOf(both[:i]), "damaged": seqOf(damaged)} {
			want := uint64(0)
			if i >= len(whole) {
				want = 7
			}
			if seq != want && !(what == "damaged" && i == len(both)-1) {
				t.Errorf("%s at %d of %d: read up to %d, want %d", what, i, len(both), seq, want)
			}
		}
	}
	if _, _, _, err := readTallies(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
}

func FuzzReadTallies(f *testing.F) {
	f.Add(appendTallies([]byte(tallyVersion), []*tally{{pv: "A", drops: map[filter.Reason]uint64{"x": 1}}}, 5))
	f.Add([]byte(tallyVersion + "round 1 0 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), tallyName)
		writeFile(t, path, b)
		list, seq, size, err := readTallies(path)
		if err != nil {
			return
		}
		if size > int64(len(b)) {
			t.Fatalf("%d of %d bytes are whole", size, len(b))
		}
		writeFile(t, path, appendTallies([]byte(tallyVersion), list, seq))
		again, to, _, err := readTallies(path)
		if err != nil || to != seq || len(again) != len(list) {
			t.Fatalf("%d PVs up to %d, read back %d up to %d: %v", len(list), seq, len(again), to, err)
		}
	})
}

// BenchmarkKeepTallies is a round in which each of 100,000 PVs stored samples.
func BenchmarkKeepTallies(b *testing.B) {
	a := New(Options{StateDir: b.TempDir(), Registered: registered})
	for i := range 100_000 {
		pv := schema.PVName(fmt.Sprintf("SR:C%02d-MG:COR%05d:I-RB", i%30, i))
		a.tallies.byPV[pv] = &tally{pv: pv, created: 1, stored: uint64(i)}
	}
	var seq uint64
	for b.Loop() {
		for _, t := range a.tallies.byPV {
			a.tallyStored(t, 1, schema.Time{Sec: 1_764_060_000})
		}
		seq++
		a.keepTallies(seq)
	}
	if a.tallies.failing {
		b.Error("the counters were not written")
	}
}
