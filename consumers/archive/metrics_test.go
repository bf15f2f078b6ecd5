package archive

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/schema"
)

// value reads one metric without labels.
func value(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pvlog_archive_"+name || f.GetName() == "pvlog_"+name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func TestEveryQueueHasAMetric(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10)
	reg := prometheus.NewRegistry()
	a := open(t, dir, log, func(o *Options) { o.Registerer = reg })
	log.add("P", double(after(0), 1), double(after(time.Second), 2))
	log.add("Q", double(after(0), 1))
	log.add("Q", double(schema.Time{Sec: 1}, 1))
	work(t, a, log, 1, func() bool { return false })
	for name, want := range map[string]float64{
		"waiting_pvs": 2, "unacknowledged_messages": 3, "waiting_drops": 1, "buffered_bytes": float64(a.buffered),
	} {
		if got := value(t, reg, name); got != want || got == 0 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if err := a.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"waiting_pvs", "unacknowledged_messages", "waiting_drops", "buffered_bytes"} {
		if got := value(t, reg, name); got != 0 {
			t.Errorf("after the flush %s is %v", name, got)
		}
	}
	if got := value(t, reg, "events_stored_total"); got != 3 || got != value(t, reg, "samples_stored_total") { // S9
		t.Errorf("events_stored_total is %v, want 3", got)
	}
	if got := value(t, reg, "acknowledged_sequence"); got != 3 {
		t.Errorf("acknowledged_sequence is %v, want 3", got)
	}
}

// TestFieldsBeyondTheirBoundAreCounted repeats a PV's last value with ever new
// field values, as an IOC with a busy description and a dead input would.
func TestFieldsBeyondTheirBoundAreCounted(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 10)
	reg := prometheus.NewRegistry()
	a := open(t, dir, log, func(o *Options) { o.Registerer = reg })
	log.add("P", double(after(0), 1))
	for i := range 8 {
		text := strings.Repeat(string(rune('a'+i)), pendingMax/4)
		log.add("P", double(after(0), 1, func(s *schema.RawSample) { s.Event = schema.AppendField(s.Event, "DESC", text) }))
	}
	log.add("P", double(after(time.Second), 2))
	work(t, a, log, 1, func() bool { return true })
	got := read(t, dir, "P")
	if lost := value(t, reg, "fields_lost_bytes_total"); len(got) != 2 || len(got[1].event) > pendingMax+100 || lost < 4*pendingMax/4 {
		t.Errorf("%d samples, the second of %d bytes; %v bytes of fields are counted as lost", len(got), len(got[1].event), lost)
	}
	run(t, a)
}
