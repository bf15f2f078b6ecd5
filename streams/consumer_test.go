package streams

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// publish stores payloads as they are, each on its subject, past SampleLog.
func publish(t *testing.T, l *Log, messages ...outgoing) {
	t.Helper()
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if _, err := s.js.Publish(t.Context(), m.subject, m.data); err != nil {
			t.Fatal(err)
		}
	}
}

// encoded is a message of one PV with the given samples.
func encoded(pv schema.PVName, samples ...schema.RawSample) outgoing {
	b := schema.AppendSampleHeader(nil)
	for _, s := range samples {
		b = schema.AppendRawSample(b, s)
	}
	return outgoing{subject: Subject(SamplesPrefix, pv), data: schema.AppendChecksum(b, 0)}
}

// store publishes n messages of one sample each.
func store(t *testing.T, l *Log, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		publish(t, l, encoded(pvName(0), sampleOf(i)))
	}
}

// TestCrashedConsumerComesBackInOrder leaves messages delivered and not
// acknowledged, adds newer ones, and starts again: first must come the one
// after the floor, not the newer ones.
func TestCrashedConsumerComesBackInOrder(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	store(t, l, 0, 100)
	first := fetchSamples(t, l.Archive(), 100, false)
	if first[0].Redelivered != true {
		t.Error("messages that stood in the log before the first Reset are not marked")
	}
	if err := l.Archive().Ack(t.Context(), 40); err != nil {
		t.Fatal(err)
	}
	store(t, l, 100, 20)
	if err := l.Close(); err != nil { // with 60 unacknowledged
		t.Fatal(err)
	}
	l = openLog(t, Options{Dir: dir})
	store(t, l, 120, 10)
	if err := l.Archive().Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if floor := l.Archive().Floor(); floor != 40 {
		t.Errorf("the floor after the restart is %d, want 40", floor)
	}
	store(t, l, 130, 10)
	again := fetchSamples(t, l.Archive(), 100, false)
	for i, m := range again {
		if want := uint64(41 + i); m.Seq != want || m.First != want {
			t.Fatalf("delivery %d is message %d, want %d", i, m.Seq, want)
		}
		if want := m.Seq <= 130; m.Redelivered != want {
			t.Errorf("message %d: redelivered %v", m.Seq, m.Redelivered)
		}
	}
	if lag, err := l.Archive().Lag(t.Context()); lag != 100 || err != nil {
		t.Errorf("lag %d, %v", lag, err)
	}
}

// TestResetBeforeAnythingIsAcknowledged repeats a delivery within one session.
func TestResetRepeatsDeliveries(t *testing.T) {
	l := openLog(t, Options{})
	store(t, l, 0, 30)
	c := l.Archive()
	for round := range 3 {
		if err := c.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := fetchSamples(t, c, 30-10*round, false)
		if got[0].Seq != uint64(10*round+1) {
			t.Fatalf("round %d begins with %d", round, got[0].Seq)
		}
		if err := c.Ack(t.Context(), uint64(10*round+10)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAckTakesTheNewestDeliveryUpToTheSequence(t *testing.T) {
	l := openLog(t, Options{})
	store(t, l, 0, 10)
	c := l.Archive()
	fetchSamples(t, c, 10, false)
	for _, step := range []struct{ ack, floor uint64 }{{0, 0}, {3, 3}, {3, 3}, {2, 3}, {1000, 10}} {
		if err := c.Ack(t.Context(), step.ack); err != nil {
			t.Fatal(err)
		}
		state, err := l.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if c.Floor() != step.floor || state.Floor != step.floor {
			t.Errorf("after Ack(%d) the floor is %d here and %d at the server, want %d", step.ack, c.Floor(), state.Floor, step.floor)
		}
	}
}

func TestFetchGivesNothingAfterWait(t *testing.T) {
	l := openLog(t, Options{})
	for _, wait := range []time.Duration{0, 10 * time.Millisecond} {
		if m, err := l.Archive().Fetch(t.Context(), wait); len(m) != 0 || err != nil {
			t.Errorf("fetch from an empty log: %d messages, %v", len(m), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Archive().Fetch(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("fetch of a cancelled caller: %v", err)
	}
	store(t, l, 0, 3)
	if got := fetchSamples(t, l.Archive(), 3, true); got[0].Seq != 1 {
		t.Errorf("after a cancelled fetch the first message is %d", got[0].Seq)
	}
}

func TestFetchWaitsForTheFirstMessage(t *testing.T) {
	l := openLog(t, Options{})
	runLog(t, l)
	got := make(chan []Message, 1)
	go func() {
		m, err := l.Archive().Fetch(context.Background(), time.Minute)
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	if err := l.Samples().Append(t.Context(), pvName(0), sampleOf(0)); err != nil {
		t.Fatal(err)
	}
	if m := <-got; len(m) != 1 {
		t.Errorf("%d messages", len(m))
	}
}

// TestFetchIsBounded fetches more than one request may give, in messages and in
// bytes.
func TestFetchIsBounded(t *testing.T) {
	l := openLog(t, Options{LimitBytes: 512 << 20, DropsMaxBytes: 1 << 20})
	runLog(t, l)
	for n := range 12 {
		if err := l.Samples().Append(t.Context(), pvName(n), largeSample(3<<20, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := waitStored(t, l); err != nil {
		t.Fatal(err)
	}
	total := 0
	for total < 12 {
		m, err := l.Archive().Fetch(t.Context(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if len(m)*(3<<20) > fetchBytes {
			t.Errorf("a fetch gave %d messages of 3 MiB", len(m))
		}
		total += len(m)
	}
}

// largeSample is a byte waveform of n bytes that begin with mark.
func largeSample(n, mark int) schema.RawSample {
	value := bytes.Repeat([]byte{byte(mark), 2, 3, 5, 7}, n/5+1)[:n]
	s := sampleOf(mark)
	s.Type, s.Registered = schema.WaveformByte, schema.WaveformByte
	at := schema.Time{Sec: schema.YearStart(2026) + int64(mark)}
	s.Event = schema.AppendBytes(schema.AppendHead(nil, at), value)
	return s
}

// TestLargeSamplesTravelWhole covers one message above MessageBytes and parts.
func TestLargeSamplesTravelWhole(t *testing.T) {
	l := openLog(t, Options{})
	runLog(t, l)
	sizes := []int{100, 300 << 10, singleBytes - 200, maxPayload + 1, 3 * partBytes, 17 << 20, 50}
	var want []schema.RawSample
	for i, size := range sizes {
		want = append(want, largeSample(size, i))
		if err := l.Samples().Append(t.Context(), pvName(0), want[i]); err != nil {
			t.Fatal(err)
		}
	}
	messages := fetchSamples(t, l.Archive(), len(sizes), false)
	var got []schema.RawSample
	next := uint64(1)
	for _, m := range messages {
		if m.Err != nil || m.First != next || m.Seq < m.First {
			t.Fatalf("message %d to %d, want from %d: %v", m.First, m.Seq, next, m.Err)
		}
		if again, part, err := schema.DecodeSampleMessage(m.Raw, nil); err != nil || part != nil || len(again) != len(m.Samples) {
			t.Errorf("message %d: Raw gives %d samples, %v", m.Seq, len(again), err)
		}
		next = m.Seq + 1
		got = append(got, m.Samples...)
	}
	for i := range want {
		if !bytes.Equal(got[i].Event, want[i].Event) {
			t.Errorf("sample %d of %d bytes differs", i, sizes[i])
		}
	}
	if last := messages[len(messages)-1].Seq; last <= uint64(len(sizes)) {
		t.Errorf("%d messages in the stream: nothing travelled in parts", last)
	}
	if err := l.Archive().Ack(t.Context(), next-1); err != nil || l.Archive().Floor() != next-1 {
		t.Errorf("floor %d, %v", l.Archive().Floor(), err)
	}
}

// TestAckStaysBelowAnIncompleteSet: parts that were fetched without their end
// must come again after a crash.
func TestAckStaysBelowAnIncompleteSet(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, Options{Dir: dir})
	sealed := encoded(pvName(1), largeSample(maxPayload+1, 1))
	big := message{subject: sealed.subject, data: sealed.data, sealed: true}
	wire, err := big.appendWire(nil)
	if err != nil || len(wire) < 3 {
		t.Fatalf("%d parts, %v", len(wire), err)
	}
	store(t, l, 0, 2)
	publish(t, l, wire[:2]...)
	got := fetchSamples(t, l.Archive(), 2, true)
	if m, err := l.Archive().Fetch(t.Context(), time.Millisecond); len(m) != 0 || err != nil {
		t.Fatalf("half a set came as %d messages, %v", len(m), err)
	}
	if err := l.Archive().Ack(t.Context(), got[1].Seq); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, Options{Dir: dir})
	publish(t, l, wire[2:]...)
	again := fetchSamples(t, l.Archive(), 1, true)
	if again[0].First != 3 || again[0].Seq != uint64(2+len(wire)) || again[0].PV != pvName(1) {
		t.Errorf("the set came as %d to %d of %s", again[0].First, again[0].Seq, again[0].PV)
	}
}

// TestBrokenSetsAreToldAndDiscarded has sets begin anew, end early and
// contradict themselves; what follows must come whole.
func TestBrokenSetsAreToldAndDiscarded(t *testing.T) {
	sealed := encoded(pvName(1), largeSample(maxPayload+1, 1))
	whole := func(t *testing.T) []outgoing {
		m := message{subject: sealed.subject, data: sealed.data, sealed: true}
		wire, err := m.appendWire(nil)
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	lie := func(t *testing.T, change func(p *logpb.Part)) outgoing {
		p := &logpb.Part{Id: 1, Count: 2, Total: 10, Data: []byte("12345")}
		change(p)
		b, err := proto.Marshal(&logpb.SampleMessage{Version: 1, Part: p})
		if err != nil {
			t.Fatal(err)
		}
		return outgoing{subject: sealed.subject, data: schema.AppendChecksum(b, 0)}
	}
	small := encoded(pvName(1), sampleOf(1))
	other := encoded(pvName(2), sampleOf(1))
	for name, c := range map[string]struct {
		send                          func(t *testing.T) []outgoing
		good, bad, damaged, discarded int
	}{
		"begun again":       {func(t *testing.T) []outgoing { return append(whole(t)[:2], whole(t)...) }, 1, 0, 0, 1},
		"cut by its own PV": {func(t *testing.T) []outgoing { return append(whole(t)[:2], small) }, 1, 0, 0, 1},
		"cut by another PV": {func(t *testing.T) []outgoing { return append(whole(t)[:2], other) }, 1, 0, 0, 1},
		"its middle is gone": {func(t *testing.T) []outgoing {
			w := whole(t)
			return []outgoing{w[0], w[2], small}
		}, 1, 1, 1, 1},
		"too long": {func(t *testing.T) []outgoing {
			return []outgoing{lie(t, func(p *logpb.Part) { p.Total = 3 }), small}
		}, 1, 1, 1, 0},
		"too short": {func(t *testing.T) []outgoing {
			return []outgoing{lie(t, func(p *logpb.Part) { p.Count = 1 }), small}
		}, 1, 1, 1, 1},
		"huge": {func(t *testing.T) []outgoing {
			return []outgoing{lie(t, func(p *logpb.Part) { p.Total = 1 << 60 }), small}
		}, 1, 1, 1, 0},
		"no parts": {func(t *testing.T) []outgoing {
			return []outgoing{lie(t, func(p *logpb.Part) { p.Count = 0 }), small}
		}, 1, 1, 1, 0},
		"nonsense within": {func(t *testing.T) []outgoing {
			return []outgoing{lie(t, func(p *logpb.Part) { p.Count, p.Total = 1, 5 }), small}
		}, 1, 1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLog(t, Options{})
			publish(t, l, c.send(t)...)
			messages := fetchSamples(t, l.Archive(), c.good, false)
			good, bad := 0, 0
			for _, m := range messages {
				if m.Err == nil {
					good++
					continue
				}
				bad++
				if !errors.Is(m.Err, schema.ErrDamaged) || len(m.Raw) == 0 || len(m.Samples) != 0 {
					t.Errorf("damaged message: %v, %d raw bytes, %d samples", m.Err, len(m.Raw), len(m.Samples))
				}
			}
			if good != c.good || bad != c.bad {
				t.Errorf("%d whole and %d damaged messages, want %d and %d", good, bad, c.good, c.bad)
			}
			if d := gauge(t, l.metrics.damaged); d != float64(c.damaged) {
				t.Errorf("%v damaged counted, want %d", d, c.damaged)
			}
			if d := gauge(t, l.metrics.incomplete); d != float64(c.discarded) {
				t.Errorf("%v discarded sets counted, want %d", d, c.discarded)
			}
		})
	}
}

func TestDamagedMessagesComeWithTheirBytes(t *testing.T) {
	l := openLog(t, Options{})
	good := encoded(pvName(0), sampleOf(0))
	flipped := encoded(pvName(0), sampleOf(1))
	flipped.data[len(flipped.data)/2] ^= 1
	publish(t, l, outgoing{subject: good.subject, data: []byte("hello")}, outgoing{subject: good.subject},
		flipped, outgoing{subject: "samples.a%zz", data: good.data}, good)
	messages := fetchSamples(t, l.Archive(), 1, true)
	if len(messages) != 5 {
		t.Fatalf("%d messages", len(messages))
	}
	for i, m := range messages[:4] {
		if !errors.Is(m.Err, schema.ErrDamaged) || len(m.Samples) != 0 {
			t.Errorf("message %d: %d samples, %v", i, len(m.Samples), m.Err)
		}
	}
	if !bytes.Equal(messages[2].Raw, flipped.data) || string(messages[0].Raw) != "hello" {
		t.Error("the bytes of damaged messages are not those that were stored")
	}
	if messages[4].Err != nil || l.Archive().Floor() != 5 {
		t.Errorf("after them: %v, floor %d", messages[4].Err, l.Archive().Floor())
	}
}

// TestHolesAreCounted deletes a message in the middle of the stream.
func TestHolesAreCounted(t *testing.T) {
	l := openLog(t, Options{})
	store(t, l, 0, 10)
	s, err := l.current()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := s.js.Stream(t.Context(), SamplesStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if got := fetchSamples(t, l.Archive(), 9, true); len(got) != 9 || got[4].Seq != 6 {
		t.Errorf("%d messages", len(got))
	}
	if holes := gauge(t, l.metrics.holes); holes != 1 {
		t.Errorf("%v holes counted", holes)
	}
}

func TestParseReply(t *testing.T) {
	for reply, want := range map[string]delivery{
		"$JS.ACK.SAMPLES.archive.1.42.7.1700000000000000005.3":              {42, 7},
		"$JS.ACK._.hash.SAMPLES.archive.1.42.7.1700000000000000005.3":       {42, 7},
		"$JS.ACK._.hash.SAMPLES.archive.1.42.7.1700000000000000005.3.token": {42, 7},
	} {
		s, err := parseReply(reply)
		if err != nil || s.delivery != want || s.time.UnixNano() != 1700000000000000005 {
			t.Errorf("%s: %+v, %v", reply, s, err)
		}
		if s.prefix+"1.42.7.1700000000000000005.3" != reply[:len(s.prefix)+len("1.42.7.1700000000000000005.3")] {
			t.Errorf("%s: prefix %s", reply, s.prefix)
		}
	}
	for _, reply := range []string{"", "_INBOX.x", "$JS.ACK.SAMPLES.archive.1.42.7.17", "$JS.ACK.SAMPLES.archive.1.x.7.17.0", "$JS.ACK.SAMPLES.archive.1.-1.7.17.0"} {
		if _, err := parseReply(reply); err == nil {
			t.Errorf("%q was accepted", reply)
		}
	}
}
