package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

// bell rings whenever something happened that a test may wait for.
type bell struct {
	mu   sync.Mutex
	next chan struct{}
}

func newBell() *bell { return &bell{next: make(chan struct{})} }

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = make(chan struct{})
}

func (b *bell) heard() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

// until waits for a condition that can only come true with a ring.
func (b *bell) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		heard := b.heard()
		if ok() {
			return
		}
		select {
		case <-heard:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Enabled, Handle, WithAttrs and WithGroup make the bell a log handler: every
// line of the engine rings it.
func (b *bell) Enabled(context.Context, slog.Level) bool { return true }

func (b *bell) Handle(context.Context, slog.Record) error { b.ring(); return nil }

func (b *bell) WithAttrs([]slog.Attr) slog.Handler { return b }

func (b *bell) WithGroup(string) slog.Handler { return b }

// registry is a registry's log in memory.
type registry struct {
	bell *bell

	mu     sync.Mutex
	events []*logpb.RegistryEvent
	found  [][]Discovery // what Started was given
	hold   bool          // Started is noted and not confirmed
	fail   error         // of the next call of Follow, once
}

func (r *registry) add(events ...*logpb.RegistryEvent) (seq uint64) {
	r.mu.Lock()
	for _, e := range events {
		e.Time = time.Now().UnixNano()
		r.events = append(r.events, e)
	}
	seq = uint64(len(r.events))
	r.mu.Unlock()
	r.bell.ring()
	return seq
}

func (r *registry) follow(ctx context.Context, from uint64, apply func(uint64, *logpb.RegistryEvent, bool) error) error {
	for next := max(from, 1); ; {
		heard := r.bell.heard()
		r.mu.Lock()
		events, fail := r.events, r.fail
		r.fail = nil
		r.mu.Unlock()
		if fail != nil {
			return fail
		}
		for ; next <= uint64(len(events)); next++ {
			if err := apply(next, events[next-1], next == uint64(len(events))); err != nil {
				return err
			}
		}
		select {
		case <-heard:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *registry) started(_ context.Context, found []Discovery) error {
	r.mu.Lock()
	r.found = append(r.found, found)
	hold := r.hold
	r.mu.Unlock()
	r.bell.ring()
	if !hold {
		r.confirm(r.joinAliases(found))
	}
	return nil
}

func (r *registry) confirm(found []Discovery) {
	var events []*logpb.RegistryEvent
	for _, d := range found {
		events = append(events, &logpb.RegistryEvent{Pv: string(d.PV), What: &logpb.RegistryEvent_Started{Started: &logpb.PVStarted{
			Type: uint32(d.Type), ElementCount: uint32(d.Count), Host: d.Host,
		}}})
	}
	r.add(events...)
}

func (r *registry) discoveries() [][]Discovery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]Discovery(nil), r.found...)
}

func requestEvent(pv string) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Requested{
		Requested: &logpb.PVRequested{SamplingMethod: string(schema.Monitor), SamplingPeriod: 1}}}
}

func pauseEvent(pv string) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Paused{Paused: &logpb.PVPaused{}}}
}

func resumeEvent(pv string) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Resumed{Resumed: &logpb.PVResumed{}}}
}

func stopEvent(pv string) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Stopped{Stopped: &logpb.PVStopped{}}}
}

func deleteEvent(pv string) *logpb.RegistryEvent {
	return &logpb.RegistryEvent{Pv: pv, What: &logpb.RegistryEvent_Deleted{Deleted: &logpb.PVDeleted{}}}
}

// rig is an engine with a real client and a simulated IOC.
type rig struct {
	*bell
	engine   *Engine
	log      *memoryLog
	registry *registry
	address  string

	ioc     *simioc.IOC
	stopIOC func()
	stop    func() // ends the engine
}

func newRig(t *testing.T, records []simioc.Record, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{bell: newBell(), log: newMemoryLog(), address: "127.0.0.1:0"}
	r.registry = &registry{bell: r.bell}
	r.startIOC(t, records)
	no := false
	client := caclient.New(caclient.Options{AddrList: []string{r.address}, AutoAddrList: &no, Repeater: &no, User: "pvlog", Host: "localhost"})
	opt := Options{
		Client: client, Follow: r.registry.follow, Started: r.registry.started,
		Initial: func() ([]*schema.TypeInfo, uint64) { return nil, 0 },
		Append: func(ctx context.Context, pv schema.PVName, s schema.RawSample) error {
			defer r.ring()
			return r.log.Append(ctx, pv, s)
		},
		Logger: slog.New(r.bell),
	}
	for _, f := range change {
		f(&opt)
	}
	var err error
	if r.engine, err = New(opt); err != nil {
		t.Fatal(err)
	}
	stopClient := run(t, client.Run)
	t.Cleanup(stopClient)
	r.stop = run(t, r.engine.Run)
	t.Cleanup(r.stop)
	return r
}

// startIOC serves records at the rig's address, the same one every time.
func (r *rig) startIOC(t *testing.T, records []simioc.Record) {
	t.Helper()
	r.ioc = simioc.New(simioc.Options{Listen: r.address, Records: records})
	if err := r.ioc.Listen(); err != nil {
		t.Fatal(err)
	}
	r.address = r.ioc.Addr()
	r.stopIOC = run(t, r.ioc.Run)
	t.Cleanup(r.stopIOC)
}

// run starts something; the result ends it, once, and waits.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
}

// sampled waits until n samples of a PV are in the log.
func (r *rig) sampled(t *testing.T, pv schema.PVName, n int) []logged {
	t.Helper()
	r.until(t, "samples of "+string(pv), func() bool { return len(r.log.of(pv)) >= n })
	return r.log.of(pv)
}

// applied waits until the engine has applied an event.
func (r *rig) applied(t *testing.T, seq uint64) {
	t.Helper()
	r.until(t, "the registry's event", func() bool { return r.engine.Applied() >= seq })
}
