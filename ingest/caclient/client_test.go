package caclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

// startIOC runs a simulated IOC on a free port until stop is called.
func startIOC(t testing.TB, o simioc.Options) (ioc *simioc.IOC, stop func()) {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	ioc = simioc.New(o)
	if err := ioc.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ioc.Run(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		if stopped.Swap(true) {
			return
		}
		cancel()
		if err := take(t, done, "end of the IOC"); err != nil {
			t.Errorf("IOC: %v", err)
		}
	}
	t.Cleanup(stop)
	return ioc, stop
}

func TestClientMonitorsEveryTypeOfAnIOC(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Prefix: "demo:", Records: simioc.Demo()})
	client := run(t, caclient.Options{}, ioc.Addr())
	recorders := map[string]*recorder{}
	for _, name := range ioc.Names() {
		recorders[name] = newRecorder()
		client.Open(name, recorders[name])
	}
	seen := map[ca.DBR]bool{}
	for name, r := range recorders {
		info := take(t, r.connected, name+" connected")
		u := take(t, r.updates, "update of "+name)
		seen[info.Native] = true
		if u.Status != ca.StatusNormal || u.Type != info.Native.Time() || u.Received.IsZero() {
			t.Errorf("%s: %+v of a channel %+v", name, u, info)
		}
		if _, _, err := ca.DecodeTime(nil, u.Type, u.Count, info.Count != 1, u.Payload); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for native := ca.DBRString; native <= ca.DBRDouble; native++ {
		if !seen[native] {
			t.Errorf("the IOC has no %v", native)
		}
	}
}

// counter is a handler that only counts, for many channels.
type counter struct {
	connected, updated, disconnected atomic.Int64
	event                            chan struct{}
}

func (c *counter) signal() {
	select {
	case c.event <- struct{}{}:
	default:
	}
}

func (c *counter) Connected(ch *caclient.Channel, _ caclient.Info) {
	ch.Subscribe(ca.MaskLog | ca.MaskAlarm)
	c.connected.Add(1)
	c.signal()
}

func (c *counter) Disconnected(*caclient.Channel, error) {
	c.disconnected.Add(1)
	c.signal()
}

func (c *counter) Update(*caclient.Channel, caclient.Update) {
	c.updated.Add(1)
	c.signal()
}

func (c *counter) wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	timeout := time.After(3 * patience)
	for !done() {
		select {
		case <-c.event:
		case <-timeout:
			t.Fatalf("%s did not happen: %d connected, %d disconnected, %d updates",
				what, c.connected.Load(), c.disconnected.Load(), c.updated.Load())
		}
	}
}

func TestTenThousandChannelsShareOneCircuitAndComeBack(t *testing.T) {
	const n = 10_000
	records := simioc.Load(n, 0.01)
	ioc, stop := startIOC(t, simioc.Options{Records: records})
	client := run(t, caclient.Options{}, ioc.Addr())
	c := &counter{event: make(chan struct{}, 1)}
	begin := time.Now()
	for _, name := range ioc.Names() {
		client.Open(name, c)
	}
	c.wait(t, "connection", func() bool { return c.connected.Load() == n && c.updated.Load() >= n })
	t.Logf("%d channels with a first update after %v", n, time.Since(begin))
	if stats := ioc.Stats(); fmt.Sprint(stats) == "" {
		t.Error("no statistics")
	}
	listen := ioc.Addr()
	stop()
	c.wait(t, "loss", func() bool { return c.disconnected.Load() == n })
	begin = time.Now()
	startIOC(t, simioc.Options{Listen: listen, Records: records})
	c.wait(t, "reconnection", func() bool { return c.connected.Load() == 2*n && c.updated.Load() >= 2*n })
	t.Logf("reconnected %v after the IOC came back", time.Since(begin))
	if c.connected.Load() != 2*n || c.disconnected.Load() != n {
		t.Errorf("%d connected, %d disconnected", c.connected.Load(), c.disconnected.Load())
	}
}

func TestChannelsOfOneServerShareACircuit(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{User: "op", Host: "console1"}, s.addr())
	for i := range 5 {
		client.Open(fmt.Sprintf("A:%d", i), newRecorder())
	}
	c := take(t, s.conns, "circuit")
	if m := take(t, c.messages, "VERSION"); m.Command != ca.CmdVersion || m.Count != ca.MinorVersion {
		t.Errorf("the circuit begins with %+v", m)
	}
	if m := take(t, c.messages, "CLIENT_NAME"); m.Command != ca.CmdClientName || ca.Text(m.payload) != "op" {
		t.Errorf("then %+v", m)
	}
	if m := take(t, c.messages, "HOST_NAME"); m.Command != ca.CmdHostName || ca.Text(m.payload) != "console1" {
		t.Errorf("then %+v", m)
	}
	for range 5 {
		c.expect(ca.CmdCreateChan)
	}
	if len(s.conns) > 0 {
		t.Error("there is a second circuit")
	}
}

// connect opens one name at a scripted server and answers until it is monitored.
func connect(t *testing.T, s *server, client *caclient.Client, name string, r *recorder) (ch *caclient.Channel, c *conn, create, add message) {
	t.Helper()
	ch = client.Open(name, r)
	c = take(t, s.conns, "circuit")
	c.send(greeting())
	create, add = c.accept(t, 0, r)
	return ch, c, create, add
}

// accept answers the next claim with a double under a sid.
func (c *conn) accept(t *testing.T, sid uint32, r *recorder) (create, add message) {
	t.Helper()
	create = c.expect(ca.CmdCreateChan)
	c.send(claimed(create.P1, sid, ca.DBRDouble, 1))
	take(t, r.connected, "connection")
	if !r.silent {
		add = c.expect(ca.CmdEventAdd)
	}
	return create, add
}

func TestMonitorIsRenewedOnANewCircuit(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	if mask := add.payload[13]; mask != 6 || add.DataType != uint16(ca.DBRTimeDouble) || add.Count != 0 {
		t.Errorf("subscribed with %+v, mask %d", add.Header, mask)
	}
	c.send(updated(add.P2, 1))
	if v := r.value(t); v != 1.0 {
		t.Errorf("got %v", v)
	}
	lost := time.Now()
	c.Close()
	take(t, r.disconnected, "disconnection")
	// The record's type changed meanwhile.
	c = take(t, s.conns, "second circuit")
	if took := time.Since(lost); took < 50*time.Millisecond {
		t.Errorf("searched again after %v, at once", took)
	}
	create := c.expect(ca.CmdCreateChan)
	c.send(claimed(create.P1, 3, ca.DBRLong, 10))
	if info := take(t, r.connected, "connection"); info.Native != ca.DBRLong || info.Count != 10 {
		t.Errorf("got %+v", info)
	}
	if add := c.expect(ca.CmdEventAdd); add.DataType != uint16(ca.DBRTimeLong) || add.P1 != 3 {
		t.Errorf("subscribed with %+v", add.Header)
	}
}

func TestCloseSendsOneClearAndNothingMore(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	ch, c, create, add := connect(t, s, client, "A", r)
	ch.Unsubscribe()
	ch.Unsubscribe()
	if cancel := c.expect(ca.CmdEventCancel); cancel.P2 != add.P2 {
		t.Errorf("cancelled %+v", cancel.Header)
	}
	c.send(updated(add.P2, 1)) // was on its way
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEventAdd, DataType: add.DataType, P2: add.P2}))
	ch.Close()
	ch.Close()
	ch.Unsubscribe()
	if clear := c.expect(ca.CmdClearChannel); clear.P2 != create.P1 {
		t.Errorf("cleared %+v", clear.Header)
	}
	ch.Subscribe(6)
	if _, err := ch.Sibling("A.RTYP", r); !errors.Is(err, caclient.ErrClosed) {
		t.Errorf("got %v", err)
	}
	// A circuit without channels is given up, without another word.
	for m := range c.messages {
		t.Errorf("the client sent %s", ca.CommandName(m.Command))
	}
	if len(r.updates) != 0 || len(r.disconnected) != 0 {
		t.Error("the handler was called after Close")
	}
}

func TestCloseWithinAHandlerDoesNotWaitForItself(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	r.onUpdate = func(ch *caclient.Channel) { ch.Close() }
	_, c, _, add := connect(t, s, client, "A", r)
	c.send(append(updated(add.P2, 1), updated(add.P2, 2)...))
	c.expect(ca.CmdClearChannel)
	if v := r.value(t); v != 1.0 || len(r.updates) != 0 {
		t.Errorf("got %v and %d more", v, len(r.updates))
	}
}

func TestLateClaimIsCleared(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	ch := client.Open("A", newRecorder())
	c := take(t, s.conns, "circuit")
	create := c.expect(ca.CmdCreateChan)
	ch.Close()
	c.send(claimed(create.P1, 5, ca.DBRDouble, 1))
	if clear := c.expect(ca.CmdClearChannel); clear.P1 != 5 {
		t.Errorf("cleared %+v", clear.Header)
	}
}

func TestSiblingNeedsNoSearch(t *testing.T) {
	t.Parallel()
	s := newServer(t, only("A"))
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	ch, c, _, _ := connect(t, s, client, "A", r)
	field := newRecorder()
	field.silent = true
	sibling, err := ch.Sibling("A.RTYP", field)
	if err != nil {
		t.Fatal(err)
	}
	create := c.expect(ca.CmdCreateChan)
	if ca.Text(create.payload) != "A.RTYP" {
		t.Errorf("claimed %q", create.payload)
	}
	c.send(claimed(create.P1, 8, ca.DBRString, 1))
	take(t, field.connected, "connection of the sibling")
	go func() {
		read := c.expect(ca.CmdReadNotify)
		payload, _ := ca.AppendDBR(nil, ca.DBRString, ca.Properties{}, []string{"ai"})
		c.send(ca.AppendMessage(nil, ca.Header{Command: ca.CmdReadNotify, Count: 1, P1: ca.StatusNormal, P2: read.P2}, payload))
	}()
	u, err := sibling.Get(t.Context(), ca.DBRString, 1)
	if err != nil || ca.Text(u.Payload) != "ai" {
		t.Errorf("got %q, %v", u.Payload, err)
	}
	if _, err := ch.Sibling("A.NOSUCH", field); err != nil {
		t.Fatal(err)
	}
	create = c.expect(ca.CmdCreateChan)
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdCreateChanFail, P1: create.P1}))
	if err := take(t, field.disconnected, "refusal"); !errors.Is(err, ca.ErrNoChannel) {
		t.Errorf("got %v", err)
	}
	c.Close()
	take(t, field.disconnected, "end of the sibling")
	take(t, r.disconnected, "disconnection")
	// Only the channel itself is claimed again.
	c = take(t, s.conns, "second circuit")
	if create := c.expect(ca.CmdCreateChan); ca.Text(create.payload) != "A" {
		t.Errorf("claimed %q", create.payload)
	}
	if len(c.messages) != 0 {
		t.Errorf("the client sent %d messages more", len(c.messages))
	}
}

func TestGetFailsAsTheServerOrTimeSays(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	client := run(t, caclient.Options{GetTimeout: 50 * time.Millisecond}, s.addr())
	r := newRecorder()
	r.silent = true
	ch := client.Open("A", r)
	if _, err := ch.Get(t.Context(), ca.DBRCtrlDouble, 1); !errors.Is(err, ca.ErrNotConnected) {
		t.Errorf("got %v", err)
	}
	c := take(t, s.conns, "circuit")
	c.accept(t, 0, r)
	if _, err := ch.Get(t.Context(), ca.DBRCtrlDouble, 1); !errors.Is(err, ca.ErrGetTimeout) {
		t.Errorf("got %v", err)
	}
	late := c.expect(ca.CmdReadNotify)
	c.send(ca.AppendMessage(nil, ca.Header{Command: ca.CmdReadNotify, DataType: late.DataType, Count: 1, P1: ca.StatusNormal, P2: late.P2}, make([]byte, 88)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ch.Get(ctx, ca.DBRCtrlDouble, 1); !errors.Is(err, context.Canceled) && !errors.Is(err, ca.ErrGetTimeout) {
		t.Errorf("got %v", err)
	}
	c.expect(ca.CmdReadNotify)
	answers := make(chan error, 1)
	ch.GetAsync(ca.DBRDouble, 1, func(_ caclient.Update, err error) { answers <- err })
	read := c.expect(ca.CmdReadNotify)
	c.send(ca.AppendMessage(nil, ca.Header{Command: ca.CmdReadNotify, DataType: read.DataType, Count: 1, P1: ca.StatusNoReadAccess, P2: read.P2}, make([]byte, 8)))
	var status *caclient.StatusError
	if err := take(t, answers, "answer"); !errors.As(err, &status) || status.Status != ca.StatusNoReadAccess {
		t.Errorf("got %v", err)
	}
}

func TestGetsOfALostCircuitFail(t *testing.T) {
	s := newServer(t, all)
	client := run(t, caclient.Options{}, s.addr())
	r := newRecorder()
	ch, c, _, _ := connect(t, s, client, "A", r)
	answers := make(chan error, 1)
	ch.GetAsync(ca.DBRDouble, 1, func(_ caclient.Update, err error) { answers <- err })
	c.expect(ca.CmdReadNotify)
	c.Close()
	if err := take(t, answers, "answer"); err == nil {
		t.Error("the get succeeded")
	}
}

// TestBusyHandlerIsNotTheServersDeath: the watchdog's clock stands still while
// an update is handled.
func TestBusyHandlerIsNotTheServersDeath(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	client := run(t, caclient.Options{ConnTimeout: 1500 * time.Millisecond}, s.addr())
	r := newRecorder()
	busy, release := make(chan struct{}, 10), make(chan struct{})
	r.onUpdate = func(*caclient.Channel) {
		busy <- struct{}{}
		<-release
	}
	_, c, _, add := connect(t, s, client, "A", r)
	c.send(updated(add.P2, 1))
	take(t, busy, "update")
	select {
	case m := <-c.messages:
		t.Errorf("the client sent %s while its handler was busy", ca.CommandName(m.Command))
	case <-time.After(2 * time.Second): // longer than ConnTimeout: the law is that nothing happens
	}
	c.send(updated(add.P2, 2))
	close(release)
	if v := r.value(t); v != 1.0 {
		t.Errorf("got %v", v)
	}
	if v := r.value(t); v != 2.0 {
		t.Errorf("got %v", v)
	}
	if len(r.disconnected) != 0 || len(c.messages) != 0 {
		t.Error("the server was suspected")
	}
}

func TestSilentServerIsProbed(t *testing.T) {
	t.Parallel()
	s := newServer(t, all)
	client := run(t, caclient.Options{ConnTimeout: 200 * time.Millisecond}, s.addr())
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	c.expect(ca.CmdEcho)
	c.send(ca.AppendEcho(nil, 13))
	c.expect(ca.CmdEcho)
	// No answer: the channel is reported lost, the circuit and its monitor are kept.
	if err := take(t, r.disconnected, "disconnection"); !errors.Is(err, ca.ErrUnresponsive) {
		t.Errorf("got %v", err)
	}
	c.expect(ca.CmdEcho)
	c.send(updated(add.P2, 4))
	take(t, r.connected, "revival")
	if v := r.value(t); v != 4.0 {
		t.Errorf("got %v", v)
	}
	c.expect(ca.CmdEcho)
}

func TestNameServerIsSearchedOverTCP(t *testing.T) {
	s := newServer(t, nil)
	client := run(t, caclient.Options{NameServers: []string{s.tcp.Addr().String()}})
	c := take(t, s.conns, "circuit")
	c.send(greeting())
	r := newRecorder()
	client.Open("A", r)
	find := c.expect(ca.CmdSearch)
	if ca.Text(find.payload) != "A" {
		t.Errorf("searched %q", find.payload)
	}
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdSearch, DataType: 1, P1: ca.AddressOfSender, P2: find.P1}))
	c.accept(t, 0, r)
	if len(s.conns) != 0 {
		t.Error("the name server's own circuit is not used for its channels")
	}
}

func TestNameServerIsDialledAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	client := run(t, caclient.Options{NameServers: []string{s.tcp.Addr().String()}, ConnTimeout: time.Second})
	c := take(t, s.conns, "circuit")
	c.send(greeting())
	client.Open("A", newRecorder())
	c.expect(ca.CmdSearch)
	c.Close()
	c = take(t, s.conns, "second circuit")
	c.send(greeting())
	for {
		m := take(t, c.messages, "search")
		if m.Command == ca.CmdEcho {
			c.send(ca.AppendEcho(nil, 13))
		}
		if m.Command == ca.CmdSearch && ca.Text(m.payload) == "A" {
			return
		}
	}
}

func TestRunEndsWithClaimsUnanswered(t *testing.T) {
	s := newServer(t, all)
	no := false
	client := caclient.New(caclient.Options{AutoAddrList: &no, AddrList: []string{s.addr()}})
	for i := range 1000 {
		client.Open(fmt.Sprintf("A:%d", i), newRecorder())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	take(t, s.conns, "circuit")
	cancel()
	if err := take(t, done, "end"); err != nil {
		t.Error(err)
	}
	if err := client.Run(context.Background()); err == nil {
		t.Error("it ran twice")
	}
}
