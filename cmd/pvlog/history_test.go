package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

var someEvents = []event{
	{Seq: 3, Time: time.Date(2026, 11, 25, 8, 30, 15, 5e8, time.UTC), Summary: "requested: MONITOR 1s", Actor: "claimed by ann@control-1", Source: "127.0.0.1:47216", ChangeID: "20261125T083015-k3x9q7", Reason: "new BPM"},
	{Seq: 4, Time: time.Date(2026, 11, 25, 8, 30, 16, 0, time.UTC), Summary: "connected: DBR_SCALAR_DOUBLE, 1 elements, from ioc-linac-7:5064", Actor: "engine"},
	{Seq: 1200, Time: time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC), Summary: "method MONITOR -> SCAN, period 1s -> 10s, deadband 0 -> 0.5, controlling_pv none -> LINAC:GATE", Actor: "http", Source: "10.0.0.7:5", Undoes: 17},
}

func TestHistoryOnATerminal(t *testing.T) {
	const want = `2026-11-25 08:30:15Z     3  requested: MONITOR 1s
                            claimed by ann@control-1 from 127.0.0.1:47216,
                            change 20261125T083015-k3x9q7
                            because: new BPM
2026-11-25 08:30:16Z     4  connected: DBR_SCALAR_DOUBLE, 1 elements, from
                            ioc-linac-7:5064
                            by engine
2026-11-26 09:00:00Z  1200  method MONITOR -> SCAN, period 1s -> 10s, deadband 0
                            -> 0.5, controlling_pv none -> LINAC:GATE (takes
                            back 17)
                            by http from 10.0.0.7:5
`
	var out bytes.Buffer
	if err := printHistory(&out, 80, someEvents); err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
	if most := widest(out.String()); most > 80 {
		t.Errorf("%d columns", most)
	}
}

func TestHistoryForAPipe(t *testing.T) {
	const want = `TIME                  SEQ   WHAT                                                                                                           WHO                       FROM             CHANGE                  WHY
2026-11-25 08:30:15Z  3     requested: MONITOR 1s                                                                                          claimed by ann@control-1  127.0.0.1:47216  20261125T083015-k3x9q7  new BPM
2026-11-25 08:30:16Z  4     connected: DBR_SCALAR_DOUBLE, 1 elements, from ioc-linac-7:5064                                                engine
2026-11-26 09:00:00Z  1200  method MONITOR -> SCAN, period 1s -> 10s, deadband 0 -> 0.5, controlling_pv none -> LINAC:GATE (takes back 17)  http                      10.0.0.7:5
`
	var out bytes.Buffer
	if err := printHistory(&out, 0, someEvents); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(out.String(), "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(got) || strings.Join(strings.Fields(got[i]), " ") != strings.Join(strings.Fields(line), " ") {
			t.Errorf("line %d: %q, want %q", i, got[i], line)
		}
	}
	if strings.Contains(out.String(), " \n") {
		t.Error("blanks at the end of a line")
	}
}

func TestTheRegistryFitsATerminal(t *testing.T) {
	const want = `PV                   STATE      TYPE                  SAMPLING    POLICY
LINAC:BPM1:X         archiving  scalar_double         MONITOR 1s  fast
LINAC:BPM1:WAVEFORM  paused     waveform_float[2048]  SCAN 0.5s
LINAC:OLD            alias      -> LINAC:BPM1:X
LINAC:NEW            archiving  never connected       SCAN 10s
`
	var out bytes.Buffer
	err := printRegistered(&out, []registeredPV{
		{PV: "LINAC:BPM1:X", State: "archiving", Type: "DBR_SCALAR_DOUBLE", Elements: 1, Method: "MONITOR", Period: 1, Policy: "fast"},
		{PV: "LINAC:BPM1:WAVEFORM", State: "paused", Type: "DBR_WAVEFORM_FLOAT", Elements: 2048, Method: "SCAN", Period: 0.5},
		{PV: "LINAC:OLD", State: "alias", AliasOf: "LINAC:BPM1:X"},
		{PV: "LINAC:NEW", State: "archiving", Method: "SCAN", Period: 10},
	})
	if err != nil || out.String() != want || widest(out.String()) > 80 {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestChangesAreListed(t *testing.T) {
	const want = `TIME                  CHANGE     COMMAND  PVS     CHANGED    FAILED  WHO            WHY
2026-11-25 22:00:00Z  nightly-2  delete   12,000  under way          http
2026-11-24 22:00:00Z  nightly-1  pause    2,000   1,999      1       claimed by op  shutdown
`
	var out bytes.Buffer
	err := printChanges(&out, []changeRecord{
		{ID: "nightly-2", Command: "delete", PVs: 12_000, Time: time.Date(2026, 11, 25, 22, 0, 0, 0, time.UTC), Actor: "http"},
		{ID: "nightly-1", Command: "pause", PVs: 2000, Time: time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC), Actor: "claimed by op", Reason: "shutdown", Closed: 9, Changed: 1999, Failed: 1},
	})
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestAliasesAreListed(t *testing.T) {
	const want = "ALIAS   PV\nBPM1    LINAC:BPM1:X\nG [2JB  A\n"
	var out bytes.Buffer
	err := printAliases(&out, []alias{{"BPM1", "LINAC:BPM1:X"}, {"G\x1b[2JB", "A"}})
	if err != nil || out.String() != want {
		t.Errorf("%v %q, want %q", err, out.String(), want)
	}
}
