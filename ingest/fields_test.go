package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

func withFields(pv string, fields ...string) *logpb.RegistryEvent {
	e := requestEvent(pv)
	e.GetRequested().ArchiveFields = fields
	return e
}

func configuredEvent(pv string, fields ...string) *logpb.RegistryEvent {
	set := schema.Settings{SamplingMethod: schema.Monitor, SamplingPeriod: time.Second, ArchiveFields: fields}
	return &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Configured{Configured: &logpb.PVConfigured{Settings: set.Message()}}}
}

// awaitFields waits until the snapshot of a PV's fields is "NAME=value ...".
func (r *rig) awaitFields(t *testing.T, pv schema.PVName, want string) {
	t.Helper()
	r.until(t, "fields "+want, func() bool { return fieldList(r.engine.Fields(pv)) == want })
}

func fieldList(fields []schema.FieldValue) string {
	var list []string
	for _, f := range fields {
		list = append(list, f.Name+"="+f.Val)
	}
	return strings.Join(list, " ")
}

// put gives a record a value and the sample that comes of it.
func (r *rig) put(t *testing.T, pv schema.PVName, value float64) logged {
	t.Helper()
	n := len(r.log.of(pv))
	if err := r.ioc.Put(string(pv), value); err != nil {
		t.Fatal(err)
	}
	return r.sampled(t, pv, n+1)[n]
}

func describedRecord() []simioc.Record {
	return []simioc.Record{{Name: "T:A", Aliases: []string{"T:B"}, Type: ca.DBRDouble, Value: 0.0, Desc: "a motor", MDEL: 0.25, Rate: 0,
		Limits: simioc.Limits{HIHI: 1e6, Alarm: true}}}
}

// TestArchiveFieldsRideOnChange_S24_S50_S51_S52: fields that the properties do
// not tell have channels of their own; what is new rides on the next sample.
func TestArchiveFieldsRideOnChange_S24_S50_S51_S52(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRig(t, describedRecord(), func(o *Options) {
		o.Registerer = reg
		o.Known = func(schema.PVName) (*schema.TypeInfo, bool) {
			return &schema.TypeInfo{Units: "mm", Limits: map[string]float64{"HIHI": 1e6, "LOLO": 1},
				Settings: schema.Settings{ArchiveFields: []string{"DESC", "HIHI", "MDEL", "SCAN"}}}, true
		}
	})
	r.registry.add(withFields("T:A", "DESC", "HIHI", "MDEL", "SCAN"))
	if got := r.sampled(t, "T:A", 1)[0].fields(t); !strings.Contains(got, "HIHI=1000000") || strings.Contains(got, "DESC") {
		t.Errorf("the first sample has %q", got)
	}
	r.awaitFields(t, "T:A", "DESC=a motor HIHI=1000000 MDEL=0.25 SCAN=0")
	if got := gathered(t, reg)["pvlog_field_monitors"]; got != 3 {
		t.Errorf("%v monitors, want 3", got)
	}
	for i, want := range []string{"DESC=a motor MDEL=0.25 SCAN=0", ""} {
		if got := r.put(t, "T:A", float64(i+1)); got.fields(t) != want || got.decode(t).FieldsChanged {
			t.Errorf("sample %d has %q", i, got.fields(t))
		}
	}
	r.putField(t, "T:A.DESC", "another motor")
	r.putField(t, "T:A.MDEL", "0.5")
	r.awaitFields(t, "T:A", "DESC=another motor HIHI=1000000 MDEL=0.5 SCAN=0")
	for i, want := range []string{"DESC=another motor MDEL=0.5", ""} {
		if got := r.put(t, "T:A", float64(i+4)); got.fields(t) != want || got.decode(t).FieldsChanged != (i == 0) {
			t.Errorf("sample %d after the change has %q", i, got.fields(t))
		}
	}
	if got := r.engine.Fields("T:NONE"); len(got) != 0 {
		t.Errorf("fields of an unknown PV: %v", got)
	}
}

// TestTheListOfArchiveFieldsChangesWhileRunning_S25_S9.
func TestTheListOfArchiveFieldsChangesWhileRunning_S25_S9(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRig(t, describedRecord(), func(o *Options) { o.Registerer = reg })
	r.registry.add(requestEvent("T:A"))
	r.sampled(t, "T:A", 1)
	gauge := func(want float64) {
		t.Helper()
		if got := gathered(t, reg)["pvlog_field_monitors"]; got != want {
			t.Errorf("%v monitors, want %v", got, want)
		}
	}
	gauge(0)
	r.applied(t, r.registry.add(configuredEvent("T:A", "DESC", "HIHI", "MDEL"))) // from none
	gauge(2)
	r.awaitFields(t, "T:A", "DESC=a motor MDEL=0.25")
	r.put(t, "T:A", 1)
	monitors := func() []*fieldMonitor {
		c := r.engine.channels["T:A"]
		set := c.fields.Load()
		set.mu.Lock()
		defer set.mu.Unlock()
		return append([]*fieldMonitor(nil), set.monitors...)
	}
	before := monitors()
	link := before[1].link
	r.applied(t, r.registry.add(configuredEvent("T:A", "ADEL", "MDEL", "RTYP")))
	gauge(3)
	after := monitors()
	if before[1] != after[1] || after[1].link != link {
		t.Error("the monitor of an unchanged field was ended")
	}
	r.awaitFields(t, "T:A", "ADEL=0 MDEL=0.25 RTYP=ai")
	if got := r.put(t, "T:A", 2); got.fields(t) != "ADEL=0 RTYP=ai" || len(r.log.of("T:A")) != 3 {
		t.Errorf("the next sample has %q; %d samples", got.fields(t), len(r.log.of("T:A")))
	}
	r.putField(t, "T:A.DESC", "left") // nobody hears of it
	if got := r.put(t, "T:A", 3); got.fields(t) != "" {
		t.Errorf("after the field left a sample has %q", got.fields(t))
	}
	r.applied(t, r.registry.add(configuredEvent("T:A")))
	gauge(0)
	r.applied(t, r.registry.add(configuredEvent("T:A", "DESC")))
	r.awaitFields(t, "T:A", "DESC=left") // it was forgotten
	r.applied(t, r.registry.add(pauseEvent("T:A")))
	gauge(0)
	r.stop()
}

// TestArchiveFieldsAreNotRepeatedByARestartOfTheIOC, and are known meanwhile.
func TestArchiveFieldsAreNotRepeatedByARestartOfTheIOC(t *testing.T) {
	r := newRig(t, describedRecord())
	r.registry.add(withFields("T:A", "DESC", "MDEL"))
	r.awaitFields(t, "T:A", "DESC=a motor MDEL=0.25")
	r.put(t, "T:A", 1)
	r.stopIOC()
	r.until(t, "the loss", func() bool { return r.engine.Counts().Disconnected == 1 })
	if got := fieldList(r.engine.Fields("T:A")); got != "DESC=a motor MDEL=0.25" {
		t.Errorf("during the loss the fields are %q", got)
	}
	again := describedRecord()
	again[0].Desc = "a new motor"
	r.startIOC(t, again)
	r.awaitFields(t, "T:A", "DESC=a new motor MDEL=0.25")
	if got := r.put(t, "T:A", 5); got.fields(t) != "DESC=a new motor" || !got.decode(t).FieldsChanged {
		t.Errorf("the sample after the restart has %q", got.fields(t))
	}
}

// TestWithoutPropertiesAllFieldsHaveChannels, and those of a field PV are its
// record's.
func TestWithoutPropertiesAllFieldsHaveChannels(t *testing.T) {
	r := newRig(t, describedRecord(), func(o *Options) { o.NoProperties = true })
	r.registry.add(withFields("T:A", "HIHI"))
	r.awaitFields(t, "T:A", "HIHI=1000000")
	r.registry.add(withFields("T:A.MDEL", "DESC"))
	r.awaitFields(t, "T:A.MDEL", "DESC=a motor")
}

// fieldChannel is a channel with archive fields, and one of the fields that was
// told.
func fieldChannel(t testing.TB, fields ...string) (*Channel, *memoryLog) {
	e, log := newTestEngine(t)
	info := scalar(schema.Monitor, 0)
	info.ArchiveFields = fields
	return addChannel(e, info), log
}

func (c *Channel) told(name, value string) {
	set := c.fields.Load()
	set.mu.Lock()
	defer set.mu.Unlock()
	i, _ := set.find(name)
	set.monitors[i].took(value)
}

// TestAllFieldsRideOnceADay: on the first sample of each UTC day that can be
// kept, so that files explain themselves (D12).
func TestAllFieldsRideOnceADay(t *testing.T) {
	c, log := fieldChannel(t, "DESC", "MDEL")
	regain(c)
	noon := schema.TimeOf(time.Now().Truncate(24 * time.Hour).Add(-12 * time.Hour))
	send := func(after time.Duration) logged {
		u := update(t, schema.TimeOf(noon.Go().Add(after)), 1)
		u.Received = noon.Go().Add(after)
		c.Update(nil, u)
		all := log.all()
		return all[len(all)-1]
	}
	for _, step := range []struct {
		name  string
		told  string // of MDEL before the sample
		after time.Duration
		want  string
	}{
		{"nothing is known", "", 0, ""},
		{"the first values", "1", time.Minute, "DESC=d MDEL=1"},
		{"no news", "", 2 * time.Minute, ""},
		{"the last of the day", "2", 12*time.Hour - 1, "MDEL=2 changed"},
		{"the next day", "", 12 * time.Hour, "DESC=d MDEL=2"},
		{"the same time again", "3", 12 * time.Hour, ""},
		{"later", "", 12*time.Hour + time.Second, "MDEL=3 changed"},
		{"a day and news", "4", 36 * time.Hour, "DESC=d MDEL=4 changed"},
		{"back and forth", "4", 37 * time.Hour, ""},
	} {
		if step.told != "" {
			c.told("DESC", "d")
			c.told("MDEL", step.told)
		}
		s := send(step.after)
		got := s.fields(t)
		if s.decode(t).FieldsChanged {
			got += " changed"
		}
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

// TestFieldsWaitForASampleThatTheLogTakes.
func TestFieldsWaitForASampleThatTheLogTakes(t *testing.T) {
	c, log := fieldChannel(t, "MDEL")
	regain(c)
	at := schema.TimeOf(time.Now())
	c.told("MDEL", "1")
	log.closed = true
	c.Update(nil, update(t, at, 1))
	log.closed = false
	c.told("MDEL", "2")
	c.Update(nil, update(t, at, 1))
	if got := log.all()[0].fields(t); got != "MDEL=2" {
		t.Errorf("the first sample has %q", got)
	}
	c.told("MDEL", "3")
	log.closed = true
	c.Update(nil, update(t, schema.Time{Sec: at.Sec + 1}, 1))
	log.closed = false
	c.Update(nil, update(t, schema.Time{Sec: at.Sec + 2}, 1))
	if got := log.all()[1]; got.fields(t) != "MDEL=3" || !got.decode(t).FieldsChanged {
		t.Errorf("the second sample has %q", got.fields(t))
	}
}

// warnings counts the log's warnings.
type warnings struct {
	bell
	n atomic.Int32
}

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		w.n.Add(1)
	}
	return nil
}

// TestFieldsThatDoNotConnectAreTriedLaterAndLater_S53: 5 s doubling to 60 s,
// one warning when it stays so, again after a success; a refusal leads to a
// search, which ends after 10 s.
func TestFieldsThatDoNotConnectAreTriedLaterAndLater_S53(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w warnings
		e, _ := newTestEngine(t, func(o *Options) { o.Logger = slog.New(&w) })
		info := scalar(schema.Monitor, 0)
		info.ArchiveFields, info.SkipAliasCheck = []string{"NOSUCH"}, true
		c := addChannel(e, info)
		begin := time.Now()
		connect(e, c, double) // the client is not running: claims fail at once
		m := c.fields.Load().monitors[0]
		stop := run(t, func(ctx context.Context) error { e.fieldwork.run(ctx); return nil })
		attempt := func() uint64 { return c.history.transientErrors.Load() }
		var at []time.Duration
		for range 7 {
			n := attempt()
			for attempt() == n {
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			}
			at = append(at, time.Since(begin).Round(time.Second))
			if len(at) < 5 && w.n.Load() != 0 || len(at) >= 5 && w.n.Load() != 1 {
				t.Errorf("%d warnings after %d failures", w.n.Load(), len(at))
			}
		}
		if got := fmt.Sprint(at); got != "[1s 6s 16s 36s 1m16s 2m16s 3m16s]" && got != "[0s 5s 15s 35s 1m15s 2m15s 3m15s]" {
			t.Errorf("tried at %v", at)
		}
		m.set.mu.Lock()
		m.took("1")
		m.failed(ca.ErrNoChannel)
		m.set.mu.Unlock()
		time.Sleep(fieldPause + time.Second)
		synctest.Wait()
		m.set.mu.Lock()
		if m.stage != fieldTrying || !m.searched || m.link == nil || m.link.Name() != "T:AI.NOSUCH" {
			t.Errorf("after a refusal: stage %d, searched %v", m.stage, m.searched)
		}
		m.set.mu.Unlock()
		if tries, searches := e.fieldwork.underWay(); tries != 1 || searches != 1 {
			t.Errorf("%d attempts, %d searches under way", tries, searches)
		}
		time.Sleep(fieldWait)
		synctest.Wait()
		m.set.mu.Lock()
		if m.stage != fieldWaiting || m.search || m.link != nil {
			t.Errorf("after the search: stage %d, again %v", m.stage, m.search)
		}
		m.set.mu.Unlock()
		c.close()
		if tries, searches := e.fieldwork.underWay(); tries != 0 || searches != 0 || e.fieldMonitors.Load() != 0 {
			t.Errorf("at the end %d attempts, %d searches, %d monitors", tries, searches, e.fieldMonitors.Load())
		}
		stop()
	})
}

func (w *fieldwork) underWay() (tries, searches int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tries, w.searches
}

// TestFieldsWaitWhilePVsConnect: of many fields few are asked for then.
func TestFieldsWaitWhilePVsConnect(t *testing.T) {
	e, _ := newTestEngine(t)
	const n = 300
	for i := range n {
		info := scalar(schema.Monitor, 0)
		info.PV, info.ArchiveFields, info.SkipAliasCheck = schema.PVName(fmt.Sprintf("T:%d", i)), []string{"DESC"}, true
		connect(e, addChannel(e, info), double)
	}
	w := e.fieldwork
	now := time.Now().Add(time.Millisecond)
	w.sawConnection(now)
	w.help(now)
	tried := func() (k int) { // each fails at once: the client is not running
		for _, c := range e.running() {
			k += int(c.history.transientErrors.Load())
		}
		return k
	}
	if got := tried(); got != fieldMorsel {
		t.Errorf("%d tried while PVs connect, want %d", got, fieldMorsel)
	}
	w.help(now.Add(fieldCalm))
	if got := tried(); got != fieldMorsel+fieldHelping {
		t.Errorf("%d tried after that, want %d", got, fieldMorsel+fieldHelping)
	}
}

func TestFieldText_S51(t *testing.T) {
	for _, tt := range []struct {
		typ      ca.DBR
		values   any
		waveform bool
		want     string
	}{
		{ca.DBRTimeString, []string{"a motor"}, false, "a motor"}, {ca.DBRTimeString, []string{""}, false, ""},
		{ca.DBRTimeShort, []int16{-3}, false, "-3"}, {ca.DBRTimeLong, []int32{1e6}, false, "1000000"},
		{ca.DBRTimeFloat, []float32{0.1}, false, "0.1"}, {ca.DBRTimeDouble, []float64{1e-5}, false, "0.00001"},
		{ca.DBRTimeDouble, []float64{1e300}, false, "1e+300"}, {ca.DBRTimeDouble, []float64{10}, false, "10"},
		{ca.DBRTimeEnum, []uint16{2}, false, "2"}, {ca.DBRTimeChar, []byte{65}, false, "65"}, {ca.DBRTimeChar, []byte{255}, false, "-1"},
		{ca.DBRTimeChar, []byte("text\x00xx"), true, "text"}, {ca.DBRTimeChar, []byte("gr\xfcn"), true, "grün"},
		{ca.DBRTimeDouble, []float64{1, 2.5}, true, "[1, 2.5]"}, {ca.DBRTimeLong, []int32{7}, true, "[7]"},
		{ca.DBRTimeString, []string{"a", "b"}, true, "[a, b]"}, {ca.DBRTimeFloat, []float32{}, true, "[]"},
	} {
		payload, err := ca.AppendTime(nil, tt.typ, 0, 0, schema.TimeOf(time.Now()), tt.values)
		if err != nil {
			t.Fatal(err)
		}
		n := uint32(countOf(tt.values))
		got, err := fieldText(caclient.Update{Type: tt.typ, Count: n, Status: ca.StatusNormal, Payload: payload}, tt.waveform)
		if err != nil || got != tt.want {
			t.Errorf("%v %v: got %q, %v, want %q", tt.typ, tt.values, got, err, tt.want)
		}
	}
	if _, err := fieldText(caclient.Update{Type: ca.DBRTimeDouble, Status: 0}, false); err == nil {
		t.Error("an update without a value is one")
	}
	long, err := ca.AppendTime(nil, ca.DBRTimeDouble, 0, 0, schema.TimeOf(time.Now()), make([]float64, 4000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fieldText(caclient.Update{Type: ca.DBRTimeDouble, Count: 4000, Status: ca.StatusNormal, Payload: long}, true); err == nil {
		t.Error("a value of 12,000 characters is an archive field")
	}
}

func countOf(values any) int {
	switch v := values.(type) {
	case []string:
		return len(v)
	case []int16:
		return len(v)
	case []uint16:
		return len(v)
	case []byte:
		return len(v)
	case []int32:
		return len(v)
	case []float32:
		return len(v)
	}
	return len(values.([]float64))
}

// FuzzFieldText: whatever an IOC sends is text or an error (S54).
func FuzzFieldText_S54(f *testing.F) {
	f.Add(uint16(ca.DBRTimeDouble), uint32(1), []byte("0123456789abcdef01234567"), false)
	f.Add(uint16(ca.DBRTimeChar), uint32(5), []byte("0123456789abcdef01234567"), true)
	f.Add(uint16(ca.DBRTimeString), uint32(2), make([]byte, 100), true)
	f.Fuzz(func(t *testing.T, typ uint16, count uint32, payload []byte, waveform bool) {
		c, _ := fieldChannel(t, "MDEL")
		m := c.fields.Load().monitors[0]
		m.waveform = waveform
		text, err := m.read(caclient.Update{Type: ca.DBR(typ), Count: count, Status: ca.StatusNormal, Payload: payload})
		if err != nil && strings.HasPrefix(err.Error(), "panic") || len(text) > maxFieldText {
			t.Errorf("%d characters, %v", len(text), err)
		}
	})
}

// TestAnArchivedPVThatIsAnAliasIsReportedAndLeftAlone: it is told to the
// registry once, and archived under its name as before.
func TestAnArchivedPVThatIsAnAliasIsReportedAndLeftAlone(t *testing.T) {
	reg := prometheus.NewRegistry()
	archived := func(pv schema.PVName) *schema.TypeInfo {
		info := scalar(schema.Monitor, 0)
		info.PV = pv
		return &info
	}
	known := map[schema.PVName]*schema.TypeInfo{"T:A": archived("T:A"), "T:B": archived("T:B"), "T:B.MDEL": archived("T:B.MDEL")}
	skipped := archived("T:B.ADEL")
	skipped.SkipAliasCheck = true
	known[skipped.PV] = skipped
	r := newRig(t, describedRecord(), func(o *Options) {
		o.Registerer = reg
		o.Initial = func() (infos []*schema.TypeInfo, cursor uint64) {
			for _, info := range known {
				infos = append(infos, info)
			}
			return infos, 0
		}
		o.Known = func(pv schema.PVName) (*schema.TypeInfo, bool) { return known[pv], known[pv] != nil }
	})
	names := func() map[schema.PVName]string {
		got := map[schema.PVName]string{}
		for _, call := range r.registry.discoveries() {
			for _, d := range call {
				if name := d.Fields["NAME"]; name != "" {
					got[d.PV] = name
					if d.Host != "" || d.RealName != "" {
						t.Errorf("told %+v", d)
					}
				}
			}
		}
		return got
	}
	r.until(t, "both", func() bool { return len(names()) == 2 })
	if got := fmt.Sprint(names()); got != "map[T:B:T:A T:B.MDEL:T:A.MDEL]" {
		t.Errorf("told %s", got)
	}
	if got := gathered(t, reg)["pvlog_ingest_aliases_found_total"]; got != 2 {
		t.Errorf("%v aliases found", got)
	}
	for pv := range known {
		r.sampled(t, pv, 1)
	}
	r.stop()
}

// TestNewsForTheRegistryIsJoined: what is found while the registry takes
// something is handed in afterwards.
func TestNewsForTheRegistryIsJoined(t *testing.T) {
	s := &startedCalls{}
	e, _ := newTestEngine(t, func(o *Options) { o.Started = s.started })
	c := addChannel(e, scalar(schema.Monitor, 0))
	connect(e, c, double)
	c.tell(func(f *Discovery) { f.set("NAME", "T:REAL") })
	c.Properties(nil, ca.Metadata{Units: "mm", EnumStrings: []string{"a", "b"}})
	during := func(ctx context.Context, found []Discovery) error {
		c.Properties(nil, ca.Metadata{Units: "um", EnumStrings: []string{"c"}})
		return s.started(ctx, found)
	}
	e.opt.Started = during
	q := e.discoveries
	q.report(t.Context(), q.next())
	e.opt.Started = s.started
	q.report(t.Context(), q.next())
	if batch := q.next(); len(batch) != 0 || c.refresh != nil {
		t.Errorf("%d more to be handed in", len(batch))
	}
	calls, _ := s.seen()
	if len(calls) != 2 || fmt.Sprint(calls[0][0].Units, calls[0][0].Fields) != "mmmap[ENUM_0:a ENUM_1:b NAME:T:REAL]" ||
		fmt.Sprint(calls[1][0].Units, calls[1][0].Fields) != "ummap[ENUM_0:c NAME:T:REAL]" {
		t.Errorf("handed in %+v", calls)
	}
	e.opt.Started = func(context.Context, []Discovery) error { return errors.New("full") }
	c.tell(func(f *Discovery) { f.set("NAME", "T:AI") })
	q.report(t.Context(), q.next())
	if c.refresh == nil || len(q.asked) != 1 {
		t.Error("news that the registry refused were forgotten")
	}
}

// TestANameCheckHoldsItsPlaceForAWhileOnly, whatever the server does.
func TestANameCheckHoldsItsPlaceForAWhileOnly(t *testing.T) {
	e, _ := newTestEngine(t)
	c := addChannel(e, scalar(schema.Monitor, 0))
	c.checkName()
	c.checkName() // one is planned already
	w := e.fieldwork
	if w.waiting() != 1 {
		t.Fatalf("%d checks are planned", w.waiting())
	}
	w.help(time.Now().Add(time.Second)) // the PV is not connected: nothing to ask
	if tries, _ := w.underWay(); tries != 0 || w.waiting() != 0 || c.checking.Load() {
		t.Errorf("%d under way, %d wait", tries, w.waiting())
	}
	n := &nameCheck{channel: c}
	c.checking.Store(true)
	w.tries = 1
	n.expire(0)
	n.expire(0)
	if tries, _ := w.underWay(); tries != 0 || c.checking.Load() {
		t.Errorf("%d under way after the end", tries)
	}
}
