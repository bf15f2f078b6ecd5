package registry

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/schema"
)

func TestFits(t *testing.T) {
	tests := []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true}, {"*", "A:1", true}, {"A:1", "A:1", true}, {"A:1", "A:12", false}, {"?:1", "A:1", true},
		{"?", "", false}, {"A*", "A", true}, {"*1", "A:1", true}, {"*1", "A:12", false}, {"A*B*C", "AxxBBxC", true},
		{"A*B*C", "AxxBBx", false}, {"**", "x", true}, {"a", "A", false}, {"A[1]", "A[1]", true}, {"A[1]", "A1", false},
		{"*?*?*", "a", false}, {"*?*?*", "ab", true}, {"A.*", "A.B", true}, {"A.*", "AxB", false},
		{strings.Repeat("*a", 30) + "b", strings.Repeat("a", 400), false}, // in no time
	}
	for _, tt := range tests {
		if got := fits(tt.glob, tt.name); got != tt.want {
			t.Errorf("fits(%q, %q) = %v", tt.glob, tt.name, got)
		}
	}
}

func FuzzFits(f *testing.F) {
	f.Add("A*:?1*", "AB:01")
	f.Fuzz(func(t *testing.T, glob, name string) {
		if len(glob) > 50 || len(name) > 200 || !ascii(glob) || !ascii(name) {
			t.Skip()
		}
		pattern := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(glob))
		if want := regexp.MustCompile(`(?s)^` + pattern + `\z`).MatchString(name); fits(glob, name) != want {
			t.Errorf("fits(%q, %q) is not %v", glob, name, want)
		}
	})
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 126 || r < 1 }) < 0
}

// What Badger gives back is never trusted: no input panics, and what decodes
// is encoded to the same again.
func FuzzDecodeRecord(f *testing.F) {
	for _, rec := range someRecords() {
		b, err := rec.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"v":2,"seq":9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := newDecoder().record("F:1", b)
		if err != nil {
			return
		}
		first, err := rec.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := newDecoder().record("F:1", first)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.encode(); err != nil || string(second) != string(first) {
			t.Errorf("%q, then %q, %v", first, second, err)
		}
		if most := rec.mostBytes(); len(first) > most {
			t.Errorf("%d bytes, %d were thought to be the most", len(first), most)
		}
	})
}

func TestMatchAndCounts_S21(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog())
	if got := r.Match("", 0); got == nil || len(got) != 0 {
		t.Errorf("of an empty registry: %v", got)
	}
	r.archive("B:2", "A:1", "A:2")
	ok(t, r.Pause(ctx, operator, "A:1"))
	tests := []struct {
		glob  string
		limit int
		want  string
	}{
		{"", 0, "A:1 A:2 B:2"}, {"*", -1, "A:1 A:2 B:2"}, {"A*", 0, "A:1 A:2"}, {"*2", 1, "A:2"}, {"Z*", 0, ""}, {"A:1", 5, "A:1"},
	}
	for _, tt := range tests {
		var got []string
		for _, pv := range r.Match(tt.glob, tt.limit) {
			got = append(got, string(pv))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("Match(%q, %d) = %v", tt.glob, tt.limit, got)
		}
	}
	if c := r.Counts(); c[schema.Archiving] != 2 || c[schema.Paused] != 1 || c[schema.Stopped] != 0 {
		t.Errorf("counts %v", c)
	}
}

func TestMetricsCountCommandsAndEvents(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := start(t, t.TempDir(), newMemLog(), func(r *Registry) { r.metrics = newMetrics(r, reg) })
	r.archive("M:1", "M:2")
	r.Pause(ctx, operator, "M:1", "nope")
	r.Pause(ctx, operator, "M:1")
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"pvlog_registry_commands_total archive ok": 2, "pvlog_registry_commands_total pause ok": 1,
		"pvlog_registry_commands_total pause not found": 1, "pvlog_registry_commands_total pause unchanged": 1,
		"pvlog_registry_events_applied_total": 3, "pvlog_registry_cursor": 3, "pvlog_registry_paused": 0,
		"pvlog_registry_pvs archiving": 1, "pvlog_registry_pvs paused": 1, "pvlog_registry_pvs stopped": 0,
		"pvlog_registry_rebuilds_total": 0, "pvlog_registry_events_refused_total": 0,
	}
	for name, v := range want {
		if g, known := got[name]; !known || g != v {
			t.Errorf("%s is %v (%v), want %v", name, g, known, v)
		}
	}
}

func TestValueLogIsCleanedUpWhileRunning(t *testing.T) {
	r := start(t, t.TempDir(), newMemLog(), func(r *Registry) { r.opt.CompactGap = time.Millisecond })
	for range 20 {
		r.archive("V:1")
		ok(t, r.Stop(ctx, operator, "V:1"))
		ok(t, r.Delete(ctx, operator, false, "V:1"))
	}
	r.verified()
	if r.log.has("not cleaned up") {
		t.Error(r.log.text.String())
	}
}
