package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// later lets nothing be tried again before the test ends.
func later(r *Registry) { r.retry = time.Hour }

// some are names of n PVs.
func some(n int) []schema.PVName {
	pvs := make([]schema.PVName, n)
	for i := range pvs {
		pvs[i] = schema.PVName(fmt.Sprintf("M:%04d", i))
	}
	return pvs
}

// eventsByPV counts the events of a change on each name.
func (r *rig) eventsByPV(id string) map[schema.PVName]int {
	r.t.Helper()
	last, _ := r.events.Last(ctx)
	n := map[schema.PVName]int{}
	err := r.scan(ctx, 1, last, func(_ uint64, e *logpb.RegistryEvent) error {
		if e.GetChangeId() == id {
			n[schema.PVName(e.GetPv())]++
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// breakAfter lets n appends through; those behind fail until mend.
func breakAfter(log *memLog, n int) (mend func()) {
	var mu sync.Mutex
	log.beforeAppend = func([]streams.Proposal) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n < 0 {
			return errors.New("power cut")
		}
		return nil
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		n = 1 << 40
	}
}

// S10: a bulk command that was interrupted is finished by the next start, under
// its id and by its actor; what an operator did in between to a PV that was
// through stays.
func TestInterruptedChangeIsFinishedAtTheNextStart_S10(t *testing.T) {
	dir, log := t.TempDir(), newMemLog()
	pvs := some(3500)
	r := start(t, dir, log, later)
	r.archive(pvs...)
	mend := breakAfter(log, 3) // the opening and two batches
	id := NewChangeID(time.Now())
	results := r.Pause(ctx, Actor{Name: "night shift", Reason: "maintenance", ChangeID: id}, pvs...)
	ok(t, results[:2000])
	refusedAs(t, results[2000:2001], schema.Unavailable, "change "+id+" goes on by itself")
	mend()
	ok(t, r.Resume(ctx, operator, pvs[5]))
	r.stop()

	r = start(t, dir, log, soon)
	c := r.closed(id)
	if c.Changed != 3500 || c.Failed != 0 || c.Command != "pause" || c.Actor != "night shift" || c.PVs != 3500 {
		t.Errorf("%+v", c)
	}
	if n := r.Counts()[schema.Paused]; n != 3499 || r.state(pvs[5]) != schema.Archiving {
		t.Errorf("%d PVs are paused, %s is %s", n, pvs[5], r.state(pvs[5]))
	}
	for pv, n := range r.eventsByPV(id) {
		if _, own := pv.ChangeID(); n != 1 && !own {
			t.Errorf("%s has %d events of the change", pv, n)
		}
	}
	err := r.History(ctx, pvs[3400], func(_ uint64, e *logpb.RegistryEvent) error {
		if e.GetPaused() != nil && (e.GetActor() != "night shift" || e.GetReason() != "maintenance" || e.GetChangeId() != id) {
			return fmt.Errorf("paused by %q because %q under %q", e.GetActor(), e.GetReason(), e.GetChangeId())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	r.verified()
	n, _ := log.Last(ctx)
	r.stop()
	r = start(t, dir, log, soon)
	ok(t, r.Pause(ctx, operator, pvs[5]))
	if last, _ := log.Last(ctx); last != n+1 {
		t.Errorf("a closed change was gone on with: %d events more", last-n)
	}
}

// Every kind of command can be gone on with: what is done after the
// interruption is what would have been done without.
func TestEveryCommandIsGoneOnWith_S16_S17_S18_S19_S20_S25(t *testing.T) {
	const n = 1200
	pvs, yes := some(n), true
	aliases := make([]Alias, n)
	requests, edits, definitions := make([]Request, n), make([]Edit, n), make([]Definition, n)
	for i, pv := range pvs {
		aliases[i] = Alias{"A:" + pv, pv}
		requests[i] = Request{PV: pv, Settings: schema.Settings{SamplingMethod: schema.Scan, SamplingPeriod: time.Duration(1+i%3) * time.Second, ArchiveFields: []string{"HIHI"}}, AskedSampling: true}
		edits[i] = Edit{PV: pv, Change: func(s *schema.Settings) error { s.ArchiveFields = append(s.ArchiveFields, "LOLO"); return nil }, SkipAliasCheck: []*bool{nil, new(bool), &yes}[i%3]}
		definitions[i] = Definition{Override: true, Info: schema.TypeInfo{PV: pv, State: schema.Stopped, DBRType: schema.ScalarDouble, ElementCount: 1, Units: "mA",
			Settings: schema.Settings{SamplingPeriod: time.Second}, Created: time.Unix(int64(i), 0)}}
	}
	archived := func(r *rig) { ok(r.t, r.Archive(ctx, operator, requests...)) }
	paused := func(r *rig) { archived(r); ok(r.t, r.Pause(ctx, operator, pvs...)) }
	aliased := func(r *rig) { archived(r); ok(r.t, r.AddAlias(ctx, operator, aliases...)) }
	tests := map[string]struct {
		before func(*rig)
		do     func(*rig, Actor) []Result
		events int
	}{
		"archive":      {func(*rig) {}, func(r *rig, a Actor) []Result { return r.Archive(ctx, a, requests...) }, n},
		"pause":        {archived, func(r *rig, a Actor) []Result { return r.Pause(ctx, a, pvs...) }, n},
		"resume":       {paused, func(r *rig, a Actor) []Result { return r.Resume(ctx, a, pvs...) }, n},
		"stop":         {paused, func(r *rig, a Actor) []Result { return r.Stop(ctx, a, pvs...) }, n},
		"delete":       {paused, func(r *rig, a Actor) []Result { return r.Delete(ctx, a, true, pvs...) }, n},
		"configure":    {paused, func(r *rig, a Actor) []Result { return r.Configure(ctx, a, edits...) }, n},
		"define":       {archived, func(r *rig, a Actor) []Result { return r.Define(ctx, a, definitions...) }, n},
		"add_alias":    {archived, func(r *rig, a Actor) []Result { return r.AddAlias(ctx, a, aliases...) }, n},
		"remove_alias": {aliased, func(r *rig, a Actor) []Result { return r.RemoveAlias(ctx, a, aliases...) }, n},
		"undo": {paused, func(r *rig, a Actor) []Result {
			results, err := r.UndoChange(ctx, a, r.Changes(1)[0].ID)
			if err != nil {
				r.t.Fatal(err)
			}
			return results
		}, n},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := func() map[string]*schema.TypeInfo {
				r := start(t, t.TempDir(), newMemLog())
				tt.before(r)
				ok(t, tt.do(r, Actor{Name: "op"}))
				return r.timeless()
			}()
			dir, log := t.TempDir(), newMemLog()
			r := start(t, dir, log, later)
			tt.before(r)
			mend := breakAfter(log, 2)
			id := "mine"
			results := tt.do(r, Actor{Name: "op", ChangeID: id})
			ok(t, results[:1000])
			refusedAs(t, results[1000:1001], schema.Unavailable, "goes on by itself")
			r.stop()
			mend()
			r = start(t, dir, log, soon)
			if c := r.closed(id); c.Changed != tt.events || c.Failed != 0 || c.Command != name {
				t.Errorf("%+v", c)
			}
			if got := r.timeless(); !reflect.DeepEqual(got, want) {
				t.Errorf("the state is another one: %d and %d names", len(got), len(want))
				for pv := range want {
					if !reflect.DeepEqual(got[pv], want[pv]) {
						t.Fatalf("%s\n%+v\n%+v", pv, got[pv], want[pv])
					}
				}
			}
			r.verified()
		})
	}
}

// timeless is the state without what differs between two runs of one story.
func (r *rig) timeless() map[string]*schema.TypeInfo {
	r.mu.RLock()
	defer r.mu.RUnlock()
	infos := map[string]*schema.TypeInfo{}
	for pv, h := range r.Registry.state.records {
		if h.Info == nil {
			continue
		}
		i := *h.Info
		if i.Created.Year() > 2000 {
			i.Created = time.Time{}
		}
		i.Modified, i.Sequence, i.Generation = time.Time{}, 0, 0
		infos[string(pv)] = &i
	}
	return infos
}

// A caller who goes away between two batches leaves the rest to Run.
func TestChangeOutlivesItsCaller(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log, soon)
	pvs := some(5000)
	r.archive(pvs...)
	impatient, cancel := context.WithCancel(ctx)
	defer cancel()
	id := NewChangeID(time.Now())
	results := r.Stop(impatient, Actor{Name: "op", ChangeID: id, Progress: func(int, int, []Result) { cancel() }}, pvs...)
	ok(t, results[:1000])
	refusedAs(t, results[4999:], schema.Unavailable, id)
	if c := r.closed(id); c.Changed != 5000 || r.Counts()[schema.Stopped] != 5000 {
		t.Errorf("%+v, %v", c, r.Counts())
	}
	r.verified()
}

// A full disk in the middle of a change ends the command, not the change.
func TestChangeWaitsForRoom(t *testing.T) {
	log := newMemLog()
	var mu sync.Mutex
	full := false
	r := start(t, t.TempDir(), log, soon, func(r *Registry) {
		r.space = func(string) (int64, int64, error) {
			mu.Lock()
			defer mu.Unlock()
			if full {
				return 0, 1 << 30, nil
			}
			return 1 << 30, 1 << 30, nil
		}
	})
	set := func(v bool) { mu.Lock(); defer mu.Unlock(); full = v }
	pvs := some(4000)
	r.archive(pvs...)
	results := r.Pause(ctx, Actor{ChangeID: "full", Progress: func(int, int, []Result) { set(true) }}, pvs...)
	refusedAs(t, results[3999:], schema.Unavailable, "disk full")
	if c, _ := r.Change("full"); c.Closed != 0 || c.Opened == 0 {
		t.Errorf("%+v", c)
	}
	set(false)
	if c := r.closed("full"); c.Changed != 4000 || r.Counts()[schema.Paused] != 4000 {
		t.Errorf("%+v, %v", c, r.Counts())
	}
	r.verified()
}

// A command that is repeated with its id has the same results and no second
// events, whether it was through or not.
func TestRepeatedCommandHasNoSecondEvents(t *testing.T) {
	for _, n := range []int{1, 30, 2500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			log := newMemLog()
			r := start(t, t.TempDir(), log, soon)
			pvs := some(n)
			requests := []Request{}
			for _, pv := range pvs {
				requests = append(requests, Request{PV: pv})
			}
			requests = append(requests, Request{PV: "bad name"}, Request{PV: "M:there"}, Request{PV: "M:slow", Settings: schema.Settings{SamplingPeriod: time.Hour * 100}})
			r.archive("M:there")
			for _, id := range []string{NewChangeID(time.Now()), NewChangeID(time.Now().Add(-time.Hour)), "of-the-client"} {
				actor := Actor{Name: "op", ChangeID: id}
				first := r.Archive(ctx, actor, requests...)
				before, _ := log.Last(ctx)
				second := r.Archive(ctx, actor, requests...)
				if after, _ := log.Last(ctx); after != before {
					t.Errorf("%s: %d events more", id, after-before)
				}
				for i := range first {
					if codeText2(first[i].Err) != codeText2(second[i].Err) {
						t.Fatalf("%s: %v, then %v", id, first[i], second[i])
					}
				}
				ok(t, first[:n])
				ok(t, r.Pause(ctx, operator, pvs...))
				ok(t, r.Delete(ctx, operator, false, pvs...))
			}
			refusedAs(t, r.Archive(ctx, Actor{ChangeID: "no/id"}, requests[:1]...), schema.Invalid, "change id")
			r.verified()
		})
	}
}

func codeText2(err error) string {
	if err == nil {
		return ""
	}
	return codeText(err) + err.Error()
}

func TestChangeIDBelongsToOneCommand(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	pvs := some(1001)
	r.archive(pvs...)
	ok(t, r.Pause(ctx, Actor{ChangeID: "x"}, pvs...))
	for _, res := range [][]Result{r.Stop(ctx, Actor{ChangeID: "x"}, pvs...), r.Pause(ctx, Actor{ChangeID: "x"}, append(slices.Clone(pvs), "Y")...)} {
		refusedAs(t, res[:1], schema.Conflict, "change x is another one (pause of 1001 PVs)")
	}
}

// The results of a bulk command come as they come into force.
func TestProgressIsReal(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	pvs := some(2500)
	r.archive(pvs...)
	ok(t, r.Pause(ctx, operator, pvs[7]))
	var steps []int
	seen := map[schema.PVName]error{}
	results := r.Pause(ctx, Actor{Progress: func(done, total int, finished []Result) {
		steps = append(steps, done)
		for _, res := range finished {
			seen[res.PV] = res.Err
			if total != 2500 || r.state(res.PV) != schema.Paused {
				t.Errorf("%s is told to be through of %d and is %s", res.PV, total, r.state(res.PV))
			}
		}
	}}, pvs...)
	if !slices.Equal(steps, []int{1000, 2000, 2500}) || len(seen) != 2500 || !errors.Is(seen[pvs[7]], ErrAlready) {
		t.Errorf("progress %v, %d results, %v", steps, len(seen), seen[pvs[7]])
	}
	for _, res := range results {
		if !errors.Is(res.Err, seen[res.PV]) {
			t.Errorf("%v was told as %v", res, seen[res.PV])
		}
	}
	c := r.Changes(1)[0]
	if c.Changed != 2499 || c.Failed != 1 {
		t.Errorf("%+v", c)
	}
	refused, err := r.refusals(ctx, c.ID)
	if err != nil || len(refused) != 1 || !errors.Is(refused[pvs[7]], ErrAlready) || refused[pvs[7]].Error() != seen[pvs[7]].Error() {
		t.Errorf("%v, %v", refused, err)
	}
}

// S10: commands of others get through between the batches of a bulk command, on
// its own PVs too.
func TestBulkCommandLetsOthersThrough_S10(t *testing.T) {
	log, _ := realLog(t, t.TempDir())
	r := start(t, t.TempDir(), log)
	requests := manyRequests(8_000)
	other := make(chan Result, 1)
	var once sync.Once
	ok(t, r.Archive(ctx, Actor{Name: "bulk", Progress: func(int, int, []Result) {
		once.Do(func() { go func() { other <- r.Archive(ctx, operator, Request{PV: "single"})[0] }() })
	}}, requests...))
	single := <-other
	ok(t, []Result{single})
	if c := r.Changes(1)[0]; single.Sequence > c.Opened+5_000 {
		t.Errorf("the single command is event %d, the bulk command began with %d", single.Sequence, c.Opened)
	}
}

// Losers of a race cost their batch a round, not each PV an append.
func TestLosersAreSplitOut(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	pvs := some(1000)
	r.archive(pvs...)
	appends := 0
	log.beforeAppend = func(ps []streams.Proposal) error {
		appends++
		for _, p := range ps {
			if strings.HasSuffix(p.Event.GetPv(), "7") { // somebody is always quicker
				e := &logpb.RegistryEvent{Pv: p.Event.GetPv(), What: &logpb.RegistryEvent_Started{Started: &logpb.PVStarted{Type: 6, ElementCount: uint32(appends)}}}
				if _, err := log.store(ctx, []streams.Proposal{{Event: e, Expect: p.Expect}}); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for i, res := range r.Pause(ctx, operator, pvs...) {
		if i%10 == 7 {
			refusedAs(t, []Result{res}, schema.Conflict, "changed by somebody else")
		} else {
			ok(t, []Result{res})
		}
	}
	if appends != 3 {
		t.Errorf("%d appends", appends)
	}
	r.verified()
}

// Two servers are asked for the same 10,000 PVs at once: each PV gets one event,
// and what is told is what is in the log.
func TestTwoClientsRaceOnTheSamePVs_S10_S11_S12_S13(t *testing.T) {
	log, _ := realLog(t, t.TempDir())
	rigs := []*rig{start(t, t.TempDir(), log), start(t, filepath.Join(t.TempDir(), "other"), log)}
	requests := manyRequests(10_000)
	results := make([][]Result, 2)
	var callers sync.WaitGroup
	for i := range results {
		callers.Go(func() { results[i] = rigs[i%2].Archive(ctx, Actor{Name: fmt.Sprint(i)}, requests...) })
	}
	callers.Wait()
	for k, q := range requests {
		won := 0
		for i := range results {
			switch err := results[i][k].Err; schema.CodeOf(err) {
			case "":
				won++
			case schema.Conflict:
			default:
				t.Fatal(err)
			}
		}
		if won != 1 {
			t.Fatalf("%s was archived %d times", q.PV, won)
		}
	}
	last, _ := log.Last(ctx)
	for _, r := range rigs {
		if err := r.await2(last); err != nil {
			t.Fatal(err)
		}
		if last != 10_000+4 || len(r.All()) != 10_000 {
			t.Errorf("%d events, %d PVs", last, len(r.All()))
		}
		r.verified()
	}
	if !maps.Equal(rigs[0].contents(), rigs[1].contents()) {
		t.Error("the two have different contents")
	}
}

// 100,000 PVs whose names cannot be packed go into the log all the same, in
// several events.
func TestStepsOfLongNamesFitTheLog(t *testing.T) {
	log, _ := realLog(t, t.TempDir())
	r := start(t, t.TempDir(), log)
	var items []item
	steps := make([]step, 40_000)
	random := rand.NewChaCha8([32]byte{1})
	for i := range steps {
		name := make([]byte, 200)
		if _, err := random.Read(name); err != nil {
			t.Fatal(err)
		}
		text := hex.EncodeToString(name)
		items = append(items, item{pv: schema.PVName(text[:200] + ":" + text[200:]), request: &logpb.PVRequested{SamplingMethod: "MONITOR", SamplingPeriod: float64(1 + i%2)}})
		steps[i].pv = items[i].pv
	}
	s := newSubmission(order{command: commandArchive}, Actor{ChangeID: "long"}, steps)
	if _, err := r.openChange(ctx, s, items); err != nil {
		t.Fatal(err)
	}
	c, _ := r.Change("long")
	if c.Parts < 2 || !c.begun() || c.PVs != 40_000 {
		t.Fatalf("%+v", c)
	}
	again, err := r.readChange(ctx, c)
	if err != nil || len(again.steps) != len(items) {
		t.Fatalf("%d steps, %v", len(again.steps), err)
	}
	for i, st := range again.steps {
		if i%100 != 0 {
			continue
		}
		e, err := st.decide(r.Registry.view(st.pv))
		if err != nil || st.pv != items[i].pv || e.GetRequested().GetSamplingPeriod() != items[i].request.SamplingPeriod {
			t.Fatalf("step %d is %v, %v", i, e, err)
		}
	}
}

// A change whose opening was cut short had not begun: nobody was told so.
func TestChangeThatHadNotBegunIsGivenUp(t *testing.T) {
	log := newMemLog()
	part, err := packSteps(order{command: commandArchive}, []item{{pv: "P:1", request: &logpb.PVRequested{}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	log.write(&logpb.RegistryEvent{Version: 1, Pv: string(schema.ChangeName("half")), ChangeId: "half", What: &logpb.RegistryEvent_ChangeOpened{
		ChangeOpened: &logpb.ChangeOpened{Command: commandArchive, Pvs: 2, Steps: part[0], Parts: 2},
	}})
	r := start(t, t.TempDir(), log, soon)
	if c := r.closed("half"); c.Changed != 0 || len(r.All()) != 0 || !r.log.has("had not begun") {
		t.Errorf("%+v, %d PVs", c, len(r.All()))
	}
	r.verified()
}

// Failures that are alike share their words.
func TestFailuresKeepTheirWords(t *testing.T) {
	var results []Result
	for _, pv := range some(5000) {
		results = append(results, Result{PV: pv, Err: already("PV %s is already paused", pv)}, Result{PV: "x" + pv}, Result{PV: "y" + pv, Err: unknown("pause", "y"+pv)})
	}
	m := failures(results)
	if len(m.GetMessages()) != 2 || len(m.GetPvs()) != 10_000 {
		t.Errorf("%d messages of %d PVs: %q", len(m.GetMessages()), len(m.GetPvs()), m.GetMessages())
	}
	errs := failureErrors(m)
	for _, res := range results {
		if codeText2(errs[res.PV]) != codeText2(res.Err) {
			t.Fatalf("%v became %v", res, errs[res.PV])
		}
	}
}

func FuzzChangeSteps(f *testing.F) {
	packed, err := packSteps(order{command: commandArchive}, []item{{pv: "A", request: &logpb.PVRequested{}}}, []Result{{PV: "B", Err: unknown("pause", "B")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed[0], commandArchive)
	f.Add([]byte("\x1f\x8b"), commandUndo)
	f.Fuzz(func(t *testing.T, b []byte, command string) {
		m := &logpb.ChangeSteps{}
		if unpack(b, m) != nil {
			return
		}
		items, err := itemsOf(command, m)
		if err == nil && len(items) != len(m.GetPvs()) {
			t.Errorf("%d items of %d PVs", len(items), len(m.GetPvs()))
		}
		failureErrors(m.GetRefused())
	})
}
