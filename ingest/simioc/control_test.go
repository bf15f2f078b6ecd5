package simioc

import (
	"net"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// must fails the test unless a control did what it was told.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAliasFindsTheRecordAndItsRealName(t *testing.T) {
	r := scalar("real", 7)
	r.Aliases = []string{"alias", "other"}
	ioc := start(t, Options{Prefix: "p:", Records: []Record{r}})
	c := dial(t, ioc)
	for channel, want := range map[string]string{"p:alias": "7", "p:other.VAL": "7", "p:alias.NAME": "p:real", "p:real.NAME": "p:real"} {
		if got := c.text(c.create(channel).sid); got != want {
			t.Errorf("%s is %q, want %q", channel, got, want)
		}
	}
	if _, long := c.get(c.create("p:alias.NAME$").sid, ca.DBRChar, 0); cString(long) != "p:real" {
		t.Errorf("p:alias.NAME$ is %q", long)
	}
	if h := ask(t, ioc, ca.AppendSearch(ca.AppendDatagramVersion(nil, 1234), 3, "p:alias", ca.DontReply), 1)[3]; h.Command != ca.CmdSearch {
		t.Errorf("the alias is not found: %+v", h)
	}
	if got := ioc.Names(); len(got) != 1 {
		t.Errorf("Names are %v", got)
	}
	if err := ioc.AddRecord(Record{Name: "new", Type: ca.DBRDouble, Aliases: []string{"alias"}}); err == nil {
		t.Error("an alias was given twice")
	}
}

// Order, sizes and statuses are those of EPICS base 7 with an access security
// file whose rule depends on a PV.
func TestAccessRightsFollowAsFromARealIOC(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	c.subscribe(sid, 5, ca.DBRTimeDouble, 1, masks)
	c.update(5)
	must(t, ioc.SetAccess("v", 0))
	if h, _ := c.next(); h.Command != ca.CmdAccessRights || h.P1 != c.cid || h.P2 != 0 {
		t.Errorf("got %+v, want no rights", h)
	}
	if h, p := c.update(5); h.P1 != ca.StatusNoReadAccess || len(p) != 24 || timeDouble(p).value != 0 {
		t.Errorf("got %+v % x, want zeros of status 368", h, p)
	}
	must(t, ioc.SetAccess("v", ca.AccessWrite)) // still no reading: nothing more to be told
	if h, _ := c.next(); h.Command != ca.CmdAccessRights || h.P2 != ca.AccessWrite {
		t.Errorf("got %+v, want the right to write", h)
	}
	must(t, ioc.SetAccess("v", 0))
	c.next()
	mustPut(t, ioc, "v", 2.0)
	if h, p := c.get(sid, ca.DBRDouble, 1); h.P1 != ca.StatusNoReadAccess || len(p) != 8 {
		t.Errorf("get without access: %+v", h)
	}
	if status := c.put(sid, ca.DBRDouble, 1, double(9)...); status != ca.StatusNoWriteAccess {
		t.Errorf("put without access: %s", ca.StatusName(status))
	}
	c.message(ca.Header{Command: ca.CmdRead, DataType: 6, Count: 1, P1: sid})
	if h, _ := c.next(); h.Command != ca.CmdError || h.P2 != ca.StatusNoReadAccess {
		t.Errorf("READ without access: %+v", h)
	}
	c.subscribe(sid, 6, ca.DBRTimeDouble, 1, masks)
	if h, _ := c.update(6); h.P1 != ca.StatusNoReadAccess {
		t.Errorf("subscription without access: %+v", h)
	}
	if late := c.create("v"); late.rights != 0 {
		t.Errorf("a channel made later has rights %d", late.rights)
	}
	must(t, ioc.SetAccess("v", ca.AccessRead))
	seen := map[uint32]float64{}
	for range 4 { // rights of two channels, one update of each subscription
		if h, p := c.next(); h.Command == ca.CmdEventAdd {
			seen[h.P2] = timeDouble(p).value
		} else if h.Command != ca.CmdAccessRights || h.P2 != ca.AccessRead {
			t.Errorf("got %+v", h)
		}
	}
	if seen[5] != 2 || seen[6] != 2 {
		t.Errorf("fresh updates are %v", seen)
	}
	c.sync()
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEventsOff})) // the refusal waits as an update does
	c.sync()
	must(t, ioc.SetAccess("v", 0))
	mustPut(t, ioc, "v", 3.0)
	c.next()
	c.next()
	c.sync()
	c.send(ca.AppendHeader(nil, ca.Header{Command: ca.CmdEventsOn}))
	for range 2 {
		if h, _ := c.next(); h.Command != ca.CmdEventAdd || h.P1 != ca.StatusNoReadAccess {
			t.Errorf("got %+v, want the refusals", h)
		}
	}
	c.sync()
}

func TestClocksGoWrong(t *testing.T) {
	day := 24 * time.Hour
	at := schema.Time{Sec: 1_700_000_000, Nsec: 5}
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	c := dial(t, ioc)
	c.subscribe(c.create("v").sid, 1, ca.DBRTimeDouble, 1, masks)
	_, p := c.update(1)
	last := timeDouble(p).time
	for name, clock := range map[string]Clock{
		"skew": {Skew: -day}, "frozen": {Frozen: true}, "backwards": {Backwards: time.Second}, "1990": {Epoch: true}, "absolute": {Absolute: at}, "right": {},
	} {
		must(t, ioc.SetClock("v", clock))
		mustPut(t, ioc, "v", 1.0)
		_, p := c.update(1)
		now := timeDouble(p).time
		off := time.Since(now.Go())
		ok := map[string]bool{
			"skew":      off > day && off < day+patience,
			"frozen":    now == last,
			"backwards": now == schema.TimeOf(last.Go().Add(-time.Second)) || last.Sec <= epoch+1,
			"1990":      now == schema.Time{Sec: epoch},
			"absolute":  now == at,
			"right":     off >= 0 && off < patience,
		}[name]
		if !ok && (name != "frozen" || last.Sec != epoch) {
			t.Errorf("%s: the stamp after %v is %v", name, last, now)
		}
		last = now
	}
	for _, bad := range []Clock{{Skew: 1, Frozen: true}, {Skew: 31 * 365 * day}, {Backwards: -1}, {Absolute: schema.Time{Sec: 1}}} {
		if err := ioc.SetClock("v", bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestStatedAlarmStaysUntilCleared(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1), {Name: "e", Type: ca.DBREnum, Labels: []string{"a", "b"}, States: []int16{0, 2}, Value: 1}}})
	c := dial(t, ioc)
	c.subscribe(c.create("v").sid, 1, ca.DBRTimeDouble, 1, ca.MaskAlarm)
	c.update(1)
	must(t, ioc.SetAlarm("v", 2, 9))
	if _, p := c.update(1); timeDouble(p).severity != 2 || timeDouble(p).status != 9 || timeDouble(p).value != 1 {
		t.Errorf("got %+v", timeDouble(p))
	}
	mustPut(t, ioc, "v", 3.0) // still in alarm: no ALARM event
	c.sync()
	must(t, ioc.ClearAlarm("v"))
	if _, p := c.update(1); timeDouble(p).severity != 0 || timeDouble(p).value != 3 {
		t.Errorf("got %+v", timeDouble(p))
	}
	if _, p := c.get(c.create("e").sid, ca.DBRTimeDouble, 1); timeDouble(p).severity != 2 || timeDouble(p).status != statusState {
		t.Errorf("an enum's state of severity MAJOR gives %+v", timeDouble(p))
	}
}

func TestMutedSubscriptionIsAZombie(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	c.subscribe(sid, 1, ca.DBRTimeDouble, 1, masks)
	c.update(1)
	must(t, ioc.Mute("v", false))
	mustPut(t, ioc, "v", 2.0)
	c.sync()
	if got := c.text(sid); got != "2" {
		t.Errorf("the zombie reads %q", got)
	}
	c.subscribe(sid, 2, ca.DBRTimeDouble, 1, masks)
	c.update(2)
	mustPut(t, ioc, "v", 3.0)
	c.update(2)
	must(t, ioc.Mute("v", true))
	c.subscribe(sid, 3, ca.DBRTimeDouble, 1, masks)
	c.update(3)
	mustPut(t, ioc, "v", 4.0)
	c.sync()
	must(t, ioc.Unmute("v"))
	mustPut(t, ioc, "v", 5.0)
	for range 3 {
		if h, p := c.next(); h.Command != ca.CmdEventAdd || timeDouble(p).value != 5 {
			t.Errorf("got %+v", h)
		}
	}
}

func TestReplacedRecordHasItsNewTypeWhenClientsComeBack(t *testing.T) {
	counter := Record{Name: "n", Type: ca.DBRLong, Rate: 100, Aliases: []string{"m"}, Generate: func(n uint64, _ time.Time) any { return int32(n) }}
	ioc := start(t, Options{Records: []Record{counter}})
	c := dial(t, ioc)
	old := c.create("n")
	must(t, ioc.Replace(Record{Name: "n", Type: ca.DBRDouble, Count: 3, Rate: 100,
		Generate: func(n uint64, _ time.Time) any { return []float64{1, 2, 3} }}))
	if h, _ := c.next(); h.Command != ca.CmdServerDisconnect || h.P1 != c.cid {
		t.Fatalf("got %+v, want SERVER_DISCONN", h)
	}
	c.send(ca.AppendReadNotify(nil, old.sid, 1, ca.DBRLong, 1)) // was on its way: ignored
	c.sync()
	now := c.create("m")
	if now.native != ca.DBRDouble || now.count != 3 || now.sid == old.sid {
		t.Errorf("the new record is %+v", now)
	}
	c.subscribe(now.sid, 1, ca.DBRTimeDouble, 0, masks)
	for h, _ := c.update(1); h.Count != 3; h, _ = c.update(1) {
	}
	if err := ioc.Replace(Record{Name: "n", Type: ca.DBRDouble}); err == nil {
		t.Error("a rate was replaced")
	}
	if err := ioc.Replace(Record{Name: "none"}); err == nil {
		t.Error("a record was replaced that is not there")
	}
}

func TestPropertiesArePosted(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	c.subscribe(sid, 1, ca.DBRCtrlDouble, 1, ca.MaskProperty)
	c.update(1)
	c.subscribe(c.create("v.EGU").sid, 2, ca.DBRString, 1, masks)
	c.update(2)
	units, precision := "mA", 4
	must(t, ioc.SetProperties("v", Properties{Units: &units, Precision: &precision, Limits: &Limits{HOPR: 9}}))
	_, p := c.update(1)
	m, err := ca.DecodeCtrl(ca.DBRCtrlDouble, 1, p)
	if err != nil || m.Units != "mA" || m.Precision != 4 || m.Limits["HOPR"] != 9 {
		t.Errorf("properties are %+v, %v", m, err)
	}
	if _, p := c.update(2); cString(p) != "mA" {
		t.Errorf("EGU is %q", p)
	}
	units = "much too long a unit"
	if err := ioc.SetProperties("v", Properties{Units: &units}); err == nil {
		t.Error("units of 20 bytes are accepted")
	}
}

func TestWedgedAndSilentCircuitsGoOnLater(t *testing.T) {
	ioc := start(t, Options{Records: []Record{scalar("v", 1)}})
	c := dial(t, ioc)
	sid := c.create("v").sid
	c.subscribe(sid, 1, ca.DBRTimeDouble, 1, masks)
	c.update(1)
	for _, control := range []func(bool){ioc.Wedge, ioc.Silence} {
		control(true)
		control(true)
		mustPut(t, ioc, "v", 2.0)
		late, err := net.Dial("tcp", ioc.TCPAddr())
		must(t, err)
		defer late.Close()
		c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.r.Peek(1); err == nil {
			t.Error("a wedged circuit says something")
		}
		c.conn.SetDeadline(time.Now().Add(patience))
		late.SetDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := late.Read(make([]byte, 1)); err == nil {
			t.Error("a circuit made meanwhile is greeted")
		}
		control(false)
		if _, p := c.update(1); timeDouble(p).value != 2 {
			t.Errorf("got %+v", timeDouble(p))
		}
		c.sync()
	}
	ioc.Wedge(true) // and the IOC still ends
}

func TestSilentIOCAnswersNoSearch(t *testing.T) {
	ioc := New(Options{Records: []Record{scalar("v", 1)}})
	search := ca.AppendSearch(ca.AppendDatagramVersion(nil, 1), 3, "v", ca.DontReply)
	answers := 0
	var buf []byte
	for _, silent := range []bool{true, false} {
		ioc.Silence(silent)
		ioc.answerSearch(search, &buf, func([]byte) { answers++ })
	}
	if answers != 1 {
		t.Errorf("%d answers, want the one after the silence", answers)
	}
}

func TestSlowCircuitKeepsItsRate(t *testing.T) {
	ioc := start(t, Options{Records: []Record{{Name: "w", Type: ca.DBRChar, Count: 4000, Value: make([]byte, 4000)}}})
	c := dial(t, ioc)
	sid := c.create("w").sid
	ioc.SlowTo(20_000)
	begin := time.Now()
	c.get(sid, ca.DBRChar, 4000)
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("4000 bytes came in %v at 20,000 bytes a second", took)
	}
	ioc.SlowTo(0)
	c.sync()
}
