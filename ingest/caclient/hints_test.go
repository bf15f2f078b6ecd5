package caclient_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

// runOnce starts a client that the test ends.
func runOnce(t *testing.T, o caclient.Options, addrs ...string) (*caclient.Client, func()) {
	t.Helper()
	no := false
	o.AutoAddrList, o.AddrList, o.Repeater, o.RepeaterPort = &no, addrs, &no, freeUDPPort(t)
	c := caclient.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		if err := take(t, done, "end of the client"); err != nil {
			t.Errorf("run: %v", err)
		}
	}
}

// TestStartIsQuiet: names that were found before are asked where they were.
func TestStartIsQuiet(t *testing.T) {
	const n = 10_000
	ioc, _ := startIOC(t, simioc.Options{Records: simioc.Load(n, 0.01)})
	file := filepath.Join(t.TempDir(), "ca-addresses")
	for _, start := range []string{"first", "second", "third, with channels opened before"} {
		reg := prometheus.NewRegistry()
		var client *caclient.Client
		var stop func()
		c := &counter{event: make(chan struct{}, 1)}
		o := caclient.Options{AddressFile: file, Registerer: reg}
		if start[0] == 't' {
			no := false
			o.AutoAddrList, o.AddrList, o.Repeater, o.RepeaterPort = &no, []string{ioc.Addr()}, &no, freeUDPPort(t)
			client = caclient.New(o)
			for _, name := range ioc.Names() {
				client.Open(name, c)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- client.Run(ctx) }()
			stop = func() { cancel(); take(t, done, "end") }
		} else {
			client, stop = runOnce(t, o, ioc.Addr())
			for _, name := range ioc.Names() {
				client.Open(name, c)
			}
		}
		c.wait(t, "connection", func() bool { return c.connected.Load() == n && c.updated.Load() >= n })
		datagrams, wrong := counted(t, reg, "search_datagrams_total"), counted(t, reg, "wrong_hints_total")
		stop()
		t.Logf("%s start: %v search datagrams", start, datagrams)
		switch {
		case start == "first" && datagrams < n/50:
			t.Errorf("%v datagrams found %d names", datagrams, n)
		// Names that are opened before the file is read may be searched once.
		case start != "first" && datagrams >= n/100:
			t.Errorf("%s start: %v search datagrams", start, datagrams)
		case wrong != 0:
			t.Errorf("%s start: %v hints were wrong", start, wrong)
		}
	}
}

// addressFile writes hints as a client of an earlier run did.
func addressFile(t *testing.T, hints map[string]string) string {
	t.Helper()
	text := "pvlog ca addresses 1\n"
	for name, addr := range hints {
		text += addr + " " + name + "\n"
	}
	text += fmt.Sprintf("end %d %08x\n", len(hints), crc32.ChecksumIEEE([]byte(text)))
	path := filepath.Join(t.TempDir(), "ca-addresses")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongHintsLeadToTheSearch(t *testing.T) {
	t.Parallel()
	refused, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	silentServer, denying, right := newServer(t, nil), newServer(t, nil), newServer(t, nil)
	reg := prometheus.NewRegistry()
	file := addressFile(t, map[string]string{
		"REFUSED": refused.Addr().String(), "SILENT": silentServer.tcp.Addr().String(),
		"DENIED": denying.tcp.Addr().String(), "RIGHT": right.tcp.Addr().String(), "FORBIDDEN": "10.0.0.1:5064",
	})
	client, stop := runOnce(t, caclient.Options{AddressFile: file, Registerer: reg, AllowServers: []string{"127.0.0.0/8"}}, right.addr())
	defer stop()
	opened := time.Now()
	recorders := map[string]*recorder{}
	for _, name := range []string{"REFUSED", "SILENT", "DENIED", "RIGHT", "FORBIDDEN"} {
		recorders[name] = newRecorder()
		client.Open(name, recorders[name])
	}
	go func() {
		create := take(t, denying.conns, "circuit").expect(ca.CmdCreateChan)
		denying.mu.Lock()
		served := denying.served[0]
		denying.mu.Unlock()
		served.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdCreateChanFail, P1: create.P1}))
	}()
	c := take(t, right.conns, "circuit")
	c.send(greeting())
	c.accept(t, 1, recorders["RIGHT"])
	searched := map[string]time.Duration{}
	for len(searched) < 4 {
		f := take(t, right.searches, "search")
		if _, again := searched[f.name]; again {
			continue
		}
		searched[f.name] = time.Since(opened)
		right.udp.WriteToUDP(ca.AppendSearchReply(nil, f.cid, right.port(), ca.AddressOfSender), f.from)
		c.accept(t, uint32(1+len(searched)), recorders[f.name])
	}
	if _, ok := searched["RIGHT"]; ok {
		t.Error("a name that was where it had been was searched")
	}
	for name, after := range searched {
		if after > patience/2 { // 5 s, on an idle machine
			t.Errorf("%s was searched after %v", name, after)
		}
	}
	if n := counted(t, reg, "wrong_hints_total"); n != 3 {
		t.Errorf("%v wrong hints", n)
	}
	if n := counted(t, reg, "hints_total"); n != 4 {
		t.Errorf("%v hints", n)
	}
	for name, r := range recorders {
		if len(r.connected)+len(r.disconnected) != 0 {
			t.Errorf("%s heard more than its connection", name)
		}
	}
}

// TestGarbageForHintsCostsOnlyTheSearch.
func TestGarbageForHintsCostsOnlyTheSearch(t *testing.T) {
	s := newServer(t, all)
	file := filepath.Join(t.TempDir(), "ca-addresses")
	if err := os.WriteFile(file, []byte("\x00garbage\n10.0.0.1:5064 A\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	client, stop := runOnce(t, caclient.Options{AddressFile: file}, s.addr())
	r := newRecorder()
	_, _, _, _ = connect(t, s, client, "A", r)
	stop()
	text, err := os.ReadFile(file)
	if err != nil || string(text[:20]) != "pvlog ca addresses 1" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// TestAClosedChannelsAddressIsKept: a PV that is paused and resumed is not
// searched.
func TestAClosedChannelsAddressIsKept(t *testing.T) {
	s := newServer(t, all)
	reg := prometheus.NewRegistry()
	client, stop := runOnce(t, caclient.Options{AddressFile: filepath.Join(t.TempDir(), "x"), Registerer: reg}, s.addr())
	defer stop()
	r := newRecorder()
	ch, c, _, _ := connect(t, s, client, "A", r)
	ch.Close()
	c.expect(ca.CmdClearChannel)
	client.Open("A", r)
	c.accept(t, 5, r)
	if n := counted(t, reg, "hints_total"); n != 1 {
		t.Errorf("%v hints", n)
	}
}

// TestARestartedServerIsAskedForAllOfItsNames as soon as one of them is found:
// the others cost no search.
func TestARestartedServerIsAskedForAllOfItsNames(t *testing.T) {
	const names = 5000
	records := make([]simioc.Record, names)
	for i := range records {
		records[i] = simioc.Record{Name: fmt.Sprintf("P:%05d", i), Type: ca.DBRDouble, Value: 1.0}
	}
	ioc, stop := startIOC(t, simioc.Options{Records: records})
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, ioc.Addr())
	c := &counter{event: make(chan struct{}, 1)}
	for _, name := range ioc.Names() {
		client.Open(name, c)
	}
	c.wait(t, "all names", func() bool { return counted(t, reg, "connects_total") == names })
	stop()
	c.wait(t, "the loss", func() bool { return counted(t, reg, "disconnects_total") == names })
	replies, hints := counted(t, reg, "search_replies_total"), counted(t, reg, "hints_total")
	again, _ := startIOC(t, simioc.Options{Listen: ioc.Addr(), Records: records[1:]}) // one has gone
	if again.Addr() != ioc.Addr() {
		t.Skipf("the port was taken by %s", again.Addr())
	}
	c.wait(t, "all names again", func() bool { return counted(t, reg, "connects_total") == 2*names-1 })
	found := counted(t, reg, "search_replies_total") - replies
	asked := counted(t, reg, "hints_total") - hints
	if found+asked < names-1 || found > names/10 {
		t.Errorf("%v names were searched and %v asked, of %d", found, asked, names)
	}
	c.wait(t, "the name that has gone to be searched", func() bool { return counted(t, reg, "searched_channels") == 1 })
	if n := counted(t, reg, "wrong_hints_total"); n > 1 {
		t.Errorf("%v wrong hints", n)
	}
}

// TestAServerThatHangsUpIsNotRunAfter, although it is asked where its names were.
func TestAServerThatHangsUpIsNotRunAfter(t *testing.T) {
	s := newServer(t, all)
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, s.addr())
	const names = 20
	r := newRecorder()
	for i := range names {
		client.Open(fmt.Sprintf("A:%d", i), r)
	}
	c := take(t, s.conns, "circuit")
	for i := range uint32(names) {
		create := c.expect(ca.CmdCreateChan)
		c.send(claimed(create.P1, i, ca.DBRDouble, 1))
	}
	for range names {
		take(t, r.connected, "connection")
	}
	c.Close()
	began := time.Now()
	const circuits = 8
	for range circuits {
		take(t, s.conns, "circuit").Close()
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("%d circuits within %v", circuits, took)
	}
}

// TestAServerThatCameBackOnAnotherPortIsFollowed by all of its names: an IOC
// that shares its host gets a new port with each start. So it is when its names
// are served by one that is connected already.
func TestAServerThatCameBackOnAnotherPortIsFollowed(t *testing.T) {
	for _, connected := range []bool{false, true} {
		t.Run(fmt.Sprintf("connected %v", connected), func(t *testing.T) {
			const names = 500
			s, next := newServer(t, nil), newServer(t, nil)
			client := run(t, caclient.Options{}, s.addr())
			r := newRecorder()
			r.silent = true
			for i := range names {
				client.Open(fmt.Sprintf("A:%d", i), r)
			}
			answerAll(t, s, s, names)
			c := take(t, s.conns, "circuit")
			claimAll(t, c, r, names)
			var to *conn
			if connected {
				for len(s.searches) > 0 {
					<-s.searches
				}
				client.Open("B", r)
				answerAll(t, s, next, 1)
				to = take(t, next.conns, "circuit")
				claimAll(t, to, r, 1)
			}
			for len(s.searches) > 0 {
				<-s.searches
			}
			began := time.Now()
			c.Close()
			answerAll(t, s, next, names)
			if to == nil {
				to = take(t, next.conns, "circuit")
			}
			claimAll(t, to, r, names)
			// Without it most would be searched after 10 to 30 s.
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("the names followed after %v", took)
			}
		})
	}
}

// answerAll answers the searches that reach s, of so many names, for the server by.
func answerAll(t *testing.T, s, by *server, names int) {
	t.Helper()
	for answered := map[uint32]bool{}; len(answered) < names; {
		asked := take(t, s.searches, "search")
		answered[asked.cid] = true
		reply := ca.AppendSearchReply(nil, asked.cid, by.port(), ca.AddressOfSender)
		if _, err := s.udp.WriteToUDP(reply, asked.from); err != nil {
			t.Fatal(err)
		}
	}
}

// claimAll answers so many claims of a circuit.
func claimAll(t *testing.T, c *conn, r *recorder, names int) {
	t.Helper()
	c.send(greeting())
	for i := range uint32(names) {
		create := c.expect(ca.CmdCreateChan)
		c.send(claimed(create.P1, i, ca.DBRDouble, 1))
		take(t, r.connected, "connection")
	}
}
