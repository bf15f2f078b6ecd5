package simioc

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// start runs an IOC on a free port until the test ends.
func start(t *testing.T, o Options) *IOC {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	ioc := New(o)
	if err := ioc.Listen(); err != nil {
		t.Fatal(err)
	}
	run(t, ioc)
	return ioc
}

// run runs a listening IOC and gives a function that stops it and waits.
func run(t *testing.T, ioc *IOC) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ioc.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// circuit is a raw client: it sends what it is told and shows what comes.
type circuit struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	cid  uint32
}

// dial opens a circuit and reads the server's VERSION.
func dial(t *testing.T, ioc *IOC) *circuit {
	t.Helper()
	conn, err := net.Dial("tcp", ioc.TCPAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := newCircuit(t, conn)
	c.send(ca.AppendHostName(ca.AppendClientName(ca.AppendVersion(nil), "tester"), "here"))
	if h, _ := c.next(); h.Command != ca.CmdVersion || h.Count != 13 {
		t.Fatalf("the server greets with %+v, want VERSION 13", h)
	}
	return c
}

func newCircuit(t *testing.T, conn net.Conn) *circuit {
	return &circuit{t: t, conn: conn, r: bufio.NewReaderSize(conn, 1<<16)}
}

func (c *circuit) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *circuit) message(h ca.Header, payload ...byte) {
	c.t.Helper()
	c.send(ca.AppendMessage(nil, h, payload))
}

// receive gives the next message or the error that ended the circuit.
func (c *circuit) receive() (ca.Header, []byte, error) {
	b, err := c.r.Peek(ca.HeaderSize)
	if err != nil {
		return ca.Header{}, nil, err
	}
	h, n, err := ca.ParseHeader(b)
	if n == 0 {
		if b, err = c.r.Peek(ca.ExtendedHeaderSize); err == nil {
			h, n, err = ca.ParseHeader(b)
		}
	}
	if err != nil {
		return h, nil, err
	}
	c.r.Discard(n)
	payload := make([]byte, h.PayloadSize)
	_, err = io.ReadFull(c.r, payload)
	return h, payload, err
}

func (c *circuit) next() (ca.Header, []byte) {
	c.t.Helper()
	h, payload, err := c.receive()
	if err != nil {
		c.t.Fatal(err)
	}
	return h, payload
}

// created is the answer to CREATE_CHAN.
type created struct {
	sid, rights, count uint32
	native             ca.DBR
}

func (c *circuit) create(name string) created {
	c.t.Helper()
	c.cid++
	c.send(ca.AppendCreateChan(nil, c.cid, name))
	rights, _ := c.next()
	if rights.Command != ca.CmdAccessRights || rights.P1 != c.cid {
		c.t.Fatalf("%s: first answer to CREATE_CHAN is %+v, want ACCESS_RIGHTS", name, rights)
	}
	h, _ := c.next()
	if h.Command != ca.CmdCreateChan || h.P1 != c.cid {
		c.t.Fatalf("%s: second answer to CREATE_CHAN is %+v", name, h)
	}
	return created{sid: h.P2, rights: rights.P2, native: ca.DBR(h.DataType), count: h.Count}
}

// get reads with READ_NOTIFY.
func (c *circuit) get(sid uint32, d ca.DBR, count uint32) (ca.Header, []byte) {
	c.t.Helper()
	c.send(ca.AppendReadNotify(nil, sid, 77, d, count))
	h, payload := c.next()
	if h.Command != ca.CmdReadNotify || h.P2 != 77 {
		c.t.Fatalf("answer to READ_NOTIFY is %+v", h)
	}
	return h, payload
}

// text reads a channel as one string.
func (c *circuit) text(sid uint32) string {
	c.t.Helper()
	h, payload := c.get(sid, ca.DBRString, 1)
	if h.P1 != ca.StatusNormal {
		c.t.Fatalf("get: %s", ca.StatusName(h.P1))
	}
	return cString(payload)
}

func (c *circuit) subscribe(sid, id uint32, d ca.DBR, count uint32, mask uint16) {
	c.t.Helper()
	c.send(ca.AppendEventAdd(nil, sid, id, d, count, mask))
}

// update gives the next update, which must be for subscription id.
func (c *circuit) update(id uint32) (ca.Header, []byte) {
	c.t.Helper()
	h, payload := c.next()
	if h.Command != ca.CmdEventAdd || h.P2 != id || h.PayloadSize == 0 {
		c.t.Fatalf("got %+v, want an update of subscription %d", h, id)
	}
	return h, payload
}

// sync waits until the server has handled all requests and shows that nothing
// else was sent.
func (c *circuit) sync() {
	c.t.Helper()
	c.message(ca.Header{Command: ca.CmdEcho, P1: 4711})
	if h, _ := c.next(); h.Command != ca.CmdEcho || h.P1 != 4711 {
		c.t.Fatalf("got %+v, want only the ECHO", h)
	}
}

// closed expects the server to end the circuit.
func (c *circuit) closed() {
	c.t.Helper()
	if h, _, err := c.receive(); err == nil {
		c.t.Fatalf("got %+v, want a closed circuit", h)
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		c.t.Fatal("the circuit is still open")
	}
}

// put writes with WRITE_NOTIFY and gives the status.
func (c *circuit) put(sid uint32, d ca.DBR, count uint32, payload ...byte) uint32 {
	c.t.Helper()
	c.message(ca.Header{Command: ca.CmdWriteNotify, DataType: uint16(d), Count: count, P1: sid, P2: 88}, payload...)
	h, _ := c.next()
	if h.Command != ca.CmdWriteNotify || h.P2 != 88 {
		c.t.Fatalf("answer to WRITE_NOTIFY is %+v", h)
	}
	return h.P1
}

// seen is a decoded TIME_DOUBLE.
type seen struct {
	value            float64
	severity, status int16
	time             schema.Time
}

func timeDouble(p []byte) seen {
	return seen{
		value:    math.Float64frombits(binary.BigEndian.Uint64(p[16:])),
		status:   int16(binary.BigEndian.Uint16(p)),
		severity: int16(binary.BigEndian.Uint16(p[2:])),
		time:     schema.Time{Sec: int64(binary.BigEndian.Uint32(p[4:])) + schema.EPICSEpoch, Nsec: binary.BigEndian.Uint32(p[8:])},
	}
}

func double(x float64) []byte { return binary.BigEndian.AppendUint64(nil, math.Float64bits(x)) }
