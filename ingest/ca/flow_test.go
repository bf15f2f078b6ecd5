package ca

import (
	"testing"
	"time"
)

func TestFlowControlIsOffByDefault(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	for range 100 {
		c.Read(start, true)
	}
	expectRequests(t, c)
}

func TestFlowControlPausesAServerThatIsTooFast(t *testing.T) {
	c, id := subscribed(t, DBRDouble, 1)
	c.options.FlowControl = true
	update := func() time.Duration {
		h := Header{Command: CmdEventAdd, DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal, P2: id}
		return handle(t, c, h, payloadOf(t, start, 0, 1)...).Paused
	}
	for range fullReads - 1 {
		c.Read(start, true)
	}
	c.Read(start, false) // not ten in a row
	for range fullReads - 1 {
		c.Read(start, true)
	}
	expectRequests(t, c)
	c.Read(start, true)
	c.Read(start.Add(time.Second), true)
	expectRequests(t, c, "EVENTS_OFF")
	if d := update(); d != 0 {
		t.Errorf("an update from before the pause is marked by %v", d)
	}
	if d := c.Read(start.Add(3*time.Second), false); d != 3*time.Second {
		t.Errorf("the pause took %v", d)
	}
	expectRequests(t, c, "EVENTS_ON")
	if d := update(); d != 3*time.Second {
		t.Errorf("the first update after the pause is marked by %v", d)
	}
	if d := update(); d != 0 {
		t.Errorf("the second one by %v", d)
	}
}

func TestFlowControlMarksNoMonitorThatBeganAfterThePause(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	c.options.FlowControl = true
	for range fullReads {
		c.Read(start, true)
	}
	c.Read(start.Add(time.Second), false)
	requests(t, c)
	c.Subscribe(testCID, MaskLog)
	id := expectRequests(t, c, "EVENT_ADD")[0].P2
	h := Header{Command: CmdEventAdd, DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal, P2: id}
	if e := handle(t, c, h, payloadOf(t, start, 0, 1)...); e.Kind != EventUpdate || e.Paused != 0 {
		t.Errorf("got %+v", e)
	}
}
