package ca

import "testing"

// TestServersOfEveryMinorVersion claims and monitors on servers of all minor
// versions, each as it has to be (rows 1 and 38; libca's behaviour).
func TestServersOfEveryMinorVersion(t *testing.T) {
	for minor := range uint16(MinorVersion + 1) {
		const sid = 77
		old := minor < 4
		r := Reply{CID: testCID, Minor: minor, Old: old, SID: sid, Native: DBRDouble, Count: 5}
		c := NewCircuit(CircuitOptions{Minor: minor, Old: old}, start)
		c.CreateFound(start, testCID, "A", MaskLog, "owner", r)
		greeting := requests(t, c)
		claim := greeting[len(greeting)-1]
		var e Event
		switch {
		case minor < 2: // no answer to the claim; the subscription follows at once
			claim = greeting[len(greeting)-2]
			if !c.Deadline().Before(start.Add(1)) {
				t.Errorf("minor %d: nobody looks for the connection", minor)
			}
			if events := c.Tick(start); len(events) == 1 {
				e = events[0]
			}
		default:
			handle(t, c, Header{Command: CmdAccessRights, P1: testCID, P2: 3})
			answer := Header{Command: CmdCreateChan, DataType: uint16(DBRDouble), Count: 5, P1: testCID, P2: sid}
			if old {
				answer.P2 = 0
			}
			e = handle(t, c, answer)
			greeting = append(greeting, requests(t, c)...)
		}
		if e.Kind != EventConnected || !e.Info.Readable || !e.Info.Writable || e.Info.Count != 5 {
			t.Fatalf("minor %d: got %+v", minor, e)
		}
		if claim.Command != CmdCreateChan || (claim.P1 == sid) != old || (claim.PayloadSize == 0) != old {
			t.Errorf("minor %d: claimed by %+v", minor, claim)
		}
		add := greeting[len(greeting)-1]
		count := uint32(0)
		if minor < MinDynamicCount {
			count = 5
		}
		if add.Command != CmdEventAdd || add.P1 != sid || add.Count != count {
			t.Errorf("minor %d: subscribed by %+v", minor, add)
		}
		h := Header{Command: CmdEventAdd, DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal, P2: add.P2}
		if minor < 1 {
			h.P1 = testCID // the field had another meaning
		}
		if e := handle(t, c, h, payloadOf(t, start, 0, 1)...); e.Kind != EventUpdate || e.Status != StatusNormal || e.Payload == nil {
			t.Errorf("minor %d: an update gave %+v", minor, e)
		}
		if identified := len(greeting) > 2 && greeting[1].Command == CmdClientName; identified != (minor >= 1) {
			t.Errorf("minor %d: told who it is: %v", minor, identified)
		}
	}
}

func TestServersWithoutLargeArraysAreAskedForNone(t *testing.T) {
	c := NewCircuit(CircuitOptions{Minor: 8}, start)
	c.Create(start, testCID, "A", MaskLog, "owner")
	requests(t, c)
	handle(t, c, Header{Command: CmdCreateChan, DataType: uint16(DBRDouble), Count: 1 << 31, P1: testCID, P2: 7})
	if out := expectRequests(t, c, "EVENT_ADD"); out[0].Count != 2046 { // 16 KiB
		t.Errorf("asked for %d elements", out[0].Count)
	}
}

func TestAServerThatTurnsOutNewerIsClaimedByName(t *testing.T) {
	c := NewCircuit(CircuitOptions{Old: true}, start)
	handle(t, c, Header{Command: CmdVersion, Count: 13})
	requests(t, c)
	c.CreateFound(start, testCID, "A", 0, "owner", Reply{Old: true, SID: 9})
	if out := expectRequests(t, c, "CREATE_CHAN"); out[0].PayloadSize == 0 || out[0].P1 != testCID {
		t.Errorf("claimed by %+v", out[0])
	}
}
