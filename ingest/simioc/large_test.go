package simioc

import (
	"encoding/binary"
	"math"
	"testing"

	"pvlog/ingest/ca"
)

// A value of 64 MiB is put, read and monitored; a client that asks for more
// gets TOLARGE.
func TestLargestValueIsServedAndPut(t *testing.T) {
	const n = maxValueBytes / 8
	ioc := start(t, Options{Records: []Record{{Name: "w", Type: ca.DBRDouble, Count: n}}})
	c := dial(t, ioc)
	ch := c.create("w")
	if ch.count != n {
		t.Fatalf("w has %d elements", ch.count)
	}
	payload := make([]byte, maxValueBytes)
	binary.BigEndian.PutUint64(payload[maxValueBytes-8:], math.Float64bits(42))
	go c.conn.Write(ca.AppendMessage(nil, ca.Header{Command: ca.CmdWriteNotify, DataType: 6, Count: n, P1: ch.sid, P2: 88}, payload))
	if h, _ := c.next(); h.Command != ca.CmdWriteNotify || h.P1 != ca.StatusNormal {
		t.Fatalf("answer to the put is %+v", h)
	}
	h, p := c.get(ch.sid, ca.DBRCtrlDouble, 0)
	if last := math.Float64frombits(binary.BigEndian.Uint64(p[len(p)-8:])); h.Count != n || last != 42 {
		t.Errorf("%d elements, the last is %v", h.Count, last)
	}
	c.subscribe(ch.sid, 1, ca.DBRTimeDouble, 0, masks)
	if h, _ := c.update(1); h.Count != n {
		t.Errorf("update of %d elements", h.Count)
	}
	c.send(ca.AppendReadNotify(nil, ch.sid, 1, ca.DBRDouble, n+maxHeadBytes))
	if h, _ := c.next(); h.Command != ca.CmdError || h.P2 != ca.StatusTooLarge {
		t.Errorf("more than the largest value: %+v", h)
	}
}

// What waits for a client that does not read is one large value beside
// QueueBytes, however many are asked.
func TestLargeValuesDoNotPileUp(t *testing.T) {
	const size = 1 << 20
	ioc := New(Options{QueueBytes: 64 << 10, Records: []Record{{Name: "w", Type: ca.DBRChar, Count: size, Value: make([]byte, size)}}})
	c := newClient(ioc, &script{})
	v := ioc.find("w")
	var w wakes
	for id := range uint32(50) {
		s := &subscription{client: c, channel: &channel{variable: v}, id: id, dbr: ca.DBRChar, count: size, mask: masks}
		v.subscribe(s, &w)
	}
	for range 5 {
		if b, _ := c.take(nil); len(b) == 0 || len(b) > size+ioc.opts.QueueBytes {
			t.Errorf("%d bytes are to be sent at once", len(b))
		}
	}
}
