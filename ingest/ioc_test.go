package ingest

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// allTypes are records of every native type, scalar and array.
func allTypes() []simioc.Record {
	return []simioc.Record{
		{Name: "S:STRING", Type: ca.DBRString, Value: "a string"},
		{Name: "S:SHORT", Type: ca.DBRShort, Value: int16(-2)},
		{Name: "S:FLOAT", Type: ca.DBRFloat, Value: float32(1.5)},
		{Name: "S:ENUM", Type: ca.DBREnum, Value: uint16(1), Labels: []string{"off", "on"}},
		{Name: "S:CHAR", Type: ca.DBRChar, Value: byte(200)},
		{Name: "S:LONG", Type: ca.DBRLong, Value: int32(-70000)},
		{
			Name: "S:DOUBLE", Type: ca.DBRDouble, Value: 3.25, Units: "mA", Precision: 3, RTYP: "ai",
			Limits: simioc.Limits{LOPR: -10, HOPR: 10, LOLO: -9, LOW: -8, HIGH: 8, HIHI: 9, Alarm: true},
		},
		{Name: "A:STRING", Type: ca.DBRString, Count: 3, Value: []string{"x", "", "z"}},
		{Name: "A:SHORT", Type: ca.DBRShort, Count: 4, Value: []int16{1, -1}},
		{Name: "A:FLOAT", Type: ca.DBRFloat, Count: 2, Value: []float32{1, 2}},
		{Name: "A:ENUM", Type: ca.DBREnum, Count: 2, Value: []uint16{3}},
		{Name: "A:CHAR", Type: ca.DBRChar, Count: 9, Value: []byte("long text")},
		{Name: "A:LONG", Type: ca.DBRLong, Count: 5, Value: []int32{7}},
		{Name: "A:DOUBLE", Type: ca.DBRDouble, Count: 20000, Value: []float64{}},
	}
}

func TestEveryTypeIsDiscoveredAndArchived_S16_S60_S61(t *testing.T) {
	want := map[string]struct {
		kind  schema.DBRType
		count int
		value any
	}{
		"S:STRING": {schema.ScalarString, 1, "a string"},
		"S:SHORT":  {schema.ScalarShort, 1, int32(-2)},
		"S:FLOAT":  {schema.ScalarFloat, 1, float32(1.5)},
		"S:ENUM":   {schema.ScalarEnum, 1, int32(1)},
		"S:CHAR":   {schema.ScalarByte, 1, []byte{200}},
		"S:LONG":   {schema.ScalarInt, 1, int32(-70000)},
		"S:DOUBLE": {schema.ScalarDouble, 1, 3.25},
		"A:STRING": {schema.WaveformString, 3, []string{"x", "", "z"}},
		"A:SHORT":  {schema.WaveformShort, 4, []int32{1, -1}},
		"A:FLOAT":  {schema.WaveformFloat, 2, []float32{1, 2}},
		"A:ENUM":   {schema.WaveformEnum, 2, []int32{3}},
		"A:CHAR":   {schema.WaveformByte, 9, []byte("long text")},
		"A:LONG":   {schema.WaveformInt, 5, []int32{7}},
		"A:DOUBLE": {schema.WaveformDouble, 20000, []float64(nil)},
	}
	records := allTypes()
	if len(records) != len(want) {
		t.Fatalf("%d records, %d expected", len(records), len(want))
	}
	r := newRig(t, records)
	for _, record := range records {
		r.registry.add(requestEvent(record.Name))
	}
	for name, w := range want {
		got := r.sampled(t, schema.PVName(name), 1)[0]
		if got.Type != w.kind || got.Registered != w.kind || !got.First {
			t.Errorf("%s: type %v, registered %v, first %v", name, got.Type, got.Registered, got.First)
		}
		if value := got.decode(t).Value; fmt.Sprintf("%T %v", value, value) != fmt.Sprintf("%T %v", w.value, w.value) {
			t.Errorf("%s: value %T %v", name, value, value)
		}
		if s, ok := r.engine.State(schema.PVName(name)); !ok || s.Type != w.kind || s.Count != w.count || s.Connection != Connected || !s.Subscribed {
			t.Errorf("%s: state %+v", name, s)
		}
	}
	for _, batch := range r.registry.discoveries() {
		for _, d := range batch {
			w := want[string(d.PV)]
			if d.Type != w.kind || d.Count != w.count || !strings.HasPrefix(d.Host, "127.0.0.1:") || d.Fields["RTYP"] == "" {
				t.Errorf("discovered %+v", d)
			}
			if d.PV == "S:DOUBLE" {
				limits := map[string]float64{"LOPR": -10, "HOPR": 10, "LOLO": -9, "LOW": -8, "HIGH": 8, "HIHI": 9}
				got := maps.Clone(d.Limits)
				delete(got, "DRVL")
				delete(got, "DRVH")
				if d.Units != "mA" || d.Precision != 3 || !maps.Equal(got, limits) || d.Fields["RTYP"] != "ai" {
					t.Errorf("discovered %+v", d)
				}
			}
		}
	}
}

func TestNothingIsAppendedBeforeTheTypeIsRegistered_S32(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRDouble, Value: 1.0}})
	r.registry.hold = true
	r.registry.add(requestEvent("T:A"))
	r.until(t, "the discovery", func() bool { return len(r.registry.discoveries()) > 0 })
	if err := r.ioc.Put("T:A", 2.0); err != nil {
		t.Fatal(err)
	}
	if s, ok := r.engine.State("T:A"); !ok || s.Connection != Connected || s.Subscribed || s.Type != schema.UnknownType {
		t.Errorf("state %+v", s)
	}
	if got := r.log.all(); len(got) != 0 {
		t.Fatalf("appended %+v", got)
	}
	r.registry.confirm(r.registry.discoveries()[0])
	got := r.sampled(t, "T:A", 1)[0]
	if got.Generation != 2 || got.Registered != schema.ScalarDouble {
		t.Errorf("generation %d, registered %v", got.Generation, got.Registered)
	}
	if v := got.decode(t).Value; v != 2.0 {
		t.Errorf("value %v", v)
	}
}

func TestRestartOfTheIOC_S31_S37_S40(t *testing.T) {
	record := simioc.Record{Name: "T:A", Type: ca.DBRDouble, Value: 1.0}
	r := newRig(t, []simioc.Record{record})
	r.registry.add(requestEvent("T:A"))
	first := r.sampled(t, "T:A", 1)[0]
	before, _ := r.engine.State("T:A")
	if before.LastEvent.IsZero() || before.Since.IsZero() || !before.Restored.IsZero() || before.Disconnects != 0 {
		t.Errorf("state %+v", before)
	}

	r.stopIOC()
	r.until(t, "the loss", func() bool { s, _ := r.engine.State("T:A"); return s.Connection == Disconnected && s.Disconnects == 1 })
	lost, _ := r.engine.State("T:A")
	if !lost.LastEvent.IsZero() || lost.Since != before.Since || lost.LastDisconnect.IsZero() || lost.Host != before.Host || lost.Subscribed {
		t.Errorf("state %+v", lost)
	}

	// The new IOC says the old value with the old time, then something new.
	r.startIOC(t, []simioc.Record{{Name: "T:A", Type: ca.DBRDouble}})
	if err := r.ioc.Put("T:A", 1.0, simioc.WithTime(first.decode(t).Time)); err != nil {
		t.Fatal(err)
	}
	again := r.sampled(t, "T:A", 2)[1]
	if err := r.ioc.Put("T:A", 2.0); err != nil {
		t.Fatal(err)
	}
	fresh := r.sampled(t, "T:A", 3)[2]
	if !strings.HasSuffix(first.marks(t), "/true") || again.marks(t) != "" || !again.First || fresh.First {
		t.Errorf("markers %q, %q; first %v, %v", first.marks(t), again.marks(t), again.First, fresh.First)
	}
	after, _ := r.engine.State("T:A")
	want := fmt.Sprintf("%d/%d/false", after.LastDisconnect.Unix(), after.Restored.Unix())
	if got := fresh.marks(t); got != want {
		t.Errorf("markers %q, want %q", got, want)
	}
	if after.Since != before.Since || after.Restored.IsZero() || after.Received != 3 || after.Appended != 3 || after.Connection != Connected {
		t.Errorf("state %+v", after)
	}
	if n := len(r.registry.discoveries()); n != 1 {
		t.Errorf("discovered %d times", n)
	}
}

func TestATypeThatChangedInARestartGoesToTheLog_S73(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRDouble, Value: 1.0}})
	r.registry.add(requestEvent("T:A"))
	r.sampled(t, "T:A", 1)
	r.stopIOC()
	r.startIOC(t, []simioc.Record{{Name: "T:A", Type: ca.DBRLong, Count: 3, Value: []int32{4, 5}}})
	got := r.sampled(t, "T:A", 2)[1]
	if got.Type != schema.WaveformInt || got.Registered != schema.ScalarDouble || fmt.Sprint(got.decode(t).Value) != "[4 5]" {
		t.Errorf("appended %+v", got)
	}
	if s, _ := r.engine.State("T:A"); s.Observed != schema.WaveformInt || s.Type != schema.ScalarDouble {
		t.Errorf("state %+v", s)
	}
}

func TestPauseResumeStopDelete_S17_S18_S19_S20(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRLong, Value: 0}})
	put := func(n int) {
		t.Helper()
		if err := r.ioc.Put("T:A", n); err != nil {
			t.Fatal(err)
		}
	}
	r.registry.add(requestEvent("T:A"))
	r.sampled(t, "T:A", 1)
	put(1)
	r.sampled(t, "T:A", 2)

	r.applied(t, r.registry.add(pauseEvent("T:A")))
	put(2)
	if _, ok := r.engine.State("T:A"); ok {
		t.Error("a paused PV has a channel")
	}
	if n, ok := r.engine.Counters("T:A"); !ok || n.Appended != 2 {
		t.Errorf("counters of the paused PV: %+v %v", n, ok)
	}
	r.applied(t, r.registry.add(resumeEvent("T:A")))
	resumed := r.sampled(t, "T:A", 3)
	if got := values(t, resumed); got != "0 1 2" {
		t.Errorf("appended %s", got)
	}
	if got := resumed[2].marks(t); !strings.HasSuffix(got, "/true") || !resumed[2].First {
		t.Errorf("after the resume: markers %q, first %v", got, resumed[2].First)
	}
	r.applied(t, r.registry.add(resumeEvent("T:A"))) // of a running PV: nothing
	put(3)
	r.sampled(t, "T:A", 4)

	r.applied(t, r.registry.add(stopEvent("T:A")))
	put(4)
	r.applied(t, r.registry.add(deleteEvent("T:A")))
	if _, ok := r.engine.Counters("T:A"); ok {
		t.Error("a deleted PV has counters")
	}
	seq := r.registry.add(requestEvent("T:A"))
	anew := r.sampled(t, "T:A", 5)
	if got := values(t, anew); got != "0 1 2 3 4" {
		t.Errorf("appended %s", got)
	}
	if got := anew[4].Generation; got != seq+1 {
		t.Errorf("generation %d of the new registration, want %d", got, seq+1)
	}
	if n, _ := r.engine.Counters("T:A"); n.Appended != 1 {
		t.Errorf("counters of the new registration: %+v", n)
	}
}

func TestTwoThousandPVsInOneRequest_S32(t *testing.T) {
	const n = 2000
	reg := prometheus.NewRegistry()
	records := simioc.Load(n, 0.001)
	r := newRig(t, records, func(o *Options) { o.Registerer = reg })
	before := runtime.NumGoroutine()
	names := r.ioc.Names()
	for _, name := range names {
		r.registry.add(requestEvent(name))
	}
	r.until(t, "all PVs", func() bool { return r.log.count() >= n && r.engine.Counts().Connected == n })
	seen := map[schema.PVName]bool{}
	for _, s := range r.log.all() {
		seen[s.pv] = true
	}
	if len(seen) != n {
		t.Errorf("%d PVs in the log", len(seen))
	}
	if grown := runtime.NumGoroutine() - before; grown > 20 {
		t.Errorf("%d goroutines more for %d PVs", grown, n)
	}
	total := 0
	for _, batch := range r.registry.discoveries() {
		if total += len(batch); len(batch) > discoveryBatch {
			t.Errorf("a batch of %d", len(batch))
		}
	}
	if total < n {
		t.Errorf("%d discoveries", total)
	}
	got := gathered(t, reg)
	for name, want := range map[string]float64{
		"pvlog_ingest_channels/Connected": n, "pvlog_ingest_channels/Connecting": 0, "pvlog_ingest_channels/Disconnected": 0,
		"pvlog_ingest_channels/Idle": 0, "pvlog_pvs_active": n, "pvlog_ingest_disconnects_total": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("metric %s is %v, want %v", name, v, want)
		}
	}
	if got["pvlog_ingest_samples_appended_total"] < n || got["pvlog_ingest_samples_received_total"] < n {
		t.Errorf("metrics %v", got)
	}
	r.ioc.DisconnectAll()
	r.until(t, "all PVs again", func() bool { return r.log.count() >= 2*n && r.engine.Counts().Connected == n })
	r.stop()
	if states := r.engine.States(); len(states) != n || states[0].PV != schema.PVName(names[0]) || states[0].Disconnects != 1 {
		t.Errorf("%d states, the first %+v", len(states), states[0])
	}
}

// gathered are a registry's metrics by name and the value of their label.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "/" + l.GetValue()
			}
			out[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

func TestRestoreOpensWhatWasArchived_S26(t *testing.T) {
	created := time.Now()
	info := func(pv schema.PVName, state schema.State, kind schema.DBRType) *schema.TypeInfo {
		return &schema.TypeInfo{PV: pv, State: state, DBRType: kind, Settings: schema.Settings{SamplingMethod: schema.Monitor}, Created: created, Generation: 3, Sequence: 5}
	}
	r := newRig(t, []simioc.Record{
		{Name: "T:A", Type: ca.DBRDouble, Value: 1.0}, {Name: "T:B", Type: ca.DBRDouble, Value: 1.0}, {Name: "T:C", Type: ca.DBRDouble, Value: 1.0},
	}, func(o *Options) {
		o.Initial = func() ([]*schema.TypeInfo, uint64) {
			return []*schema.TypeInfo{
				info("T:A", schema.Archiving, schema.ScalarDouble), info("T:B", schema.Paused, schema.ScalarDouble),
				info("T:C", schema.Archiving, schema.UnknownType), info("T:NONE", schema.Archiving, schema.ScalarDouble),
			}, 5
		}
	})
	// Events up to 5 are in the state already and must not count again.
	r.registry.add(requestEvent("X"), requestEvent("X"), requestEvent("X"), requestEvent("X"), pauseEvent("T:A"))
	a, c := r.sampled(t, "T:A", 1)[0], r.sampled(t, "T:C", 1)[0]
	if a.Generation != 3 || c.Generation < 6 { // the properties of T:A may be told before the type of T:C
		t.Errorf("generations %d, %d", a.Generation, c.Generation)
	}
	if s, ok := r.engine.State("T:NONE"); !ok || s.Connection != Connecting || !s.Since.IsZero() || s.Host != "" || !s.First.IsZero() {
		t.Errorf("a PV that no IOC has: %+v", s)
	}
	for _, pv := range []schema.PVName{"T:B", "X"} {
		if _, ok := r.engine.State(pv); ok {
			t.Errorf("%s has a channel", pv)
		}
	}
	if n := r.engine.Counts(); n != (Counts{Total: 3, Connecting: 1, Connected: 2}) {
		t.Errorf("counts %+v", n)
	}
}

func TestAPVThatComesLaterIsArchived_S30(t *testing.T) {
	r := newRig(t, nil)
	r.applied(t, r.registry.add(requestEvent("T:LATE")))
	if s, ok := r.engine.State("T:LATE"); !ok || s.Connection != Connecting {
		t.Errorf("state %+v", s)
	}
	if err := r.ioc.AddRecord(simioc.Record{Name: "T:LATE", Type: ca.DBRDouble, Value: 1.0}); err != nil {
		t.Fatal(err)
	}
	r.sampled(t, "T:LATE", 1)
}

func TestFollowingGoesOnAfterAFault(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRDouble, Value: 1.0}, {Name: "T:B", Type: ca.DBRDouble, Value: 1.0}})
	r.registry.add(requestEvent("T:A"))
	r.sampled(t, "T:A", 1)
	r.registry.mu.Lock()
	r.registry.fail = errors.New("the log's server restarts")
	r.registry.mu.Unlock()
	r.registry.add(requestEvent("T:B"))
	r.sampled(t, "T:B", 1)
	r.applied(t, 4) // the sample may be there a moment before
	if got := r.engine.Applied(); got != 4 {
		t.Errorf("applied %d", got)
	}
	if n := len(r.log.of("T:A")); n != 1 {
		t.Errorf("%d samples of T:A: its channel was disturbed", n)
	}
}

func TestStopDuringBackPressureLeavesTheCircuitToOthers(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRLong, Value: 0}, {Name: "T:B", Type: ca.DBRLong, Value: 0}})
	r.registry.add(requestEvent("T:A"), requestEvent("T:B"))
	r.sampled(t, "T:A", 1)
	r.sampled(t, "T:B", 1)
	room := r.log.fill()
	if err := r.ioc.Put("T:A", 1); err != nil {
		t.Fatal(err)
	}
	<-r.log.waits
	r.applied(t, r.registry.add(pauseEvent("T:A")))
	room()
	for i := range 3 {
		if err := r.ioc.Put("T:A", 10+i); err != nil {
			t.Fatal(err)
		}
		if err := r.ioc.Put("T:B", 10+i); err != nil {
			t.Fatal(err)
		}
	}
	r.sampled(t, "T:B", 4)
	if got := values(t, r.log.of("T:A")); got != "0" {
		t.Errorf("appended %s of a paused PV", got)
	}
	if n, _ := r.engine.Counters("T:A"); n.OverflowDrops != 1 {
		t.Errorf("counters %+v", n)
	}
}
