package caclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// take waits for the next value of a channel.
func take[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

// server is a CA server that says what its test tells it to.
type server struct {
	t        testing.TB
	udp      *net.UDPConn
	tcp      net.Listener
	conns    chan *conn
	searches chan search
	wg       sync.WaitGroup
	deaf     atomic.Bool // reads nothing of the circuits

	mu     sync.Mutex
	served []*conn
	closed bool
}

// search is a name asked for over UDP.
type search struct {
	cid  uint32
	name string
	from *net.UDPAddr
}

// newServer listens for UDP on a free port; answered says which names it
// answers for by itself, nil for none.
func newServer(t testing.TB, answered func(name string) bool) *server {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, udp: udp, tcp: tcp, conns: make(chan *conn, 100), searches: make(chan search, 100_000)}
	s.wg.Go(func() { s.receive(answered) })
	s.wg.Go(s.accept)
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		s.mu.Lock()
		s.closed = true
		for _, c := range s.served {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *server) addr() string { return s.udp.LocalAddr().String() }

func (s *server) port() uint16 { return uint16(s.tcp.Addr().(*net.TCPAddr).Port) }

func (s *server) receive(answered func(string) bool) {
	buf := make([]byte, 65536)
	for {
		n, from, err := s.udp.ReadFromUDP(buf)
		if err != nil {
			return
		}
		var reply []byte
		for b := buf[:n]; len(b) > 0; {
			h, payload, n, err := ca.ParseMessage(b)
			if err != nil || n == 0 {
				s.t.Errorf("search datagram: %v", err)
				break
			}
			b = b[n:]
			if h.Command != ca.CmdSearch {
				continue
			}
			name := ca.Text(payload)
			select {
			case s.searches <- search{h.P1, name, from}:
			default:
			}
			if answered != nil && answered(name) {
				reply = ca.AppendSearchReply(reply, h.P1, s.port(), ca.AddressOfSender)
			}
		}
		if len(reply) > 0 {
			s.udp.WriteToUDP(ca.AppendDatagramVersion(nil, 1), from) // a datagram of VERSION alone is legal
			s.udp.WriteToUDP(reply, from)
		}
	}
}

func (s *server) accept() {
	for {
		c, err := s.tcp.Accept()
		if err != nil {
			return
		}
		served := &conn{t: s.t, Conn: c, messages: make(chan message, 100_000)}
		s.mu.Lock()
		s.served = append(s.served, served)
		if s.closed {
			c.Close()
		}
		s.mu.Unlock()
		if !s.deaf.Load() {
			s.wg.Go(served.read)
		}
		s.conns <- served
	}
}

// conn is the server's end of a circuit.
type conn struct {
	t testing.TB
	net.Conn
	messages chan message // closed when the client ends
}

type message struct {
	ca.Header
	payload []byte
}

func (c *conn) read() {
	defer close(c.messages)
	var s ca.Splitter
	for {
		n, err := c.Conn.Read(s.Buffer())
		s.Filled(n)
		for {
			h, payload, _, ok, parseErr := s.Next()
			if parseErr != nil {
				c.t.Errorf("the client sent %v", parseErr)
				return
			}
			if !ok {
				break
			}
			c.messages <- message{h, append([]byte(nil), payload...)}
		}
		if err != nil {
			return
		}
	}
}

// expect gives the next message, which must be of a command. The greeting is
// passed over.
func (c *conn) expect(command uint16) message {
	c.t.Helper()
	for {
		m := take(c.t, c.messages, ca.CommandName(command))
		switch m.Command {
		case command:
			return m
		case ca.CmdVersion, ca.CmdClientName, ca.CmdHostName:
		default:
			c.t.Fatalf("the client sent %s, want %s", ca.CommandName(m.Command), ca.CommandName(command))
		}
	}
}

// ended waits until the client closes the circuit.
func (c *conn) ended() {
	c.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case _, ok := <-c.messages:
			if !ok {
				return
			}
		case <-timeout:
			c.t.Fatal("the client keeps the circuit")
		}
	}
}

func (c *conn) send(b []byte) {
	c.t.Helper()
	if _, err := c.Conn.Write(b); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		c.t.Logf("send: %v", err)
	}
}

func greeting() []byte { return ca.AppendVersion(nil) }

// claimed answers a CREATE_CHAN.
func claimed(cid, sid uint32, native ca.DBR, count uint32) []byte {
	b := ca.AppendHeader(nil, ca.Header{Command: ca.CmdAccessRights, P1: cid, P2: ca.AccessRead | ca.AccessWrite})
	return ca.AppendHeader(b, ca.Header{Command: ca.CmdCreateChan, DataType: uint16(native), Count: count, P1: cid, P2: sid})
}

var stamp = schema.Time{Sec: 1704164645, Nsec: 500_000_000}

// updated is an update of a double.
func updated(subid uint32, v float64) []byte {
	payload, err := ca.AppendTime(nil, ca.DBRTimeDouble, 0, 0, stamp, []float64{v})
	if err != nil {
		panic(err)
	}
	return ca.AppendMessage(nil, ca.Header{
		Command: ca.CmdEventAdd, DataType: uint16(ca.DBRTimeDouble), Count: 1, P1: ca.StatusNormal, P2: subid,
	}, payload)
}

// recorder is a handler that keeps what it hears and subscribes.
type recorder struct {
	connected    chan caclient.Info
	disconnected chan error
	updates      chan caclient.Update
	onUpdate     func(*caclient.Channel)
	silent       bool // does not subscribe
}

func newRecorder() *recorder {
	return &recorder{
		connected:    make(chan caclient.Info, 1000),
		disconnected: make(chan error, 1000),
		updates:      make(chan caclient.Update, 10_000),
	}
}

func (r *recorder) Connected(ch *caclient.Channel, info caclient.Info) {
	if !r.silent {
		ch.Subscribe(ca.MaskLog | ca.MaskAlarm)
	}
	r.connected <- info
}

func (r *recorder) Disconnected(_ *caclient.Channel, cause error) { r.disconnected <- cause }

func (r *recorder) Update(ch *caclient.Channel, u caclient.Update) {
	u.Payload = append([]byte(nil), u.Payload...)
	if r.onUpdate != nil {
		r.onUpdate(ch)
	}
	r.updates <- u
}

// value waits for an update and decodes it.
func (r *recorder) value(t testing.TB) any {
	t.Helper()
	u := take(t, r.updates, "update")
	event, s, err := ca.DecodeTime(nil, u.Type, u.Count, false, u.Payload)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := schema.DecodeSample(s.Type, s.Year, event)
	if err != nil {
		t.Fatal(err)
	}
	return sample.Value
}

// run starts a client that searches at addresses; it ends with the test.
func run(t testing.TB, o caclient.Options, addrs ...string) *caclient.Client {
	t.Helper()
	no := false
	o.AutoAddrList, o.AddrList = &no, addrs
	if o.RepeaterPort == 0 {
		o.RepeaterPort, o.Repeater = freeUDPPort(t), &no // the host's beacons are not for tests
	}
	c := caclient.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := take(t, done, "end of the client"); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return c
}

// freeUDPPort is a port that nobody listens on at this moment.
func freeUDPPort(t testing.TB) int {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return socket.LocalAddr().(*net.UDPAddr).Port
}

func all(string) bool { return true }

func only(names ...string) func(string) bool {
	return func(name string) bool {
		for _, n := range names {
			if strings.HasPrefix(name, n) {
				return true
			}
		}
		return false
	}
}
