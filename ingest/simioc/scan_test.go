package simioc

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

func ringOf(rate float64, n int) *ring {
	r := newRing(rate)
	r.records = make([]*record, n)
	return r
}

// Every record comes once a period, at even distances, and the load is spread.
func TestRingSpreadsItsRecords(t *testing.T) {
	for _, tt := range []struct {
		rate float64
		n    int
	}{{10, 2000}, {1, 100_000}, {1000, 1}, {1000, 50}, {0.1, 3}, {3, 7}} {
		r := ringOf(tt.rate, tt.n)
		period := time.Duration(float64(time.Second) / tt.rate)
		first := make([]time.Duration, tt.n)
		batch, largest := 0, 0
		last := time.Duration(-1)
		for i := range 3 * tt.n {
			due := r.due()
			r.turn++
			if due < last {
				t.Fatalf("%v: processing %d is due at %v, before %v", tt, i, due, last)
			}
			if due != last {
				batch = 0
			}
			batch++
			largest = max(largest, batch)
			last = due
			if k := i % tt.n; i < tt.n {
				first[k] = due
			} else if want := first[k] + time.Duration(i/tt.n)*period; due != want {
				t.Fatalf("%v: processing %d is due at %v, want %v", tt, i, due, want)
			}
		}
		if limit := int(int64(tt.n)*int64(r.tick)/int64(period)) + 1; largest > limit {
			t.Errorf("%v: %d records in one tick, want at most %d", tt, largest, limit)
		}
	}
}

func TestRingSkipsWholeRoundsAfterAStall(t *testing.T) {
	r := ringOf(10, 4)
	r.turn = 6
	if r.skip(r.due()+900*time.Millisecond) != 0 {
		t.Error("less than a second late is caught up with, not skipped")
	}
	at := r.due() + time.Minute
	if got := r.skip(at); got != 600*4 || r.turn != 6+600*4 || r.due() > at {
		t.Errorf("skipped %d, turn %d, due %v", got, r.turn, r.due())
	}
}

// Updates of a periodic record lose nothing and their stamps are even.
func TestPeriodicRecordsCount(t *testing.T) {
	ioc := start(t, Options{Prefix: "x:", Records: append(Demo(), Load(2, 500)...)})
	c := dial(t, ioc)
	rate, load := c.create("x:rate:1000").sid, c.create("x:load:000002").sid
	c.subscribe(rate, 1, ca.DBRTimeDouble, 0, ca.MaskLog|ca.MaskAlarm)
	c.subscribe(load, 2, ca.DBRTimeDouble, 0, ca.MaskLog|ca.MaskAlarm)
	last := map[uint32]seen{}
	for n := map[uint32]int{}; n[1] < 300 || n[2] < 150; {
		h, p := c.next()
		s, before := timeDouble(p), last[h.P2]
		if n[h.P2] > 0 && (s.value != before.value+1 || !s.time.After(before.time)) {
			t.Fatalf("subscription %d: %+v follows %+v", h.P2, s, before)
		}
		last[h.P2] = s
		n[h.P2]++
	}
	if now := schema.TimeOf(time.Now()); last[1].time.After(now) || now.Sec-last[1].time.Sec > 60 {
		t.Errorf("stamp %v at %v", last[1].time, now)
	}
}

// No periodic record is ever found undefined.
func TestPeriodicRecordsAreProcessedBeforeTheFirstClient(t *testing.T) {
	ioc := start(t, Options{Records: Demo()})
	c := dial(t, ioc)
	for i, name := range ioc.Names() {
		if Demo()[i].Rate == 0 {
			continue
		}
		_, p := c.get(c.create(name).sid, ca.DBRTimeString, 1)
		if status := binary.BigEndian.Uint16(p); status == statusUDF || binary.BigEndian.Uint32(p[4:]) == 0 {
			t.Errorf("%s: status %d, seconds %d", name, status, binary.BigEndian.Uint32(p[4:]))
		}
	}
}

// Every record of the demo can hold what it generates, and the alarm record
// passes all its limits.
func TestDemoGeneratesLegalValues(t *testing.T) {
	ioc := New(Options{Records: Demo()})
	var w wakes
	statuses, lengths := map[int16]bool{}, map[int]bool{}
	for _, r := range ioc.records {
		for n := range 300 {
			before := r.main.cur
			if err := r.process(int64(n+1)*1e9, &w); err != nil {
				t.Fatal(err)
			}
			switch r.name {
			case "alarm":
				statuses[r.main.cur.status] = true
			case "wave:variable", "wave:empty":
				lengths[r.main.cur.value.n] = true
			case "enum", "string", "counter", "sine", "ramp", "noise":
				if r.main.cur.value.sameAs(&before.value) && n > 0 {
					t.Errorf("%s does not change in processing %d", r.name, n)
				}
			}
		}
	}
	for _, status := range []int16{statusNone, statusHIHI, statusHIGH, statusLOW, statusLOLO} {
		if !statuses[status] {
			t.Errorf("the alarm record never has status %d", status)
		}
	}
	if !lengths[0] || !lengths[64] || len(lengths) < 65 {
		t.Errorf("%d lengths of variable arrays", len(lengths))
	}
}

func TestGeneratorErrorIsAnAlarm(t *testing.T) {
	messages := make(chan string, 10)
	ioc := start(t, Options{Logger: logTo(messages), Records: []Record{
		{Name: "v", Type: ca.DBRDouble, Value: 4.0, Rate: 1000, Generate: func(uint64, time.Time) any { return "text" }}}})
	for m := range messages {
		if m == "record cannot hold its value" {
			break
		}
	}
	c := dial(t, ioc)
	_, p := c.get(c.create("v").sid, ca.DBRTimeDouble, 1)
	if s := timeDouble(p); s.value != 4 || s.severity != severityInvalid || s.status != statusSoft {
		t.Errorf("state %+v", s)
	}
}

// The load generator allocates nothing per update.
func TestLoadAllocatesNothing(t *testing.T) {
	ioc := New(Options{Records: Load(1, 10)})
	r := ioc.records[0]
	c := &client{ioc: ioc, wake: make(chan struct{}, 1)}
	var w wakes
	s := &subscription{client: c, id: 1, dbr: ca.DBRTimeDouble, mask: ca.MaskLog}
	r.main.subscribe(s, &w)
	c.out = make([]byte, 0, 1<<20)
	clock := time.Now().UnixNano()
	allocations := testing.AllocsPerRun(1000, func() {
		clock += 1e6
		if err := r.process(clock, &w); err != nil {
			t.Fatal(err)
		}
		w.flush()
		c.dirty = false
	})
	if allocations != 0 {
		t.Errorf("%v allocations per update", allocations)
	}
}

func TestLargeArraysUseTheExtendedHeader(t *testing.T) {
	wave := make([]float64, 20_000)
	for i := range wave {
		wave[i] = float64(i)
	}
	ioc := start(t, Options{Records: []Record{{Name: "w", Type: ca.DBRDouble, Count: len(wave)}, {Name: "b", Type: ca.DBRChar, Count: 70_000}}})
	c := dial(t, ioc)
	ch := c.create("w")
	c.subscribe(ch.sid, 1, ca.DBRTimeDouble, 0, masks)
	if h, _ := c.update(1); ch.count != 20_000 || h.Count != 0 || h.PayloadSize != 16 {
		t.Errorf("empty: %+v", h)
	}
	mustPut(t, ioc, "w", wave)
	h, p := c.update(1)
	if h.Count != 20_000 || h.PayloadSize != 160_016 {
		t.Fatalf("full: %+v", h)
	}
	for i := range wave {
		if got := math.Float64frombits(binary.BigEndian.Uint64(p[16+8*i:])); got != wave[i] {
			t.Fatalf("element %d is %v", i, got)
		}
	}
	if ch := c.create("b"); ch.count != 70_000 {
		t.Errorf("a count of 70,000 arrives as %d", ch.count)
	}
	c.create("w")
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdCreateChan, P1: 9, P2: 8, PayloadSize: 8}))
	c.send([]byte("w\x00\x00\x00\x00\x00\x00\x00"))
	c.next()
	old, _ := c.next()
	c.send(ca.AppendReadNotify(nil, old.P2, 1, ca.DBRDouble, 20_000))
	if h, _ := c.next(); h.Command != ca.CmdError || h.P2 != ca.Status16KArrayClient {
		t.Errorf("a client of minor version 8 gets %+v", h)
	}
}
