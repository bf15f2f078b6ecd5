package registry

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pvlog/schema"
)

var ctx = context.Background()

var operator = Actor{Name: "op", Source: "127.0.0.1:1", Reason: "test"}

// rig is a registry that runs.
type rig struct {
	*Registry
	t      testing.TB
	cancel context.CancelFunc
	ended  chan error
	log    *lines
}

// open makes a registry that has been opened but does not run.
func open(t testing.TB, dir string, log Events, adjust ...func(*Registry)) *rig {
	t.Helper()
	out := &lines{}
	r := New(Options{Dir: dir, Events: log, Logger: slog.New(slog.NewTextHandler(out, nil))})
	for _, a := range adjust {
		a(r)
	}
	if err := r.Open(ctx); err != nil {
		t.Fatalf("open: %v", err)
	}
	opened := &rig{Registry: r, t: t, log: out}
	t.Cleanup(opened.stop)
	return opened
}

// start is open and Run, caught up.
func start(t testing.TB, dir string, log Events, adjust ...func(*Registry)) *rig {
	t.Helper()
	r := open(t, dir, log, adjust...)
	r.run()
	<-r.CaughtUp()
	return r
}

func (r *rig) run() {
	var c context.Context
	c, r.cancel = context.WithCancel(ctx)
	r.ended = make(chan error, 1)
	go func() { r.ended <- r.Run(c) }()
}

// stop ends Run and closes; a second call does nothing.
func (r *rig) stop() {
	if r.cancel != nil {
		r.cancel()
		if err := <-r.ended; err != nil {
			r.t.Errorf("run: %v", err)
		}
		r.cancel = nil
	}
	if err := r.Close(); err != nil {
		r.t.Errorf("close: %v", err)
	}
}

// archive registers PVs that must succeed.
func (r *rig) archive(pvs ...schema.PVName) {
	r.t.Helper()
	requests := make([]Request, len(pvs))
	for i, pv := range pvs {
		requests[i] = Request{PV: pv}
	}
	ok(r.t, r.Archive(ctx, operator, requests...))
}

// soon makes loops look again at once.
func soon(r *Registry) { r.retry, r.tick = time.Millisecond, time.Millisecond }

// until waits, as events are applied, for what must come.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	limit := time.After(time.Minute)
	for {
		r.mu.RLock()
		changed := r.changed
		r.mu.RUnlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-limit:
			r.t.Fatalf("%s: not within a minute", what)
		}
	}
}

// closed waits until a change is through and gives it.
func (r *rig) closed(id string) (c Change) {
	r.t.Helper()
	r.until("change "+id+" is closed", func() bool {
		c, _ = r.Change(id)
		return c.Closed != 0
	})
	return c
}

func (r *rig) state(pv schema.PVName) schema.State {
	info, known := r.Get(pv)
	if !known {
		return "none"
	}
	return info.State
}

// verified fails the test unless Badger is what the log gives, and memory is
// what Badger has.
func (r *rig) verified() {
	r.t.Helper()
	if err := r.Verify(ctx); err != nil {
		r.t.Fatalf("verify: %v", err)
	}
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	st, m, err := r.store.load()
	if err != nil {
		r.t.Fatalf("load: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st.names()
	r.Registry.state.names()
	if m.Cursor != r.meta.Cursor || !reflect.DeepEqual(st.records, r.Registry.state.records) || !slices.Equal(st.sorted, r.Registry.state.sorted) {
		r.t.Fatalf("memory is not what Badger has:\n%+v\n%+v", st.records, r.Registry.state.records)
	}
}

// contents are all keys and values of Badger.
func (r *rig) contents() map[string]string {
	r.t.Helper()
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	all := map[string]string{}
	err := r.store.view(func(now moment) error {
		return now.each(func(k string, v []byte) error { all[k] = string(v); return nil })
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

func ok(t testing.TB, results []Result) {
	t.Helper()
	for _, res := range results {
		if res.Err != nil {
			t.Fatalf("%s: %v", res.PV, res.Err)
		}
	}
}

// refusedAs fails unless the only result has the code and words.
func refusedAs(t testing.TB, results []Result, code schema.Code, words string) {
	t.Helper()
	if len(results) != 1 || schema.CodeOf(results[0].Err) != code || !strings.Contains(results[0].Err.Error(), words) {
		t.Fatalf("got %v, want one %q with %q", results, code, words)
	}
	var e *schema.Error
	if !errors.As(results[0].Err, &e) {
		t.Fatalf("%v is not an error for users", results[0].Err)
	}
}

// lines are log lines that can be searched.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

func cancelled() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
