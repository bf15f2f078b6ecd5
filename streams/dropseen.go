package streams

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// Bounds of a search for redelivered drops: how much earlier than its sample's
// message a drop could seem to be stored when the clock is set back, and how
// many positions are kept. Beyond them a drop may be stored twice, never lost.
const (
	clockSlack    = time.Minute
	seenPositions = 500_000
)

// seenDrops are the positions that stand in DROPS, on the subjects and from the
// times that were asked for. Comparing with the newest position alone would
// not do: after a crash a sample that was kept before may be rejected, behind
// drops that were stored already.
type seenDrops struct {
	subjects map[string]subjectDrops
	total    int
}

type subjectDrops struct {
	from      time.Time
	positions map[placed]struct{}
}

// placed is a Position that can be compared.
type placed struct {
	seq   uint64
	index int
	nanos int64
}

func (p Position) placed() placed { return placed{p.Seq, p.Index, p.Time.UnixNano()} }

// has reports whether the drop stands on the subject.
func (s *seenDrops) has(subject string, p Position) bool {
	_, there := s.subjects[subject].positions[p.placed()]
	return there
}

// add notes a drop that is being stored, if its subject is watched.
func (s *seenDrops) add(subject string, p Position) {
	if known, ok := s.subjects[subject]; ok {
		known.positions[p.placed()] = struct{}{}
	}
}

// load reads what DROPS holds of the redelivered drops' subjects since the
// oldest of their samples was stored, or with all of all drops' subjects. What an
// earlier load covers is not read again.
func (s *seenDrops) load(ctx context.Context, session *session, drops []Drop, all bool) error {
	oldest := map[string]time.Time{}
	for i := range drops {
		if !drops[i].Redelivered && !all {
			continue
		}
		subject, err := drops[i].subject()
		if err != nil {
			return err
		}
		at := drops[i].Position.Time.Add(-clockSlack)
		if have, ok := oldest[subject]; !ok || at.Before(have) {
			oldest[subject] = at
		}
	}
	if len(oldest) == 0 {
		*s = seenDrops{} // the redelivery is over
		return nil
	}
	if s.subjects == nil {
		s.subjects = map[string]subjectDrops{}
	}
	for subject, from := range oldest {
		if known, ok := s.subjects[subject]; ok && !from.Before(known.from) {
			continue
		}
		positions, err := readPositions(ctx, session, subject, from, seenPositions-s.total)
		if err != nil {
			return fmt.Errorf("look for redelivered drops on %s: %w", subject, err)
		}
		s.total += len(positions) - len(s.subjects[subject].positions)
		s.subjects[subject] = subjectDrops{from, positions}
	}
	return nil
}

// readPositions reads the positions of a subject's complete drops.
func readPositions(ctx context.Context, s *session, subject string, from time.Time, limit int) (map[placed]struct{}, error) {
	positions := map[placed]struct{}{}
	start := jetstreamext.GetBatchStartTime(from)
	for len(positions) < limit {
		within, cancel := context.WithTimeout(ctx, apiTimeout)
		next, err := readPositionBatch(within, s, subject, start, positions)
		cancel()
		if err != nil || next == 0 {
			return positions, err
		}
		start = jetstreamext.GetBatchSeq(next)
	}
	return positions, nil
}

// readPositionBatch gives the sequence to go on from, 0 at the end.
func readPositionBatch(ctx context.Context, s *session, subject string, start jetstreamext.GetBatchOpt, into map[placed]struct{}) (uint64, error) {
	batch, err := jetstreamext.GetBatch(ctx, s.js, DropsStream, followBatch, start,
		jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchMaxBytes(2*maxPayload))
	if err != nil {
		return 0, err
	}
	next := uint64(0)
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		next = m.Sequence + 1
		if p, ok := completePosition(m.Header); ok {
			into[p.placed()] = struct{}{}
		}
	}
	return next, nil
}

// completePosition reads the position of a drop; of one in parts only the last
// part counts.
func completePosition(h nats.Header) (Position, bool) {
	if n, count, ok := strings.Cut(h.Get(headerPart), "/"); ok && n != count {
		return Position{}, false
	}
	p := parsePosition(h.Get(headerPosition))
	return p, p.Seq != 0
}
