package registry

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"pvlog/schema"
	"pvlog/streams"
)

// realLog opens the embedded log, for the tests that need its own races,
// batches and restarts.
func realLog(t testing.TB, dir string) (log *streams.EventLog, stop func()) {
	t.Helper()
	l := streams.New(streams.Options{Dir: dir, LimitBytes: 256 << 20, MaxBytes: 64 << 20, DropsMaxBytes: 64 << 20})
	if err := l.Open(ctx); err != nil {
		t.Fatal(err)
	}
	c, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- l.Run(c) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return l.Events(), stop
}

func TestRegistryOnTheEmbeddedLog(t *testing.T) {
	logDir, dir := t.TempDir(), t.TempDir()
	log, stopLog := realLog(t, logDir)
	a, b := start(t, dir, log), start(t, filepath.Join(t.TempDir(), "other"), log)
	requests := make([]Request, 2500)
	for i := range requests {
		requests[i].PV = schema.PVName(fmt.Sprintf("L:%d{x}.EGU", i))
	}
	ok(t, a.Archive(ctx, operator, requests...))
	if err := b.await2(2502); err != nil {
		t.Fatal(err)
	}
	results := make(chan []Result, 2)
	go func() { results <- a.Pause(ctx, operator, "L:1{x}.EGU", "L:2{x}.EGU") }()
	go func() { results <- b.Pause(ctx, operator, "L:1{x}.EGU", "L:2{x}.EGU") }()
	won := 0
	for range 2 {
		for _, res := range <-results {
			switch schema.CodeOf(res.Err) {
			case "":
				won++
			case schema.Conflict:
			default:
				t.Error(res)
			}
		}
	}
	if last, err := log.Last(ctx); err != nil || won != 2 || last != 2504 {
		t.Errorf("%d pauses succeeded, the log ends at %d, %v", won, last, err)
	}
	ok(t, a.Delete(ctx, operator, false, "L:1{x}.EGU"))
	ok(t, a.Archive(ctx, operator, Request{PV: "L:1{x}.EGU"})) // on the subject's old sequence
	a.verified()
	want := a.contents()
	a.stop()
	b.stop()
	stopLog()

	log, _ = realLog(t, logDir)
	again := start(t, dir, log)
	if !maps.Equal(again.contents(), want) || again.log.has("moved aside") {
		t.Error("other contents after a restart of both")
	}
	fresh := start(t, t.TempDir(), log)
	fresh.verified()
	if !maps.Equal(fresh.contents(), want) {
		t.Error("a replay of the embedded log gives other contents")
	}
}
