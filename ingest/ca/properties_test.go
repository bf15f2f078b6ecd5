package ca

import "testing"

func TestPropertiesAreASubscriptionOfTheirOwn(t *testing.T) {
	c, _ := subscribed(t, DBRDouble, 100)
	c.WatchProperties(testCID)
	c.WatchProperties(testCID)
	out := expectRequests(t, c, "EVENT_ADD")
	if out[0].DataType != uint16(DBRCtrlDouble) || out[0].Count != 1 || out[0].P1 != testSID {
		t.Fatalf("asked %+v", out[0])
	}
	payload, err := AppendDBR(nil, DBRCtrlDouble, Properties{Metadata: Metadata{Units: "mm", Precision: 3}}, []float64{1})
	if err != nil {
		t.Fatal(err)
	}
	h := Header{Command: CmdEventAdd, DataType: uint16(DBRCtrlDouble), Count: 1, P1: StatusNormal, P2: out[0].P2}
	e := handle(t, c, h, payload...)
	if e.Kind != EventProperties || e.Owner != "owner" {
		t.Fatalf("got %+v", e)
	}
	if m, err := DecodeCtrl(e.Type, e.Count, e.Payload); err != nil || m.Units != "mm" || m.Precision != 3 {
		t.Errorf("got %+v, %v", m, err)
	}
	if e := handle(t, c, h, payload[:8]...); e.Kind != EventRejected {
		t.Errorf("a cut one gave %+v", e)
	}
	h.P1 = StatusNoReadAccess
	if e := handle(t, c, h, payload...); e.Kind != EventNone {
		t.Errorf("denied reading gave %+v: the monitor tells it", e)
	}
	c.IgnoreProperties(testCID)
	expectRequests(t, c, "EVENT_CANCEL")
	h.P1 = StatusNormal
	if e := handle(t, c, h, payload...); e.Kind != EventNone {
		t.Errorf("after the end came %+v", e)
	}
}

func TestPropertiesAreNotSuspectedOfSilence(t *testing.T) {
	c := connected(t, DBREnum, 1)
	c.WatchProperties(testCID)
	expectRequests(t, c, "EVENT_ADD")
	now := start
	for range 100 {
		now = now.Add(c.options.LongSilence)
		c.Heard(now)
		for _, e := range c.Tick(now) {
			t.Fatalf("got %+v", e)
		}
	}
}

func TestPropertiesAreAskedForWithTheClaim(t *testing.T) {
	c := NewCircuit(CircuitOptions{}, start)
	c.Create(start, testCID, "A", MaskLog, "owner")
	c.WatchProperties(testCID)
	requests(t, c)
	handle(t, c, Header{Command: CmdCreateChan, DataType: uint16(DBRLong), Count: 1, P1: testCID, P2: 7})
	out := expectRequests(t, c, "EVENT_ADD", "EVENT_ADD")
	if out[0].DataType != uint16(DBRCtrlLong) || out[1].DataType != uint16(DBRTimeLong) {
		t.Errorf("asked %+v", out)
	}
	c.Clear(testCID)
	expectRequests(t, c, "CLEAR_CHANNEL")
	if len(c.subs) > 0 {
		t.Errorf("%d subscriptions are left", len(c.subs))
	}
}

func TestStringsHaveNoProperties(t *testing.T) {
	c := connected(t, DBRString, 1)
	c.WatchProperties(testCID)
	expectRequests(t, c)
}
