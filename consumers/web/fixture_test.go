package web

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/consumers/partition"
	"pvlog/consumers/registry"
	"pvlog/consumers/retrieval"
	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

// memoryLog is a log of registry events in memory.
type memoryLog struct {
	mu     sync.Mutex
	events []*logpb.RegistryEvent // guarded by mu
	last   map[string]uint64      // guarded by mu
	grown  chan struct{}          // guarded by mu; closed when events are added
	err    error                  // guarded by mu; what Append fails with
}

func (m *memoryLog) Append(_ context.Context, proposals ...streams.Proposal) ([]uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	var seqs []uint64
	for _, p := range proposals {
		if m.last[p.Event.GetPv()] != p.Expect {
			return nil, streams.ErrConflict
		}
	}
	for _, p := range proposals {
		m.events = append(m.events, p.Event)
		seq := uint64(len(m.events))
		m.last[p.Event.GetPv()] = seq
		seqs = append(seqs, seq)
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return seqs, nil
}

func (m *memoryLog) Follow(ctx context.Context, from uint64, apply func(uint64, *logpb.RegistryEvent, bool) error) error {
	for seq := max(from, 1); ; {
		m.mu.Lock()
		events, grown := m.events, m.grown
		m.mu.Unlock()
		for ; seq <= uint64(len(events)); seq++ {
			if err := apply(seq, events[seq-1], seq == uint64(len(events))); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-grown:
		}
	}
}

func (m *memoryLog) Last(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.events)), nil
}

func (m *memoryLog) History(ctx context.Context, pv schema.PVName, from uint64, visit func(uint64, *logpb.RegistryEvent) error) error {
	m.mu.Lock()
	events := m.events
	m.mu.Unlock()
	for i, e := range events {
		if seq := uint64(i + 1); seq >= from && e.GetPv() == string(pv) {
			if err := visit(seq, e); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (m *memoryLog) Since(_ context.Context, t time.Time) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range m.events {
		if e.GetTime() >= t.UnixNano() {
			return uint64(i + 1), nil
		}
	}
	return uint64(len(m.events)) + 1, nil
}

func (m *memoryLog) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// fixture is a server that listens, on a real registry and real files.
type fixture struct {
	t        testing.TB
	url      string
	registry *registry.Registry
	log      *memoryLog
	store    retrieval.Store
	logs     *logLines
	server   *Server
	metrics  *prometheus.Registry
	stop     func() // ends Serve and waits for it
}

var actor = registry.Actor{Name: "test"}

func newFixture(t testing.TB, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &memoryLog{last: map[string]uint64{}, grown: make(chan struct{})}, logs: &logLines{}, metrics: prometheus.NewRegistry(),
		store: retrieval.Store{Name: "STS", Root: t.TempDir(), Granularity: partition.PartitionHour}}
	f.registry = registry.New(registry.Options{Dir: t.TempDir(), Events: f.log})
	ctx, cancel := context.WithCancel(context.Background())
	if err := f.registry.Open(ctx); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = f.registry.Run(ctx) })
	o := Options{Registry: f.registry, Identity: "appliance0", Version: "1.2.3", Gatherer: f.metrics, Registerer: f.metrics,
		Logger:    slog.New(slog.NewTextHandler(f.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Retrieval: retrieval.New(retrieval.Options{Stores: []retrieval.Store{f.store}})}
	for _, c := range change {
		c(&o)
	}
	f.server = New(o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.url = "http://" + ln.Addr().String()
	serveCtx, stopServe := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := f.server.Serve(serveCtx, ln); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	f.stop = func() { stopServe(); <-served }
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		f.stop()
		cancel()
		running.Wait()
		if err := f.registry.Close(); err != nil {
			t.Error(err)
		}
	})
	<-f.registry.CaughtUp()
	return f
}

// logLines collects what is logged and tells who waits for a line.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer             // guarded by mu
	want map[string]chan struct{} // guarded by mu
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text, ch := range l.want {
		if bytes.Contains(b, []byte(text)) {
			close(ch)
			delete(l.want, text)
		}
	}
	return l.text.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// line is closed when a line with the text is logged.
func (l *logLines) line(text string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.want == nil {
		l.want = make(map[string]chan struct{})
	}
	ch := make(chan struct{})
	l.want[text] = ch
	return ch
}

// archive registers PVs and says that they connected as doubles.
func (f *fixture) archive(pvs ...schema.PVName) {
	f.t.Helper()
	for _, pv := range pvs {
		f.must(f.registry.Archive(context.Background(), actor, registry.Request{PV: pv}))
		f.started(registry.Discovery{PV: pv, Type: schema.ScalarDouble, Count: 1, Host: "localhost:5064", Units: "mA", Precision: 3,
			Limits: map[string]float64{"HIGH": 20, "HIHI": 60, "LOW": 0, "LOLO": 0, "LOPR": 0, "HOPR": 0, "DRVL": 0, "DRVH": 0}})
	}
}

func (f *fixture) started(d registry.Discovery) {
	f.t.Helper()
	f.must(f.registry.Started(context.Background(), actor, d))
}

func (f *fixture) must(results []registry.Result) {
	f.t.Helper()
	for _, r := range results {
		if r.Err != nil {
			f.t.Fatal(r.Err)
		}
	}
}

// begin is the time of the first sample that put writes.
var begin = time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)

// put writes n samples 0, 1, 2 ..., a minute apart, from begin on.
func (f *fixture) put(pv schema.PVName, n int) {
	f.t.Helper()
	files := make(map[string][]byte)
	for i := range n {
		at := schema.TimeOf(begin.Add(time.Duration(i) * time.Minute))
		path := partition.Path(f.store.Root, schema.ChunkKey(pv), f.store.Granularity, f.store.Granularity.Start(at))
		if files[path] == nil {
			files[path] = partition.AppendHeader(nil, partition.Header{Type: schema.ScalarDouble, PV: pv, Year: at.Year()})
		}
		files[path] = partition.AppendLine(files[path], schema.AppendDouble(schema.AppendHead(nil, at), float64(i)))
	}
	for path, b := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
}

// ask sends a request and reads the whole answer.
func (f *fixture) ask(method, path, contentType, body string) (*http.Response, string) {
	f.t.Helper()
	resp, text, err := f.try(method, path, contentType, body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, text
}

func (f *fixture) try(method, path, contentType, body string) (*http.Response, string, error) {
	f.t.Helper()
	req, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// get asks for JSON.
func (f *fixture) get(path string) (status int, answer any) {
	f.t.Helper()
	resp, text := f.ask(http.MethodGet, path, "", "")
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		f.t.Errorf("%s: Content-Type %q", path, ct)
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		f.t.Fatalf("%s answers %q: %v", path, text, err)
	}
	return resp.StatusCode, answer
}

// vals are the values of a getData.json answer.
func vals(t *testing.T, answer any) []float64 {
	t.Helper()
	list, ok := answer.([]any)
	if !ok || len(list) != 1 {
		t.Fatalf("not one object: %v", answer)
	}
	got := []float64{}
	for _, s := range list[0].(map[string]any)["data"].([]any) {
		got = append(got, s.(map[string]any)["val"].(float64))
	}
	return got
}

func names(answer any) []string {
	var got []string
	for _, v := range answer.([]any) {
		if v != "R:ALIAS" {
			got = append(got, v.(string))
		}
	}
	slices.Sort(got)
	return got
}
