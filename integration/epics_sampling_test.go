package integration

import (
	"testing"
	"time"
)

// TestEpicsPeriodicGetsOfARealIOC_S46: a record that processes once a second
// is read five times as often; values and severities are the IOC's, the times
// pvlog's.
func TestEpicsPeriodicGetsOfARealIOC_S46(t *testing.T) {
	r := &rig{t: t, python: needEPICS(t), port: freePort(t)}
	r.startIOC()
	r.pvlog = newServer(t, r.clientEnvironment())
	r.pvlog.start()
	pv := epicsPrefix + "bi" // toggles once a second, MINOR while it is on
	r.pvlog.archiveAs(pv, "samplingmethod", "SCAN_GET", "samplingperiod", "0.2")
	all := r.pvlog.awaitPoints(pv, 25)
	toggled, repeated := 0, 0
	for i, p := range all {
		if on := p.Val == 1.0; on != (p.Severity == 1) || time.Since(p.time()) > time.Minute {
			t.Errorf("sample %d: %+v", i, p)
		}
		switch {
		case i < 2:
		case p.Val == all[i-1].Val:
			repeated++
		default:
			toggled++
		}
		if i > 1 {
			if d := p.time().Sub(all[i-1].time()); d < 100*time.Millisecond || d > time.Second {
				t.Errorf("sample %d comes %v after the one before", i, d)
			}
		}
	}
	if toggled < 3 || repeated < 3*toggled-3 {
		t.Errorf("of %d samples %d toggled and %d repeat the one before", len(all), toggled, repeated)
	}
	r.pvlog.undropped(pv)
	r.pvlog.stop()
}

// TestEpicsAControllingPVOfARealIOC: a PV of 2 Hz and more is archived in
// those seconds in which another one is on.
func TestEpicsAControllingPVOfARealIOC_S17_S18(t *testing.T) {
	r := &rig{t: t, python: needEPICS(t), port: freePort(t)}
	r.startIOC()
	r.pvlog = newServer(t, r.clientEnvironment())
	r.pvlog.start()
	pv, by := epicsPrefix+"calc", epicsPrefix+"bi"
	r.pvlog.archive(by)
	r.pvlog.archiveAs(pv, "controllingPV", by)
	r.pvlog.awaitPoints(by, 13)
	r.pvlog.stop()
	store := readStore(t, r.pvlog.storeRoot())
	changes := store[by]
	state := func(at time.Time) (on bool, since time.Duration) { // what by was, and for how long
		for _, c := range changes {
			if d := at.Sub(c.at.Go()); d >= 0 {
				on, since = c.value == int32(1), d
			}
		}
		return on, since
	}
	begins, inside := 0, 0
	const slack = 400 * time.Millisecond // from the IOC's change to the channel's end
	for i, s := range store[pv] {
		begun := s.fields["startup"] == "true"
		if begun {
			begins++
		}
		on, since := state(s.at.Go())
		switch {
		case on:
			inside++
		case !begun && since > slack && !s.at.Go().Before(changes[1].at.Go()):
			t.Errorf("sample %d is %v behind the moment at which its controlling PV went off", i, since)
		}
	}
	if begins < 4 || inside < 4 {
		t.Errorf("%d samples, %d while the controlling PV was on, %d that begin anew", len(store[pv]), inside, begins)
	}
}
