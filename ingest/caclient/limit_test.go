package caclient_test

import (
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// TestMaxArrayBytesBoundsAValue: a larger one is passed over as it arrives.
func TestMaxArrayBytesBoundsAValue(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{MaxArrayBytes: 20_000, MulticastTTL: 3}, s.addr())
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	for _, size := range []int{20_016, 24_000} {
		n := uint32(size-16) / 8
		c.send(ca.AppendMessage(nil, ca.Header{
			Command: ca.CmdEventAdd, DataType: uint16(ca.DBRTimeDouble), Count: n, P1: ca.StatusNormal, P2: add.P2,
		}, make([]byte, size)))
		u := take(t, r.updates, "update")
		if fits := size <= 20_016; (u.Status == ca.StatusNormal) != fits || fits && len(u.Payload) != size {
			t.Errorf("%d bytes: status %s, payload of %d", size, ca.StatusName(u.Status), len(u.Payload))
		}
	}
	c.send(updated(add.P2, 3))
	if v := r.value(t); v != 3.0 {
		t.Errorf("got %v", v)
	}
}
