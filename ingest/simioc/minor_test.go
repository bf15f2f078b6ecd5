package simioc

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
)

// firstReply is the answer of an old IOC to one search.
func firstReply(ioc *IOC) []byte {
	var buf, got []byte
	ioc.answerSearch(ca.AppendSearch(ca.AppendDatagramVersion(nil, 1234), 3, "v", ca.DontReply), &buf, func(d []byte) { got = append(got, d...) })
	return got
}

func TestOldServersAnswerSearchesAsTheyDid(t *testing.T) {
	for _, want := range []struct {
		minor            uint16
		version, address bool
		port             bool
	}{{13, true, true, true}, {11, true, true, true}, {10, false, true, true}, {8, false, true, true}, {7, false, false, true}, {4, false, false, false}} {
		ioc := New(Options{Minor: want.minor, Records: []Record{scalar("v", 1)}})
		ioc.tcpPort = 4711
		d := firstReply(ioc)
		h, _, n, err := ca.ParseMessage(d)
		if want.version {
			if err != nil || h.Command != ca.CmdVersion || h.Count != uint32(want.minor) || h.P1 != 1234 {
				t.Errorf("minor %d: datagram begins with %+v", want.minor, h)
			}
			d = d[n:]
		}
		h, payload, _, err := ca.ParseMessage(d)
		if err != nil || h.Command != ca.CmdSearch || len(payload) != 8 || binary.BigEndian.Uint16(payload) != want.minor {
			t.Fatalf("minor %d: %+v % x %v", want.minor, h, payload, err)
		}
		if (h.P1 == ca.AddressOfSender) != want.address || (h.DataType == 4711) != want.port {
			t.Errorf("minor %d: %+v", want.minor, h)
		}
	}
}

// old opens a circuit to a server that need not greet.
func old(t *testing.T, ioc *IOC) *circuit {
	t.Helper()
	conn, err := net.Dial("tcp", ioc.TCPAddr())
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := newCircuit(t, conn)
	c.send(ca.AppendHostName(ca.AppendClientName(ca.AppendVersion(nil), "tester"), "here"))
	return c
}

func TestOldServersTalkAsTheyDid(t *testing.T) {
	records := []Record{scalar("v", 1), {Name: "w", Type: ca.DBRDouble, Count: 70_000, Value: []float64{1, 2}}}
	for _, minor := range []uint16{12, 11, 8, 5, 4} {
		ioc := start(t, Options{Minor: minor, Records: records})
		c := old(t, ioc)
		if minor >= minGreeting {
			if h, _ := c.next(); h.Command != ca.CmdVersion || h.Count != uint32(minor) {
				t.Errorf("minor %d greets with %+v", minor, h)
			}
		}
		sid := c.create("v").sid
		if h, p := c.get(sid, ca.DBRTimeDouble, 0); h.Count != 0 || len(p) != 24 {
			t.Errorf("minor %d: a get of count 0: %+v", minor, h)
		}
		c.subscribe(sid, 1, ca.DBRDouble, 0, masks)
		if h, _ := c.update(1); h.Count != 0 || h.PayloadSize != 8 {
			t.Errorf("minor %d: an update of count 0: %+v", minor, h)
		}
		c.send(ca.AppendCreateChan(nil, 99, "none"))
		if minor >= minCreateFail {
			if h, _ := c.next(); h.Command != ca.CmdCreateChanFail {
				t.Errorf("minor %d: an unknown name: %+v", minor, h)
			}
		}
		c.sync()
		w := c.create("w")
		if limited := minor < minExtended; limited != (w.count == 0xFFFF) {
			t.Errorf("minor %d: 70,000 elements are told as %d", minor, w.count)
		}
		if minor < minExtended {
			c.send(ca.AppendReadNotify(nil, w.sid, 1, ca.DBRDouble, 10_000))
			if h, _ := c.next(); h.Command != ca.CmdError || h.P2 != ca.Status16KArrayClient {
				t.Errorf("minor %d: 80,000 bytes: %+v", minor, h)
			}
			c.subscribe(w.sid, 2, ca.DBRDouble, 10_000, masks)
			if h, _ := c.next(); h.Command != ca.CmdError || h.P2 != ca.Status16KArrayClient {
				t.Errorf("minor %d: 80,000 bytes subscribed: %+v", minor, h)
			}
			c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEcho, PayloadSize: 80_000}))
		} else {
			must(t, ioc.DisconnectRecord("v"))
			if h, _ := c.next(); h.Command != ca.CmdServerDisconnect {
				t.Errorf("minor %d: got %+v", minor, h)
			}
		}
		if minor >= minExtended && minor < minTCPSearch {
			c.send(ca.AppendSearch(nil, 1, "v", ca.DoReply))
		}
		if minor < minTCPSearch {
			if h, _ := c.next(); h.Command != ca.CmdError {
				t.Errorf("minor %d: got %+v", minor, h)
			}
			c.closed()
		}
	}
	ancient := start(t, Options{Minor: 6, Records: records})
	c := old(t, ancient)
	c.create("v")
	must(t, ancient.DisconnectRecord("v"))
	c.closed() // there was no SERVER_DISCONN
	for _, minor := range []uint16{3, 14} {
		if New(Options{Minor: minor}).Err() == nil {
			t.Errorf("minor %d is accepted", minor)
		}
	}
}

// A client of today gets updates of a server of each age. (Of servers before
// CA 4.5 it does not learn the port.)
func TestClientsOfTodayTalkToOldServers(t *testing.T) {
	var text strings.Builder
	text.WriteString("iocs:\n")
	var names []string
	for minor := minPort; minor <= ca.MinorVersion; minor++ {
		fmt.Fprintf(&text, "  - {minor: %d, prefix: 'm%d:', records: [{name: d, type: double, rate: 20, generate: {kind: counter}},"+
			" {name: w, type: double, count: 20, value: [1, 2]}, {name: e, type: double, value: 1}]}\n", minor, minor)
		for _, record := range []string{"d", "w", "e"} {
			names = append(names, fmt.Sprintf("m%d:%s", minor, record))
		}
	}
	fmt.Fprintf(&text, "steps: [{at: 0s, server_disconnect: e}]\n")
	a := watch(t, readScenario(t, text.String()), names...)
	for minor := minPort; minor <= ca.MinorVersion; minor++ {
		prefix := fmt.Sprintf("m%d:", minor)
		if h := a.sees(prefix+"d", named("connected"), named("update"), named("update")); h.seen.value < 1 {
			t.Errorf("%sd: %+v", prefix, h.seen)
		}
		if h := a.sees(prefix+"d", named("connected")); int(h.info.Minor) != minor {
			t.Errorf("%sd: the client takes it for minor %d", prefix, h.info.Minor)
		}
		want := uint32(2)
		if minor < minDynamic {
			want = 20 // the client asks for the whole array
		}
		if h := a.sees(prefix+"w", named("update")); h.u.Count != want {
			t.Errorf("%sw: %d elements, want %d", prefix, h.u.Count, want)
		}
		a.sees(prefix+"e", named("update"), named("disconnected"), named("connected"), named("update"))
	}
}
