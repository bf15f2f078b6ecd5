package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema"
)

// Newest is the sequence of the newest message of a PV in the log and when it
// was stored; false if the log holds none (any more).
func (s *SampleLog) Newest(ctx context.Context, pv schema.PVName) (seq uint64, at time.Time, ok bool, err error) {
	current, err := s.log.current()
	if err != nil {
		return 0, time.Time{}, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := current.js.Stream(ctx, SamplesStream)
	if err != nil {
		return 0, time.Time{}, false, fmt.Errorf("look at stream %s: %w", SamplesStream, err)
	}
	m, err := stream.GetLastMsgForSubject(ctx, Subject(SamplesPrefix, pv))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, time.Time{}, false, nil
	case err != nil:
		return 0, time.Time{}, false, fmt.Errorf("find the newest message of %s: %w", pv, err)
	}
	return m.Sequence, m.Time, true, nil
}
