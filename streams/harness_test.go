package streams

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pvlog/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openLog opens a log in a temporary directory and closes it with the test.
func openLog(t testing.TB, opt Options) *Log {
	t.Helper()
	if opt.Dir == "" {
		opt.Dir = t.TempDir()
	}
	if opt.LimitBytes == 0 {
		opt.LimitBytes, opt.DropsMaxBytes = 256<<20, 64<<20
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	l := New(opt)
	if err := l.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// runLog runs an open log; the function it gives ends Run and checks its error.
func runLog(t testing.TB, l *Log) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// sampleOf is a double sample whose value is n and whose time is n ms into 2026.
func sampleOf(n int) schema.RawSample {
	at := schema.Time{Sec: schema.YearStart(2026) + int64(n/1000), Nsec: uint32(n%1000) * 1e6}
	event := schema.AppendDouble(schema.AppendHead(nil, at), float64(n))
	return schema.RawSample{
		Type: schema.ScalarDouble, Registered: schema.ScalarDouble, Year: 2026, Received: at.Go(),
		DriftPast: 30 * time.Minute, DriftFuture: 30 * time.Minute, Generation: 1, Event: event,
	}
}

func valueOf(t testing.TB, s schema.RawSample) int {
	t.Helper()
	d, err := schema.DecodeSample(s.Type, s.Year, s.Event)
	if err != nil {
		t.Fatal(err)
	}
	return int(d.Value.(float64))
}

// within bounds a test's waiting; a test never sleeps.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// kept is a message that outlives the next Fetch.
func kept(m Message) Message {
	m.Samples = slices.Clone(m.Samples)
	return m
}

// fetchSamples fetches until n samples came, and acknowledges if asked to.
func fetchSamples(t testing.TB, c *Consumer, n int, ack bool) []Message {
	t.Helper()
	ctx := within(t, 60*time.Second)
	var all []Message
	for got := 0; got < n; {
		messages, err := c.Fetch(ctx, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			got += len(m.Samples)
			all = append(all, kept(m))
		}
		if ack && len(messages) > 0 {
			if err := c.Ack(ctx, messages[len(messages)-1].Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// checkOrder checks that each PV's samples are 0, 1, 2 ... in order; with
// again, earlier ones may come once more.
func checkOrder(t testing.TB, messages []Message, perPV int, again bool) {
	t.Helper()
	next := map[schema.PVName]int{}
	for _, m := range messages {
		if m.Err != nil {
			t.Fatalf("message %d: %v", m.Seq, m.Err)
		}
		for _, s := range m.Samples {
			switch v := valueOf(t, s); {
			case v == next[m.PV]:
				next[m.PV]++
			case again && v < next[m.PV]:
			default:
				t.Fatalf("PV %s: sample %d came, %d was to come (message %d)", m.PV, v, next[m.PV], m.Seq)
			}
		}
	}
	for pv, n := range next {
		if n != perPV {
			t.Errorf("PV %s: %d samples of %d", pv, n, perPV)
		}
	}
}

func pvName(i int) schema.PVName { return schema.PVName(fmt.Sprintf("TEST:PV%04d:VAL", i)) }

func always() bool { return true }
