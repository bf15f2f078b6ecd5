package caclient_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// valued is a message with a double stamped some seconds after the others.
func valued(command uint16, id uint32, after int64, v float64) []byte {
	at := stamp
	at.Sec += after
	payload, err := ca.AppendTime(nil, ca.DBRTimeDouble, 0, 0, schema.Time{Sec: at.Sec, Nsec: at.Nsec}, []float64{v})
	if err != nil {
		panic(err)
	}
	return ca.AppendMessage(nil, ca.Header{
		Command: command, DataType: uint16(ca.DBRTimeDouble), Count: 1, P1: ca.StatusNormal, P2: id,
	}, payload)
}

// TestZombieIsRenewedAndThenGetsANewCircuit: shown connected, nothing comes,
// and it can be read.
func TestZombieIsRenewedAndThenGetsANewCircuit(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Silence: 100 * time.Millisecond, Registerer: reg}, s.addr())
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	for i := range 8 {
		c.send(valued(ca.CmdEventAdd, add.P2, int64(i), float64(i)))
		take(t, r.updates, "update")
	}
	read := c.expect(ca.CmdReadNotify)
	if read.DataType != add.DataType || read.Count != 0 {
		t.Errorf("verified with %+v", read.Header)
	}
	c.send(valued(ca.CmdReadNotify, read.P2, 100, 100))
	if cancel := c.expect(ca.CmdEventCancel); cancel.P2 != add.P2 {
		t.Errorf("cancelled %+v", cancel.Header)
	}
	add = c.expect(ca.CmdEventAdd)
	c.send(valued(ca.CmdEventAdd, add.P2, 100, 100)) // the present value, and nothing more
	if v := r.value(t); v != 100.0 {
		t.Errorf("got %v", v)
	}
	read = c.expect(ca.CmdReadNotify)
	c.send(valued(ca.CmdReadNotify, read.P2, 300, 300))
	c.ended()
	take(t, r.disconnected, "disconnection")
	take(t, s.conns, "new circuit").accept(t, 1, r)
	for name, want := range map[string]float64{
		"verifying_reads_total": 2, "renewed_monitors_total": 1, "stale_circuits_total": 1,
	} {
		if n := counted(t, reg, name); n != want {
			t.Errorf("%s is %v", name, n)
		}
	}
	if n := len(r.updates); n != 0 {
		t.Errorf("verifying reads became %d updates", n)
	}
}

// TestCircuitIsNotGivenUpAgainAndAgain for one monitor that does not work:
// others would lose their samples each time.
func TestCircuitIsNotGivenUpAgainAndAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Silence: 50 * time.Millisecond, Registerer: reg}, s.addr())
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	circuits := 0
	for circuits < 2 {
		for i := range 8 {
			c.send(valued(ca.CmdEventAdd, add.P2, int64(i), float64(i)))
			take(t, r.updates, "update")
		}
		for n := int64(1); n <= 2; n++ {
			read := c.expect(ca.CmdReadNotify)
			c.send(valued(ca.CmdReadNotify, read.P2, 100*n, 100*float64(n)))
			if n == 1 {
				c.expect(ca.CmdEventCancel)
				c.expect(ca.CmdEventAdd)
			}
		}
		if circuits++; circuits == 1 {
			c.ended()
			c = take(t, s.conns, "new circuit")
			take(t, r.disconnected, "disconnection")
			_, add = c.accept(t, 1, r)
		}
	}
	// The second time it goes on with reads.
	c.expect(ca.CmdReadNotify)
	if n := counted(t, reg, "stale_circuits_total"); n != 1 || len(r.disconnected) != 0 {
		t.Errorf("%v circuits were given up", n)
	}
}

// secured is a handler that hears of access rights.
type secured struct {
	*recorder
	changes chan caclient.Info
}

func (s *secured) AccessChanged(_ *caclient.Channel, info caclient.Info) { s.changes <- info }

// TestAccessThatIsDeniedAndGrantedAgain keeps channel and monitor.
func TestAccessThatIsDeniedAndGrantedAgain(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	h := &secured{newRecorder(), make(chan caclient.Info, 10)}
	ch := client.Open("A", h)
	c := take(t, s.conns, "circuit")
	c.send(greeting())
	create, add := c.accept(t, 0, h.recorder)
	rights := func(n uint32) []byte {
		return ca.AppendHeader(nil, ca.Header{Command: ca.CmdAccessRights, P1: create.P1, P2: n})
	}
	c.send(rights(0))
	if info := take(t, h.changes, "change"); info.Readable || info.Writable {
		t.Errorf("got %+v", info)
	}
	c.send(ca.AppendMessage(nil, ca.Header{Command: ca.CmdEventAdd, DataType: 20, Count: 1, P1: ca.StatusNoReadAccess, P2: add.P2}, make([]byte, 24)))
	if u := take(t, h.updates, "failure"); u.Status != ca.StatusNoReadAccess || u.Payload != nil {
		t.Errorf("got %+v", u)
	}
	if info, ok := ch.Info(); !ok || info.Readable {
		t.Errorf("got %+v, %v", info, ok)
	}
	c.send(append(rights(3), updated(add.P2, 2)...))
	if info := take(t, h.changes, "change"); !info.Readable || !info.Writable {
		t.Errorf("got %+v", info)
	}
	if v := h.value(t); v != 2.0 || len(h.disconnected) != 0 || len(c.messages) != 0 {
		t.Errorf("got %v", v)
	}
}
