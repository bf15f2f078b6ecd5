package ingest

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

func TestGateValue(t *testing.T) {
	for _, tt := range []struct {
		native   ca.DBR
		values   any
		waveform bool
		value    string
		open, ok bool
	}{
		{ca.DBRDouble, []float64{0}, false, "0", false, true},
		{ca.DBRDouble, []float64{math.Copysign(0, -1)}, false, "-0", false, true},
		{ca.DBRDouble, []float64{1e-300}, false, "1e-300", true, true},
		{ca.DBRDouble, []float64{math.NaN()}, false, "NaN", true, true},
		{ca.DBRDouble, []float64{0, 1}, true, "0", false, true},
		{ca.DBRDouble, []float64{}, true, "", false, false},
		{ca.DBRShort, []int16{-1}, false, "-1", true, true},
		{ca.DBREnum, []uint16{0}, false, "0", false, true},
		{ca.DBREnum, []uint16{1}, false, "1", true, true},
		{ca.DBRChar, []byte{0}, false, "0", false, true},
		{ca.DBRChar, []byte("0\x00x"), true, "0", false, true},
		{ca.DBRChar, []byte("on\x00"), true, "on", true, true},
		{ca.DBRChar, []byte{0, 7}, true, "", false, true},
		{ca.DBRLong, []int32{0}, false, "0", false, true},
		{ca.DBRString, []string{"0"}, false, "0", false, true},
		{ca.DBRString, []string{" 0.00 "}, false, " 0.00 ", false, true},
		{ca.DBRString, []string{""}, false, "", false, true},
		{ca.DBRString, []string{"ON"}, false, "ON", true, true},
		{ca.DBRString, []string{"2"}, false, "2", true, true},
	} {
		u := typed(t, tt.native, 0, 0, schema.Time{Sec: schema.Floor}, tt.values)
		value, open, ok := gateValue(u, tt.waveform)
		if ok != tt.ok || ok && (value != tt.value || open != tt.open) {
			t.Errorf("%v %v: %q, open %v, %v", tt.native, tt.values, value, open, ok)
		}
		u.Status = ca.StatusNoReadAccess
		if _, _, ok := gateValue(u, tt.waveform); ok {
			t.Errorf("%v: a failure is a value", tt.native)
		}
	}
	if _, _, ok := gateValue(caclient.Update{Type: ca.DBRTimeChar, Count: 100, Status: ca.StatusNormal, Payload: make([]byte, 20)}, true); ok {
		t.Error("a short payload is a value")
	}
}

// gateRig is a rig with two controlled PVs, one free one, and their controlling
// PV.
func gateRig(t *testing.T, gate any) *rig {
	t.Helper()
	r := newRig(t, []simioc.Record{
		{Name: "A", Type: ca.DBRDouble, Value: 0.0}, {Name: "B", Type: ca.DBRDouble, Value: 0.0},
		{Name: "FREE", Type: ca.DBRDouble, Value: 0.0}, {Name: "GATE", Type: ca.DBRDouble, Value: gate},
	})
	for _, pv := range []string{"A", "B", "FREE"} {
		r.registry.add(requestEvent(pv))
	}
	r.control(t, "A", "GATE")
	r.control(t, "B", "GATE")
	return r
}

// control gives a PV a controlling PV.
func (r *rig) control(t *testing.T, pv, by string) {
	t.Helper()
	r.applied(t, r.registry.add(configureEvent(pv, schema.Settings{
		SamplingMethod: schema.Monitor, SamplingPeriod: time.Second, ControllingPV: schema.PVName(by)})))
}

func (r *rig) set(t *testing.T, pv string, v any) {
	t.Helper()
	if err := r.ioc.Put(pv, v); err != nil {
		t.Fatal(err)
	}
}

// gateIs waits until a PV's gate says so, and its channel agrees.
func (r *rig) gateIs(t *testing.T, pv schema.PVName, known, open bool) ChannelState {
	t.Helper()
	var s ChannelState
	r.until(t, fmt.Sprintf("the gate of %s: known %v, open %v", pv, known, open), func() bool {
		var ok bool
		s, ok = r.engine.State(pv)
		return ok && s.Gate.Known == known && s.Gate.Open == open && (s.Connection != Idle) == open
	})
	return s
}

func newestValue(t *testing.T, samples []logged) any { return samples[len(samples)-1].decode(t).Value }

func TestAControllingPVOpensAndClosesItsPVs_S17_S18(t *testing.T) {
	r := gateRig(t, 1.0)
	r.sampled(t, "A", 1)
	r.sampled(t, "B", 1)
	r.gateIs(t, "A", true, true)
	r.set(t, "GATE", 0)
	s := r.gateIs(t, "A", true, false)
	if g := s.Gate; g.PV != "GATE" || g.Value != "0" || !g.Connected || g.Since.IsZero() || s.Type != schema.ScalarDouble || s.Received == 0 {
		t.Errorf("state of a held PV %+v", s)
	}
	r.gateIs(t, "B", true, false)
	if n := r.engine.Counts(); n.Gated != 2 || n.Total != 1 {
		t.Errorf("counts %+v", n)
	}
	if n := len(r.engine.Disconnected()); n != 0 {
		t.Errorf("%d PVs are reported as disconnected: their channels were closed on purpose", n)
	}
	before := len(r.log.of("A"))
	r.set(t, "A", 5)
	r.set(t, "FREE", 5)
	r.until(t, "the free PV's value", func() bool { return newestValue(t, r.sampled(t, "FREE", 1)) == 5.0 })
	if n := len(r.log.of("A")); n != before {
		t.Errorf("%d samples while the gate was shut", n-before)
	}
	r.set(t, "GATE", 2)
	r.gateIs(t, "A", true, true)
	all := r.sampled(t, "A", before+1)
	if s := all[before]; newestValue(t, all) != 5.0 || !s.First || len(s.marks(t)) < 5 || s.marks(t)[len(s.marks(t))-4:] != "true" {
		t.Errorf("after the gate opened: %v, first %v, markers %s", s.decode(t).Value, s.First, s.marks(t))
	}
	if n := r.engine.gates.len(); n != 1 {
		t.Errorf("%d channels for one controlling PV", n)
	}
	if s, _ := r.engine.State("FREE"); s.Disconnects != 0 || s.Gate != (Gate{}) {
		t.Errorf("the free PV %+v", s)
	}
}

func TestAPVIsArchivedUntilItsControllingPVSays0(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "A", Type: ca.DBRDouble, Value: 0.0}})
	r.registry.add(requestEvent("A"))
	r.control(t, "A", "GATE")
	r.sampled(t, "A", 1)
	s := r.gateIs(t, "A", false, true)
	if s.Gate.Connected || s.Gate.Value != "" {
		t.Errorf("gate %+v", s.Gate)
	}
	if err := r.ioc.AddRecord(simioc.Record{Name: "GATE", Type: ca.DBREnum, Labels: []string{"OFF", "ON"}, Value: 0}); err != nil {
		t.Fatal(err)
	}
	r.gateIs(t, "A", true, false)
	address, records := r.address, []simioc.Record{{Name: "A", Type: ca.DBRDouble, Value: 7.0}}
	r.stopIOC()
	r.until(t, "the loss of the controlling PV", func() bool {
		s, _ := r.engine.State("A")
		return !s.Gate.Connected
	})
	r.gateIs(t, "A", true, false) // the last known value stands
	before := len(r.log.of("A"))
	r.address = address
	r.startIOC(t, append(records, simioc.Record{Name: "GATE", Type: ca.DBREnum, Labels: []string{"OFF", "ON"}, Value: 1}))
	r.gateIs(t, "A", true, true)
	if all := r.sampled(t, "A", before+1); newestValue(t, all) != 7.0 {
		t.Errorf("archived %v", newestValue(t, all))
	}
}

func TestAControllingPVChangesWhileItRuns_S18(t *testing.T) {
	r := gateRig(t, 0.0)
	r.gateIs(t, "A", true, false)
	r.gateIs(t, "B", true, false)
	r.control(t, "A", "") // free
	r.until(t, "A without a gate", func() bool { s, ok := r.engine.State("A"); return ok && s.Connection == Connected && s.Gate.PV == "" })
	r.control(t, "A", "FREE") // 0 as well
	r.gateIs(t, "A", true, false)
	if n := r.engine.gates.len(); n != 2 {
		t.Errorf("%d controlling PVs", n)
	}
	r.applied(t, r.registry.add(pauseEvent("A")))
	if _, ok := r.engine.State("A"); ok || r.engine.Counts().Gated != 1 {
		t.Errorf("a paused PV has a state, or counts as held: %+v", r.engine.Counts())
	}
	if n := r.engine.gates.len(); n != 1 {
		t.Errorf("%d controlling PVs after the pause of the only PV of one", n)
	}
	r.applied(t, r.registry.add(resumeEvent("A")))
	r.gateIs(t, "A", true, false)
	r.set(t, "FREE", 1)
	r.gateIs(t, "A", true, true)
	r.applied(t, r.registry.add(deleteEvent("A"), deleteEvent("B")))
	if n := r.engine.gates.len(); n != 0 || r.engine.Counts().Gated != 0 {
		t.Errorf("%d controlling PVs of nothing", n)
	}
}

func TestAPVMayControlItself(t *testing.T) {
	r := newRig(t, []simioc.Record{{Name: "A", Type: ca.DBRDouble, Value: 3.0}})
	r.registry.add(requestEvent("A"))
	r.control(t, "A", "A")
	r.sampled(t, "A", 1)
	r.set(t, "A", 0)
	r.gateIs(t, "A", true, false)
	r.set(t, "A", 4)
	r.gateIs(t, "A", true, true)
	r.until(t, "its value", func() bool { return newestValue(t, r.log.of("A")) == 4.0 })
}

func TestAFlutteringGateEndsWhereItShould(t *testing.T) {
	const n = 500
	records := []simioc.Record{{Name: "GATE", Type: ca.DBRLong, Value: 1}}
	var events []*logpb.RegistryEvent
	for i := range n {
		pv := fmt.Sprintf("PV%d", i)
		records = append(records, simioc.Record{Name: pv, Type: ca.DBRDouble, Value: 1.0})
		events = append(events, requestEvent(pv), configureEvent(pv, schema.Settings{
			SamplingMethod: schema.Monitor, SamplingPeriod: time.Second, ControllingPV: "GATE"}))
	}
	r := newRig(t, records)
	r.applied(t, r.registry.add(events...))
	for i := range 41 {
		r.set(t, "GATE", i%2)
	}
	count := func(total, gated int) {
		t.Helper()
		r.until(t, fmt.Sprintf("%d channels", total), func() bool {
			c := r.engine.Counts()
			return c.Total == total && c.Gated == gated
		})
	}
	count(0, n)
	r.set(t, "GATE", 1)
	count(n, 0)
	r.until(t, "all connected", func() bool { return r.engine.Counts().Connected == n })
	r.set(t, "GATE", 0)
	r.stop() // in the middle of it
}
