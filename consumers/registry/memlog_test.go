package registry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
	"pvlog/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memLog is an event log in memory, with the promises of streams.EventLog. It
// keeps bytes, so that nobody shares a message with it.
type memLog struct {
	mu      sync.Mutex
	events  [][]byte
	last    map[string]uint64
	byPV    map[string][]uint64
	changed chan struct{}

	beforeAppend func([]streams.Proposal) error // may refuse, or append something first
	beforeApply  func(seq uint64) error         // may end a Follow
	batches      []int                          // sizes of the appends that were stored
}

func newMemLog() *memLog {
	return &memLog{last: map[string]uint64{}, byPV: map[string][]uint64{}, changed: make(chan struct{})}
}

func (l *memLog) Append(ctx context.Context, proposals ...streams.Proposal) ([]uint64, error) {
	if l.beforeAppend != nil {
		if err := l.beforeAppend(proposals); err != nil {
			return nil, err
		}
	}
	return l.store(ctx, proposals)
}

func (l *memLog) store(ctx context.Context, proposals []streams.Proposal) ([]uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range proposals {
		if have := l.last[p.Event.GetPv()]; have != p.Expect {
			return nil, fmt.Errorf("append event of %s: %w: expected %d, is %d", p.Event.GetPv(), streams.ErrConflict, p.Expect, have)
		}
	}
	var seqs []uint64
	for _, p := range proposals {
		seqs = append(seqs, l.write(p.Event))
	}
	l.batches = append(l.batches, len(proposals))
	return seqs, nil
}

func (l *memLog) write(e *logpb.RegistryEvent) uint64 {
	b, err := proto.Marshal(e)
	if err != nil {
		panic(err)
	}
	l.events = append(l.events, b)
	seq := uint64(len(l.events))
	l.last[e.GetPv()] = seq
	l.byPV[e.GetPv()] = append(l.byPV[e.GetPv()], seq)
	close(l.changed)
	l.changed = make(chan struct{})
	return seq
}

func (l *memLog) Follow(ctx context.Context, from uint64, apply func(uint64, *logpb.RegistryEvent, bool) error) error {
	for seq := from; ; seq++ {
		e, caughtUp, err := l.wait(ctx, seq)
		if err != nil {
			return err
		}
		if l.beforeApply != nil {
			if err := l.beforeApply(seq); err != nil {
				return err
			}
		}
		if err := apply(seq, e, caughtUp); err != nil {
			return err
		}
	}
}

func (l *memLog) wait(ctx context.Context, seq uint64) (*logpb.RegistryEvent, bool, error) {
	for {
		l.mu.Lock()
		n, changed := uint64(len(l.events)), l.changed
		if seq <= n {
			e := new(logpb.RegistryEvent)
			err := proto.Unmarshal(l.events[seq-1], e)
			l.mu.Unlock()
			return e, seq == n, err
		}
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}

func (l *memLog) Last(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.events)), nil
}

func (l *memLog) History(ctx context.Context, pv schema.PVName, from uint64, visit func(uint64, *logpb.RegistryEvent) error) error {
	l.mu.Lock()
	seqs := slices.Clone(l.byPV[string(pv)])
	l.mu.Unlock()
	for _, seq := range seqs {
		if seq < from {
			continue
		}
		e, _, err := l.wait(ctx, seq)
		if err == nil {
			err = visit(seq, e)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (l *memLog) Since(ctx context.Context, t time.Time) (uint64, error) {
	last, _ := l.Last(ctx)
	for seq := uint64(1); seq <= last; seq++ {
		e, _, err := l.wait(ctx, seq)
		if err != nil {
			return 0, err
		}
		if e.GetTime() >= t.UnixNano() {
			return seq, nil
		}
	}
	return last + 1, nil
}

// cut takes the newest events away, as a log that lost its tail.
func (l *memLog) cut(to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = l.events[:to]
	l.last, l.byPV = map[string]uint64{}, map[string][]uint64{}
	for i, b := range l.events {
		e := new(logpb.RegistryEvent)
		if err := proto.Unmarshal(b, e); err != nil {
			panic(err)
		}
		l.last[e.GetPv()] = uint64(i + 1)
		l.byPV[e.GetPv()] = append(l.byPV[e.GetPv()], uint64(i+1))
	}
}
