package archive

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/consumers/partition"
	"pvlog/streams"
)

// TestAnEndInTheMiddleOfABatchSkipsNothing ends Run while a message of a batch
// cannot be judged. What was fetched behind it and not taken must be fetched
// again before anything newer is acknowledged.
func TestAnEndInTheMiddleOfABatchSkipsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), newMemLog(t, 4)
		a := open(t, dir, log)
		log.add("KNOWN", double(after(0), 1))
		a.step(t.Context())
		root, away := filepath.Join(dir, "sts"), filepath.Join(dir, "away")
		for i := range 8 {
			log.add("NEW", double(after(time.Duration(i)*time.Second), float64(i)))
			log.add("KNOWN", double(after(time.Duration(i+1)*time.Second), float64(i)))
		}
		if err := os.Rename(root, away); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.step(ctx)
		}()
		synctest.Wait()
		cancel()
		<-ended
		if err := os.Rename(away, root); err != nil {
			t.Fatal(err)
		}
		run(t, a)
		checkAgainstOracle(t, dir, log)
	})
}

// TestAConsumerThatCannotAcknowledgeIsReset restarts the log's server between
// a fetch and its acknowledgement: trying the same again would never end.
func TestAConsumerThatCannotAcknowledgeIsReset(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	for i := range 10 {
		log.add("P", double(after(time.Duration(i)*time.Second), float64(i)))
	}
	a := open(t, dir, log)
	log.failAck = errors.New("connection closed")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for log.acked() < 10 {
		if ctx.Err() != nil {
			t.Fatalf("acknowledged %d of 10; health %+v", log.acked(), a.Health())
		}
		a.step(ctx)
	}
	if h := a.Health(); h.Fault != nil || h.Acked != 10 {
		t.Errorf("health %+v", h)
	}
	run(t, a)
	checkAgainstOracle(t, dir, log)
}

// TestARedeliveryWhileSamplesWaitInMemoryAcknowledgesOnlyFiles lets the
// consumer go back to its floor by itself, inside Fetch, while buffers are full.
func TestARedeliveryWhileSamplesWaitInMemoryAcknowledgesOnlyFiles(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 5)
	for i := range 20 {
		log.add("P", double(after(time.Duration(i)*time.Second), float64(i)), double(after(-time.Hour), 1))
	}
	files := partition.NewFaultFS(partition.OSFS{})
	a := open(t, dir, log, func(o *Options) { o.FS = files })
	never := func() bool { return false }
	work(t, a, log, 3, never)
	if err := log.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	work(t, a, log, 1, never) // a.taken goes back to 5, buffers hold 15
	if tail := a.Tail("P"); len(tail) != 15 {
		t.Errorf("%d samples wait, want 15", len(tail))
	}
	if err := a.flush(t.Context()); err != nil || log.acked() > 5 {
		t.Fatalf("flush gave %v, acknowledged %d; only 5 were delivered since the reset", err, log.acked())
	}
	crash(t, a)
	if err := files.PowerCut(nil); err != nil {
		t.Fatal(err)
	}
	run(t, open(t, dir, log))
	checkAgainstOracle(t, dir, log)
}

// endless gives new messages for ever: a backlog that no end can drain.
type endless struct {
	*memLog
	n int
}

func (e *endless) Fetch(ctx context.Context, wait time.Duration) ([]streams.Message, error) {
	for range e.batch {
		e.n++
		e.add("P", double(after(time.Duration(e.n)*time.Millisecond), float64(e.n)))
	}
	return e.memLog.Fetch(ctx, wait)
}

// TestTheEndOfABacklogIsCleanAndBounded_S77 stops in the middle of a backlog: what
// memory may hold is written, the rest stays in the log.
func TestTheEndOfABacklogIsCleanAndBounded_S77(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 100)
	source := &endless{memLog: log}
	a := open(t, dir, log, func(o *Options) { o.Source, o.BufferBytes = source, 64<<10 })
	if err := a.end(t.Context()); err != nil {
		t.Fatal(err)
	}
	if source.n > 10_000 {
		t.Errorf("the end took %d messages into memory", source.n)
	}
	if _, err := os.Stat(filepath.Join(dir, cleanName)); err != nil {
		t.Error(err)
	}
	crash(t, a)
	run(t, open(t, dir, log))
	checkAgainstOracle(t, dir, log)
}
