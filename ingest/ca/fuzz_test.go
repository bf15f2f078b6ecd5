package ca

import (
	"errors"
	"testing"
	"time"
)

// referee is a server that closes the circuit for what rsrv closes it for, as
// far as the requests themselves show it.
type referee struct {
	t    testing.TB
	off  bool            // the server gave an id twice: nobody can tell what it knows
	sids map[uint32]bool // alive
	subs map[uint32]bool // EVENT_ADDs that were not cancelled
	once map[uint32]bool // ever given
}

func newReferee(t testing.TB) *referee {
	return &referee{t: t, sids: map[uint32]bool{}, subs: map[uint32]bool{}, once: map[uint32]bool{}}
}

// said notes what the server says.
func (r *referee) said(h Header) {
	if h.Command != CmdCreateChan {
		return
	}
	if r.once[h.P2] {
		r.off = true
	}
	r.sids[h.P2], r.once[h.P2] = true, true
}

// judge looks at the circuit's requests.
func (r *referee) judge(c *Circuit) {
	for _, h := range requests(r.t, c) {
		switch h.Command {
		case CmdClearChannel, CmdEventAdd, CmdEventCancel, CmdReadNotify, CmdWriteNotify, CmdWrite:
			if !r.sids[h.P1] && !r.off {
				r.t.Fatalf("%s names channel %d, which the server does not have", CommandName(h.Command), h.P1)
			}
		}
		switch h.Command {
		case CmdClearChannel:
			delete(r.sids, h.P1)
		case CmdEventAdd:
			if r.subs[h.P2] {
				r.t.Fatalf("subscription %d is added twice", h.P2)
			}
			r.subs[h.P2] = true
		case CmdEventCancel:
			if !r.subs[h.P2] {
				r.t.Fatalf("subscription %d is cancelled and there is none", h.P2)
			}
			delete(r.subs, h.P2)
		}
		if h.Count >= extendedMark && c.Minor() < minorLargeArrays {
			r.t.Fatalf("%s with an extended header for a server that knows none", CommandName(h.Command))
		}
	}
}

// FuzzCircuitStates has a client do anything, in any order, while a server says
// anything: no panic, no request that costs the circuit, every event's owner a
// channel that is known, and silence ends it all in bounded time.
func FuzzCircuitStates(f *testing.F) {
	var all []byte
	for _, b := range wire(f) {
		all = append(all, b...)
	}
	for _, b := range append(wire(f), all) {
		f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, b, uint16(13), true)
		f.Add([]byte{3, 0, 6, 0, 4, 0, 9, 8, 0, 1}, b, uint16(8), false)
	}
	f.Fuzz(func(t *testing.T, script, stream []byte, minor uint16, flowControl bool) {
		c := NewCircuit(CircuitOptions{Minor: minor % 14, Old: minor > 100, FlowControl: flowControl}, start)
		r, now := newReferee(t), start
		s := Splitter{Limit: 1 << 16}
		s.Filled(copy(s.Buffer(), stream))
		if len(script) > 300 {
			script = script[:300]
		}
		for i, op := range script {
			cid := uint32(1 + op>>4%4)
			switch op % 12 {
			case 0, 10, 11:
				h, p, tooLarge, ok, err := s.Next()
				if err != nil {
					return
				}
				if ok {
					c.Heard(now)
					r.said(h)
					_ = c.Handle(h, p, tooLarge)
				}
			case 1:
				if _, used := c.channels[cid]; !used {
					c.Create(now, cid, "A", uint16(op)&7, "owner")
				}
			case 2:
				c.Subscribe(cid, MaskLog)
			case 3:
				c.WatchProperties(cid)
			case 4:
				now = now.Add(time.Duration(i) * time.Second)
			case 5:
				c.Unsubscribe(cid)
			case 6:
				if err := c.Get(now, cid, DBRCtrlDouble, 0, "get"); err != nil && !errors.Is(err, ErrNotConnected) {
					t.Fatal(err)
				}
			case 7:
				c.Clear(cid)
			case 8:
				_ = c.Put(now, cid, []float64{1}, op > 127, "put")
			case 9:
				c.Read(now, op > 60)
				c.Beacon(now, Verdict(op>>4%4))
				c.IgnoreProperties(cid)
			}
			for _, e := range c.Tick(now) {
				if e.Kind == EventEnded && e.Owner != "owner" {
					t.Fatalf("ended %v", e.Owner)
				}
			}
			r.judge(c)
		}
		for silent := now; c.State() != CircuitLost; {
			silent = silent.Add(time.Second)
			if silent.Sub(now) > 3*time.Minute {
				t.Fatalf("after minutes of silence the circuit is %v", c.State())
			}
			c.Tick(silent)
		}
	})
}
