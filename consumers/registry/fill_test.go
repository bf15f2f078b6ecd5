package registry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// large is a log of many PVs whose records fill several transactions of Badger.
func large(n int) *memLog {
	log := newMemLog()
	for i := range n {
		log.write(&logpb.RegistryEvent{Pv: fmt.Sprintf("L:%d", i), What: &logpb.RegistryEvent_Requested{
			Requested: &logpb.PVRequested{Policy: strings.Repeat("x", 1000)}}})
	}
	return log
}

// A state that is being made from the log may end anywhere: what it leaves is
// taken for no state, after a kill and after a fault of the disk.
func TestAFillThatEndsMidwayIsBegunAnew(t *testing.T) {
	const pvs = 5 * fillStep
	log := large(pvs)
	want := start(t, t.TempDir(), log).contents()
	killed, asked := t.TempDir(), 0
	halfFull := func(r *Registry) {
		r.space = func(string) (int64, int64, error) {
			if r.store == nil || r.Cursor() != 0 {
				return 1 << 30, 1 << 40, nil
			}
			if asked++; asked != 5 {
				return 1 << 30, 1 << 40, nil
			}
			copyTree(t, r.opt.Dir, killed)
			return 0, 1 << 40, nil
		}
	}
	r := start(t, t.TempDir(), log, halfFull)
	if !r.log.has("disk full") || asked <= 5 {
		t.Errorf("asked %d times for room: %s", asked, r.log.text.String())
	}
	r.verified()
	if !maps.Equal(r.contents(), want) {
		t.Error("other contents after a fault")
	}
	r = healed(t, killed, log, want)
	if !r.log.has("moved aside") || len(asides(t, killed)) != 1 {
		t.Errorf("nothing was left by the kill: %s", r.log.text.String())
	}
}

// What a name was is read from its own events, from the whole log, or taken
// from what is known of it now: it is the same.
func TestStateAtATimeIsTheSameHoweverItIsFound(t *testing.T) {
	c := &clock{}
	c.advance(1e18)
	log := newMemLog()
	r := start(t, t.TempDir(), log, func(r *Registry) { r.now = c.now })
	var pvs []schema.PVName
	for i := range 3 * manyNames {
		pvs = append(pvs, schema.PVName(fmt.Sprintf("T:%03d", i)))
	}
	r.archive(pvs...)
	ok(t, r.AddAlias(ctx, operator, Alias{"T:ALIAS", pvs[0]}))
	ok(t, r.Pause(ctx, operator, pvs[:50]...))
	if err := r.SetFlag(ctx, operator, "flag", true); err != nil {
		t.Fatal(err)
	}
	at := c.now()
	want := shown(t, r, at)
	for name, change := range map[string]func(){
		"a few changed":    func() { ok(t, r.Delete(ctx, operator, false, pvs[:10]...)) },
		"others came":      func() { r.archive("T:NEW", "T:NEWER") },
		"many changed":     func() { ok(t, r.Stop(ctx, operator, pvs[60:60+2*manyNames]...)) },
		"not yet followed": func() { r.mu.Lock(); r.meta.Cursor = 1; r.mu.Unlock() },
	} {
		c.advance(time.Hour)
		change()
		if got := shown(t, r, at); !slices.Equal(got, want) {
			t.Errorf("after %s:\n%s\nit was\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		r.mu.Lock()
		r.meta.Cursor, _ = log.Last(ctx)
		r.mu.Unlock()
	}
}

func shown(t *testing.T, r *rig, at time.Time) (lines []string) {
	t.Helper()
	infos, _, err := r.At(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		lines = append(lines, fmt.Sprintf("%+v", *i))
	}
	return lines
}

// The newest event of a time is found among any number around it.
func TestNewestEventOfATime(t *testing.T) {
	log := newMemLog()
	r := start(t, t.TempDir(), log)
	const n = 3000
	log.mu.Lock()
	for i := range n { // pairs that are not in order
		at := int64(1e18) + int64(i^1)*int64(time.Millisecond)
		log.write(&logpb.RegistryEvent{Pv: fmt.Sprintf("N:%d", i), Time: at, What: &logpb.RegistryEvent_Requested{Requested: &logpb.PVRequested{}}})
	}
	log.mu.Unlock()
	if err := r.await2(n); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[int]uint64{-1: 0, 0: 2, 1: 2, 2: 4, 1000: 1002, 1001: 1002, n - 2: n, n + 9: n} {
		got, err := r.newestAt(ctx, time.Unix(0, 1e18+int64(at)*int64(time.Millisecond)))
		if err != nil || got != want {
			t.Errorf("at %d ms: event %d, %v, want %d", at, got, err, want)
		}
	}
}
