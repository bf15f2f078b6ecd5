package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

const (
	maxBatchEvents = 1000
	maxBatchBytes  = 256 << 10 // of events; Badger takes about twice that in a transaction
	retryFirst     = 100 * time.Millisecond
	retryLast      = 10 * time.Second
)

// followed is an event that waits for its transaction.
type followed struct {
	seq   uint64
	event *logpb.RegistryEvent // nil: unreadable, only the cursor moves
}

// Run follows the log into Badger until ctx ends, and then returns nil. A full
// disk or an unreachable log pauses it; it goes on by itself. Beside that it
// goes on with interrupted changes and ends requests whose time is over.
func (r *Registry) Run(ctx context.Context) error {
	defer close(r.stopped)
	var loops sync.WaitGroup
	defer loops.Wait()
	loops.Go(func() { r.compactLoop(ctx) })
	loops.Go(func() { r.resumeLoop(ctx) })
	loops.Go(func() { r.expireLoop(ctx) })
	retry := retryFirst
	for {
		begun := r.Cursor()
		err := r.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if r.Cursor() > begun {
			retry = retryFirst
		}
		r.setFault(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
		retry = min(2*retry, retryLast)
		if schema.CodeOf(err) == schema.Unavailable {
			retry = min(retry, time.Second) // room is cheap to ask for
		}
	}
}

// follow applies events until ctx ends or something fails.
func (r *Registry) follow(ctx context.Context) error {
	last, err := r.events.Last(ctx)
	if err != nil {
		return fmt.Errorf("find end of the event log: %w", err)
	}
	cursor := r.Cursor()
	if cursor > last || r.closed() {
		if err := r.rebuild(ctx); err != nil {
			return err
		}
		cursor = r.Cursor()
	}
	if cursor >= last { // a full disk keeps nobody from reading
		r.reached()
	}
	if err := r.checkRoom(); err != nil {
		return err
	}
	r.setFault(nil)
	if cursor == 0 && last > 0 {
		if err := r.fill(ctx, last); err != nil {
			return err
		}
		cursor = r.Cursor()
		r.reached()
	}
	r.pending, r.pendingBytes = nil, 0
	err = r.events.Follow(ctx, cursor+1, func(seq uint64, e *logpb.RegistryEvent, caughtUp bool) error {
		if err := r.take(seq, e, caughtUp || seq == last); err != nil {
			return err
		}
		if caughtUp || seq >= last {
			r.reached()
		}
		return nil
	})
	if err == nil && ctx.Err() == nil {
		err = errors.New("the event log ended")
	}
	return err
}

// reached tells who waits for CaughtUp.
func (r *Registry) reached() {
	select {
	case <-r.caughtUp:
	default:
		close(r.caughtUp)
	}
}

// take gathers events and applies them when none is waiting or enough are.
func (r *Registry) take(seq uint64, e *logpb.RegistryEvent, flush bool) error {
	if n := len(r.pending); seq <= r.Cursor() || n > 0 && seq <= r.pending[n-1].seq {
		return nil // handed out twice
	}
	r.pending = append(r.pending, followed{seq, e})
	r.pendingBytes += proto.Size(e)
	if !flush && len(r.pending) < maxBatchEvents && r.pendingBytes < maxBatchBytes {
		return nil
	}
	batch := r.pending
	r.pending, r.pendingBytes = nil, 0
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	return r.apply(batch)
}

// apply changes Badger and memory by a batch of events, with the cursor in the
// same transaction. A batch too big for one is split: each part ends at an
// event, so that a crash between them leaves a state that was once true.
func (r *Registry) apply(batch []followed) error {
	if r.store == nil {
		return errors.New("badger is closed")
	}
	if err := r.room(); err != nil {
		return err
	}
	next, values, m := r.fold(batch)
	err := r.store.commit(values, m)
	if errors.Is(err, errTooBig) && len(batch) > 1 {
		half := len(batch) / 2
		if err := r.apply(batch[:half]); err != nil {
			return err
		}
		return r.apply(batch[half:])
	}
	if err != nil {
		return fmt.Errorf("apply events %d to %d: %w", batch[0].seq, batch[len(batch)-1].seq, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for pv, h := range next {
		r.state.put(pv, h)
	}
	r.meta = m
	r.signal()
	r.metrics.applied.Add(float64(len(batch)))
	return nil
}

// fold computes what a batch makes of the present state, without changing it.
func (r *Registry) fold(batch []followed) (next map[schema.PVName]held, values map[schema.PVName][]byte, m meta) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := newSum(r.state.records, r.refused)
	for _, f := range batch {
		s.add(f)
	}
	next, values = make(map[schema.PVName]held, len(s.records)), make(map[schema.PVName][]byte, len(s.records))
	m = s.meta(r.meta)
	for pv, rec := range s.records { // once, however many events a PV had
		value, _ := rec.encode() // stepChecked saw to it
		h := held{rec, hashRecord(pv, value)}
		m.Sum += h.hash - r.state.records[pv].hash
		next[pv], values[pv] = h, value
	}
	return next, values, m
}

// maxNameBytes bounds keys; schema allows 500 bytes.
const maxNameBytes = 1000

// stepChecked is record.step for any event. One whose result cannot be encoded
// or is beyond any bound (nothing pvlog writes is) is passed over but for its
// sequence, or one wild message could stop the registry for ever.
func stepChecked(old record, f followed) (rec record, problem string) {
	rec = old.step(f.seq, f.event)
	if problem = rec.problem(); problem != "" {
		return old.skip(f.seq), problem
	}
	return rec, ""
}

func (r *Registry) refused(f followed, problem string) {
	r.metrics.refused.Inc()
	r.log.Error("registry event passed over", "seq", f.seq, "pv", f.event.GetPv(), "err", problem)
}

// setFault notes why following pauses and tells it once.
func (r *Registry) setFault(err error) {
	r.mu.Lock()
	old := r.fault
	r.fault = err
	if (old == nil) != (err == nil) {
		r.signal()
	}
	r.mu.Unlock()
	switch {
	case err != nil && (old == nil || old.Error() != err.Error()):
		r.log.Error("the registry's follower pauses and will go on by itself", "err", err)
	case err == nil && old != nil:
		r.log.Info("the registry's follower goes on")
	}
}

func (r *Registry) closed() bool {
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	return r.store == nil
}

func (r *Registry) checkRoom() error {
	r.storeMu.RLock()
	defer r.storeMu.RUnlock()
	return r.room()
}

// await waits until an event has been applied here.
func (r *Registry) await(ctx context.Context, seq uint64) error {
	for {
		r.mu.RLock()
		cursor, fault, changed := r.meta.Cursor, r.fault, r.changed
		r.mu.RUnlock()
		if cursor >= seq {
			return nil
		}
		if fault != nil {
			return schema.Errorf(schema.Unavailable, "recorded as event %d, not yet in force: %w", seq, fault)
		}
		select {
		case <-changed:
		case <-r.stopped:
			return schema.Errorf(schema.Unavailable, "recorded as event %d, in force after the restart: pvlog is stopping", seq)
		case <-ctx.Done():
			return schema.Errorf(schema.Unavailable, "recorded as event %d, not yet in force: %w", seq, context.Cause(ctx))
		}
	}
}
