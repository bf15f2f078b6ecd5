package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// trimPeriod is how often SAMPLES is trimmed.
const trimPeriod = 5 * time.Second

// trimPlan gives the sequence that SAMPLES shall begin with, or 0 to leave it
// as it is. It is the lower of what the archive has acknowledged and what
// retention asks for (design D13): keepFrom is the first message young enough
// to keep, and of what is more than maxBytes the oldest leave. Nothing
// unacknowledged ever leaves, whatever the retention.
func trimPlan(s StreamState, floor, keepFrom uint64, maxBytes int64) uint64 {
	if s.Messages == 0 || s.Last < s.First {
		return 0
	}
	target := max(s.First, min(keepFrom, s.Last+1))
	if over := int64(s.Bytes) - maxBytes; maxBytes > 0 && over > 0 {
		// Sizes are taken as even; the next turn corrects what remains.
		excess := uint64(float64(s.Last-s.First+1) * (float64(over) / float64(s.Bytes)))
		target = max(target, s.First+excess)
	}
	target = min(target, floor+1)
	if target <= s.First {
		return 0
	}
	return target
}

func (l *Log) runTrimmer(ctx context.Context) {
	tick := time.NewTicker(trimPeriod)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := l.trim(ctx, time.Now())
		if err != nil && ctx.Err() == nil && !failed {
			l.log.Warn("the log cannot be trimmed; trying again", "err", err)
		}
		failed = err != nil
	}
}

// trim removes what the archive has acknowledged and retention lets go.
func (l *Log) trim(ctx context.Context, now time.Time) error {
	state, err := l.State(ctx)
	if err != nil {
		return err
	}
	keepFrom, err := l.firstAt(ctx, SamplesStream, now.Add(-l.opt.Keep), state.Samples)
	if err != nil {
		return fmt.Errorf("find the first message to keep: %w", err)
	}
	to := trimPlan(state.Samples, state.Floor, keepFrom, state.Keep)
	if to == 0 {
		return nil
	}
	s, err := l.current()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, SamplesStream)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", SamplesStream, err)
	}
	// A first sequence above the target is a loss, so the target is on disk first.
	if err := l.note(func(led *ledger) { led.Trimmed = to }); err != nil {
		return err
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSequence(to)); err != nil {
		return fmt.Errorf("purge %s up to %d: %w", SamplesStream, to-1, err)
	}
	l.metrics.trimmed.Add(float64(to - state.Samples.First))
	l.log.Debug("the log was trimmed", "from", state.Samples.First, "to", to-1)
	return nil
}

// firstAt is the sequence of the first message of a stream in this state that
// was stored at or after t, one behind the newest if there is none.
func (l *Log) firstAt(ctx context.Context, name string, t time.Time, s StreamState) (uint64, error) {
	if s.Messages == 0 || !s.FirstTime.Before(t) {
		return s.First, nil
	}
	if s.LastTime.Before(t) {
		return s.Last + 1, nil
	}
	session, err := l.current()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	batch, err := jetstreamext.GetBatch(ctx, session.js, name, 1, jetstreamext.GetBatchStartTime(t))
	if err != nil {
		return 0, err
	}
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return s.Last + 1, nil
		}
		if err != nil {
			return 0, err
		}
		return m.Sequence, nil
	}
	return s.First, nil
}
