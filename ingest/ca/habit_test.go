package ca

import (
	"testing"
	"time"
	"unsafe"

	"pvlog/schema"
)

// monitor drives one monitor through synthetic time.
type monitor struct {
	t   *testing.T
	c   *Circuit
	now time.Time
	sub uint32
}

func newMonitor(t *testing.T) *monitor {
	c, sub := subscribed(t, DBRDouble, 1)
	m := &monitor{t: t, c: c, now: start, sub: sub}
	c.Began(m.now)
	c.Heard(m.now)
	return m
}

func payloadOf(t testing.TB, at time.Time, severity int16, v float64) []byte {
	t.Helper()
	b, err := AppendTime(nil, DBRTimeDouble, severity, 0, schema.Time{Sec: at.Unix(), Nsec: uint32(at.Nanosecond())}, []float64{v})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// update sends the monitor a value, stamped now.
func (m *monitor) update(v float64) {
	m.t.Helper()
	m.c.Heard(m.now)
	b := payloadOf(m.t, m.now, 0, v)
	h := Header{Command: CmdEventAdd, PayloadSize: uint32(len(b)), DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal, P2: m.sub}
	if e := m.c.Handle(h, b, false); e.Kind != EventUpdate {
		m.t.Fatalf("got %+v", e)
	}
}

// updates sends values at intervals, each larger by one.
func (m *monitor) updates(n int, gap time.Duration) {
	m.t.Helper()
	for i := range n {
		m.update(float64(i))
		m.now = m.now.Add(gap)
	}
}

// pass lets time pass on a circuit where others are alive, and gives the first
// event with the time that it took.
func (m *monitor) pass(limit time.Duration) (Event, time.Duration) {
	m.t.Helper()
	begin := m.now
	for m.now.Sub(begin) < limit {
		m.now = m.now.Add(time.Second)
		m.c.Heard(m.now)
		if events := m.c.Tick(m.now); len(events) > 0 {
			return events[0], m.now.Sub(begin)
		}
	}
	return Event{}, limit
}

// answer answers the verifying read that was sent.
func (m *monitor) answer(stamp time.Time, severity int16, v float64) {
	m.t.Helper()
	out := expectRequests(m.t, m.c, "READ_NOTIFY")
	if out[0].DataType != uint16(DBRTimeDouble) || out[0].Count != 0 || out[0].P1 != testSID {
		m.t.Errorf("read with %+v", out[0])
	}
	b := payloadOf(m.t, stamp, severity, v)
	h := Header{Command: CmdReadNotify, PayloadSize: uint32(len(b)), DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal, P2: out[0].P2}
	if e := m.c.Handle(h, b, false); e.Kind != EventNone {
		m.t.Fatalf("got %+v", e)
	}
}

// expect lets time pass until an event comes, not before a time.
func (m *monitor) expect(kind EventKind, least, most time.Duration) {
	m.t.Helper()
	if e, after := m.pass(most); e.Kind != kind || after < least {
		m.t.Fatalf("got %+v after %v, want %v between %v and %v", e, after, kind, least, most)
	}
}

// TestZombieIsReadThenRenewedThenGivenUp is the whole ladder.
func TestZombieIsReadThenRenewedThenGivenUp(t *testing.T) {
	m := newMonitor(t)
	m.updates(10, 100*time.Millisecond)
	m.expect(EventVerify, 59*time.Second, 80*time.Second)
	m.answer(m.now, 0, 500)
	m.expect(EventRenewed, 4*time.Second, 25*time.Second)
	out := expectRequests(t, m.c, "EVENT_CANCEL", "EVENT_ADD")
	if out[0].P2 != m.sub || out[1].P2 == m.sub {
		t.Errorf("cancelled %d, added %d, had %d", out[0].P2, out[1].P2, m.sub)
	}
	m.sub = out[1].P2
	m.update(600) // its first value, and no more
	m.expect(EventVerify, 59*time.Second, 80*time.Second)
	m.answer(m.now, 0, 1200)
	m.expect(EventStale, 4*time.Second, 25*time.Second)
	// Whoever keeps the circuit is not asked all the time.
	m.expect(EventVerify, 55*time.Minute, 65*time.Minute)
}

func TestRenewedMonitorWithoutAFirstValueIsAZombie(t *testing.T) {
	m := newMonitor(t)
	m.updates(10, time.Second)
	m.expect(EventVerify, 50*time.Second, 80*time.Second)
	m.answer(m.now, 0, 500)
	m.expect(EventRenewed, 4*time.Second, 25*time.Second)
	expectRequests(t, m.c, "EVENT_CANCEL", "EVENT_ADD")
	m.expect(EventVerify, 59*time.Second, 80*time.Second)
	m.answer(m.now, 0, 500)
	m.expect(EventStale, 4*time.Second, 25*time.Second)
}

// TestRenewedMonitorThatWorksIsForgiven: the next time it is only renewed.
func TestRenewedMonitorThatWorksIsForgiven(t *testing.T) {
	m := newMonitor(t)
	for range 3 {
		m.updates(10, time.Second)
		m.expect(EventVerify, 50*time.Second, 30*time.Minute)
		m.answer(m.now, 0, 500)
		m.expect(EventRenewed, 4*time.Second, 25*time.Second)
		m.sub = expectRequests(t, m.c, "EVENT_CANCEL", "EVENT_ADD")[1].P2
	}
}

// TestSilenceThatIsRightIsLeftAlone: each is an answer that explains why no
// update came.
func TestSilenceThatIsRightIsLeftAlone(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(*monitor)
	}{
		{"nothing has processed", func(m *monitor) { m.answer(start.Add(9*time.Second), 0, 9) }},
		{"it processes and does not change", func(m *monitor) { m.answer(m.now, 0, 9) }},
		{"it moves within its deadband", func(m *monitor) { m.answer(m.now, 0, 9.9) }},
		{"its clock was set back", func(m *monitor) { m.answer(start.Add(-time.Hour), 2, 100) }},
		{"it cannot be read", func(m *monitor) {
			id := expectRequests(m.t, m.c, "READ_NOTIFY")[0].P2
			m.c.Handle(Header{Command: CmdReadNotify, DataType: uint16(DBRTimeDouble), P1: StatusGetFail, P2: id}, nil, false)
		}},
		{"the read is not answered", func(m *monitor) { expectRequests(m.t, m.c, "READ_NOTIFY") }},
		{"the update overtook the answer", func(m *monitor) {
			m.answer(m.now, 0, 500)
			m.update(500)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMonitor(t)
			m.updates(10, time.Second)
			m.expect(EventVerify, 50*time.Second, 80*time.Second)
			test.answer(m)
			// As long again as it was silent, at least, and only a read.
			m.expect(EventVerify, 45*time.Second, 3*time.Hour)
		})
	}
}

func TestChangeOfAlarmMustHaveBeenPosted(t *testing.T) {
	m := newMonitor(t)
	m.updates(10, time.Second)
	m.expect(EventVerify, 50*time.Second, 80*time.Second)
	m.answer(m.now, 2, 9)
	m.expect(EventRenewed, 4*time.Second, 25*time.Second)
}

// TestEqualValuesThatWereAllPostedMustComeOn: MDEL or ADEL is -1.
func TestEqualValuesThatWereAllPostedMustComeOn(t *testing.T) {
	m := newMonitor(t)
	for range 10 {
		m.update(3)
		m.now = m.now.Add(time.Second)
	}
	m.expect(EventVerify, 50*time.Second, 80*time.Second)
	m.answer(m.now, 0, 3)
	m.expect(EventRenewed, 4*time.Second, 25*time.Second)
}

// TestHabitIsTwentyTimesTheMeanGap.
func TestHabitIsTwentyTimesTheMeanGap(t *testing.T) {
	m := newMonitor(t)
	m.updates(20, 10*time.Minute)
	m.expect(EventVerify, 185*time.Minute, 201*time.Minute)
}

// TestIdleMonitorsCostOneReadAnHour: what never updates, and what updated in
// the past.
func TestIdleMonitorsCostOneReadAnHour(t *testing.T) {
	m := newMonitor(t)
	m.update(1)
	reads := 0
	for end := m.now.Add(24 * time.Hour); m.now.Before(end); {
		e, _ := m.pass(time.Hour)
		if e.Kind == EventNone {
			continue
		}
		if e.Kind != EventVerify {
			t.Fatalf("got %+v", e)
		}
		m.answer(start, 0, 1)
		reads++
	}
	if reads < 20 || reads > 24 {
		t.Errorf("%d reads in a day", reads)
	}
}

// TestVerifyingIsBoundedAndCanBeTurnedOff: a whole IOC that goes quiet.
func TestVerifyingIsBoundedAndCanBeTurnedOff(t *testing.T) {
	for silence, want := range map[time.Duration]int{0: maxVerifying, -1: 0} {
		c := NewCircuit(CircuitOptions{Silence: silence}, start)
		for cid := range uint32(1000) {
			c.Create(start, cid, "A", MaskLog, nil)
			c.Handle(Header{Command: CmdAccessRights, P1: cid, P2: 3}, nil, false)
			c.Handle(Header{Command: CmdCreateChan, DataType: 6, Count: 1, P1: cid, P2: cid}, nil, false)
		}
		c.Began(start)
		requests(t, c)
		now := start.Add(2 * time.Hour)
		c.Heard(now)
		c.Tick(now)
		if out := requests(t, c); len(out) != want {
			t.Errorf("silence %v: %d reads at once", silence, len(out))
		}
	}
}

// TestGetsOfALostCircuitAreNotVerifyingReads: nobody asked for those.
func TestGetsOfALostCircuitAreNotVerifyingReads(t *testing.T) {
	m := newMonitor(t)
	m.updates(10, time.Second)
	m.expect(EventVerify, 50*time.Second, 80*time.Second)
	if gets := m.c.Gets(); len(gets) != 0 {
		t.Errorf("got %v", gets)
	}
}

func TestUpdatesTakeNoAllocation(t *testing.T) {
	c, sub := subscribed(t, DBRDouble, 1)
	b := payloadOf(t, start, 0, 1)
	h := Header{Command: CmdEventAdd, PayloadSize: uint32(len(b)), DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal, P2: sub}
	now := start
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		c.Heard(now)
		c.Handle(h, b, false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	// One for each monitor: an idle channel is to take less than 1 KiB.
	if size := unsafe.Sizeof(subscription{}) + unsafe.Sizeof(circuitChannel{}); size > 400 {
		t.Errorf("%d bytes for a channel and its monitor", size)
	}
}

func TestRightsThatChangeAreTold(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	for _, step := range []struct {
		rights uint32
		want   EventKind
	}{{3, EventNone}, {2, EventAccess}, {0xFFFFFFF2, EventNone}, {0, EventAccess}, {3, EventAccess}} {
		e := handle(t, c, Header{Command: CmdAccessRights, P1: testCID, P2: step.rights})
		if e.Kind != step.want {
			t.Errorf("rights %x: got %+v", step.rights, e)
		}
		if e.Kind == EventAccess && e.Info.Readable != (step.rights&1 == 1) {
			t.Errorf("rights %x: got %+v", step.rights, e.Info)
		}
	}
	if e := handle(t, c, Header{Command: CmdAccessRights, P1: 999, P2: 3}); e.Kind != EventNone {
		t.Errorf("got %+v", e)
	}
}
