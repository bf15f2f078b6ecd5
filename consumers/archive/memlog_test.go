package archive

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/streams"
)

// memLog is a log in memory with the promises of streams.Consumer and
// streams.DropLog: order, an acknowledged floor that survives a crash, and
// drops that are not published twice.
type memLog struct {
	t        *testing.T
	messages []streams.Message // sequence i+1
	batch    int

	mu        sync.Mutex
	floor     uint64
	next      uint64
	seenUpTo  uint64 // highest sequence ever delivered before the last Reset
	delivered uint64
	drops     map[streams.Position]streams.Drop
	failDrops int
	failAck   error // until Reset, as after a restart of the server
	onAck     func(seq uint64)
}

func newMemLog(t *testing.T, batch int) *memLog {
	return &memLog{t: t, batch: batch, drops: map[streams.Position]streams.Drop{}}
}

// add appends one message to the log.
func (l *memLog) add(pv schema.PVName, samples ...schema.RawSample) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq := uint64(len(l.messages) + 1)
	l.messages = append(l.messages, streams.Message{PV: pv, First: seq, Seq: seq, Time: time.Unix(int64(seq), 0), Samples: samples})
	return seq
}

func (l *memLog) Reset(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.seenUpTo, l.failAck = l.floor, max(l.seenUpTo, l.delivered), nil
	return nil
}

// acked is the floor, for tests whose archive runs beside them.
func (l *memLog) acked() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.floor
}

func (l *memLog) Fetch(ctx context.Context, _ time.Duration) ([]streams.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	end := min(l.next+uint64(l.batch), uint64(len(l.messages)))
	batch := append([]streams.Message(nil), l.messages[l.next:end]...)
	for i := range batch {
		batch[i].Redelivered = batch[i].Seq <= l.seenUpTo
	}
	l.next, l.delivered = end, max(l.delivered, end)
	return batch, nil
}

func (l *memLog) Ack(_ context.Context, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failAck != nil {
		return l.failAck
	}
	if seq > l.delivered {
		l.t.Errorf("acknowledged %d, delivered only %d", seq, l.delivered)
	}
	if l.onAck != nil {
		l.onAck(seq)
	}
	l.floor = max(l.floor, seq)
	return nil
}

var errDropLog = errors.New("the drop log is full")

// Append is that of the drop log. It may fail after having taken some.
func (l *memLog) Append(_ context.Context, drops []streams.Drop) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range drops {
		if l.failDrops > 0 {
			l.failDrops--
			return errDropLog
		}
		if _, there := l.drops[d.Position]; there && !d.Redelivered {
			l.t.Errorf("drop of %s at %+v was published before and is not marked as redelivered", d.PV, d.Position)
		}
		l.drops[d.Position] = d
	}
	return nil
}

// position is the sequence that the next fetch begins behind.
func (l *memLog) position() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}
