package web

import (
	"context"
	"sync"

	"pvlog/consumers/registry"
)

// replayRun is a replay on its way to a client.
type replayRun struct {
	server *Server
	actor  registry.Actor
	lines  *lines
	told   bool          // its beginning was written
	fresh  chan struct{} // holds one: there is something to write

	mu     sync.Mutex
	begun  bool         // guarded by mu
	total  int          // guarded by mu; PVs
	queued []ReplayedPV // guarded by mu
}

// serve runs the replay and writes a line per PV beside it, with the progress and
// the sum: a client that is slow or gone holds up nothing. What waits to be
// written is bounded by the number of PVs. An error before anything began is the
// answer.
func (run *replayRun) serve(ctx context.Context, order ReplayOrder) error {
	type end struct {
		sum ReplaySummary
		err error
	}
	ended := make(chan end, 1)
	go func() {
		sum, err := run.server.options.Replays.Replay(ctx, run.actor, order, run.begin, run.add)
		ended <- end{sum, err}
	}()
	done := 0
	for {
		select {
		case <-run.fresh:
			done = run.write(done)
		case e := <-ended:
			run.mu.Lock()
			begun := run.begun
			run.mu.Unlock()
			if !begun && e.err != nil {
				return e.err
			}
			run.write(done)
			if e.err != nil {
				run.lines.write(map[string]any{"problem": run.server.problemOf("", "", e.err)})
			} else {
				run.lines.write(map[string]any{"summary": e.sum})
			}
			run.lines.flush()
			return nil
		}
	}
}

func (run *replayRun) begin(pvs int) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.begun, run.total = true, pvs
	run.wake()
}

func (run *replayRun) add(pv ReplayedPV) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.queued = append(run.queued, pv)
	run.wake()
}

func (run *replayRun) wake() {
	select {
	case run.fresh <- struct{}{}:
	default:
	}
}

// write writes what has come; done is how many PVs were written before.
func (run *replayRun) write(done int) int {
	run.mu.Lock()
	items, total, begun := run.queued, run.total, run.begun
	run.queued = nil
	run.mu.Unlock()
	if !begun {
		return done
	}
	if !run.told {
		run.told = true
		run.lines.write(map[string]any{"change": map[string]any{"id": run.actor.ChangeID, "command": "replay", "total": total, "dry_run": run.actor.DryRun}})
	}
	for _, item := range items {
		if item.Err != nil {
			p := run.server.problemOf("", item.PV, item.Err)
			item.Problem = &p
		}
		run.lines.write(item)
	}
	if done += len(items); len(items) > 0 {
		run.lines.write(map[string]any{"progress": progressJSON{done, total}})
	}
	run.lines.flush()
	return done
}
