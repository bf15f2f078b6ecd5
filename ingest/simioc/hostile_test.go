package simioc

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"pvlog/ingest/ca"
)

// script is a connection on which a client says something and reads nothing.
type script struct {
	*bytes.Reader
	written int
}

func (s *script) Write(b []byte) (int, error)      { s.written += len(b); return len(b), nil }
func (*script) Close() error                       { return nil }
func (*script) LocalAddr() net.Addr                { return nil }
func (*script) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (*script) SetDeadline(time.Time) error        { return nil }
func (*script) SetReadDeadline(time.Time) error    { return nil }
func (*script) SetWriteDeadline(t time.Time) error { return nil }

func victim() *IOC {
	return New(Options{Records: []Record{
		scalar("v", 1), {Name: "w", Type: ca.DBRShort, Count: 100}, {Name: "s", Type: ca.DBRString, Value: "text"},
		{Name: "e", Type: ca.DBREnum, Labels: []string{"a", "b"}}, {Name: "b", Type: ca.DBRChar, Count: 50}}})
}

// say lets a client say b to the IOC, and gives the bytes it would have read.
func say(ioc *IOC, b []byte) int {
	conn := &script{Reader: bytes.NewReader(b)}
	ioc.serve(newClient(ioc, conn))
	return conn.written
}

// session is a well-formed session that touches everything.
func session() []byte {
	b := ca.AppendHostName(ca.AppendClientName(ca.AppendVersion(nil), "me"), "here")
	for i, name := range []string{"v", "w", "s", "e", "b", "v.EGU", "s.$", "nope"} {
		b = ca.AppendCreateChan(b, uint32(i), name)
	}
	for sid := range uint32(7) {
		for _, d := range []ca.DBR{0, 6, 14, 20, 31, 34, 37, 38} {
			b = ca.AppendReadNotify(b, sid, 1, d, 0)
			b = ca.AppendEventAdd(b, sid, uint32(d), d, 0, 5)
		}
		b = ca.AppendMessage(b, ca.Header{Command: ca.CmdWrite, DataType: 0, Count: 1, P1: sid}, []byte("1\x00"))
		b = ca.AppendMessage(b, ca.Header{Command: ca.CmdWriteNotify, DataType: 5, Count: 2, P1: sid}, make([]byte, 8))
		b = ca.AppendMessage(b, ca.Header{Command: ca.CmdRead, DataType: 0, Count: 1, P1: sid}, nil)
		b = ca.AppendEventCancel(b, sid, 20, 20, 0)
	}
	b = ca.AppendHeader(b, ca.Header{Command: ca.CmdEventsOff})
	b = ca.AppendSearch(b, 1, "v", ca.DoReply)
	b = ca.AppendHeader(b, ca.Header{Command: ca.CmdEventsOn})
	b = ca.AppendClearChannel(b, 3, 3)
	return ca.AppendEcho(b, 13)
}

// A circuit is a stream: how it is cut into packets changes nothing.
func TestRequestsMayArriveByteByByte(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 3)}})
	c := dial(t, ioc)
	b := ca.AppendCreateChan(nil, 1, "v")
	b = ca.AppendHeader(b, ca.Header{Command: ca.CmdEcho, Count: 70_000}) // extended
	for i := range b {
		c.send(b[i : i+1])
	}
	for _, want := range []uint16{ca.CmdAccessRights, ca.CmdCreateChan, ca.CmdEcho} {
		if h, _ := c.next(); h.Command != want {
			t.Errorf("got %+v, want %s", h, ca.CommandName(want))
		}
	}
}

// Whatever a client says, cut anywhere or damaged anywhere, the server ends
// that circuit at worst, keeps no memory of it and serves others.
func TestHostileClientsLeaveNothingBehind(t *testing.T) {
	good := session()
	ioc := victim()
	if n := say(ioc, good); n < 3000 {
		t.Fatalf("a good session reads %d bytes only", n)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		b := bytes.Clone(good)
		if i%2 == 0 {
			b = b[:random.IntN(len(b))]
		}
		for range 1 + random.IntN(4) {
			b[random.IntN(max(len(b), 1))%max(len(b), 1)] = byte(random.Uint32())
			if len(b) == 0 {
				break
			}
		}
		say(ioc, b)
	}
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"half a header":       good[:7],
		"huge size, no data":  {0, 15, 255, 255, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 248, 255, 255, 255, 255},
		"a megabyte promised": append([]byte{0, 4, 255, 255, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 255, 248, 0, 0, 0, 1}, make([]byte, 100)...),
	} {
		if n := say(ioc, b); n > 1000 {
			t.Errorf("%s: %d bytes answered", name, n)
		}
	}
	for _, r := range ioc.records {
		variables := []*variable{r.main}
		for _, v := range r.fields {
			variables = append(variables, v)
		}
		for _, v := range variables {
			if len(v.subs) != 0 {
				t.Errorf("%s keeps %d subscriptions of clients that are gone", v.name, len(v.subs))
			}
		}
	}
	if got := ioc.Stats().Clients; got != 0 {
		t.Errorf("%d clients are left", got)
	}
}

func TestGarbageClosesOnlyItsCircuit(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 3)}})
	good := dial(t, ioc)
	sid := good.create("v").sid
	bad := dial(t, ioc)
	bad.conn.Write(bytes.Repeat([]byte("garbage "), 4000)) // cut short by the server, at its choice
	io.Copy(io.Discard, bad.r)                             // until the server closes
	if got := good.text(sid); got != "3" {
		t.Errorf("v is %q", got)
	}
}

func FuzzRequests(f *testing.F) {
	f.Add(session())
	f.Add([]byte{0, 15, 255, 255, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 248, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		ioc := victim()
		say(ioc, b)
		for _, r := range ioc.records {
			if len(r.main.subs) != 0 {
				t.Errorf("%s keeps subscriptions", r.name)
			}
		}
	})
}

func FuzzConversions(f *testing.F) {
	f.Add(uint16(20), uint16(6), uint32(3), []byte("1.5"))
	f.Add(uint16(0), uint16(3), uint32(0), []byte("On"))
	f.Fuzz(func(t *testing.T, to, from uint16, n uint32, src []byte) {
		d, native := ca.DBR(to%39), ca.DBR(from%7)
		n %= 5000
		src = src[:len(src)/native.ElementSize()*native.ElementSize()]
		m := metadata{class: "fuzz"}
		m.EnumStrings = []string{"Off", "On"}
		s := snapshot{native: native, max: 100, value: value{n: len(src) / native.ElementSize(), data: src}, meta: m.onWire()}
		b, err := s.appendMessage([]byte("before"), ca.Header{}, d, n)
		if err != nil {
			if string(b) != "before" {
				t.Errorf("a failed conversion leaves %q", b)
			}
			return
		}
		h, payload, size, err := ca.ParseMessage(b[6:])
		if err != nil || size != len(b)-6 || h.Count != n || int64(len(payload)) < d.Size(n) {
			t.Errorf("%v from %v, %d elements: %+v of %d bytes (%v)", d, native, n, h, size, err)
		}
	})
}
