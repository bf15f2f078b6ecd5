package streams

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// DropKeeping is how the drop log is kept: what it holds, and when that leaves.
type DropKeeping struct {
	At              time.Time     // when it was looked at; zero: not yet
	Drops           uint64        // that it holds
	Bytes, MaxBytes int64         // that it takes, and may take
	Keep            time.Duration // how long drops are kept if there is room
	Rate            float64       // bytes/s that were stored lately
	Expired         uint64        // drops that have left since the data directory was made
	Reasons         []DropReason  // by name: all that have drops, or had
}

// DropReason is how the drops of one reason are kept.
type DropReason struct {
	Reason  string
	Drops   uint64
	Oldest  time.Time // when the oldest of them was stored; zero: there is none
	Leaves  time.Time // when it leaves, at the present rate; zero: there is none
	Expired uint64    // drops of the reason that have left
}

// Keeping is how the drop log is kept, as of the last look at it, which is half
// a minute ago at most while the log runs.
func (d *DropLog) Keeping() DropKeeping {
	d.keepingMu.Lock()
	defer d.keepingMu.Unlock()
	k := d.keeping
	k.Reasons = slices.Clone(k.Reasons)
	return k
}

// run keeps DROPS within its bounds until ctx ends.
func (d *DropLog) run(ctx context.Context) {
	tick := time.NewTicker(dropsPeriod)
	defer tick.Stop()
	failed, aged := false, time.Time{}
	for now := time.Now(); ; {
		ageing := now.Sub(aged) >= dropsAgeing
		err := d.keep(ctx, now, ageing)
		if err != nil && ctx.Err() == nil && !failed {
			d.log.log.Warn("old drops cannot be removed; trying again", "err", err)
		}
		if failed = err != nil; ageing {
			aged = now
		}
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
	}
}

// keep lets drops leave that are too many, with ageing also those that are too
// old, and then foretells what will leave.
func (d *DropLog) keep(ctx context.Context, now time.Time, ageing bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.log.current()
	if err != nil {
		return err
	}
	state, err := s.dropState(ctx)
	if err != nil {
		return err
	}
	if err := d.loadExpiry(state); err != nil {
		return err
	}
	d.settle(state)
	if over := int64(state.Bytes) - d.room(); over > 0 {
		if err := d.makeRoom(ctx, s, over+d.room()/roomParts); err != nil {
			return err
		}
	}
	if !ageing {
		return nil
	}
	if err := d.age(ctx, s, now); err != nil {
		return err
	}
	if err := d.closeHoles(ctx, s); err != nil {
		return err
	}
	return d.foretell(ctx, s, now)
}

// room is how many bytes of drops are kept.
func (d *DropLog) room() int64 {
	d.log.mu.RLock()
	defer d.log.mu.RUnlock()
	return d.log.lim.drops
}

// age lets drops go that are older than drops.keep.
func (d *DropLog) age(ctx context.Context, s *session, now time.Time) error {
	state, err := s.dropState(ctx)
	if err != nil {
		return err
	}
	to, err := d.log.firstAt(ctx, DropsStream, now.Add(-d.log.opt.DropsKeep), state)
	if err != nil {
		return fmt.Errorf("find the oldest drop to keep: %w", err)
	}
	return d.leave(ctx, s, causeAge, state, to)
}

// leave purges what is below a sequence.
func (d *DropLog) leave(ctx context.Context, s *session, cause string, state StreamState, to uint64) error {
	if to <= state.First {
		return nil
	}
	reasons, err := d.reasonsHeld(ctx, s)
	if err != nil {
		return err
	}
	counts := map[string]uint64{}
	for _, reason := range reasons {
		all, _, _, err := s.dropsFrom(ctx, reason, 1)
		if err != nil {
			return err
		}
		stay, _, _, err := s.dropsFrom(ctx, reason, to)
		if err != nil {
			return err
		}
		if all > stay {
			counts[reason] = all - stay
		}
	}
	return d.expire(ctx, s, cause, counts, purgeRequest{Sequence: to})
}

// reasonsHeld are the reasons that DROPS has drops of. The server is asked once.
func (d *DropLog) reasonsHeld(ctx context.Context, s *session) ([]string, error) {
	if d.reasons == nil {
		subjects, err := s.dropSubjects(ctx, DropsPrefix+".>")
		if err != nil {
			return nil, err
		}
		d.reasons = map[string]bool{}
		for subject := range subjects {
			d.reasons[reasonOf(subject)] = true
		}
	}
	return slices.Sorted(maps.Keys(d.reasons)), nil
}

// makeRoom frees some bytes: of the PVs and reasons that take more than their
// share, or else of the oldest.
func (d *DropLog) makeRoom(ctx context.Context, s *session, need int64) error {
	enough := need / 16 // of an estimate's error: a turn costs more than it is worth
	for range purgeTurns {
		state, err := s.dropState(ctx)
		if err != nil || need <= enough || state.Messages == 0 {
			return err
		}
		messages, err := s.dropSubjects(ctx, DropsPrefix+".>")
		if err != nil {
			return err
		}
		if keep := planShares(dropUsages(messages, d.sizes, int64(state.Bytes)), d.room(), need); keep != nil {
			err = d.leaveShares(ctx, s, keep, messages)
		} else {
			part := min(1, float64(need)/float64(state.Bytes))
			to := state.First + max(1, uint64(float64(state.Last-state.First+1)*part))
			err = d.leave(ctx, s, causeBytes, state, to)
		}
		if err != nil {
			return err
		}
		after, err := s.dropState(ctx)
		if err != nil {
			return err
		}
		need -= int64(state.Bytes) - int64(after.Bytes)
	}
	return nil
}

// leaveShares purges the oldest drops of some subjects, down to what they keep.
func (d *DropLog) leaveShares(ctx context.Context, s *session, keep, messages map[string]uint64) error {
	counts := map[string]uint64{}
	var requests []purgeRequest
	for subject, n := range keep {
		counts[reasonOf(subject)] += messages[subject] - n
		requests = append(requests, purgeRequest{Filter: subject, Keep: n})
	}
	return d.expire(ctx, s, causeShare, counts, requests...)
}

// dropState is the state of DROPS.
func (s *session) dropState(ctx context.Context) (StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, DropsStream)
	if err != nil {
		return StreamState{}, fmt.Errorf("look at stream %s: %w", DropsStream, err)
	}
	return streamState(stream.CachedInfo()), nil
}
