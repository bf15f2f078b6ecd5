package simioc

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// logTo hands the messages of a logger to a channel, as far as it takes them.
func logTo(messages chan<- string) *slog.Logger { return slog.New(tap{messages}) }

type tap struct{ messages chan<- string }

func (tap) Enabled(context.Context, slog.Level) bool { return true }
func (t tap) WithAttrs([]slog.Attr) slog.Handler     { return t }
func (t tap) WithGroup(string) slog.Handler          { return t }
func (t tap) Handle(_ context.Context, r slog.Record) error {
	select {
	case t.messages <- r.Message:
	default:
	}
	return nil
}

func TestFreePortIsTheSameForUDPAndTCP(t *testing.T) {
	for range 10 {
		ioc := New(Options{Listen: "127.0.0.1:0"})
		if ioc.Addr() != "" || ioc.TCPAddr() != "" {
			t.Error("an IOC has an address before Listen")
		}
		if err := ioc.Listen(); err != nil {
			t.Fatal(err)
		}
		if ioc.Addr() != ioc.TCPAddr() {
			t.Errorf("search at %s, circuits at %s", ioc.Addr(), ioc.TCPAddr())
		}
		run(t, ioc)()
	}
}

func TestTakenPortsAreReplaced(t *testing.T) {
	records := []Record{scalar("v", 0)}
	first := start(t, Options{Records: records})
	second := start(t, Options{Records: records, Listen: first.Addr()})
	if second.Addr() == first.Addr() || second.Addr() != second.TCPAddr() {
		t.Errorf("search at %s and circuits at %s where %s is taken", second.Addr(), second.TCPAddr(), first.Addr())
	}
	dial(t, second).create("v")

	tcp, err := net.Listen("tcp4", "127.0.0.1:0") // its UDP port is most likely free
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	third := start(t, Options{Records: records, Listen: tcp.Addr().String()})
	if third.TCPAddr() == tcp.Addr().String() {
		t.Error("a taken TCP port was taken again")
	}
	h := ask(t, third, ca.AppendSearch(ca.AppendDatagramVersion(nil, 1234), 7, "v", ca.DontReply), 1)[7]
	if int(h.DataType) != third.tcp.Addr().(*net.TCPAddr).Port {
		t.Errorf("the reply says port %d, circuits are at %s", h.DataType, third.TCPAddr())
	}
	for _, listen := range []string{"nowhere", "127.0.0.1:99999", "192.0.2.1:0"} {
		if err := New(Options{Listen: listen}).Listen(); err == nil || !strings.Contains(err.Error(), listen) {
			t.Errorf("Listen on %q: %v", listen, err)
		}
	}
}

func TestRestartOnTheSameAddress(t *testing.T) {
	first := New(Options{Listen: "127.0.0.1:0", Records: []Record{scalar("v", 1)}})
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	stop := run(t, first)
	c := dial(t, first)
	c.create("v")
	stop()
	c.closed()
	second := start(t, Options{Listen: first.Addr(), Records: []Record{{Name: "v", Type: ca.DBRLong, Count: 3}}})
	if second.Addr() != first.Addr() || second.TCPAddr() != first.TCPAddr() {
		t.Fatalf("restarted at %s, want %s", second.Addr(), first.Addr())
	}
	if ch := dial(t, second).create("v"); ch.native != ca.DBRLong || ch.count != 3 {
		t.Errorf("after the restart: %+v", ch)
	}
}

func TestDisconnectAllLeavesTheServer(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	a, b := dial(t, ioc), dial(t, ioc)
	sid := a.create("v").sid
	a.subscribe(sid, 1, ca.DBRTimeDouble, 0, masks)
	a.update(1)
	ioc.DisconnectAll()
	a.closed()
	b.closed()
	mustPut(t, ioc, "v", 2.0)
	c := dial(t, ioc)
	if got := c.text(c.create("v").sid); got != "2" {
		t.Errorf("v is %q after reconnecting", got)
	}
}

// Requests sent before a half close are answered: libca closes so.
func TestHalfClosedCircuitIsAnswered(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	c.send(ca.AppendReadNotify(nil, sid, 1, ca.DBRDouble, 1))
	c.conn.(*net.TCPConn).CloseWrite()
	if h, _ := c.next(); h.Command != ca.CmdReadNotify {
		t.Errorf("got %+v", h)
	}
	c.closed()
}

func TestWrongRecordsAreRefused(t *testing.T) {
	bad := map[string]Record{
		"no name":         {Type: ca.DBRDouble},
		"dot":             {Name: "a.b"},
		"space":           {Name: "a b"},
		"long name":       {Name: strings.Repeat("n", 501)},
		"not native":      {Name: "a", Type: ca.DBRTimeDouble},
		"count":           {Name: "a", Count: -1},
		"huge":            {Name: "a", Count: maxElements(ca.DBRString) + 1},
		"units":           {Name: "a", Units: strings.Repeat("u", 16)},
		"description":     {Name: "a", Desc: strings.Repeat("d", 41)},
		"labels":          {Name: "a", Labels: make([]string, 17)},
		"long label":      {Name: "a", Labels: []string{strings.Repeat("l", 26)}},
		"rate":            {Name: "a", Rate: 1001},
		"first value":     {Name: "a", Type: ca.DBRDouble, Value: "text"},
		"too many values": {Name: "a", Type: ca.DBRDouble, Count: 2, Value: []float64{1, 2, 3}},
		"twice":           {Name: "twice", Type: ca.DBRDouble},
	}
	for name, r := range bad {
		ioc := New(Options{Records: []Record{{Name: "twice", Type: ca.DBRDouble}}})
		if err := ioc.AddRecord(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if err := New(Options{Listen: "127.0.0.1:0", Records: []Record{{Name: "twice"}, r}}).Run(context.Background()); err == nil {
			t.Errorf("%s: Run accepts it", name)
		}
	}
	ioc := start(t, Options{})
	c := dial(t, ioc) // answered, so it runs
	if err := ioc.AddRecord(Record{Name: "late", Type: ca.DBRDouble, Rate: 1}); err == nil {
		t.Error("a periodic record is added to a running IOC")
	}
	if err := ioc.AddRecord(scalar("late", 3)); err != nil {
		t.Error(err)
	}
	c.create("late")
}

// All names of the demo can be archived: legal, and no two in one path.
func TestDemoServesEveryTypeUnderLegalNames(t *testing.T) {
	records := append(Demo(), Load(3, 10)...)
	ioc := New(Options{Prefix: "demo:", Records: records})
	if ioc.err != nil {
		t.Fatal(ioc.err)
	}
	paths := map[string]string{}
	types := map[[2]int]bool{}
	for i, name := range ioc.Names() {
		pv, err := schema.ParsePVName(name)
		if err != nil {
			t.Error(err)
		}
		key := schema.ChunkKey(pv)
		if other := paths[key]; other != "" || string(pv) != name {
			t.Errorf("%s and %s have one path", name, other)
		}
		paths[key] = name
		array := 0
		if records[i].elements() > 1 {
			array = 1
		}
		types[[2]int{int(records[i].Type), array}] = true
	}
	if len(types) != 14 {
		t.Errorf("the demo has %d of the 14 types, scalar and array", len(types))
	}
	for _, name := range []string{"demo:sine", "demo:rate:0_1", "demo:rate:1000", "demo:load:000001", "demo:load:000003"} {
		if ioc.find(name) == nil {
			t.Errorf("no %s", name)
		}
	}
}
