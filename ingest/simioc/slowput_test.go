package simioc

import (
	"testing"
	"time"

	"pvlog/ingest/ca"
)

// slow is a record whose processing takes d.
func slow(d time.Duration) Record {
	return Record{Name: "v", Type: ca.DBRDouble, Value: 1.0, Process: d}
}

func (c *circuit) writeNotify(sid, id uint32, x float64) {
	c.t.Helper()
	c.message(ca.Header{Command: ca.CmdWriteNotify, DataType: 6, Count: 1, P1: sid, P2: id}, double(x)...)
}

func TestWriteNotifyIsAnsweredWhenProcessingEnds(t *testing.T) {
	const takes = 200 * time.Millisecond
	ioc := start(t, Options{Records: []Record{slow(takes)}})
	c, other := dial(t, ioc), dial(t, ioc)
	sid := c.create("v").sid
	c.subscribe(sid, 1, ca.DBRTimeDouble, 1, masks)
	c.update(1)
	begin := time.Now()
	c.writeNotify(sid, 88, 2)
	if got := c.text(sid); got != "2" {
		t.Errorf("while it is processed v reads %q", got)
	}
	if got := other.text(other.create("v").sid); got != "2" {
		t.Errorf("another client reads %q", got)
	}
	if _, p := c.update(1); timeDouble(p).value != 2 || time.Since(begin) < takes {
		t.Errorf("update %+v after %v", timeDouble(p), time.Since(begin))
	}
	if h, _ := c.next(); h.Command != ca.CmdWriteNotify || h.P1 != ca.StatusNormal || h.P2 != 88 {
		t.Errorf("got %+v", h)
	}
	if status := c.put(sid, ca.DBRString, 1, padded("x")...); status != ca.StatusPutFail {
		t.Errorf("what cannot be converted: %s", ca.StatusName(status))
	}
	c.message(ca.Header{Command: ca.CmdWrite, DataType: 6, Count: 1, P1: sid}, double(3)...)
	c.message(ca.Header{Command: ca.CmdWrite, DataType: 6, Count: 1, P1: sid}, double(4)...)
	if _, p := c.update(1); timeDouble(p).value != 4 {
		t.Errorf("got %+v, want the value at the end", timeDouble(p))
	}
}

func TestWriteNotifiesOfTwoChannelsQueueAtTheRecord(t *testing.T) {
	ioc := start(t, Options{Records: []Record{slow(100 * time.Millisecond)}})
	c := dial(t, ioc)
	a, b := c.create("v").sid, c.create("v").sid
	c.writeNotify(a, 1, 2)
	c.writeNotify(b, 2, 3)
	if got := c.text(a); got != "2" {
		t.Errorf("v reads %q while the second put waits", got)
	}
	for id := uint32(1); id <= 2; id++ {
		if h, _ := c.next(); h.P2 != id || h.P1 != ca.StatusNormal {
			t.Errorf("got %+v, want the answer to put %d", h, id)
		}
	}
	if got := c.text(a); got != "3" {
		t.Errorf("v reads %q", got)
	}
}

func TestSecondWriteNotifyBlocksItsCircuitOnly(t *testing.T) {
	ioc := New(Options{Listen: "127.0.0.1:0", Records: []Record{slow(time.Hour), scalar("w", 5)}})
	ioc.putWait = 200 * time.Millisecond
	must(t, ioc.Listen())
	run(t, ioc)
	c, other := dial(t, ioc), dial(t, ioc)
	sid := c.create("v").sid
	begin := time.Now()
	c.writeNotify(sid, 1, 2)
	c.writeNotify(sid, 2, 3)
	c.send(ca.AppendReadNotify(nil, sid, 3, ca.DBRDouble, 1))
	if got := other.text(other.create("w").sid); got != "5" {
		t.Errorf("another circuit reads %q", got)
	}
	must(t, ioc.SetAccess("v", ca.AccessRead)) // nor are others held up who look at the circuit
	if h, _ := c.next(); h.Command != ca.CmdAccessRights {
		t.Errorf("got %+v", h)
	}
	if h, _ := c.next(); h.Command != ca.CmdWriteNotify || h.P2 != 1 || h.P1 != ca.StatusPutInProgress || time.Since(begin) < ioc.putWait {
		t.Errorf("got %+v after %v, want PUTCBINPROG to the first", h, time.Since(begin))
	}
	if h, _ := c.next(); h.Command != ca.CmdReadNotify || h.P2 != 3 {
		t.Errorf("got %+v, want the READ_NOTIFY", h)
	}
	c.send(ca.AppendClearChannel(nil, sid, c.cid)) // gives the second up
	if h, _ := c.next(); h.Command != ca.CmdClearChannel {
		t.Errorf("got %+v", h)
	}
}
