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
