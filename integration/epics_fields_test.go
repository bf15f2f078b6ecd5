package integration

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"pvlog/ingest"
	"pvlog/ingest/caclient"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// TestEpicsArchiveFields_S24_S50_S51: fields of a real record are put and ride
// on the next sample: those that its properties tell, and those that have
// channels of their own.
func TestEpicsArchiveFields_S24_S50_S51(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	pv := schema.PVName(matrixPrefix + "double")
	a := newFieldArchive(t, client, pv, "ADEL", "DESC", "EGU", "HHSV", "HIHI", "NOSUCH", "SIOL")
	first := a.next()
	for name, want := range map[string]string{"EGU": "°C", "HIHI": "9", "PREC": "3", "DRVH": "9.5"} {
		if first[name] != want {
			t.Errorf("the first sample says %s %q, want %q", name, first[name], want)
		}
	}
	a.awaitFields("ADEL=0 DESC=an analog output HHSV=2 SIOL=")
	writer, value := client.watch(string(pv))
	await(t, writer.connected, "connection to write")
	put(t, value, []float64{1})
	if got := a.next(); got["DESC"] != "an analog output" || got["HHSV"] != "2" || got["HIHI"] != "" || got["changed"] != "" {
		t.Errorf("the second sample has %v", got)
	}
	for field, values := range map[string]any{"HIHI": []float64{8.5}, "DESC": []string{"changed"}, "HHSV": []string{"MINOR"}, "EGU": []string{"K"}} {
		w, ch := client.watch(string(pv) + "." + field)
		await(t, w.connected, "connection to "+field)
		put(t, ch, values)
		ch.Close()
	}
	a.awaitFields("ADEL=0 DESC=changed HHSV=1 SIOL=")
	for i := 2.0; ; i++ { // the change of a limit comes by its own way: it rides on one of the next
		put(t, value, []float64{i})
		got := a.next()
		a.merge(got)
		if a.seen["HIHI"] == "8.5" && a.seen["EGU"] == "K" {
			break
		}
	}
	for name, want := range map[string]string{"DESC": "changed", "HHSV": "1", "changed": "true"} {
		if a.seen[name] != want {
			t.Errorf("after the puts the samples said %s %q, want %q", name, a.seen[name], want)
		}
	}
	put(t, value, []float64{100})
	if got := a.next(); len(got) != 0 {
		t.Errorf("a sample without news has %v", got)
	}
}

// fieldArchive is an engine that archives one PV into a channel of Go.
type fieldArchive struct {
	t       *testing.T
	pv      schema.PVName
	engine  *ingest.Engine
	samples chan schema.Sample
	seen    map[string]string
}

// newFieldArchive archives a double whose type is registered already.
func newFieldArchive(t *testing.T, client *matrixClient, pv schema.PVName, fields ...string) *fieldArchive {
	t.Helper()
	a := &fieldArchive{t: t, pv: pv, samples: make(chan schema.Sample, 100), seen: map[string]string{}}
	info := &schema.TypeInfo{PV: pv, State: schema.Archiving, DBRType: schema.ScalarDouble, Generation: 1,
		Settings: schema.Settings{SamplingMethod: schema.Monitor, SamplingPeriod: time.Second, ArchiveFields: fields}}
	engine, err := ingest.New(ingest.Options{
		Client:  client.Client,
		Initial: func() ([]*schema.TypeInfo, uint64) { return []*schema.TypeInfo{info}, 1 },
		Started: func(context.Context, []ingest.Discovery) error { return nil },
		Follow: func(ctx context.Context, _ uint64, _ func(uint64, *logpb.RegistryEvent, bool) error) error {
			<-ctx.Done()
			return ctx.Err()
		},
		Append: func(_ context.Context, _ schema.PVName, s schema.RawSample) error {
			sample, err := schema.DecodeSample(s.Type, s.Year, s.Event)
			if err == nil {
				a.samples <- sample
			}
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.engine = engine
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

// next is what the next sample carries beside its value and markers.
func (a *fieldArchive) next() map[string]string {
	a.t.Helper()
	s := await(a.t, a.samples, "sample of "+string(a.pv))
	got := map[string]string{}
	for _, f := range s.Fields {
		if !strings.HasPrefix(f.Name, "cnx") && f.Name != "startup" {
			got[f.Name] = f.Val
		}
	}
	if s.FieldsChanged {
		got["changed"] = "true"
	}
	return got
}

func (a *fieldArchive) merge(fields map[string]string) {
	for name, value := range fields {
		a.seen[name] = value
	}
}

// awaitFields waits until the fields that have channels of their own are these.
func (a *fieldArchive) awaitFields(want string) {
	a.t.Helper()
	waitUntil(a.t, startTimeout, "fields "+want, func() error {
		var list []string
		for _, f := range a.engine.Fields(a.pv) {
			list = append(list, f.Name+"="+f.Val)
		}
		if got := strings.Join(list, " "); got != want {
			return errFields(got)
		}
		return nil
	})
}

// errFields is what the fields are instead.
type errFields string

// Error gives them.
func (e errFields) Error() string { return "they are " + string(e) }

// TestEpicsAnAliasIsArchivedUnderItsRealName: a real IOC tells the name of an
// alias' record; a field of it is found by either name, too.
func TestEpicsAnAliasIsArchivedUnderItsRealName(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	s := newServer(t, []string{"EPICS_CA_ADDR_LIST=" + ioc.addr(), "EPICS_CA_AUTO_ADDR_LIST=NO"})
	s.start()
	alias, real := matrixPrefix+"alias", matrixPrefix+"double"
	s.mustGet("/mgmt/bpl/archivePV", url.Values{"pv": {alias + "," + alias + ".HYST"}})
	s.awaitRealName(alias, real)
	s.awaitRealName(alias+".HYST", real+".HYST")
	s.awaitAliases(alias+" "+real, alias+".HYST "+real+".HYST")
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, ch := client.watch(alias)
	await(t, w.connected, "connection to write")
	put(t, ch, []float64{4})
	s.awaitSamples(alias, 2)
	s.awaitSamples(real, 2)
	s.awaitTypeInfo(alias, "description and deadbands", func(i typeInfo) bool {
		return i.ExtraFields["DESC"] == "an analog output" && i.ExtraFields["MDEL"] == "0" && i.ExtraFields["SCAN"] == "Passive" && i.ExtraFields["RTYP"] == "ao"
	})
	s.stop()
	stored := readStore(t, s.storeRoot())
	if len(stored[real]) != 2 || len(stored[real+".HYST"]) != 1 || len(stored) != 2 {
		t.Errorf("the store has %d PVs: %v", len(stored), stored)
	}
	if got := stored[real][0].fields; got["DESC"] != "an analog output" || got["EGU"] != "°C" || got["HIHI"] != "9" {
		t.Errorf("the first sample of the file has %v", got)
	}
}
