package caclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

// listener is a UDP socket on loopback as a program beside pvlog has one.
func listener(t *testing.T, port int) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// datagram waits for one.
func datagram(t *testing.T, conn *net.UDPConn) ([]byte, *net.UDPAddr) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, from, err := conn.ReadFromUDP(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n], from
}

// register registers with a repeater until it confirms: it may not run yet.
func register(t *testing.T, conn *net.UDPConn, port int, form []byte) {
	t.Helper()
	buf := make([]byte, 4096)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := conn.WriteToUDP(form, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _, err := conn.ReadFromUDP(buf); err == nil && bytes.Equal(buf[:n], ca.AppendRepeaterConfirm(nil, 0x7F000001)) {
			return
		}
	}
	t.Fatal("the repeater does not confirm")
}

func repeating(t *testing.T) (o caclient.Options, reg *prometheus.Registry) {
	yes := true
	reg = prometheus.NewRegistry()
	return caclient.Options{RepeaterPort: freeUDPPort(t), Repeater: &yes, Registerer: reg}, reg
}

func TestRepeaterServesOtherProgramsAsEPICSDoes(t *testing.T) {
	o, _ := repeating(t)
	run(t, o)
	first, second, ioc := listener(t, 0), listener(t, 0), listener(t, 0)
	register(t, first, o.RepeaterPort, nil) // libca's form
	register(t, second, o.RepeaterPort, ca.AppendRepeaterRegister(nil))
	// A registration is shown to the others by a message that means nothing.
	if b, _ := datagram(t, first); !bytes.Equal(b, make([]byte, 16)) {
		t.Errorf("got % x", b)
	}
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: o.RepeaterPort}
	for _, test := range []struct{ sent, want []byte }{
		{ca.AppendBeacon(nil, 5064, 18, 0), ca.AppendBeacon(nil, 5064, 18, 0x7F000001)},
		{ca.AppendBeacon(nil, 5064, 18, 0x0A000005), ca.AppendBeacon(nil, 5064, 18, 0x0A000005)},
		{[]byte("anything"), []byte("anything")},
	} {
		if _, err := ioc.WriteToUDP(test.sent, to); err != nil {
			t.Fatal(err)
		}
		for _, client := range []*net.UDPConn{first, second} {
			if b, _ := datagram(t, client); !bytes.Equal(b, test.want) {
				t.Errorf("got % x, want % x", b, test.want)
			}
		}
	}
	// Not back to its sender.
	first.WriteToUDP([]byte("own"), to)
	ioc.WriteToUDP([]byte("next"), to)
	if b, _ := datagram(t, first); string(b) != "next" {
		t.Errorf("got %q", b)
	}
}

func TestRepeaterForgetsClientsThatHaveGone(t *testing.T) {
	o, _ := repeating(t)
	run(t, o)
	var gone []*net.UDPConn
	for range 300 { // more than it has room for, if it kept them
		conn := listener(t, 0)
		register(t, conn, o.RepeaterPort, nil)
		gone = append(gone, conn)
		if len(gone) > 20 {
			gone[0].Close()
			gone = gone[1:]
		}
	}
}

// TestClientRegistersWithAnotherRepeater: the port is busy, which is no
// failure, and a repeater that was restarted is found again.
func TestClientRegistersWithAnotherRepeater(t *testing.T) {
	o, reg := repeating(t)
	other, err := net.ListenUDP("udp4", &net.UDPAddr{Port: o.RepeaterPort})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	run(t, o)
	for range 2 { // until it is confirmed
		if b, _ := datagram(t, other); !bytes.Equal(b, ca.AppendRepeaterRegister(nil)) {
			t.Errorf("got % x", b)
		}
	}
	_, client := datagram(t, other)
	other.WriteToUDP(ca.AppendRepeaterConfirm(nil, 0x7F000001), client)
	other.WriteToUDP(ca.AppendBeacon(nil, 5064, 0, 0x0A000001), client)
	other.WriteToUDP(ca.AppendBeacon(nil, 5064, 0, 0), client) // of nobody
	waitFor(t, "beacon", func() bool { return counted(t, reg, "beacons_total") == 1 })
	if n := counted(t, reg, "beacon_sources"); n != 1 {
		t.Errorf("%v servers are known", n)
	}
}

// TestRepeaterTakesOver when the host's other repeater ends.
func TestRepeaterTakesOverFromOneThatEnds(t *testing.T) {
	t.Parallel()
	o, _ := repeating(t)
	other, err := net.ListenUDP("udp4", &net.UDPAddr{Port: o.RepeaterPort})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	run(t, o)
	datagram(t, other)
	other.Close()
	register(t, listener(t, 0), o.RepeaterPort, nil)
}

func TestBeaconsFromOtherHostsAreNotBelieved(t *testing.T) {
	s := newServer(t, nil)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, s.addr())
	client.Open("A", newRecorder())
	f := s.find("A")
	outside := outsideAddr(t)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: outside})
	if err != nil {
		t.Skip(err)
	}
	defer conn.Close()
	conn.WriteToUDP(ca.AppendBeacon(nil, 5064, 0, 0x0A000001), &net.UDPAddr{IP: outside, Port: f.from.Port})
	waitFor(t, "refusal", func() bool { return counted(t, reg, "malformed_datagrams_total") == 1 })
	if n := counted(t, reg, "beacons_total"); n != 0 {
		t.Errorf("%v beacons were taken", n)
	}
}

// outsideAddr is an address of this host that is not loopback.
func outsideAddr(t *testing.T) net.IP {
	t.Helper()
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.To4()
		}
	}
	t.Skip("this host has loopback only")
	return nil
}

// waitFor looks at a metric until something holds.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !done(); <-ticker.C {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// beacons sends a server's beacons to a repeater as a booting IOC does.
func beacons(t *testing.T, repeaterPort int, server string, counter uint32, gaps ...time.Duration) {
	t.Helper()
	addr := netip.MustParseAddrPort(server)
	ip := addr.Addr().As4()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip[:]})
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	for i, gap := range gaps {
		<-time.After(gap)
		b := ca.AppendBeacon(nil, addr.Port(), counter+uint32(i), 0)
		if _, err := conn.WriteToUDP(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: repeaterPort}); err != nil {
			t.Error(err)
		}
	}
}

func booting(n int) []time.Duration {
	gaps := []time.Duration{0, 0}
	for i := range n - 2 {
		gaps = append(gaps, 20*time.Millisecond<<i)
	}
	return gaps
}

// TestChannelsComeBackWithTheFirstBeacons: ten thousand names that nobody has
// make the search slow, so that without beacons it would take long.
func TestChannelsComeBackWithTheFirstBeacons(t *testing.T) {
	t.Parallel()
	o, reg := repeating(t)
	records := simioc.Load(1000, 0.01)
	ioc, stop := startIOC(t, simioc.Options{Records: records})
	client := run(t, o, ioc.Addr())
	probe := listener(t, 0)
	register(t, probe, o.RepeaterPort, nil)
	for i := range 20_000 {
		client.Open(fmt.Sprintf("DEAD:%d", i), silent{})
	}
	c := &counter{event: make(chan struct{}, 1)}
	for _, name := range ioc.Names() {
		client.Open(name, c)
	}
	n := int64(len(records))
	c.wait(t, "connection", func() bool { return c.connected.Load() == n })
	beacons(t, o.RepeaterPort, ioc.Addr(), 0, booting(6)...)
	waitFor(t, "beacons", func() bool { return counted(t, reg, "beacon_sources") == 1 })
	listen := ioc.Addr()
	stop()
	c.wait(t, "loss", func() bool { return c.disconnected.Load() == n })
	<-time.After(3 * time.Second) // the IOC boots; its names are searched ever more rarely
	startIOC(t, simioc.Options{Listen: listen, Records: records})
	begin := time.Now()
	beacons(t, o.RepeaterPort, listen, 0, booting(7)...)
	c.wait(t, "reconnection", func() bool { return c.connected.Load() == 2*n })
	took := time.Since(begin)
	t.Logf("%d channels were back %v after the first beacon", n, took)
	if counted(t, reg, "beacon_anomalies_total") == 0 {
		t.Error("the restart was no anomaly")
	}
	if took > 10*time.Second { // 2 s on an idle machine
		t.Errorf("it took %v", took)
	}
}

// TestAnomalyProbesTheCircuitAtOnce: a server that has lost its circuits is
// known by its beacons long before the watchdog asks.
func TestAnomalyProbesTheCircuitAtOnce(t *testing.T) {
	t.Parallel()
	o, _ := repeating(t)
	s := newServer(t, all)
	client := run(t, o, s.addr())
	register(t, listener(t, 0), o.RepeaterPort, nil)
	r := newRecorder()
	_, c, _, add := connect(t, s, client, "A", r)
	c.send(updated(add.P2, 1))
	take(t, r.updates, "update")
	server := fmt.Sprintf("127.0.0.1:%d", s.port())
	begin := time.Now()
	beacons(t, o.RepeaterPort, server, 7, 0, 1500*time.Millisecond, 20*time.Millisecond)
	c.expect(ca.CmdEcho)
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("probed after %v", took)
	}
	c.send(ca.AppendEcho(nil, 13))
	if len(r.disconnected) != 0 {
		t.Error("the channel was lost")
	}
}

func TestAllowedServersOnly(t *testing.T) {
	s := newServer(t, all)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{AllowServers: []string{"10.1.0.0/16", "127.0.0.2"}, Registerer: reg}, s.addr())
	client.Open("A", newRecorder())
	waitFor(t, "refusal", func() bool { return counted(t, reg, "forbidden_servers_total") >= 2 })
	if len(s.conns) != 0 {
		t.Error("a server that is not allowed was connected to")
	}
	allowed := run(t, caclient.Options{AllowServers: []string{"127.0.0.0/8"}}, s.addr())
	allowed.Open("A", newRecorder())
	take(t, s.conns, "circuit")
	for _, bad := range []string{"host", "10.1.0.0/33", "::1", ""} {
		if err := caclient.New(caclient.Options{AllowServers: []string{bad}}).Run(t.Context()); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%q was taken: %v", bad, err)
		}
	}
}
