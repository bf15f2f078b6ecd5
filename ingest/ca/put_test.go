package ca

import (
	"errors"
	"testing"
	"time"
)

func TestPutWithCompletionEndsWithItsAnswer(t *testing.T) {
	c := connected(t, DBRDouble, 4)
	if err := c.Put(start, testCID, []string{"1.5", "2"}, true, "put"); err != nil {
		t.Fatal(err)
	}
	out := expectRequests(t, c, "WRITE_NOTIFY")
	if h := out[0]; h.DataType != uint16(DBRString) || h.Count != 2 || h.PayloadSize != 80 || h.P1 != testSID {
		t.Errorf("sent %+v", h)
	}
	e := handle(t, c, Header{Command: CmdWriteNotify, Count: 2, P1: StatusPutFail, P2: out[0].P2})
	if e.Kind != EventGet || e.Owner != "put" || e.Status != StatusPutFail || e.Err != nil {
		t.Errorf("got %+v", e)
	}
	if e := handle(t, c, Header{Command: CmdWriteNotify, P1: StatusNormal, P2: out[0].P2}); e.Kind != EventNone {
		t.Errorf("a second answer: %+v", e)
	}
}

func TestPutWithoutCompletionEndsWhenTheServerHasTakenIt(t *testing.T) {
	for name, read := range map[string]uint32{"readable": StatusNormal, "write only": StatusNoReadAccess} {
		c := connected(t, DBRDouble, 1)
		if err := c.Put(start, testCID, []float64{2.5}, false, "put"); err != nil {
			t.Fatal(err)
		}
		out := expectRequests(t, c, "WRITE", "READ_NOTIFY")
		if out[0].P2 != testCID || out[0].P1 != testSID || out[0].PayloadSize != 8 {
			t.Errorf("sent %+v", out[0])
		}
		e := handle(t, c, Header{Command: CmdReadNotify, DataType: uint16(DBRDouble), Count: 1, P1: read, P2: out[1].P2}, make([]byte, 8)...)
		if e.Kind != EventGet || e.Owner != "put" || e.Status != StatusNormal || len(e.Payload) != 0 {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

func TestPutThatTheServerRefusesFailsOnce(t *testing.T) {
	for _, complete := range []bool{false, true} {
		c := connected(t, DBRDouble, 1)
		if err := c.Put(start, testCID, []float64{1}, complete, "put"); err != nil {
			t.Fatal(err)
		}
		request := requests(t, c)
		refusal := AppendError(nil, testCID, StatusNoWriteAccess, request[0], "not you")
		h, payload, _, err := ParseMessage(refusal)
		if err != nil {
			t.Fatal(err)
		}
		e := c.Handle(h, payload, false)
		if e.Kind != EventGet || e.Owner != "put" || e.Status != StatusNoWriteAccess || e.Text != "not you" {
			t.Errorf("complete %v: got %+v", complete, e)
		}
		late := request[len(request)-1]
		if e := handle(t, c, Header{Command: late.Command, DataType: uint16(DBRDouble), Count: 1, P1: StatusNormal, P2: late.P2}, make([]byte, 8)...); e.Kind != EventNone {
			t.Errorf("complete %v: the answer behind it: %+v", complete, e)
		}
		if e := c.Handle(h, payload, false); e.Kind != EventFailure {
			t.Errorf("complete %v: refused again: %+v", complete, e)
		}
	}
}

func TestPutExpiresLikeAGet(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	if err := c.Put(start, testCID, []float64{1}, true, "put"); err != nil {
		t.Fatal(err)
	}
	events := c.Tick(start.Add(10 * time.Second))
	if len(events) == 0 || events[0].Owner != "put" || !errors.Is(events[0].Err, ErrGetTimeout) {
		t.Errorf("got %+v", events)
	}
}

// putComplete asks for a put with completion, named by its value.
func putComplete(t *testing.T, c *Circuit, now time.Time, v float64) {
	t.Helper()
	if err := c.Put(now, testCID, []float64{v}, true, v); err != nil {
		t.Fatalf("put %v: %v", v, err)
	}
}

// TestRow20ASecondPutWaitsForTheFirst: rsrv reads nothing of a circuit while a
// channel has two WRITE_NOTIFY.
func TestRow20ASecondPutWaitsForTheFirst(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	putComplete(t, c, start, 1)
	first := expectRequests(t, c, "WRITE_NOTIFY")[0]
	putComplete(t, c, start, 2)
	if err := c.Put(start, testCID, []float64{3}, false, 3.0); err != nil {
		t.Fatal(err)
	}
	putComplete(t, c, start, 4)
	expectRequests(t, c)
	if err := c.Get(start, testCID, DBRDouble, 1, "get"); err != nil {
		t.Fatal(err)
	}
	expectRequests(t, c, "READ_NOTIFY") // does not wait
	if e := handle(t, c, Header{Command: CmdWriteNotify, P1: StatusNormal, P2: first.P2}); e.Owner != 1.0 {
		t.Errorf("got %+v", e)
	}
	second := expectRequests(t, c, "WRITE_NOTIFY")[0]
	refusal := AppendError(nil, testCID, StatusPutFail, second, "no")
	h, payload, _, err := ParseMessage(refusal)
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Handle(h, payload, false); e.Owner != 2.0 || e.Status != StatusPutFail {
		t.Errorf("got %+v", e)
	}
	rest := expectRequests(t, c, "WRITE", "READ_NOTIFY", "WRITE_NOTIFY")
	if e := handle(t, c, Header{Command: CmdWriteNotify, P1: StatusNormal, P2: rest[2].P2}); e.Owner != 4.0 {
		t.Errorf("got %+v", e)
	}
	putComplete(t, c, start, 5)
	expectRequests(t, c, "WRITE_NOTIFY")
}

// TestAPutThatTimedOutStillHoldsTheNext: the server is still at it. What waited
// too long itself is never sent.
func TestAPutThatTimedOutStillHoldsTheNext(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	putComplete(t, c, start, 1)
	first := expectRequests(t, c, "WRITE_NOTIFY")[0]
	putComplete(t, c, start.Add(time.Second), 2)
	c.Tick(start.Add(10 * time.Second))
	requests(t, c)
	putComplete(t, c, start.Add(10*time.Second), 3)
	if events := c.Tick(start.Add(11 * time.Second)); len(events) == 0 || events[0].Owner != 2.0 || !errors.Is(events[0].Err, ErrGetTimeout) {
		t.Errorf("got %+v", events)
	}
	expectRequests(t, c)
	if e := handle(t, c, Header{Command: CmdWriteNotify, P1: StatusNormal, P2: first.P2}); e.Kind != EventNone {
		t.Errorf("late: %+v", e)
	}
	third := expectRequests(t, c, "WRITE_NOTIFY")[0]
	if e := handle(t, c, Header{Command: CmdWriteNotify, P1: StatusNormal, P2: third.P2}); e.Owner != 3.0 {
		t.Errorf("got %+v", e)
	}
}

func TestPutsThatWaitAreBounded(t *testing.T) {
	c := connected(t, DBRDouble, maxHeldBytes)
	for v := range 1 + maxHeldPuts {
		putComplete(t, c, start, float64(v))
	}
	if err := c.Put(start, testCID, []float64{1}, true, nil); !errors.Is(err, ErrPutsWait) {
		t.Errorf("got %v", err)
	}
	c.Tick(start.Add(10 * time.Second)) // those that waited too long give their place back
	putComplete(t, c, start.Add(10*time.Second), 1)
	if err := c.Put(start.Add(10*time.Second), testCID, make([]float64, maxHeldBytes/8), true, nil); !errors.Is(err, ErrPutsWait) {
		t.Errorf("got %v", err)
	}
}

// TestAnEndedChannelSendsNoPut: its sid means nothing any more.
func TestAnEndedChannelSendsNoPut(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	putComplete(t, c, start, 1)
	putComplete(t, c, start, 2)
	first := requests(t, c)[0]
	handle(t, c, Header{Command: CmdServerDisconnect, P1: testCID})
	handle(t, c, Header{Command: CmdWriteNotify, P1: StatusNormal, P2: first.P2})
	expectRequests(t, c)
	if len(c.writes) != 0 {
		t.Errorf("%d writes are remembered", len(c.writes))
	}
}

func TestAnAnswerOfTheWrongKindEndsNoPut(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	if err := c.Get(start, testCID, DBRDouble, 1, "get"); err != nil {
		t.Fatal(err)
	}
	id := requests(t, c)[0].P2
	if e := handle(t, c, Header{Command: CmdWriteNotify, P1: StatusNormal, P2: id}); e.Kind != EventRejected {
		t.Errorf("got %+v", e)
	}
	if e := handle(t, c, Header{Command: CmdReadNotify, DataType: uint16(DBRDouble), Count: 1, P1: StatusNormal, P2: id}, make([]byte, 8)...); e.Owner != "get" {
		t.Errorf("the get is lost: %+v", e)
	}
}

func TestPutsThatWouldCostTheCircuitAreNotSent(t *testing.T) {
	old := connected(t, DBRDouble, 10_000)
	old.minor = 8
	readOnly := connected(t, DBRDouble, 1)
	handle(t, readOnly, Header{Command: CmdAccessRights, P1: testCID, P2: AccessRead})
	for name, c := range map[string]struct {
		circuit *Circuit
		cid     uint32
		values  any
	}{
		"no channel":        {connected(t, DBRDouble, 1), 99, []float64{1}},
		"no type":           {connected(t, DBRDouble, 1), testCID, 1.5},
		"no element":        {connected(t, DBRDouble, 1), testCID, []float64{}},
		"too many elements": {connected(t, DBRDouble, 1), testCID, []float64{1, 2}},
		"too large for old": {old, testCID, make([]float64, 5000)},
		"no write access":   {readOnly, testCID, []float64{1}},
	} {
		if err := c.circuit.Put(start, c.cid, c.values, true, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		if out := requests(t, c.circuit); len(out) != 0 {
			t.Errorf("%s: sent %v", name, commands(out))
		}
	}
}
