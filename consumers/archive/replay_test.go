package archive

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pvlog/schema"
)

// TestAReplayJudgesUnderItsOverrides takes what filters had refused, for each of
// their reasons, first dry, then in earnest, then again.
func TestAReplayJudgesUnderItsOverrides(t *testing.T) {
	r := newCopyRig(t)
	r.caughtUp()
	old := double(after(-2*time.Hour), 1, func(s *schema.RawSample) { s.Received = after(0).Go() })
	ahead := double(after(61*time.Second), 2, func(s *schema.RawSample) { s.Received, s.DriftFuture = after(0).Go(), time.Minute })
	order := double(after(time.Second), 3)
	former := double(after(2*time.Second), 4, func(s *schema.RawSample) { s.Generation = 0 })
	before1991 := double(schema.Time{Sec: schema.Floor - 5}, 5)
	integer := double(after(3*time.Second), 6, func(s *schema.RawSample) { s.Type = schema.ScalarInt })
	torn := old
	torn.Event = torn.Event[:3]
	all := []Candidate{{Sample: &old}, {Sample: &ahead}, {Sample: &order}, {Sample: &former}, {Sample: &before1991}, {Sample: &integer}, {Sample: &torn}, {Raw: []byte("x")}}
	give := func(each func(Candidate) error) error {
		for _, c := range all {
			if err := each(c); err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range []struct {
		name         string
		o            Overrides
		dry          bool
		added, there int
		refused      map[string]int
	}{
		{"as they are, dry", Overrides{}, true, 1, 0, map[string]int{"drift_past": 1, "drift_future": 1, "unregistered": 1, "before_1991": 1, "type": 1, "damaged": 2}},
		{"as they are", Overrides{}, false, 1, 0, map[string]int{"drift_past": 1, "drift_future": 1, "unregistered": 1, "before_1991": 1, "type": 1, "damaged": 2}},
		{"wider", Overrides{DriftPast: 3 * time.Hour, DriftFuture: time.Hour}, false, 2, 1, map[string]int{"unregistered": 1, "before_1991": 1, "type": 1, "damaged": 2}},
		{"wider again, dry", Overrides{DriftPast: 3 * time.Hour, DriftFuture: time.Hour, Former: true}, true, 1, 3, map[string]int{"before_1991": 1, "type": 1, "damaged": 2}},
		{"and of former lives", Overrides{DriftPast: 3 * time.Hour, DriftFuture: time.Hour, Former: true}, false, 1, 3, map[string]int{"before_1991": 1, "type": 1, "damaged": 2}},
		{"again", Overrides{DriftPast: 3 * time.Hour, DriftFuture: time.Hour, Former: true}, false, 0, 4, map[string]int{"before_1991": 1, "type": 1, "damaged": 2}},
	} {
		before := r.tree()
		got, err := r.a.Replay(t.Context(), older, c.o, c.dry, give)
		if err != nil || got.Added != c.added || got.There != c.there || !maps.Equal(got.Refused, c.refused) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if changed := !maps.Equal(before, r.tree()); changed != (got.Added > 0 && !c.dry) && c.name != "as they are, dry" { // which writes what waits
			t.Errorf("%s: the files have changed: %v", c.name, changed)
		}
	}
	r.stop()
	var times []schema.Time
	for _, s := range read(t, r.dir, older) {
		times = append(times, s.at)
	}
	for _, at := range []schema.Time{after(-2 * time.Hour), after(time.Second), after(2 * time.Second), after(61 * time.Second)} {
		if !slices.Contains(times, at) {
			t.Errorf("%v is not there", at)
		}
	}
	if _, err := r.a.Replay(t.Context(), "A:NONE", Overrides{}, false, give); schema.CodeOf(err) != schema.NotFound {
		t.Errorf("a PV that is not registered: %v", err)
	}
}
