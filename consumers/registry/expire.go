package registry

import (
	"container/heap"
	"context"
	"time"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// deadline is when a request is given up.
type deadline struct {
	at time.Time
	pv schema.PVName
}

// deadlines is a heap, the next one first. What has connected, was deleted or
// got another limit meanwhile stays in it until its time.
type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push adds a deadline, for [heap.Push].
func (d *deadlines) Push(v any) { *d = append(*d, v.(deadline)) }

// Pop removes the last one, for [heap.Pop].
func (d *deadlines) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

// limit notes the deadline of a request.
func (s *state) limit(pv schema.PVName, old, next *schema.TypeInfo) {
	if expires(next) && (!expires(old) || !old.Expires.Equal(next.Expires)) {
		heap.Push(&s.deadlines, deadline{next.Expires, pv})
	}
}

// expires reports whether a PV has a time limit and has not connected yet.
func expires(info *schema.TypeInfo) bool {
	return info != nil && !info.Expires.IsZero() && info.DBRType == schema.UnknownType && info.State != schema.Alias
}

// expireLoop deletes requests whose time is over, until ctx ends.
func (r *Registry) expireLoop(ctx context.Context) {
	tick := time.NewTicker(r.tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.expire(ctx)
		}
	}
}

// expire ends what is due. What cannot be ended now is tried again at the next
// tick.
func (r *Registry) expire(ctx context.Context) {
	if r.ready() != nil {
		return
	}
	now := r.now()
	for due := r.due(now); len(due) > 0 && ctx.Err() == nil; due = r.due(now) {
		steps := make([]step, len(due))
		for i, d := range due {
			steps[i] = step{pv: d.pv, exact: true, decide: func(v view) (*logpb.RegistryEvent, error) { return decideExpire(v, now) }}
		}
		failed := false
		for i, res := range r.command(ctx, order{command: commandExpire}, Actor{Name: "pvlog"}, steps) {
			if code := schema.CodeOf(res.Err); code == schema.Unavailable || code == schema.Internal {
				failed = true
				r.putBack(due[i])
				continue
			}
			if res.Err == nil && res.Sequence != 0 {
				r.log.Info("a request was given up: its PV did not connect in time", "pv", res.PV)
			}
		}
		if failed {
			return
		}
	}
}

// due takes at most a batch of deadlines that have passed.
func (r *Registry) due(now time.Time) (due []deadline) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.state.deadlines) > 0 && len(due) < maxAtomic && !r.state.deadlines[0].at.After(now) {
		d := heap.Pop(&r.state.deadlines).(deadline)
		if info := r.state.records[d.pv].Info; expires(info) && info.Expires.Equal(d.at) {
			due = append(due, d)
		}
	}
	return due
}

func (r *Registry) putBack(d deadline) {
	r.mu.Lock()
	defer r.mu.Unlock()
	heap.Push(&r.state.deadlines, d)
}

// decideExpire ends a request whose time is over; one that has connected or
// changed in the meantime is left alone.
func decideExpire(v view, now time.Time) (*logpb.RegistryEvent, error) {
	if !expires(v.info) || v.info.Expires.After(now) {
		return nil, nil
	}
	e, err := deleted(v, false)
	if err == nil {
		e.Reason = "did not connect within " + v.info.Expires.Sub(v.info.Created).Round(time.Second).String()
	}
	return e, err
}
