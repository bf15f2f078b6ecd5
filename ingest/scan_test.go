package ingest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/schema"
)

func TestTurn_S45(t *testing.T) {
	last := schema.Time{Sec: 1000, Nsec: 500_000_000}
	known := scanned{last: last, has: true}
	const period = 950 * time.Millisecond
	for _, tt := range []struct {
		name  string
		s     scanned
		at    schema.Time
		first bool
		want  turn
	}{
		{"the first of all", scanned{}, last, true, record},
		{"nothing recorded yet", scanned{}, last, false, record},
		{"a period later", known, schema.Time{Sec: 1001, Nsec: 450_000_000}, false, record},
		{"a nanosecond less", known, schema.Time{Sec: 1001, Nsec: 449_999_999}, false, hold},
		{"the same time stamp", known, last, false, skip},
		{"the same time stamp after a reconnect", known, last, true, skip},
		{"soon, after a reconnect", known, schema.Time{Sec: 1000, Nsec: 500_000_001}, true, record},
		{"a little earlier", known, schema.Time{Sec: 1000}, false, hold},
		{"the clock was set back", known, schema.Time{Sec: 990}, false, record},
		{"the clock was in 2126", scanned{last: schema.Time{Sec: 4_926_000_000}, has: true}, last, false, record},
		{"illegal nanoseconds", known, schema.Time{Sec: 1000, Nsec: 4_000_000_000}, false, record},
	} {
		if got := tt.s.turn(tt.at, tt.first, period); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// scanning runs a test in a bubble with a scanned channel and the goroutine
// that releases stragglers.
func scanning(t *testing.T, period time.Duration, test func(c *Channel, log *memoryLog, send func(after time.Duration, v float64))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEngine(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { e.stragglers.run(ctx); close(ended) }()
		c := addChannel(e, scalar(schema.Scan, period))
		regain(c)
		test(c, log, func(after time.Duration, v float64) {
			time.Sleep(after)
			c.Update(nil, update(t, schema.TimeOf(time.Now()), v))
			synctest.Wait()
		})
		cancel()
		<-ended
	})
}

func TestScanKeepsTheLastValueBeforeSilence_S45(t *testing.T) {
	scanning(t, time.Second, func(c *Channel, log *memoryLog, send func(time.Duration, float64)) {
		send(0, 1)
		send(100*time.Millisecond, 2)
		send(100*time.Millisecond, 3)
		time.Sleep(940 * time.Millisecond) // 0.94 s since 3 arrived
		synctest.Wait()
		if got := values(t, log.all()); got != "1" {
			t.Errorf("before the period is over: %s", got)
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if got := values(t, log.all()); got != "1 3" {
			t.Errorf("after the period: %s", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := values(t, log.all()); got != "1 3" {
			t.Errorf("nothing is written twice: %s", got)
		}
		if got := log.all()[1]; !got.Received.Equal(time.Unix(946684800, 2e8)) {
			t.Errorf("the straggler was received at %v, not when it was recorded", got.Received)
		}
		if n := c.engine.stragglers.waiting(); n != 0 {
			t.Errorf("%d channels still wait", n)
		}
	})
}

func TestScanTakesOneSampleInAPeriod_S45(t *testing.T) {
	scanning(t, time.Second, func(c *Channel, log *memoryLog, send func(time.Duration, float64)) {
		for i := range 101 {
			send(100*time.Millisecond, float64(i))
		}
		if got := values(t, log.all()); got != "0 10 20 30 40 50 60 70 80 90 100" {
			t.Errorf("at 10 Hz, one a second: %s", got)
		}
		if n := c.history.counters(); n.Received != 101 || n.Appended != 11 {
			t.Errorf("counters %+v", n)
		}
	})
}

func TestScanTakesEachOfAnIOCThatProcessesOnceAPeriod_S45(t *testing.T) {
	scanning(t, time.Second, func(_ *Channel, log *memoryLog, send func(time.Duration, float64)) {
		for i := range 10 { // jitter of 2 % either way
			send(time.Second+time.Duration(i%2*40-20)*time.Millisecond, float64(i))
		}
		if got := values(t, log.all()); got != "0 1 2 3 4 5 6 7 8 9" {
			t.Errorf("recorded %s", got)
		}
	})
}

func TestScanRecordsAtOnceAfterAReconnect_S45(t *testing.T) {
	scanning(t, time.Minute, func(c *Channel, log *memoryLog, send func(time.Duration, float64)) {
		send(0, 1)
		send(time.Second, 2) // held
		lose(c)
		time.Sleep(time.Second)
		regain(c)
		send(time.Second, 3)
		if got := values(t, log.all()); got != "1 2 3" {
			t.Errorf("recorded %s; the last value before the loss belongs there too", got)
		}
		all := log.all()
		if all[1].First || !all[2].First {
			t.Errorf("first flags %v %v", all[1].First, all[2].First)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(log.all()) != 3 {
			t.Errorf("recorded %s", values(t, log.all()))
		}
	})
}

func TestAStragglerOfTheLastConnectionLeavesTheNextItsFirst_S38(t *testing.T) {
	scanning(t, time.Minute, func(c *Channel, log *memoryLog, send func(time.Duration, float64)) {
		send(0, 1)
		send(time.Second, 2) // held
		lose(c)
		time.Sleep(time.Second)
		regain(c)
		time.Sleep(time.Hour) // the IOC is back and silent
		synctest.Wait()
		if got := values(t, log.all()); got != "1 2" {
			t.Fatalf("recorded %s", got)
		}
		send(0, 3)
		all := log.all()
		if got := all[1].marks(t); got != "" || all[1].First {
			t.Errorf("the straggler has markers %q, first %v", got, all[1].First)
		}
		if got := all[2].marks(t); got != "946684801/946684802/false" || !all[2].First {
			t.Errorf("the first sample of the connection has markers %q, first %v", got, all[2].First)
		}
	})
}

func TestScanDoesNotRewriteAnUnchangedTimeStamp_S45(t *testing.T) {
	scanning(t, time.Second, func(c *Channel, log *memoryLog, send func(time.Duration, float64)) {
		send(0, 1)
		at := schema.TimeOf(time.Now())
		lose(c)
		time.Sleep(time.Hour)
		regain(c)
		c.Update(nil, update(t, at, 1))
		send(time.Second, 2)
		all := log.all()
		if got := values(t, all); got != "1 2" {
			t.Fatalf("recorded %s", got)
		}
		if got := all[1].marks(t); got != "946684800/946688400/false" {
			t.Errorf("markers %q", got)
		}
	})
}

func TestScanGoesOnWhenTheIOCsClockIsSetBack_S45(t *testing.T) {
	scanning(t, time.Second, func(c *Channel, log *memoryLog, send func(time.Duration, float64)) {
		c.Update(nil, update(t, schema.TimeOf(time.Now().AddDate(10, 0, 0)), 1))
		for i := range 20 {
			send(100*time.Millisecond, float64(2+i))
		}
		if got := values(t, log.all()); got != "1 2 12" {
			t.Errorf("recorded %s", got)
		}
	})
}

func TestParametersChangeWithoutReconnect(t *testing.T) {
	scanning(t, time.Second, func(c *Channel, log *memoryLog, send func(time.Duration, float64)) {
		send(0, 1)
		send(100*time.Millisecond, 2) // held
		info := scalar(schema.Monitor, 0)
		c.configure(&info)
		send(100*time.Millisecond, 3)
		send(100*time.Millisecond, 4)
		if got := values(t, log.all()); got != "1 2 3 4" {
			t.Errorf("as monitor: %s", got)
		}
		info = scalar(schema.Scan, 10*time.Second)
		info.Generation = 99
		c.configure(&info)
		for i := range 30 {
			send(time.Second, float64(5+i))
		}
		if got := values(t, log.all()); got != "1 2 3 4 14 24 34" {
			t.Errorf("as scan of 10 s: %s", got)
		}
		all := log.all()
		if a, b := all[3].Generation, all[4].Generation; a != 7 || b != 99 {
			t.Errorf("generations %d, %d", a, b)
		}
	})
}

func TestScanOfManyPVsNeedsOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := newTestEngine(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { e.stragglers.run(ctx); close(ended) }()
		const n = 1000
		for i := range n { // periods of 1 to 1000 s, longest first
			c := addChannel(e, scalar(schema.Scan, time.Duration(n-i)*time.Second))
			regain(c)
			c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
			c.Update(nil, update(t, schema.TimeOf(time.Now().Add(time.Millisecond)), 2))
		}
		for seconds := range n + 1 {
			synctest.Wait()
			want := n + int(float64(seconds)/scanJitter)
			if got := len(log.all()); got != min(want, 2*n) {
				t.Fatalf("after %d s: %d samples, want %d", seconds, got, min(want, 2*n))
			}
			time.Sleep(time.Second)
		}
		cancel()
		<-ended
	})
}
