package ca

import "testing"

// TestUpdateIsHandleForGoodValues: the short way takes what the long one takes
// for a value, leaves the same behind, and nothing else.
func TestUpdateIsHandleForGoodValues(t *testing.T) {
	payload, _ := encodeTime(t, DBRTimeDouble, []float64{4.5})
	good := Header{Command: CmdEventAdd, PayloadSize: uint32(len(payload)), DataType: uint16(DBRTimeDouble), Count: 1, P1: StatusNormal}
	for name, change := range map[string]func(h *Header, payload *[]byte, tooLarge *bool){
		"good":                  func(*Header, *[]byte, *bool) {},
		"another subscription":  func(h *Header, _ *[]byte, _ *bool) { h.P2++ },
		"a failure":             func(h *Header, _ *[]byte, _ *bool) { h.P1 = StatusGetFail },
		"another type":          func(h *Header, _ *[]byte, _ *bool) { h.DataType = uint16(DBRTimeFloat) },
		"a type that is none":   func(h *Header, _ *[]byte, _ *bool) { h.DataType = 999 },
		"more than there is":    func(h *Header, _ *[]byte, _ *bool) { h.Count = 1 << 31 },
		"an acknowledgement":    func(h *Header, p *[]byte, _ *bool) { h.PayloadSize, *p = 0, nil },
		"too large to be taken": func(_ *Header, p *[]byte, tooLarge *bool) { *p, *tooLarge = nil, true },
		"a get":                 func(h *Header, _ *[]byte, _ *bool) { h.Command = CmdReadNotify },
	} {
		c, id := subscribed(t, DBRDouble, 1)
		twin, _ := subscribed(t, DBRDouble, 1)
		h, p, tooLarge := good, payload, false
		h.P2 = id
		change(&h, &p, &tooLarge)
		before := *c.subs[id].habit
		owner, ok := c.Update(h, p, tooLarge)
		e := twin.Handle(h, p, tooLarge)
		if want := e.Kind == EventUpdate && e.Status == StatusNormal; ok != want || ok && owner != e.Owner {
			t.Errorf("%s: %v of %v, want %v: %+v", name, ok, owner, want, e)
		}
		if ok && *c.subs[id].habit != *twin.subs[id].habit || !ok && *c.subs[id].habit != before {
			t.Errorf("%s: the habit is %+v, with Handle %+v", name, *c.subs[id].habit, *twin.subs[id].habit)
		}
	}
}
