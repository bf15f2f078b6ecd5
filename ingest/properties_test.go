package ingest

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
)

// TestPropertiesRideOnChange: all of them on the first sample after a start,
// then what has changed, and the registry hears of it (D12, row 21).
func TestPropertiesRideOnChange(t *testing.T) {
	r := newRig(t, []simioc.Record{
		{Name: "T:A", Type: ca.DBRDouble, Value: 1.0, Units: "mm", Precision: 2, Limits: simioc.Limits{HOPR: 10, HIHI: 9, HIGH: 8, LOW: 1, LOLO: 0, Alarm: true}},
		{Name: "T:E", Type: ca.DBREnum, Value: uint16(1), Labels: []string{"Off", "On"}},
		{Name: "T:S", Type: ca.DBRString, Value: "text"},
	})
	for _, pv := range []string{"T:A", "T:E", "T:S"} {
		r.registry.add(requestEvent(pv))
	}
	if got, want := r.sampled(t, "T:A", 1)[0].fields(t), "EGU=mm PREC=2 HOPR=10 LOPR=0 HIHI=9 HIGH=8 LOW=1 LOLO=0 DRVH=10 DRVL=0"; got != want {
		t.Errorf("the first sample has %q, want %q", got, want)
	}
	if got := r.sampled(t, "T:E", 1)[0].fields(t); got != "ENUM_0=Off ENUM_1=On" {
		t.Errorf("the first sample of the enum has %q", got)
	}
	if got := r.sampled(t, "T:S", 1)[0].fields(t); got != "" {
		t.Errorf("the first sample of the string has %q", got)
	}
	told := len(r.registry.discoveries())
	r.putField(t, "T:A.EGU", "um")
	r.until(t, "the registry to hear of it", func() bool { return len(r.registry.discoveries()) > told })
	found := r.registry.discoveries()[told]
	if len(found) != 1 || found[0].PV != "T:A" || found[0].Units != "um" || found[0].Precision != 2 || found[0].Host != "" || found[0].Type != schema.ScalarDouble {
		t.Errorf("told %+v", found)
	}
	for i, want := range []string{"EGU=um", ""} {
		if err := r.ioc.Put("T:A", 2.0+float64(i)); err != nil {
			t.Fatal(err)
		}
		if got := r.sampled(t, "T:A", 2+i)[1+i].fields(t); got != want {
			t.Errorf("sample %d after the change has %q, want %q", i, got, want)
		}
	}
}

// TestPropertiesAreNotRepeatedByAReconnect, which the IOC answers with all of
// them again.
func TestPropertiesAreNotRepeatedByAReconnect(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRDouble, Value: 1.0, Units: "mm"}})
	r.registry.add(requestEvent("T:A"))
	r.sampled(t, "T:A", 1)
	told := len(r.registry.discoveries())
	r.ioc.DisconnectAll()
	r.sampled(t, "T:A", 2) // the old value again
	if err := r.ioc.Put("T:A", 2.0); err != nil {
		t.Fatal(err)
	}
	if got := r.sampled(t, "T:A", 3)[2].fields(t); got != "" {
		t.Errorf("the sample after the reconnect has %q", got)
	}
	if n := len(r.registry.discoveries()); n != told {
		t.Errorf("the registry was told %d times more", n-told)
	}
}

func TestPropertiesCanBeTurnedOff(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRDouble, Value: 1.0, Units: "mm"}}, func(o *Options) { o.NoProperties = true })
	r.registry.add(requestEvent("T:A"))
	if got := r.sampled(t, "T:A", 1)[0].fields(t); got != "" {
		t.Errorf("the first sample has %q", got)
	}
	if d := r.registry.discoveries()[0][0]; d.Units != "mm" {
		t.Errorf("discovered %+v", d)
	}
}

func TestPropertiesThatNobodyCarriesStayBounded(t *testing.T) {
	var p properties
	m := ca.Metadata{Limits: map[string]float64{"HOPR": 1, "LOPR": math.NaN()}, Precision: 3}
	for i := range 10_000 {
		m.Units = strings.Repeat("u", 1+i%8)
		if !p.note(m) {
			t.Fatalf("change %d is not one", i)
		}
	}
	if len(p.riding) > maxRiding+1000 {
		t.Errorf("%d bytes wait", len(p.riding))
	}
	// What waits still says everything there is.
	s, err := schema.DecodeSample(schema.ScalarDouble, 2026, schema.AppendDouble(p.ride(schema.AppendHeadIn(nil, schema.Time{Sec: 1790000000}, schema.YearStart(2026))), 1))
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]string{}
	for _, f := range s.Fields {
		last[f.Name] = f.Val
	}
	if want := map[string]string{"EGU": m.Units, "PREC": "3", "HOPR": "1"}; !maps.Equal(last, want) {
		t.Errorf("got %v, want %v", last, want)
	}
}

// TestAPauseOfTheServerIsMarked on the next sample that is kept.
func TestAPauseOfTheServerIsMarked(t *testing.T) {
	e, log := newTestEngine(t)
	c := addChannel(e, schema.TypeInfo{PV: "T:A", State: schema.Archiving, DBRType: schema.ScalarDouble})
	payload, err := ca.AppendTime(nil, ca.DBRTimeDouble, 0, 0, schema.TimeOf(time.Now()), []float64{1})
	if err != nil {
		t.Fatal(err)
	}
	c.Update(nil, caclient.Update{
		Type: ca.DBRTimeDouble, Count: 1, Status: ca.StatusNormal, Payload: payload, Received: time.Now(), Paused: 1500 * time.Millisecond})
	if got := log.of("T:A")[0].fields(t); got != "flowpausedsecs=1.500000" {
		t.Errorf("the sample has %q", got)
	}
}

// putField writes a field of a record as a client does.
func (r *rig) putField(t *testing.T, name, value string) {
	t.Helper()
	no := false
	client := caclient.New(caclient.Options{AddrList: []string{r.address}, AutoAddrList: &no, Repeater: &no})
	stop := run(t, client.Run)
	defer stop()
	w := writer{connected: make(chan struct{}, 1)}
	ch := client.Open(name, w)
	<-w.connected
	if err := ch.PutValues(t.Context(), []string{value}, true); err != nil {
		t.Fatal(err)
	}
}

type writer struct{ connected chan struct{} }

func (w writer) Connected(*caclient.Channel, caclient.Info) { w.connected <- struct{}{} }

func (writer) Disconnected(*caclient.Channel, error) {}

func (writer) Update(*caclient.Channel, caclient.Update) {}
