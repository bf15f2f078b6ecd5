package registry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

func TestStateIsTheSameAfterRestartAndWithoutItsFolder(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	r := start(t, dir, log)
	r.archive("R:1", "R:2", "R:3")
	ok(t, r.Started(ctx, operator, Discovery{PV: "R:1", Type: schema.ScalarInt, Count: 1, Host: "h", Limits: map[string]float64{"LOW": 1, "HIGH": 2}}))
	ok(t, r.Pause(ctx, operator, "R:2"))
	ok(t, r.Stop(ctx, operator, "R:3"))
	ok(t, r.Delete(ctx, operator, false, "R:3"))
	want, all := r.contents(), fmt.Sprintf("%+v", r.Counts())
	r.stop()

	r = open(t, dir, log)
	if fmt.Sprintf("%+v", r.Counts()) != all || r.Cursor() != 7 {
		t.Errorf("after Open alone: %v, cursor %d", r.Counts(), r.Cursor())
	}
	r.run()
	<-r.CaughtUp()
	if !maps.Equal(r.contents(), want) {
		t.Error("other contents after a restart")
	}
	r.stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, log)
	if !maps.Equal(r.contents(), want) {
		t.Error("other contents after a rebuild")
	}
	r.verified()
}

func TestVerifyNoticesADifference(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	r.archive("V:1", "V:2")
	r.verified()
	var value []byte
	for k, v := range r.contents() {
		if k == "pv/V:1" {
			value = []byte(strings.Replace(v, "archiving", "paused", 1))
		}
	}
	if err := r.store.commit(map[schema.PVName][]byte{"V:1": value}, r.meta); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(ctx); err == nil || !strings.Contains(err.Error(), "pv/V:1") {
		t.Errorf("verify: %v", err)
	}
}

// Random commands, restarts and rebuilds: results agree with a model of the
// states, and a replay gives the same bytes.
func TestRandomCommandsReplayEqual(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			dir, log := t.TempDir(), newMemLog()
			r := start(t, dir, log)
			model := map[schema.PVName]schema.State{}
			for range 250 {
				randomCommand(t, r, random, model)
				if random.IntN(50) == 0 {
					r.stop()
					if random.IntN(3) == 0 {
						os.RemoveAll(filepath.Join(dir, "badger"))
					}
					r = start(t, dir, log)
				}
			}
			got := map[schema.PVName]schema.State{}
			for _, info := range r.All() {
				got[info.PV] = info.State
			}
			if !maps.Equal(got, model) {
				t.Errorf("states %v, model %v", got, model)
			}
			r.verified()
			other := start(t, t.TempDir(), log)
			if !maps.Equal(other.contents(), r.contents()) {
				t.Error("a replay into a new folder gives other contents")
			}
		})
	}
}

// randomCommand gives a command on up to four PVs; those that succeed change
// the model.
func randomCommand(t *testing.T, r *rig, random *rand.Rand, model map[schema.PVName]schema.State) {
	t.Helper()
	names := []schema.PVName{"A:1", "A-1", "A:2", "B", "B:1", "C{1}", "C.EGU"}
	var pvs []schema.PVName
	for range 1 + random.IntN(4) {
		pvs = append(pvs, names[random.IntN(len(names))])
	}
	var results []Result
	next := schema.State("")
	switch random.IntN(7) {
	case 0, 1:
		next = schema.Archiving
		var requests []Request
		for _, pv := range pvs {
			requests = append(requests, Request{PV: pv, Settings: schema.Settings{SamplingPeriod: time.Duration(100+random.IntN(900)) * time.Millisecond}})
		}
		results = r.Archive(ctx, operator, requests...)
	case 2:
		next, results = schema.Paused, r.Pause(ctx, operator, pvs...)
	case 3:
		next, results = schema.Archiving, r.Resume(ctx, operator, pvs...)
	case 4:
		next, results = schema.Stopped, r.Stop(ctx, operator, pvs...)
	case 5:
		next, results = "none", r.Delete(ctx, operator, random.IntN(2) == 0, pvs...)
	case 6:
		r.Started(ctx, operator, Discovery{PV: pvs[0], Type: schema.DBRType(random.IntN(14)), Count: random.IntN(5), Host: strconv.Itoa(random.IntN(3))})
	}
	for _, res := range results {
		if code := schema.CodeOf(res.Err); code != "" && code != schema.Conflict && code != schema.NotFound {
			t.Fatalf("%v", res)
		}
		if res.Err == nil {
			model[res.PV] = next
		}
	}
	maps.DeleteFunc(model, func(_ schema.PVName, s schema.State) bool { return s == "none" })
}

// history fills a log with events of 300 PVs that are always the same.
func history(n int) *memLog {
	log := newMemLog()
	for i := range n {
		e := &logpb.RegistryEvent{Version: 1, Pv: fmt.Sprintf("H:%d", i*7%300), Time: int64(i), ChangeId: "c"}
		switch i / 300 % 4 {
		case 0:
			e.What = &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{SamplingMethod: "MONITOR", SamplingPeriod: 1}}
		case 1:
			e.What = &logpb.RegistryEvent_Started{Started: &logpb.PVStarted{Type: 6, ElementCount: 1, Host: "h", Limits: map[string]float64{"LOW": float64(i)}}}
		case 2:
			e.What = &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}
		case 3:
			e.What = &logpb.RegistryEvent_Deleted{Deleted: &logpb.PVDeleted{}}
		}
		log.write(e)
	}
	return log
}

// begun gives a folder with the state after begunAt events of a history: what
// comes behind them is followed.
func begun(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	start(t, dir, history(begunAt)).stop()
	return dir
}

const begunAt = 300

// The follower ends anywhere between two events, again and again.
func TestFollowerGoesOnWhereItEnded(t *testing.T) {
	dir, log := begun(t), history(6000)
	for _, end := range []uint64{begunAt + 1, 999, 1000, 1001, 2500, 4000, 5999} {
		reached := make(chan struct{})
		log.beforeApply = func(seq uint64) error {
			if seq == end {
				close(reached)
				return context.Canceled
			}
			return nil
		}
		r := open(t, dir, log)
		r.run()
		<-reached
		r.stop()
		if c := r.Cursor(); c >= end || c+maxBatchEvents+1 < end {
			t.Errorf("cursor %d after an end at %d", c, end)
		}
	}
	log.beforeApply = nil
	r := start(t, dir, log)
	if r.Cursor() != 6000 {
		t.Errorf("cursor %d", r.Cursor())
	}
	r.verified()
}

// A process that is killed while it follows leaves a state that the next one
// goes on from.
func TestFollowerSurvivesKill(t *testing.T) {
	const events = 16000
	if dir := os.Getenv("PVLOG_REGISTRY_CHILD"); dir != "" {
		log := history(events)
		log.beforeApply = func(seq uint64) error {
			if seq%100 == 0 {
				fmt.Println("applying", seq)
			}
			return nil
		}
		start(t, dir, log)
		select {} // until killed
	}
	dir := begun(t)
	for _, end := range []int{2000, 6000, 10000} {
		child := exec.Command(os.Args[0], "-test.run=^TestFollowerSurvivesKill$")
		child.Env = append(os.Environ(), "PVLOG_REGISTRY_CHILD="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(out); s.Scan(); {
			if n, ok := strings.CutPrefix(s.Text(), "applying "); ok {
				if seq, _ := strconv.Atoi(n); seq >= end {
					break
				}
			}
		}
		child.Process.Kill()
		child.Wait()
	}
	r := open(t, dir, history(events))
	if c := r.Cursor(); c < 8000 || r.log.has("moved aside") {
		t.Errorf("after the kills it begins at event %d: %s", c, r.log.text.String())
	}
	r.run()
	<-r.CaughtUp()
	r.verified()
}

// Results that do not fit one transaction of Badger are split.
func TestBatchBeyondATransactionIsSplit(t *testing.T) {
	log := newMemLog()
	long := strings.Repeat("x", 50000)
	for i := range 60 {
		log.write(&logpb.RegistryEvent{Pv: fmt.Sprintf("L:%d", i), What: &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{Policy: long}}})
	}
	for i := range 60 { // small events with large results: 3 MB in one batch
		log.write(&logpb.RegistryEvent{Pv: fmt.Sprintf("L:%d", i), What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}})
	}
	r := start(t, t.TempDir(), log)
	if n := r.Counts()[schema.Paused]; n != 60 {
		t.Errorf("%d PVs are paused", n)
	}
	r.verified()
}

// A message that no pvlog wrote cannot stop the registry.
func TestWildEventsArePassedOver(t *testing.T) {
	log := newMemLog()
	requested := func(pv, policy string) {
		log.write(&logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{Policy: policy}}})
	}
	requested("W:1", "first")
	requested("", "nameless")
	requested(strings.Repeat("n", 5000), "long name")
	requested("W:1", strings.Repeat("p", maxRecordBytes))
	requested("W:2", strings.Repeat("p", maxRecordBytes))
	log.write(&logpb.RegistryEvent{Pv: "W:3", Version: 99}) // of a newer pvlog
	r := start(t, t.TempDir(), log)
	if info, known := r.Get("W:1"); !known || info.Policy != "first" {
		t.Errorf("W:1: %+v", info)
	}
	if n := len(r.All()); n != 1 || r.Cursor() != 6 {
		t.Errorf("%d PVs, cursor %d", n, r.Cursor())
	}
	ok(t, r.Pause(ctx, operator, "W:1")) // the passed over event counts for the expected sequence
	r.archive("W:2", "W:3")
	r.verified()
	if !r.log.has("passed over") {
		t.Error("nobody was told")
	}
}

// An unreachable log pauses the follower; commands say so and work later.
func TestFollowerGoesOnAfterFault(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	r.archive("F:1")
	down := make(chan struct{})
	log.mu.Lock()
	log.beforeApply = func(uint64) error {
		select {
		case <-down:
			return nil
		default:
			return errors.New("no route to the log")
		}
	}
	log.mu.Unlock()
	results := r.Pause(ctx, operator, "F:1")
	refusedAs(t, results, schema.Unavailable, "recorded as event 2, not yet in force: no route to the log")
	refusedAs(t, r.Pause(ctx, operator, "F:1"), schema.Unavailable, "cannot take commands now")
	close(down)
	if err := r.await2(2); err != nil {
		t.Fatal(err)
	}
	if r.state("F:1") != schema.Paused || r.Fault() != nil {
		t.Errorf("%s, fault %v", r.state("F:1"), r.Fault())
	}
	r.verified()
}

// await2 waits for a sequence through faults.
func (r *rig) await2(seq uint64) error {
	for {
		r.mu.RLock()
		cursor, fault, changed := r.meta.Cursor, r.fault, r.changed
		r.mu.RUnlock()
		if cursor >= seq && fault == nil {
			return nil
		}
		select {
		case <-changed:
		case <-r.stopped:
			return errors.New("stopped")
		}
	}
}

func TestCommandsAreRefusedBeforeAndAfterRunning(t *testing.T) {
	r := open(t, t.TempDir(), newMemLog())
	refusedAs(t, r.Archive(ctx, operator, Request{PV: "a"}), schema.Unavailable, "still reading its log")
	r.run()
	<-r.CaughtUp()
	r.archive("a")
	r.stop()
	refusedAs(t, r.Pause(ctx, operator, "a"), schema.Unavailable, "stopping")
	if err := r.Verify(ctx); schema.CodeOf(err) != schema.Unavailable {
		t.Errorf("verify of a closed registry: %v", err)
	}
}
