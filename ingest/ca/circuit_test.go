package ca

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

// requests takes what the circuit wants to send.
func requests(t testing.TB, c *Circuit) (out []Header) {
	t.Helper()
	b := c.TakeOutput(nil)
	for len(b) > 0 {
		h, _, n, err := ParseMessage(b)
		if err != nil || n == 0 {
			t.Fatalf("output: %v", err)
		}
		out = append(out, h)
		b = b[n:]
	}
	return out
}

func handle(t testing.TB, c *Circuit, h Header, payload ...byte) Event {
	t.Helper()
	h.PayloadSize = uint32(len(payload))
	return c.Handle(h, payload, false)
}

const (
	testCID = 11
	testSID = 0 // a legal one, the first of a fresh softIoc
)

// connected is a circuit with one channel, the greeting taken.
func connected(t testing.TB, native DBR, count uint32) *Circuit {
	t.Helper()
	c := NewCircuit(CircuitOptions{}, start)
	c.Create(start, testCID, "SIM:AI1", 0, "owner")
	handle(t, c, Header{Command: CmdVersion, Count: 13})
	handle(t, c, Header{Command: CmdAccessRights, P1: testCID, P2: 3})
	e := handle(t, c, Header{Command: CmdCreateChan, DataType: uint16(native), Count: count, P1: testCID, P2: testSID})
	if e.Kind != EventConnected || e.Owner != "owner" {
		t.Fatalf("got %+v", e)
	}
	requests(t, c)
	return c
}

// subscribed is a circuit with one monitor and its id.
func subscribed(t testing.TB, native DBR, count uint32) (*Circuit, uint32) {
	t.Helper()
	c := connected(t, native, count)
	c.Subscribe(testCID, MaskLog|MaskAlarm)
	out := requests(t, c)
	if len(out) != 1 || out[0].Command != CmdEventAdd {
		t.Fatalf("got %+v", out)
	}
	return c, out[0].P2
}

func commands(headers []Header) (names []string) {
	for _, h := range headers {
		names = append(names, CommandName(h.Command))
	}
	return names
}

func expectRequests(t *testing.T, c *Circuit, want ...string) []Header {
	t.Helper()
	out := requests(t, c)
	if got := commands(out); !slices.Equal(got, want) {
		t.Errorf("requested %v, want %v", got, want)
	}
	return out
}

func TestCircuitGreetsBeforeItClaims(t *testing.T) {
	c := NewCircuit(CircuitOptions{User: "archiver", Host: "host1"}, start)
	c.Create(start, 1, "A", 0, nil)
	expectRequests(t, c, "VERSION", "CLIENT_NAME", "HOST_NAME", "CREATE_CHAN")
}

func TestCircuitReportsTypeCountAndRights(t *testing.T) {
	c := connected(t, DBREnum, 3)
	info, ok := c.Info(testCID)
	if want := (Info{Native: DBREnum, Count: 3, Minor: 13, Readable: true, Writable: true}); !ok || info != want {
		t.Errorf("got %+v, want %+v", info, want)
	}
	handle(t, c, Header{Command: CmdAccessRights, P1: testCID, P2: 0xFFFFFFF0})
	if info, _ := c.Info(testCID); info.Readable || info.Writable {
		t.Errorf("unknown bits gave rights: %+v", info)
	}
}

func TestCircuitSubscribesOnceWithTheNativeType(t *testing.T) {
	c := connected(t, DBRChar, 100)
	c.Subscribe(testCID, 6)
	c.Subscribe(testCID, 6)
	out := expectRequests(t, c, "EVENT_ADD")
	if out[0].DataType != uint16(DBRTimeChar) || out[0].Count != 0 || out[0].P1 != testSID {
		t.Errorf("got %+v", out[0])
	}
	c.Subscribe(testCID, 1)
	expectRequests(t, c, "EVENT_CANCEL", "EVENT_ADD")
}

func TestCircuitSubscribesAsSoonAsTheClaimIsAnswered(t *testing.T) {
	c := NewCircuit(CircuitOptions{Minor: 12}, start)
	c.Create(start, testCID, "A", 6, nil)
	requests(t, c)
	handle(t, c, Header{Command: CmdCreateChan, DataType: 6, Count: 10, P1: testCID, P2: 5})
	if out := expectRequests(t, c, "EVENT_ADD"); out[0].Count != 10 {
		t.Errorf("an old server was asked for %d elements, it has 10", out[0].Count)
	}
}

// TestCircuitNeverAsksForItsOwnEnd: rsrv closes the circuit when a
// subscription is cancelled twice or after its channel.
func TestCircuitNeverAsksForItsOwnEnd(t *testing.T) {
	c, id := subscribed(t, DBRDouble, 1)
	c.Unsubscribe(testCID)
	c.Unsubscribe(testCID)
	if out := expectRequests(t, c, "EVENT_CANCEL"); out[0].P2 != id {
		t.Errorf("cancelled %d, want %d", out[0].P2, id)
	}
	c.Subscribe(testCID, 6)
	c.Clear(testCID)
	c.Clear(testCID)
	c.Unsubscribe(testCID)
	expectRequests(t, c, "EVENT_ADD", "CLEAR_CHANNEL")
	if err := c.Get(start, testCID, DBRDouble, 1, nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("got %v", err)
	}
	for _, bad := range []DBR{DBRPutAckS, 39, 255} {
		c := connected(t, DBRDouble, 1)
		if err := c.Get(start, testCID, bad, 1, nil); err == nil || c.Output() > 0 {
			t.Errorf("%v was requested", bad)
		}
	}
}

func TestCircuitTellsCancelAcknowledgementsFromUpdates(t *testing.T) {
	c, id := subscribed(t, DBRDouble, 1)
	payload, _ := encodeTime(t, DBRTimeDouble, []float64{1})
	update := Header{Command: CmdEventAdd, DataType: 20, Count: 1, P1: StatusNormal, P2: id}
	if e := handle(t, c, update, payload...); e.Kind != EventUpdate || e.Owner != "owner" || len(e.Payload) != 24 {
		t.Errorf("got %+v", e)
	}
	c.Unsubscribe(testCID)
	// Updates that were queued before the cancel arrive before its answer.
	if e := handle(t, c, update, payload...); e.Kind != EventNone {
		t.Errorf("got %+v after the cancel", e)
	}
	if len(c.subs) != 1 {
		t.Error("the id is free before the acknowledgement")
	}
	handle(t, c, Header{Command: CmdEventAdd, DataType: 20, P1: testSID, P2: id})
	if len(c.subs) != 0 {
		t.Error("the id is taken after the acknowledgement")
	}
}

func TestCircuitRejectsUpdatesThatCannotBe(t *testing.T) {
	c, id := subscribed(t, DBRChar, 10)
	tests := map[string]struct {
		h    Header
		size int
		want EventKind
	}{
		"other type":       {Header{DataType: uint16(DBRTimeDouble), Count: 1, P1: 1, P2: id}, 24, EventRejected},
		"type 255":         {Header{DataType: 255, Count: 1, P1: 1, P2: id}, 24, EventRejected},
		"too short":        {Header{DataType: uint16(DBRTimeChar), Count: 1, P1: 1, P2: id}, 8, EventRejected},
		"huge count":       {Header{DataType: uint16(DBRTimeChar), Count: math.MaxUint32, P1: 1, P2: id}, 24, EventRejected},
		"nothing":          {Header{DataType: uint16(DBRTimeChar), Count: 1, P1: 1, P2: id}, 0, EventRejected},
		"unknown id":       {Header{DataType: uint16(DBRTimeChar), Count: 1, P1: 1, P2: id + 1}, 16, EventNone},
		"unknown id empty": {Header{DataType: uint16(DBRTimeChar), P2: id + 1}, 0, EventNone},
		"no element":       {Header{DataType: uint16(DBRTimeChar), Count: 0, P1: 1, P2: id}, 16, EventUpdate},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.h.Command = CmdEventAdd
			if e := handle(t, c, test.h, make([]byte, test.size)...); e.Kind != test.want {
				t.Errorf("got %+v", e)
			}
		})
	}
}

func TestCircuitGivesNoPayloadOfAFailure(t *testing.T) {
	c, id := subscribed(t, DBRDouble, 1)
	h := Header{Command: CmdEventAdd, DataType: 20, Count: 1, P1: StatusNoReadAccess, P2: id}
	if e := handle(t, c, h, make([]byte, 24)...); e.Kind != EventUpdate || e.Status != StatusNoReadAccess || e.Payload != nil {
		t.Errorf("got %+v", e)
	}
	h.P1, h.PayloadSize = StatusNormal, MaxPayload+8
	if e := c.Handle(h, nil, true); e.Kind != EventUpdate || e.Status != StatusTooLarge || e.Payload != nil {
		t.Errorf("got %+v", e)
	}
}

// TestCircuitClearsClaimsThatNobodyWaitsFor, or the server would keep them.
func TestCircuitClearsClaimsThatNobodyWaitsFor(t *testing.T) {
	c := NewCircuit(CircuitOptions{}, start)
	c.Create(start, 1, "A", 6, nil)
	c.Clear(1)
	requests(t, c)
	for _, cid := range []uint32{1, 77} {
		if e := handle(t, c, Header{Command: CmdCreateChan, DataType: 6, Count: 1, P1: cid, P2: 9}); e.Kind != EventNone {
			t.Errorf("got %+v", e)
		}
		if out := expectRequests(t, c, "CLEAR_CHANNEL"); out[0].P1 != 9 || out[0].P2 != cid {
			t.Errorf("got %+v", out[0])
		}
	}
}

func TestAnswersThatNobodyReadsEndTheCircuit(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	for i := range uint32(2 * maxProvoked / HeaderSize) {
		if e := handle(t, c, Header{Command: CmdCreateChan, P1: 1000 + i, P2: i}); e.Kind == EventLost {
			if len(c.out) > maxProvoked+HeaderSize {
				t.Errorf("%d bytes wait", len(c.out))
			}
			return
		}
	}
	t.Errorf("%d bytes wait and the circuit goes on", len(c.out))
}

func TestCircuitRefusesImpossibleClaims(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	if e := handle(t, c, Header{Command: CmdCreateChan, DataType: 5, Count: 2, P1: testCID, P2: 3}); e.Kind != EventRejected {
		t.Errorf("a second CREATE_CHAN gave %+v", e)
	}
	if info, _ := c.Info(testCID); info.Native != DBRDouble {
		t.Errorf("it changed the channel: %+v", info)
	}
	c.Create(start, 12, "B", 0, "b")
	requests(t, c)
	e := handle(t, c, Header{Command: CmdCreateChan, DataType: 9, Count: 1, P1: 12, P2: 3})
	if e.Kind != EventEnded || !errors.Is(e.Err, ErrNativeType) || e.Owner != "b" {
		t.Errorf("got %+v", e)
	}
	expectRequests(t, c, "CLEAR_CHANNEL")
	c.Create(start, 13, "C", 6, "c")
	e = handle(t, c, Header{Command: CmdCreateChan, DataType: 6, Count: 1 << 31, P1: 13, P2: 4})
	if e.Kind != EventConnected || e.Info.Count != 1<<31 {
		t.Errorf("got %+v", e)
	}
}

func TestCircuitEndsOneChannelOnly(t *testing.T) {
	for command, cause := range map[uint16]error{CmdCreateChanFail: ErrNoChannel, CmdServerDisconnect: ErrChannelEnded} {
		c, id := subscribed(t, DBRDouble, 1)
		c.Create(start, 12, "B", 0, "b")
		if e := handle(t, c, Header{Command: command, P1: 99}); e.Kind != EventNone {
			t.Errorf("an unknown channel gave %+v", e)
		}
		e := handle(t, c, Header{Command: command, P1: testCID})
		if e.Kind != EventEnded || e.Owner != "owner" || !e.Connected || !errors.Is(e.Err, cause) {
			t.Errorf("got %+v", e)
		}
		requests(t, c)
		c.Unsubscribe(testCID)
		c.Clear(testCID)
		expectRequests(t, c)
		if e := handle(t, c, Header{Command: CmdEventAdd, DataType: 20, Count: 1, P1: 1, P2: id}, make([]byte, 24)...); e.Kind != EventNone {
			t.Errorf("a late update gave %+v", e)
		}
		if owners := c.Owners(); len(owners) != 1 || owners[0] != "b" {
			t.Errorf("left: %v", owners)
		}
	}
}

func TestCircuitGetIsAnsweredOnce(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	ask := func() Header {
		t.Helper()
		if err := c.Get(start, testCID, DBRCtrlDouble, 1, "get"); err != nil {
			t.Fatal(err)
		}
		return requests(t, c)[0]
	}
	reply := ask()
	reply.P1 = StatusNormal
	if e := handle(t, c, reply, make([]byte, 88)...); e.Kind != EventGet || e.Owner != "get" || len(e.Payload) != 88 || e.Err != nil {
		t.Errorf("got %+v", e)
	}
	if e := handle(t, c, reply, make([]byte, 88)...); e.Kind != EventNone {
		t.Errorf("a second answer gave %+v", e)
	}
	reply = ask()
	reply.P1 = StatusNormal
	if e := handle(t, c, reply, make([]byte, 80)...); !errors.Is(e.Err, ErrMalformed) || e.Payload != nil {
		t.Errorf("a short answer gave %+v", e)
	}
	reply = ask()
	reply.P1, reply.DataType = StatusNormal, 20
	if e := handle(t, c, reply, make([]byte, 88)...); !errors.Is(e.Err, ErrMalformed) || e.Payload != nil {
		t.Errorf("another type gave %+v", e)
	}
	reply = ask()
	reply.P1 = StatusGetFail
	if e := handle(t, c, reply, make([]byte, 88)...); e.Status != StatusGetFail || e.Payload != nil {
		t.Errorf("a failure gave %+v", e)
	}
	request := ask()
	text := AppendError(nil, testCID, StatusGetFail, request, "no luck")
	h, payload, _, _ := ParseMessage(text)
	if e := handle(t, c, h, payload...); e.Kind != EventGet || e.Status != StatusGetFail || e.Text != "no luck" {
		t.Errorf("an ERROR gave %+v", e)
	}
	ask()
	if events := c.Tick(start.Add(10 * time.Second)); len(events) == 0 || !errors.Is(events[0].Err, ErrGetTimeout) {
		t.Errorf("time gave %+v", events)
	}
	if owners := c.Gets(); len(owners) != 0 {
		t.Errorf("still asked for: %v", owners)
	}
}

func TestCircuitReadsErrorsOfAnyShape(t *testing.T) {
	extended := AppendHeader(nil, Header{Command: CmdReadNotify, Count: 1 << 20, P2: 5})
	tests := map[string]struct {
		payload []byte
		want    EventKind
	}{
		"empty":              {nil, EventRejected},
		"eight bytes":        {make([]byte, 8), EventRejected},
		"extended, cut":      {extended[:16], EventRejected},
		"extended":           {extended, EventFailure},
		"text without NUL":   {append(make([]byte, 16), "abcdefgh"...), EventFailure},
		"text not UTF-8":     {append(make([]byte, 16), "\xff\xfe\x00\x01\xff\xff\xff\xff"...), EventFailure},
		"unaligned embedded": {append(AppendHeader(nil, Header{PayloadSize: 3}), 0, 0, 0, 0, 0, 0, 0, 0), EventFailure},
	}
	for name, test := range tests {
		c := connected(t, DBRDouble, 1)
		e := handle(t, c, Header{Command: CmdError, P1: math.MaxUint32, P2: math.MaxUint32}, test.payload...)
		if e.Kind != test.want {
			t.Errorf("%s: got %+v", name, e)
		}
	}
}

func TestCircuitPassesOverUnknownCommands(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	for _, command := range []uint16{5, 28, 99, 65535, CmdBeacon} {
		if e := handle(t, c, Header{Command: command}); e.Kind != EventRejected {
			t.Errorf("command %d gave %+v", command, e)
		}
	}
}

// TestWatchdogClimbsItsLadder: silence, ECHO, unresponsive, closed; and any
// byte leads back down.
func TestWatchdogClimbsItsLadder(t *testing.T) {
	c, _ := subscribed(t, DBRDouble, 1)
	now := start
	c.Began(now)
	if c.Heard(now) {
		t.Error("a fresh circuit revived")
	}
	step := func(d time.Duration, want EventKind) {
		t.Helper()
		if events := c.Tick(now.Add(d - time.Millisecond)); len(events) != 0 {
			t.Fatalf("too early: %+v", events)
		}
		if due := c.Deadline(); !due.Equal(now.Add(d)) {
			t.Fatalf("due after %v, want %v", due.Sub(now), d)
		}
		now = now.Add(d)
		if events := c.Tick(now); len(events) != 1 || events[0].Kind != want {
			t.Fatalf("got %+v", events)
		}
	}
	step(30*time.Second, EventProbe)
	expectRequests(t, c, "ECHO")
	step(5*time.Second, EventUnresponsive)
	if !c.Unresponsive() || !c.Heard(now) || c.Unresponsive() {
		t.Error("a byte did not revive it")
	}
	requests(t, c)
	step(30*time.Second, EventProbe)
	if c.Heard(now) {
		t.Error("an answer in time is no revival")
	}
	step(30*time.Second, EventProbe)
	step(5*time.Second, EventUnresponsive)
	step(60*time.Second, EventLost)
	if out := requests(t, c); slices.Contains(commands(out), "EVENT_ADD") {
		t.Error("a monitor was subscribed again on the same circuit")
	}
}

func TestWatchdogGivesUpAServerThatNeverSpoke(t *testing.T) {
	c := NewCircuit(CircuitOptions{}, start)
	c.Create(start, 1, "A", 0, nil)
	c.Began(start)
	now := start.Add(10 * time.Second)
	if events := c.Tick(now); len(events) != 1 || events[0].Kind != EventProbe {
		t.Fatalf("got %+v", events)
	}
	if events := c.Tick(now.Add(5 * time.Second)); len(events) != 1 || events[0].Kind != EventLost {
		t.Fatalf("got %+v", events)
	}
}

// TestClaimWithoutAnswerIsGivenBack: the server lives, so silence is no sign.
func TestClaimWithoutAnswerIsGivenBack(t *testing.T) {
	c := connected(t, DBRDouble, 1)
	c.Create(start, 12, "B", 6, "b")
	c.Create(start, 13, "C", 6, "c")
	c.Clear(13)
	requests(t, c)
	now := start
	for ; now.Before(start.Add(59 * time.Second)); now = now.Add(time.Second) {
		c.Heard(now)
		if events := c.Tick(now); len(events) != 0 {
			t.Fatalf("after %v: %+v", now.Sub(start), events)
		}
	}
	now = start.Add(60 * time.Second)
	if due := c.Deadline(); !due.Equal(now) {
		t.Errorf("due at %v, want %v", due, now)
	}
	events := c.Tick(now)
	if len(events) != 1 || events[0].Kind != EventEnded || events[0].Owner != "b" || !errors.Is(events[0].Err, ErrClaimTimeout) {
		t.Fatalf("got %+v", events)
	}
	handle(t, c, Header{Command: CmdCreateChan, DataType: 6, Count: 1, P1: 12, P2: 9})
	expectRequests(t, c, "CLEAR_CHANNEL")
	if c.Len() != 1 || len(c.claims) != 0 {
		t.Errorf("%d channels, %d claims are left", c.Len(), len(c.claims))
	}
}

func TestWatchdogSpeaksOldEchoToOldServers(t *testing.T) {
	c := NewCircuit(CircuitOptions{Minor: 2}, start)
	requests(t, c)
	c.Tick(start.Add(time.Minute))
	expectRequests(t, c, "READ_SYNC")
}

func TestCircuitIDsAreNotReusedWhileInUse(t *testing.T) {
	c, id := subscribed(t, DBRDouble, 1)
	c.nextID = math.MaxUint32
	if err := c.Get(start, testCID, DBRDouble, 1, nil); err != nil {
		t.Fatal(err)
	}
	if got := requests(t, c)[0].P2; got == id || got == 0 {
		t.Errorf("id %d was given again", got)
	}
}

func FuzzCircuit(f *testing.F) {
	for _, b := range wire(f) {
		f.Add(b)
	}
	payload, _ := encodeTime(f, DBRTimeDouble, []float64{1})
	f.Add(AppendMessage(nil, Header{Command: CmdEventAdd, DataType: 20, Count: 1, P1: 1, P2: 1}, payload))
	f.Add(AppendError(nil, testCID, StatusGetFail, Header{Command: CmdReadNotify, P2: 2}, "x"))
	f.Add(AppendHeader(AppendHeader(nil, Header{Command: CmdServerDisconnect, P1: testCID}), Header{Command: CmdCreateChan, P1: testCID}))
	f.Fuzz(func(t *testing.T, stream []byte) {
		c, _ := subscribed(t, DBRDouble, 1)
		if err := c.Get(start, testCID, DBRCtrlDouble, 1, "get"); err != nil {
			t.Fatal(err)
		}
		s := Splitter{Limit: 1 << 16}
		now := start
		for len(stream) > 0 {
			n := copy(s.Buffer(), stream)
			s.Filled(n)
			stream = stream[n:]
			for {
				h, p, tooLarge, ok, err := s.Next()
				if err != nil {
					return
				}
				if !ok {
					break
				}
				e := c.Handle(h, p, tooLarge)
				if e.Kind == EventUpdate && e.Payload != nil {
					if _, _, err := DecodeTime(nil, e.Type, e.Count, true, e.Payload); err != nil {
						t.Fatalf("an update that was accepted cannot be decoded: %v", err)
					}
				}
				now = now.Add(time.Second)
				c.Tick(now)
			}
		}
	})
}
