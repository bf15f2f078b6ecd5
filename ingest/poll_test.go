package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// readRig is an engine in a bubble whose reads of values a test answers.
type readRig struct {
	t   *testing.T
	e   *Engine
	log *memoryLog

	mu    sync.Mutex // guards what follows
	asked []question // since they were taken, in order
	mute  bool       // asks are noted and not answered
	value float64    // of the newest answer
}

// question is one read.
type question struct {
	at   time.Time
	done func(caclient.Update, error)
}

// withReads runs a test in a bubble with the goroutine that reads.
func withReads(t *testing.T, test func(r *readRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &readRig{t: t}
		r.e, r.log = newTestEngine(t)
		r.e.get = func(link *caclient.Channel, typ ca.DBR, count uint32, done func(caclient.Update, error)) {
			if typ != ca.DBRTimeDouble || count != 0 {
				t.Errorf("asked for %d elements of %v", count, typ)
			}
			r.mu.Lock()
			r.asked = append(r.asked, question{time.Now(), done})
			mute := r.mute
			r.mu.Unlock()
			if !mute {
				r.answer(done)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{}, 2)
		go func() { r.e.reads.run(ctx); ended <- struct{}{} }()
		go func() { r.e.stragglers.run(ctx); ended <- struct{}{} }()
		test(r)
		cancel()
		<-ended
		<-ended
	})
}

// answer tells a value of severity 2, status 3 and a stamp of long ago.
func (r *readRig) answer(done func(caclient.Update, error)) {
	r.mu.Lock()
	r.value++
	v := r.value
	r.mu.Unlock()
	payload, err := ca.AppendTime(nil, ca.DBRTimeDouble, 2, 3, schema.Time{Sec: schema.Floor + 5}, []float64{v})
	if err != nil {
		r.t.Error(err)
	}
	done(caclient.Update{Type: ca.DBRTimeDouble, Count: 1, Status: ca.StatusNormal, Payload: payload, Received: time.Now()}, nil)
}

// questions are the reads since they were last taken.
func (r *readRig) questions() []question {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.asked
	r.asked = nil
	return taken
}

func (r *readRig) setMute(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = on
}

// connect gives a channel a connection that leads nowhere.
func (r *readRig) connect(c *Channel) {
	if c.link == nil {
		c.link = r.e.opt.Client.Open(string(c.pv), c)
	}
	c.Connected(c.link, caclient.Info{Native: ca.DBRDouble, Count: 1, Readable: true})
	synctest.Wait()
}

func (r *readRig) add(pv schema.PVName, period time.Duration) *Channel {
	info := scalar(schema.ScanGet, period)
	info.PV = pv
	return addChannel(r.e, info)
}

func (r *readRig) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestScanGetTakesPvlogsTimeAndTheIOCsValue_S46_S47(t *testing.T) {
	withReads(t, func(r *readRig) {
		c := r.add("T:AI", 10*time.Second)
		r.sleep(time.Minute)
		if n := len(r.questions()); n != 0 {
			t.Fatalf("%d reads without a connection", n)
		}
		r.connect(c)
		began := time.Now()
		all := r.log.all()
		if n := len(r.questions()); len(all) != 1 || n != 1 {
			t.Fatalf("%d reads, %d samples at the connection", n, len(all))
		}
		got := all[0].decode(t)
		if got.Time != schema.TimeOf(began) || got.Value != 1.0 || got.Severity != 2 || got.Status != 3 {
			t.Errorf("sample %+v", got)
		}
		if s := all[0]; !s.First || !s.Received.Equal(began) || s.Generation != 7 || s.marks(t) != fmt.Sprintf("0/%d/true", began.Unix()) {
			t.Errorf("envelope %+v, markers %s", s.RawSample, s.marks(t))
		}
		r.sleep(time.Minute)
		if got := values(t, r.log.all()); got != "1 2 3 4 5 6 7" {
			t.Errorf("a minute of reads every 10 s: %s", got)
		}
		r.questions()
		c.Disconnected(c.link, errors.New("lost"))
		r.sleep(time.Minute)
		if n := len(r.questions()); n != 0 {
			t.Errorf("%d reads without a connection", n)
		}
		r.connect(c)
		all = r.log.all()
		if s := all[len(all)-1]; len(all) != 8 || !s.First || s.marks(t) != fmt.Sprintf("%d/%d/false", time.Now().Unix()-60, time.Now().Unix()) {
			t.Errorf("%d samples, the newest of the new connection first %v, markers %s", len(all), s.First, s.marks(t))
		}
		if n := c.state(); n.Received != 8 || n.Appended != 8 || n.TransientErrors != 0 || n.Connection != Connected || !n.Subscribed ||
			n.LastEvent.Unix() != time.Now().Unix() {
			t.Errorf("state %+v", n)
		}
	})
}

func TestScanGetReadsOnceAtATime_S47(t *testing.T) {
	withReads(t, func(r *readRig) {
		c := r.add("T:AI", time.Second)
		r.setMute(true)
		r.connect(c)
		r.sleep(4500 * time.Millisecond)
		asked := r.questions()
		if n := c.history.counters().TransientErrors; len(asked) != 1 || n != 1 {
			t.Fatalf("%d reads, %d errors after 4.5 s without an answer", len(asked), n)
		}
		r.answer(asked[0].done) // slow, and still the value of this moment
		if got := values(t, r.log.all()); got != "1" {
			t.Errorf("samples %s", got)
		}
		r.sleep(7 * time.Second) // one is sent within 1 s and given up 5 s later, when another one is
		asked = r.questions()
		if n := c.history.counters().TransientErrors; len(asked) != 2 || n < 2 || n > 3 {
			t.Fatalf("%d reads, %d errors: a read is given up after 5 s", len(asked), n)
		}
		r.answer(asked[0].done) // given up
		if got := values(t, r.log.all()); got != "1" {
			t.Errorf("samples %s: the answer to a read that was given up is none", got)
		}
		before := c.history.counters().TransientErrors
		asked[1].done(caclient.Update{}, &caclient.StatusError{Status: ca.StatusNoReadAccess})
		r.setMute(false)
		r.sleep(time.Second)
		if n := c.history.counters(); n.TransientErrors != before+1 || n.Received != 2 {
			t.Errorf("counters %+v after a refusal", n)
		}
	})
}

func TestScanGetGivesUpAReadLongBeforeTheNext_S47(t *testing.T) {
	withReads(t, func(r *readRig) {
		c := r.add("T:AI", time.Hour)
		r.setMute(true)
		r.connect(c)
		for hour := range 3 { // the read of the connection, then one an hour
			asked := r.questions()
			if n := c.history.counters().TransientErrors; len(asked) != 1 || n != uint64(hour) {
				t.Fatalf("hour %d: %d reads, %d errors", hour, len(asked), n)
			}
			r.sleep(5 * time.Second)
			if n := c.history.counters().TransientErrors; n != uint64(hour+1) {
				t.Errorf("hour %d: %d errors 5 s after a read without an answer", hour, n)
			}
			r.answer(asked[0].done)
			if n := len(r.log.all()); n != 0 {
				t.Errorf("hour %d: %d samples of reads that were given up", hour, n)
			}
			c.mu.Lock()
			next := c.reading.next
			c.mu.Unlock()
			r.sleep(time.Until(next))
		}
	})
}

func TestScanGetSpreadsOverThePeriod_S45(t *testing.T) {
	withReads(t, func(r *readRig) {
		const n = 4000
		for i := range n {
			c := r.add(schema.PVName(fmt.Sprintf("SR:C%02d-MG:COR%03d:I-RB", i/500, i%500)), time.Second)
			r.connect(c)
		}
		r.sleep(time.Second) // a first turn may be a moment after the first read
		r.questions()
		for second := range 3 {
			r.sleep(time.Second)
			asked := r.questions()
			var slots [20]int
			for _, q := range asked {
				slots[q.at.Nanosecond()/50_000_000]++
			}
			if len(asked) < n*98/100 || len(asked) > n*102/100 {
				t.Errorf("second %d: %d reads of %d PVs", second, len(asked), n)
			}
			for slot, reads := range slots {
				if reads < n/20*3/4 || reads > n/20*5/4 {
					t.Errorf("second %d: %d reads in the %d. 50 ms, %d would be even", second, reads, slot, n/20)
				}
			}
		}
		if got := r.e.reads.waiting(); got != n {
			t.Errorf("%d entries for %d PVs", got, n)
		}
	})
}

func TestScanGetFollowsAChangeOfPeriod_S47(t *testing.T) {
	withReads(t, func(r *readRig) {
		c := r.add("T:AI", 24*time.Hour)
		r.connect(c)
		set := func(method schema.SamplingMethod, period time.Duration) {
			info := scalar(method, period)
			c.configure(&info)
		}
		set(schema.ScanGet, time.Second)
		r.sleep(10 * time.Second)
		if n := len(r.questions()); n != 11 {
			t.Errorf("%d reads in 10 s of 1 s", n)
		}
		set(schema.ScanGet, 5*time.Second)
		r.sleep(60 * time.Second)
		if n := len(r.questions()); n < 12 || n > 13 {
			t.Errorf("%d reads in 60 s of 5 s", n)
		}
		for range 1000 { // an IOC that comes and goes
			c.Disconnected(c.link, errors.New("lost"))
			r.connect(c)
		}
		if n := r.e.reads.waiting(); n > 2 {
			t.Errorf("%d entries for one PV", n)
		}
		set(schema.Monitor, 0)
		r.questions()
		r.sleep(24 * time.Hour)
		if n := len(r.questions()); n != 0 || r.e.reads.waiting() != 0 {
			t.Errorf("%d reads, %d entries of a monitored PV", n, r.e.reads.waiting())
		}
	})
}

func configureEvent(pv string, s schema.Settings) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Configured{Configured: &logpb.PVConfigured{Settings: s.Message()}}}
}

func TestMethodChangesWithoutReconnect_S45_S46(t *testing.T) {
	methods := []schema.SamplingMethod{schema.Monitor, schema.Scan, schema.ScanGet}
	for _, from := range methods {
		for _, to := range methods {
			if from == to {
				continue
			}
			t.Run(string(from)+" to "+string(to), func(t *testing.T) { changeMethod(t, from, to) })
		}
	}
}

// changeMethod checks that what follows a change is sampled as it should be,
// that no value is taken twice and that the connection stays.
func changeMethod(t *testing.T, from, to schema.SamplingMethod) {
	r := newRig(t, []simioc.Record{{Name: "T:A", Type: ca.DBRDouble, Value: 0.0}})
	settings := schema.Settings{SamplingMethod: from, SamplingPeriod: 100 * time.Millisecond}
	r.registry.add(requestEvent("T:A"), configureEvent("T:A", settings))
	r.sampled(t, "T:A", 1)
	put := func(v float64) {
		t.Helper()
		if err := r.ioc.Put("T:A", v); err != nil {
			t.Fatal(err)
		}
		r.until(t, fmt.Sprint("the value ", v), func() bool {
			all := r.log.of("T:A")
			return all[len(all)-1].decode(t).Value == v
		})
	}
	put(1)
	put(2)
	settings.SamplingMethod = to
	r.applied(t, r.registry.add(configureEvent("T:A", settings)))
	put(3)
	put(4)
	state, _ := r.engine.State("T:A")
	if state.Disconnects != 0 || !state.Restored.IsZero() || state.Method != to {
		t.Errorf("state %+v", state)
	}
	all := r.log.of("T:A")
	seen := map[float64]int{}
	for i, s := range all {
		got := s.decode(t)
		seen[got.Value.(float64)]++
		if i == 0 {
			continue
		}
		if before := all[i-1].decode(t); !got.Time.After(before.Time) || got.Value.(float64) < before.Value.(float64) {
			t.Errorf("sample %d: %v at %v after %v at %v", i, got.Value, got.Time, before.Value, before.Time)
		}
		if s.First || s.marks(t) != "" {
			t.Errorf("sample %d begins a connection: %s", i, s.marks(t))
		}
	}
	for v := range 5 {
		once := v > 2 && to != schema.ScanGet || v == 1 && from != schema.ScanGet
		if n := seen[float64(v)]; n == 0 || once && n != 1 {
			t.Errorf("the value %d was recorded %d times", v, n)
		}
	}
}
