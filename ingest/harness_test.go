package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errLogClosed = errors.New("log closed")

// memoryLog is a log in memory, which can be full or closed.
type memoryLog struct {
	mu      sync.Mutex
	samples []logged
	full    chan struct{} // not nil: Append waits until it is closed
	closed  bool

	waits chan struct{} // gets a token from each Append that begins to wait
}

type logged struct {
	pv schema.PVName
	schema.RawSample
}

func newMemoryLog() *memoryLog { return &memoryLog{waits: make(chan struct{}, 100)} }

func (l *memoryLog) Append(ctx context.Context, pv schema.PVName, s schema.RawSample) error {
	l.mu.Lock()
	full, closed := l.full, l.closed
	l.mu.Unlock()
	if closed {
		return errLogClosed
	}
	if full != nil {
		l.waits <- struct{}{}
		select {
		case <-full:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.Event = slices.Clone(s.Event)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.samples = append(l.samples, logged{pv, s})
	return nil
}

// fill makes the log full; the result gives it room again.
func (l *memoryLog) fill() (room func()) {
	full := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = full
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.full = nil
		close(full)
	}
}

func (l *memoryLog) all() []logged {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.samples)
}

func (l *memoryLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.samples)
}

func (l *memoryLog) of(pv schema.PVName) []logged {
	return slices.DeleteFunc(l.all(), func(s logged) bool { return s.pv != pv })
}

// decode takes a sample apart; what pvlog appends it must be able to read.
func (s logged) decode(t testing.TB) schema.Sample {
	t.Helper()
	got, err := schema.DecodeSample(s.Type, s.Year, s.Event)
	if err != nil {
		t.Fatalf("appended sample of %s: %v", s.pv, err)
	}
	return got
}

// marks is a sample's markers in short: "lost/regained/startup", "" for none.
func (s logged) marks(t testing.TB) string {
	t.Helper()
	var names, values []string
	for _, f := range s.decode(t).Fields {
		if !slices.Contains(propertyNames[:], f.Name) && !strings.HasPrefix(f.Name, "ENUM_") {
			names, values = append(names, f.Name), append(values, f.Val)
		}
	}
	if len(names) > 0 && !slices.Equal(names, []string{"cnxlostepsecs", "cnxregainedepsecs", "startup"}) {
		t.Errorf("field values %v", names)
	}
	return strings.Join(values, "/")
}

// fields are a sample's field values that are no markers, "EGU=mm PREC=3".
func (s logged) fields(t testing.TB) string {
	t.Helper()
	var list []string
	for _, f := range s.decode(t).Fields {
		if !strings.HasPrefix(f.Name, "cnx") && f.Name != "startup" {
			list = append(list, f.Name+"="+f.Val)
		}
	}
	return strings.Join(list, " ")
}

// newTestEngine is an engine that is not running, with a log in memory.
func newTestEngine(t testing.TB, change ...func(*Options)) (*Engine, *memoryLog) {
	t.Helper()
	log := newMemoryLog()
	opt := Options{
		Client:  caclient.New(caclient.Options{}),
		Append:  log.Append,
		Initial: func() ([]*schema.TypeInfo, uint64) { return nil, 0 },
		Started: func(context.Context, []Discovery) error { return nil },
		Follow: func(ctx context.Context, _ uint64, _ func(uint64, *logpb.RegistryEvent, bool) error) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}
	for _, f := range change {
		f(&opt)
	}
	e, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	hard, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	e.hard = hard
	return e, log
}

// addChannel gives e a channel that is not opened.
func addChannel(e *Engine, info schema.TypeInfo) *Channel {
	c := newChannel(e, &info, newHistory(0))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.channels[info.PV], e.histories[info.PV] = c, c.history
	return c
}

func scalar(method schema.SamplingMethod, period time.Duration) schema.TypeInfo {
	return schema.TypeInfo{
		PV: "T:AI", State: schema.Archiving, DBRType: schema.ScalarDouble,
		Settings: schema.Settings{SamplingMethod: method, SamplingPeriod: period}, Generation: 7,
	}
}

// update is what an IOC sends for a double with a time stamp.
func update(t testing.TB, at schema.Time, v float64) caclient.Update {
	t.Helper()
	payload, err := ca.AppendTime(nil, ca.DBRTimeDouble, 0, 0, at, []float64{v})
	if err != nil {
		t.Fatal(err)
	}
	return caclient.Update{Type: ca.DBRTimeDouble, Count: 1, Status: ca.StatusNormal, Payload: payload, Received: time.Now()}
}

// lose and regain are a loss and a new connection as sampling sees them.
func lose(c *Channel)   { c.history.sawDisconnect(time.Now()) }
func regain(c *Channel) { c.beginSampling(time.Now(), false) }

func values(t testing.TB, samples []logged) string {
	t.Helper()
	var out []string
	for _, s := range samples {
		out = append(out, fmt.Sprint(s.decode(t).Value))
	}
	return strings.Join(out, " ")
}
