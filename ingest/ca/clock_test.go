package ca

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// stepped gives a time of which the wall clock was set back by an hour, while
// the monotonic clock went on: what [time.Now] gives after such a step. No
// function of package time makes one, so this knows how it is built.
func stepped(t testing.TB, at time.Time) time.Time {
	t.Helper()
	const (
		hasMonotonic = 1 << 63
		second       = 1 << 30 // of the wall word
	)
	wall := (*uint64)(unsafe.Pointer(&at))
	before := at
	if *wall&hasMonotonic == 0 {
		t.Fatal("the time has no monotonic reading")
	}
	*wall -= 3600 * second
	if at.Sub(before) != 0 || before.UnixNano()-at.UnixNano() != int64(time.Hour) {
		t.Skip("package time is built differently now")
	}
	return at
}

// stepsBack gives the clock of a run whose wall clock is set back after a
// while, as seconds since its beginning.
func stepsBack(t testing.TB, began time.Time, after time.Duration) func(time.Duration) time.Time {
	return func(d time.Duration) time.Time {
		if d < after {
			return began.Add(d)
		}
		return stepped(t, began.Add(d))
	}
}

// TestRow62TheWatchdogRunsOnWhenTheClockStepsBack: the rungs of its ladder are
// as far apart as ever, and gets and claims expire.
func TestRow62TheWatchdogRunsOnWhenTheClockStepsBack(t *testing.T) {
	for _, step := range []time.Duration{0, 5 * time.Second, 32 * time.Second, 60 * time.Second, time.Hour} {
		began := time.Now()
		at := stepsBack(t, began, step)
		c := NewCircuit(CircuitOptions{FirstByte: 30 * time.Second, Claim: 20 * time.Second}, at(0))
		c.Began(at(0))
		c.Heard(at(0))
		c.Create(at(0), 1, "A", 0, "owner")
		c.Create(at(0), 2, "B", 0, "unanswered")
		handle(t, c, Header{Command: CmdCreateChan, DataType: uint16(DBRDouble), Count: 1, P1: 1, P2: testSID})
		if err := c.Get(at(0), 1, DBRDouble, 1, "get"); err != nil {
			t.Fatal(err)
		}
		var got []string
		for d := time.Duration(0); d <= 100*time.Second; d += 250 * time.Millisecond {
			for _, e := range c.Tick(at(d)) {
				if e.Kind != EventVerify && d <= 95*time.Second {
					got = append(got, fmt.Sprint(e.Kind, "@", d))
				}
			}
		}
		want := fmt.Sprint([]string{
			fmt.Sprint(EventGet, "@", 10*time.Second), fmt.Sprint(EventEnded, "@", 20*time.Second),
			fmt.Sprint(EventProbe, "@", 30*time.Second), fmt.Sprint(EventUnresponsive, "@", 35*time.Second),
			fmt.Sprint(EventLost, "@", 95*time.Second),
		})
		if fmt.Sprint(got) != want {
			t.Errorf("a step after %v: got %v, want %v", step, got, want)
		}
	}
}

// TestRow62SearchesGoOnWhenTheClockStepsBack at the same rate.
func TestRow62SearchesGoOnWhenTheClockStepsBack(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	at := stepsBack(t, time.Now(), 30*time.Second)
	for cid := range uint32(500) {
		if err := s.Add(at(0), cid, fmt.Sprintf("DEAD:%d", cid), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	var before, after int
	for d := time.Duration(0); d < time.Minute; d += 10 * time.Millisecond {
		if s.Budget(at(d)) < 0 {
			t.Fatalf("a budget of %v after %v", s.Budget(at(d)), d)
		}
		for {
			if _, ok := s.Next(at(d), nil); !ok {
				break
			}
			if d >= 15*time.Second && d < 30*time.Second {
				before++
			} else if d >= 30*time.Second && d < 45*time.Second {
				after++
			}
		}
	}
	if before == 0 || after < before/2 || after > 2*before {
		t.Errorf("%d datagrams in the 15 s before the step, %d in the 15 s after it", before, after)
	}
}

// TestRow62BeaconsKeepTheirRhythmWhenTheClockStepsBack: no anomaly.
func TestRow62BeaconsKeepTheirRhythmWhenTheClockStepsBack(t *testing.T) {
	at := stepsBack(t, time.Now(), 5*time.Minute)
	table := NewBeaconTable(at(0))
	for i := range 40 {
		d := time.Duration(i) * 15 * time.Second
		if v := table.Heard(at(d), Beacon{Address: 1, Port: 5064, Counter: uint32(i), Minor: 13}); i > 5 && v != BeaconNormal {
			t.Errorf("beacon %d: verdict %d", i, v)
		}
	}
}

// TestRow28TenThousandDeadNamesTakeNoMoreMemory than in the beginning, and 20
// datagrams a second.
func TestRow28TenThousandDeadNamesTakeNoMoreMemory(t *testing.T) {
	s := NewSearchSchedule(SearchOptions{})
	for cid := range uint32(10_000) {
		if err := s.Add(start, cid, fmt.Sprintf("DEAD:DEVICE:%06d", cid), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	now, sent := start, 0
	run := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); {
			if _, ok := s.Next(now, nil); ok {
				sent++
				continue
			}
			now = now.Add(max(s.Wait(now, time.Second), time.Millisecond))
		}
	}
	run(2 * time.Minute)
	before := heap()
	sent = 0
	run(8 * time.Minute)
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d bytes more after eight minutes", grown)
	}
	if sent > 25*8*60 {
		t.Errorf("%d datagrams in eight minutes", sent)
	}
	runtime.KeepAlive(s)
}
