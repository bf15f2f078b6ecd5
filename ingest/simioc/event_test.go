package simioc

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

const masks = ca.MaskValue | ca.MaskLog | ca.MaskAlarm

func scalar(name string, x float64) Record { return Record{Name: name, Type: ca.DBRDouble, Value: x} }

func mustPut(t *testing.T, ioc *IOC, name string, x any, options ...PutOption) {
	t.Helper()
	if err := ioc.Put(name, x, options...); err != nil {
		t.Fatal(err)
	}
}

func TestPutArrivesExactly(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 0)}})
	c := dial(t, ioc)
	c.subscribe(c.create("v").sid, 5, ca.DBRTimeDouble, 0, ca.MaskLog)
	c.update(5)
	want := []seen{
		{1.5, 0, 0, schema.Time{Sec: 1_700_000_000, Nsec: 999_999_999}},
		{-2.5, 3, 17, schema.Time{Sec: 1_600_000_000, Nsec: 1}},              // earlier
		{-2.5, 1, 4, schema.Time{Sec: 1_600_000_000, Nsec: 1}},               // equal stamp
		{math.Inf(-1), 2, 3, schema.Time{Sec: schema.EPICSEpoch}},            // never processed
		{5e-324, 0, 0, schema.Time{Sec: 1_700_000_001, Nsec: 4_294_967_295}}, // illegal nanoseconds
		{0, 0, 0, schema.Time{Sec: schema.EPICSEpoch + math.MaxUint32}},
	}
	for _, s := range want {
		mustPut(t, ioc, "v", s.value, WithTime(s.time), WithAlarm(s.severity, s.status))
	}
	for i, s := range want {
		if _, p := c.update(5); timeDouble(p) != s {
			t.Errorf("update %d is %+v, want %+v", i, timeDouble(p), s)
		}
	}
	for _, x := range []float64{math.NaN(), math.Copysign(0, -1), math.Float64frombits(0x7FF4000000000001)} {
		mustPut(t, ioc, "v", x)
		_, p := c.update(5)
		if got := binary.BigEndian.Uint64(p[16:]); got != math.Float64bits(x) {
			t.Errorf("the bits of %v arrive as %x", x, got)
		}
	}
}

func TestPutRefusesWhatTheRecordCannotHold(t *testing.T) {
	ioc := New(Options{Records: []Record{scalar("v", 0), {Name: "s", Type: ca.DBRString}, {Name: "w", Type: ca.DBRShort, Count: 3}, {Name: "e", Type: ca.DBREnum}}})
	bad := []struct {
		name    string
		x       any
		options []PutOption
	}{
		{"nope", 1.0, nil}, {"v", "text", nil}, {"v", []float64{1, 2}, nil}, {"v", []float64{}, nil}, {"v", int16(1), nil}, {"v", nil, nil},
		{"s", "12345678901234567890123456789012345678901", nil}, {"s", 1, nil},
		{"w", []int16{1, 2, 3, 4}, nil}, {"w", 40_000, nil}, {"e", -1, nil}, {"e", struct{}{}, nil},
		{"v", 1.0, []PutOption{WithTime(schema.Time{Sec: schema.EPICSEpoch - 1})}},
		{"v", 1.0, []PutOption{WithTime(schema.Time{Sec: schema.EPICSEpoch + 1<<32})}},
	}
	for _, b := range bad {
		if err := ioc.Put(b.name, b.x, b.options...); err == nil {
			t.Errorf("Put(%q, %v) succeeds", b.name, b.x)
		}
	}
}

func TestClockStampsStrictlyIncrease(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 0)}})
	c := dial(t, ioc)
	c.subscribe(c.create("v").sid, 1, ca.DBRTimeDouble, 0, ca.MaskValue)
	_, p := c.update(1)
	last := timeDouble(p).time
	for i := range 500 {
		mustPut(t, ioc, "v", float64(i))
	}
	for range 500 {
		_, p := c.update(1)
		now := timeDouble(p).time
		if !now.After(last) {
			t.Fatalf("%v follows %v", now, last)
		}
		last = now
	}
}

func TestFirstUpdateIsThePresentStateWhateverTheMask(t *testing.T) {
	at := schema.Time{Sec: 1_000_000_000, Nsec: 7}
	ioc := start(t, Options{Records: []Record{scalar("v", 0), {Name: "never", Type: ca.DBRDouble}}})
	mustPut(t, ioc, "v", 4.0, WithTime(at), WithAlarm(1, 6))
	c := dial(t, ioc)
	c.subscribe(c.create("v").sid, 1, ca.DBRTimeDouble, 0, ca.MaskProperty)
	if _, p := c.update(1); timeDouble(p) != (seen{4, 1, 6, at}) {
		t.Errorf("first update %+v", timeDouble(p))
	}
	c.subscribe(c.create("never").sid, 2, ca.DBRTimeDouble, 0, ca.MaskLog)
	if _, p := c.update(2); timeDouble(p) != (seen{0, 3, 17, schema.Time{Sec: schema.EPICSEpoch}}) {
		t.Errorf("never processed: %+v", timeDouble(p))
	}
}

func TestMasksChooseUpdates(t *testing.T) {
	limits := Limits{HOPR: 100, HIHI: 90, HIGH: 80, LOW: 20, LOLO: 10, Alarm: true}
	ioc := start(t, Options{Records: []Record{{Name: "v", Type: ca.DBRDouble, RTYP: "ao", Value: 50.0, Limits: limits, MDEL: 5, ADEL: 10}}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	names := map[uint32]string{1: "VALUE", 2: "LOG", 4: "ALARM", 8: "PROPERTY"}
	for id := range names {
		c.subscribe(sid, id, ca.DBRTimeDouble, 0, uint16(id))
		c.update(id)
	}
	steps := []struct {
		value  float64
		status int16
		want   uint32 // masks that see it
	}{
		{54, 0, 0}, {56, 0, 1}, {61.5, 0, 1 | 2}, {61.5, 0, 0}, {82, 4, 1 | 2 | 4}, {84, 4, 0},
		{91, 3, 1 | 4}, {15, 6, 1 | 2 | 4}, {10, 5, 4}, {50, 0, 1 | 2 | 4}, {math.NaN(), 17, 1 | 2 | 4}, {50, 0, 1 | 2 | 4},
	}
	for i, s := range steps {
		c.message(ca.Header{Command: ca.CmdWrite, DataType: uint16(ca.DBRDouble), Count: 1, P1: sid}, double(s.value)...)
		c.message(ca.Header{Command: ca.CmdEcho})
		var saw uint32
		for {
			h, p := c.next()
			if h.Command == ca.CmdEcho {
				break
			}
			saw |= h.P2
			if got := timeDouble(p); got.status != s.status {
				t.Errorf("step %d: status %d, want %d", i, got.status, s.status)
			}
		}
		if saw != s.want {
			t.Errorf("step %d (%v): masks %04b, want %04b", i, s.value, saw, s.want)
		}
	}
	egu := c.create("v.EGU").sid
	c.message(ca.Header{Command: ca.CmdWrite, DataType: 0, Count: 1, P1: egu}, []byte("mA\x00")...)
	c.update(8)
	c.sync()
	mustPut(t, ioc, "v", 50.0, WithMask(ca.MaskAlarm))
	c.update(4)
	c.sync()
}

func TestUpdatesHaveTheCountAsked(t *testing.T) {
	ioc := start(t, Options{Records: []Record{{Name: "w", Type: ca.DBRShort, Count: 5}}})
	c := dial(t, ioc)
	sid := c.create("w").sid
	c.subscribe(sid, 1, ca.DBRTimeShort, 0, masks)
	c.subscribe(sid, 2, ca.DBRTimeShort, 3, masks)
	c.subscribe(sid, 3, ca.DBRTimeShort, 9, masks)
	for n := range 6 {
		xs := []int16{1, -2, 3, -4, 5}[:n]
		if n > 0 {
			mustPut(t, ioc, "w", xs)
		}
		for range 3 {
			h, p := c.next()
			want := map[uint32]int{1: n, 2: 3, 3: 9}[h.P2]
			if int(h.Count) != want {
				t.Fatalf("subscription %d, %d elements: count %d, want %d", h.P2, n, h.Count, want)
			}
			for i := range want {
				var x int16
				if i < n {
					x = xs[i]
				}
				if got := int16(binary.BigEndian.Uint16(p[14+2*i:])); got != x {
					t.Errorf("subscription %d, %d elements: element %d is %d, want %d", h.P2, n, i, got, x)
				}
			}
		}
	}
}

func TestCancelIsAcknowledgedAndFinal(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	c.subscribe(sid, 1, ca.DBRTimeDouble, 0, masks)
	c.subscribe(sid, 2, ca.DBRTimeDouble, 4, masks)
	c.update(1)
	c.update(2)
	c.send(ca.AppendEventCancel(nil, sid, 2, ca.DBRTimeDouble, 4))
	if h, _ := c.next(); h != (ca.Header{Command: ca.CmdEventAdd, DataType: 20, Count: 4, P1: sid, P2: 2}) {
		t.Errorf("acknowledgement %+v", h)
	}
	mustPut(t, ioc, "v", 2.0)
	c.update(1)
	c.sync()
	c.send(ca.AppendClearChannel(nil, sid, 1))
	if h, _ := c.next(); h != (ca.Header{Command: ca.CmdClearChannel, P1: sid, P2: 1}) {
		t.Errorf("acknowledgement %+v", h)
	}
	mustPut(t, ioc, "v", 3.0)
	c.sync()
	c.send(ca.AppendReadNotify(nil, sid, 1, ca.DBRDouble, 1))
	if h, _ := c.next(); h.Command != ca.CmdError {
		t.Errorf("a cleared channel answers %+v", h)
	}
	c.closed()
}

func TestEventsOffKeepsTheNewest(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 0), scalar("w", 0)}})
	c := dial(t, ioc)
	c.subscribe(c.create("v").sid, 1, ca.DBRTimeDouble, 0, masks)
	c.update(1)
	w := c.create("w").sid
	c.message(ca.Header{Command: ca.CmdEventsOff})
	c.subscribe(w, 2, ca.DBRTimeDouble, 0, masks) // its first update waits too
	c.sync()
	for i := range 20 {
		mustPut(t, ioc, "v", float64(i))
	}
	c.sync()
	c.message(ca.Header{Command: ca.CmdEventsOn})
	if _, p := c.update(2); timeDouble(p).value != 0 {
		t.Errorf("first update of w: %+v", timeDouble(p))
	}
	if _, p := c.update(1); timeDouble(p).value != 19 {
		t.Errorf("update after EVENTS_ON: %+v, want 19", timeDouble(p))
	}
	mustPut(t, ioc, "v", 20.0)
	if _, p := c.update(1); timeDouble(p).value != 20 {
		t.Errorf("update %+v, want 20", timeDouble(p))
	}
	if got := ioc.Stats().Overwritten; got != 19 {
		t.Errorf("%d updates overwritten, want 19", got)
	}
	c.message(ca.Header{Command: ca.CmdEventsOff})
	c.sync()
	mustPut(t, ioc, "v", 21.0)
	c.send(ca.AppendEventCancel(nil, 0, 1, ca.DBRTimeDouble, 0))
	c.next()
	c.message(ca.Header{Command: ca.CmdEventsOn})
	c.sync() // a cancelled subscription's held update is gone
}

// A client that does not read loses the middle of its updates, and nobody else
// notices.
func TestSlowClientKeepsTheOldestAndTheNewest(t *testing.T) {
	const puts = 3000
	wave := make([]float64, 1000)
	ioc := start(t, Options{QueueBytes: 64 << 10, Records: []Record{{Name: "w", Type: ca.DBRDouble, Count: len(wave)}, scalar("v", 0)}})
	slow, quick := dial(t, ioc), dial(t, ioc)
	slow.subscribe(slow.create("w").sid, 1, ca.DBRTimeDouble, 0, masks)
	slow.update(1)
	quick.subscribe(quick.create("v").sid, 2, ca.DBRTimeDouble, 0, masks)
	quick.update(2)
	for i := range puts {
		wave[0] = float64(i)
		mustPut(t, ioc, "w", wave)
		mustPut(t, ioc, "v", float64(i))
		if _, p := quick.update(2); timeDouble(p).value != float64(i) {
			t.Fatalf("the quick client got %v, want %d", timeDouble(p).value, i)
		}
	}
	last, n := -1.0, 0
	for last != puts-1 {
		_, p := slow.update(1)
		got := timeDouble(p).value
		if got <= last {
			t.Fatalf("%v follows %v", got, last)
		}
		if n == 0 && got != 0 {
			t.Errorf("the oldest update is %v, want 0", got)
		}
		last = got
		n++
	}
	if got := ioc.Stats().Overwritten; got == 0 || n+int(got) != puts {
		t.Errorf("%d updates arrived and %d were overwritten, together want %d", n, got, puts)
	}
}

// A client that asks and does not read is not asked again, and is cut off.
func TestDeadClientIsClosed(t *testing.T) {
	gone := make(chan string, 10)
	ioc := start(t, Options{QueueBytes: 64 << 10, SendTimeout: 100 * time.Millisecond, Logger: logTo(gone),
		Records: []Record{{Name: "w", Type: ca.DBRDouble, Count: 100_000}, scalar("v", 0)}})
	dead, alive := dial(t, ioc), dial(t, ioc)
	sid := dead.create("w").sid
	go func() {
		for {
			if _, err := dead.conn.Write(ca.AppendReadNotify(nil, sid, 1, ca.DBRDouble, 100_000)); err != nil {
				return
			}
		}
	}()
	for message := range gone {
		if message == "circuit ended while sending" {
			break
		}
	}
	alive.create("v")
}
