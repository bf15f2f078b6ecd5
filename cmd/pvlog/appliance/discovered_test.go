package appliance

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pvlog/consumers/registry"
	"pvlog/ingest/ca"
	"pvlog/ingest/simioc"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// site is a running appliance and the IOC that it finds.
type site struct {
	*Appliance
	t   *testing.T
	ioc *simioc.IOC
}

func newSite(t *testing.T, records ...simioc.Record) *site {
	t.Helper()
	return newSiteWith(t, "", records...)
}

// newSiteWith has a policy file; "": the policies that are built in.
func newSiteWith(t *testing.T, policies string, records ...simioc.Record) *site {
	t.Helper()
	ioc := simioc.New(simioc.Options{Listen: "127.0.0.1:0", Records: records})
	if err := ioc.Listen(); err != nil {
		t.Fatal(err)
	}
	config, no := DefaultConfig(), false
	config.Data, config.HTTP, config.NATS = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	if policies != "" {
		config.Policies = filepath.Join(t.TempDir(), "policies.yaml")
		if err := os.WriteFile(config.Policies, []byte(policies), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config.CA.AddrList, config.CA.AutoAddrList, config.CA.Repeater = []string{ioc.Addr()}, &no, &no
	s := &site{Appliance: New(config, slog.New(slog.DiscardHandler)), t: t, ioc: ioc}
	s.background(ioc.Run)
	s.background(s.Run)
	<-s.Ready()
	return s
}

// background runs something until the test ends.
func (s *site) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

// until asks again and again.
func (s *site) until(what string, holds func() error) {
	s.t.Helper()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("waited in vain for %s: %v", what, err)
		}
	}
}

func (s *site) archivePVs(requests ...registry.Request) {
	s.t.Helper()
	for _, r := range s.registry.Archive(s.t.Context(), registry.Actor{Name: "test"}, requests...) {
		if r.Err != nil {
			s.t.Fatal(r.Err)
		}
	}
}

// awaitTyped waits until a name leads to a PV whose type is known.
func (s *site) awaitTyped(name, pv schema.PVName) (found registry.Found) {
	s.t.Helper()
	s.until(string(name+" as "+pv), func() error {
		var ok bool
		if found, ok = s.registry.Resolve(name); !ok || found.Info.PV != pv || found.Info.DBRType == schema.UnknownType {
			return fmt.Errorf("it is %+v", found.Info)
		}
		return nil
	})
	return found
}

// answer is what the HTTP server says.
func (s *site) answer(path string) string {
	s.t.Helper()
	answer, err := http.Get("http://" + s.Addresses().HTTP + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

// TestARequestedAliasBecomesOneOfThePVBehindIt with all that was asked for;
// either name finds it.
func TestARequestedAliasBecomesOneOfThePVBehindIt(t *testing.T) {
	s := newSite(t, simioc.Record{Name: "L:REAL", Aliases: []string{"L:ALIAS", "L:OTHER", "L:ASIS"}, Type: ca.DBRDouble, Value: 1.0,
		Units: "mm", Limits: simioc.Limits{HIHI: 9, Alarm: true}, Desc: "a motor", MDEL: 0.5})
	asked := schema.Settings{SamplingMethod: schema.Scan, SamplingPeriod: 2 * time.Second, ArchiveFields: []string{"DESC", "HIHI"}}
	s.archivePVs(registry.Request{PV: "L:ALIAS", Settings: asked, AskedSampling: true}, registry.Request{PV: "L:ALIAS.HIHI"}, registry.Request{PV: "L:ASIS", SkipAliasCheck: true})
	for _, name := range []schema.PVName{"L:ALIAS", "L:REAL"} {
		found := s.awaitTyped(name, "L:REAL")
		got := found.Info // its policy adds fields
		if !got.AskedSampling || got.SamplingMethod != asked.SamplingMethod || got.SamplingPeriod != asked.SamplingPeriod ||
			!slices.Contains(got.ArchiveFields, "DESC") || !slices.Contains(got.ArchiveFields, "HIHI") || found.Alias != (name == "L:ALIAS") {
			t.Errorf("%s leads to %+v", name, found.Info)
		}
	}
	s.awaitTyped("L:ALIAS.HIHI", "L:REAL") // the record archives this field
	if found := s.awaitTyped("L:ASIS", "L:ASIS"); found.Info.Fields["NAME"] != "" {
		t.Errorf("an alias whose check is to be skipped was checked: %+v", found.Info)
	}
	s.archivePVs(registry.Request{PV: "L:OTHER"}) // its PV is being archived already
	s.awaitTyped("L:OTHER", "L:REAL")
	want := []registry.Alias{{Alias: "L:ALIAS", PV: "L:REAL"}, {Alias: "L:ALIAS.HIHI", PV: "L:REAL.HIHI"}, {Alias: "L:OTHER", PV: "L:REAL"}}
	if got := s.registry.Aliases(); !slices.Equal(got, want) {
		t.Errorf("aliases %v", got)
	}
	s.until("samples", func() error {
		for _, pv := range []schema.PVName{"L:REAL", "L:REAL.HIHI", "L:ASIS"} {
			if st, ok := s.archive.Status(pv); !ok || st.Stored == 0 {
				return fmt.Errorf("%s has %+v", pv, st)
			}
		}
		return nil
	})
	if got := s.registry.Unjoined(); len(got) != 0 {
		t.Errorf("unjoined %v", got)
	}
	for _, pv := range []schema.PVName{"L:ALIAS", "L:ALIAS.HIHI", "L:OTHER"} {
		if st, ok := s.archive.Status(pv); ok {
			t.Errorf("%s has samples of its own: %+v", pv, st)
		}
	}
}

// TestAnAliasThatCannotBeJoinedIsArchivedAsItWasAskedFor: its files would be
// those of the PV behind it.
func TestAnAliasThatCannotBeJoinedIsArchivedAsItWasAskedFor(t *testing.T) {
	s := newSite(t, simioc.Record{Name: "L:REAL", Aliases: []string{"L-REAL"}, Type: ca.DBRDouble, Value: 1.0})
	s.archivePVs(registry.Request{PV: "L-REAL"})
	if found := s.awaitTyped("L-REAL", "L-REAL"); found.Info.Fields["NAME"] != "L:REAL" {
		t.Errorf("registered as %+v", found.Info)
	}
	s.until("its sample", func() error {
		if st, ok := s.archive.Status("L-REAL"); !ok || st.Stored == 0 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	if got := s.registry.Aliases(); len(got) != 0 {
		t.Errorf("aliases %v", got)
	}
	if got := s.registry.Unjoined(); !slices.Equal(got, []registry.Alias{{Alias: "L-REAL", PV: "L:REAL"}}) {
		t.Errorf("unjoined %v", got)
	}
}

// TestArchiveFieldsReachAnswers_S24: those with channels, those
// that properties tell, and the description, which is always known.
func TestArchiveFieldsReachAnswers_S24(t *testing.T) {
	s := newSite(t, simioc.Record{Name: "L:P", Type: ca.DBRDouble, Value: 1.0, Units: "mm", Desc: "a motor", MDEL: 0.5,
		Limits: simioc.Limits{HIHI: 9, Alarm: true}})
	s.archivePVs(registry.Request{PV: "L:P", Settings: schema.Settings{ArchiveFields: []string{"HIHI", "MDEL"}}})
	s.until("both fields", func() error {
		got := s.engine.Fields("L:P") // its policy adds limits
		for _, want := range []schema.FieldValue{{Name: "HIHI", Val: "9"}, {Name: "MDEL", Val: "0.5"}} {
			if !slices.Contains(got, want) {
				return fmt.Errorf("they are %v", got)
			}
		}
		return nil
	})
	if got := s.answer("/retrieval/bpl/getMetadata?pv=L:P"); !strings.Contains(got, `"DESC":"a motor"`) || !strings.Contains(got, `"MDEL":"0.5"`) {
		t.Errorf("metadata %s", got)
	}
}

const someRules = `
- name: never
  rtyp: bo
  method: DONT_ARCHIVE
- name: wrong
  rtyp: longout
  period: 1us
- name: slow
  rtyp: ai
  method: SCAN
  period: 2s
  fields: [HIHI]
`

// TestAFirstConnectionIsOneEvent: the discovery and what the policies make of it
// are told at once, and what they do beside that still happens. A PV of which
// they say nothing, or something that cannot be, is archived as it was asked for.
func TestAFirstConnectionIsOneEvent(t *testing.T) {
	s := newSiteWith(t, someRules,
		simioc.Record{Name: "P:SLOW", Type: ca.DBRDouble, Value: 1.0, RTYP: "ai"}, simioc.Record{Name: "P:PLAIN", Type: ca.DBRDouble, Value: 1.0, RTYP: "ao"},
		simioc.Record{Name: "P:NEVER", Type: ca.DBRDouble, Value: 1.0, RTYP: "bo"}, simioc.Record{Name: "P:WRONG", Type: ca.DBRDouble, Value: 1.0, RTYP: "longout"})
	s.archivePVs(registry.Request{PV: "P:SLOW"}, registry.Request{PV: "P:PLAIN"}, registry.Request{PV: "P:NEVER"}, registry.Request{PV: "P:WRONG"})
	for _, pv := range []schema.PVName{"P:SLOW", "P:PLAIN", "P:NEVER", "P:WRONG"} {
		s.awaitTyped(pv, pv)
	}
	s.until("P:NEVER to be stopped", func() error {
		if info, ok := s.registry.Get("P:NEVER"); !ok || info.State != schema.Stopped {
			return fmt.Errorf("it is %+v", info)
		}
		return nil
	})
	slow, _ := s.registry.Get("P:SLOW")
	if slow.Policy != "slow" || slow.SamplingMethod != schema.Scan || slow.SamplingPeriod != 2*time.Second || !slices.Equal(slow.ArchiveFields, []string{"HIHI"}) {
		t.Errorf("P:SLOW is %+v", slow)
	}
	for _, pv := range []schema.PVName{"P:PLAIN", "P:WRONG"} {
		if info, _ := s.registry.Get(pv); info.Policy != "" || info.SamplingMethod != schema.Monitor || info.SamplingPeriod != time.Second {
			t.Errorf("%s is %+v", pv, info)
		}
	}
	for pv, want := range map[schema.PVName]string{
		"P:SLOW": "requested, started with settings: connected: policy slow", "P:PLAIN": "requested, started: connected",
		"P:NEVER": "requested, started: connected, stopped: connected: policy never", "P:WRONG": "requested, started: connected",
	} {
		if got := s.story(pv); got != want {
			t.Errorf("%s: %s, want %s", pv, got, want)
		}
	}
}

// story is what happened to a PV, in words.
func (s *site) story(pv schema.PVName) string {
	s.t.Helper()
	var words []string
	err := s.registry.History(s.t.Context(), pv, func(_ uint64, e *logpb.RegistryEvent) error {
		switch {
		case e.GetRequested() != nil:
			words = append(words, "requested")
		case e.GetStarted().GetSettings() != nil:
			words = append(words, "started with settings: "+e.GetReason())
		case e.GetStarted() != nil:
			words = append(words, "started: "+e.GetReason())
		case e.GetStopped() != nil:
			words = append(words, "stopped: "+e.GetReason())
		default:
			words = append(words, fmt.Sprint(e))
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Join(words, ", ")
}
