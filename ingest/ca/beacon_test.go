package ca

import (
	"testing"
	"time"
)

// heard gives the verdicts of beacons at intervals, counted up from a number.
func heard(table *BeaconTable, now time.Time, counter uint32, gaps ...time.Duration) (verdicts []Verdict, at time.Time) {
	for i, gap := range gaps {
		now = now.Add(gap)
		verdicts = append(verdicts, table.Heard(now, Beacon{Address: 1, Port: 5064, Counter: counter + uint32(i), Minor: 13}))
	}
	return verdicts, now
}

func anomalies(verdicts []Verdict) (n int) {
	for _, v := range verdicts {
		if v == BeaconAnomaly {
			n++
		}
	}
	return n
}

const calm = 15 * time.Second

// listening is a table that knows a calm server since an hour.
func listening(t *testing.T) (*BeaconTable, time.Time) {
	t.Helper()
	table := NewBeaconTable(start)
	gaps := make([]time.Duration, 240)
	for i := range gaps {
		gaps[i] = calm
	}
	gaps[0] = calm / 2 // after the client's start
	verdicts, now := heard(table, start, 1000, gaps...)
	for i, v := range verdicts {
		if want := BeaconNormal; i > 0 && v != want || i == 0 && v != BeaconIgnored {
			t.Fatalf("beacon %d was judged %v", i, v)
		}
	}
	return table, now
}

func TestBeaconsOfARestartAreAnAnomalyWithinAQuarterSecond(t *testing.T) {
	for _, down := range []time.Duration{time.Second, 10 * time.Second, 16 * time.Second, time.Minute} {
		table, now := listening(t)
		// rsrv sends the value 0 twice.
		first := now.Add(down)
		begin := table.Heard(first, Beacon{Address: 1, Port: 5064, Counter: 0, Minor: 13})
		verdicts, _ := heard(table, first, 0, 20*time.Millisecond, 40*time.Millisecond, 80*time.Millisecond)
		if verdicts[0] != BeaconIgnored {
			t.Errorf("down for %v: the duplicate was judged %v", down, verdicts[0])
		}
		if anomalies(append(verdicts, begin)) == 0 {
			t.Errorf("down for %v: judged %v and %v", down, begin, verdicts)
		}
		if at := table.Anomaly(1, 5064); at.Before(first) {
			t.Errorf("down for %v: the anomaly was at %v", down, at)
		}
	}
}

// TestBeaconsOfARestartWithinTheFirstHour: the counter steps back by less than
// 256, as a late beacon's does.
func TestBeaconsOfARestartWithinTheFirstHour(t *testing.T) {
	table := NewBeaconTable(start)
	_, now := heard(table, start, 5, calm, calm, calm, calm)
	verdicts, _ := heard(table, now.Add(calm), 0, 0, 20*time.Millisecond, 40*time.Millisecond, 80*time.Millisecond)
	if verdicts[0] != BeaconIgnored || anomalies(verdicts) == 0 {
		t.Errorf("judged %v", verdicts)
	}
}

func TestBeaconsOfANewServerAreAnAnomalyForAnOldClient(t *testing.T) {
	table := NewBeaconTable(start)
	verdicts, _ := heard(table, start.Add(time.Hour), 0, 0, 20*time.Millisecond)
	if verdicts[0] != BeaconIgnored || verdicts[1] != BeaconAnomaly {
		t.Errorf("judged %v", verdicts)
	}
	if !table.Anomaly(2, 5064).IsZero() {
		t.Error("another server had one")
	}
	// A client that has just begun cannot know what is new.
	verdicts, _ = heard(NewBeaconTable(start), start, 9, calm/3, calm)
	if verdicts[1] != BeaconNormal {
		t.Errorf("judged %v", verdicts)
	}
}

func TestBeaconsThatSayNothing(t *testing.T) {
	for _, test := range []struct {
		name    string
		advance uint32
		gap     time.Duration
		want    Verdict
	}{
		{"next", 1, calm, BeaconNormal},
		{"duplicate", 0, time.Millisecond, BeaconIgnored},
		{"late", 0xFFFFFFFF, time.Millisecond, BeaconIgnored},
		{"one lost", 2, 2 * calm, BeaconIgnored},
		{"two lost", 3, 3 * calm, BeaconIgnored},
		{"late by a third", 1, calm * 4 / 3, BeaconLate},
		{"network back", 1, 4 * calm, BeaconAnomaly},
		{"many lost", 20, 20 * calm, BeaconAnomaly},
		{"rebooted", 1, calm / 2, BeaconAnomaly},
	} {
		table, now := listening(t)
		last := uint32(1000 + 239)
		if v, _ := heard(table, now, last+test.advance, test.gap); v[0] != test.want {
			t.Errorf("%s: judged %v, want %v", test.name, v[0], test.want)
		}
	}
	// A server that does not count is judged by time alone.
	table := NewBeaconTable(start)
	old := Beacon{Address: 7, Port: 1, Minor: 9}
	table.Heard(start.Add(calm/3), old)
	if v := table.Heard(start.Add(calm/3+calm), old); v != BeaconNormal {
		t.Errorf("a server without counter was judged %v", v)
	}
}

func TestBeaconTableIsBoundedAndKeepsTheLiving(t *testing.T) {
	table, now := listening(t)
	for i := range uint32(3 * maxBeaconSources) {
		table.Heard(now, Beacon{Address: 100 + i, Port: 5064, Minor: 13})
	}
	if n := table.Len(); n != maxBeaconSources {
		t.Errorf("%d servers are known", n)
	}
	if v, _ := heard(table, now, 1240, calm); v[0] != BeaconNormal {
		t.Errorf("a living server was forgotten for invented ones: %v", v)
	}
	// When they are stale, a new one has room.
	later := now.Add(time.Hour)
	table.Heard(later, Beacon{Address: 7, Port: 7, Minor: 13})
	if v := table.Heard(later.Add(20*time.Millisecond), Beacon{Address: 7, Port: 7, Minor: 13, Counter: 1}); v != BeaconAnomaly {
		t.Errorf("a new server was judged %v", v)
	}
}

func TestBeaconsSpareProbesButAreNotBelievedForEver(t *testing.T) {
	c, _ := subscribed(t, DBRDouble, 1)
	c.Began(start)
	c.Heard(start)
	now := start
	for now.Sub(start) < 4*time.Minute {
		now = now.Add(calm)
		c.Beacon(now, BeaconNormal)
		if events := c.Tick(now); len(events) != 0 {
			t.Fatalf("probed after %v of beacons: %+v", now.Sub(start), events)
		}
	}
	for probed := false; !probed; {
		now = now.Add(calm)
		c.Beacon(now, BeaconNormal)
		probed = len(c.Tick(now)) > 0
		if now.Sub(start) > 6*time.Minute {
			t.Fatal("a circuit on which nothing comes is believed for ever")
		}
	}
	// A probe that is pending is ended by the circuit only.
	now = now.Add(5 * time.Second)
	c.Beacon(now, BeaconNormal)
	if events := c.Tick(now); len(events) != 1 || events[0].Kind != EventUnresponsive {
		t.Errorf("got %+v", events)
	}
}

func TestAnomalyProbesACircuitAndLateBeaconsProveNothing(t *testing.T) {
	c, _ := subscribed(t, DBRDouble, 1)
	c.Began(start)
	c.Heard(start)
	c.Beacon(start.Add(10*time.Second), BeaconLate)
	c.Beacon(start.Add(25*time.Second), BeaconNormal)
	if events := c.Tick(start.Add(30 * time.Second)); len(events) != 1 || events[0].Kind != EventProbe {
		t.Fatalf("got %+v", events)
	}
	now := start.Add(31 * time.Second)
	c.Heard(now)
	c.Beacon(now, BeaconAnomaly) // the circuit has just spoken
	if events := c.Tick(now); len(events) != 0 {
		t.Errorf("got %+v", events)
	}
	now = now.Add(2 * time.Second)
	c.Beacon(now, BeaconAnomaly)
	if events := c.Tick(now); len(events) != 1 || events[0].Kind != EventProbe {
		t.Errorf("got %+v", events)
	}
}
