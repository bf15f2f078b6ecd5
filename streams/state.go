package streams

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamState is what a stream holds.
type StreamState struct {
	First, Last         uint64 // sequences; First is Last+1 when it is empty
	Messages            uint64
	Bytes               uint64
	Deleted             int // messages missing between First and Last
	FirstTime, LastTime time.Time
	Limit               int64 // bytes it may hold; 0: no limit of its own
}

// holes is how many messages are missing between the first and the last.
func (s StreamState) holes() uint64 {
	all := s.Last + 1 - s.First
	if s.Last < s.First || s.Messages >= all {
		return 0
	}
	return all - s.Messages
}

// State is the state of the log.
type State struct {
	Samples, Registry, Drops StreamState
	Floor                    uint64 // stream sequence that the archive has acknowledged
	Lag                      uint64 // messages of SAMPLES behind it
	Pending                  uint64 // of them, not delivered yet
	Keep                     int64  // bytes of archived samples that the trimmer leaves
	Waiting                  Waiting
}

// State asks the server for the state of all streams and the archive's
// consumer.
func (l *Log) State(ctx context.Context) (State, error) {
	s, err := l.current()
	if err != nil {
		return State{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	l.mu.RLock()
	state := State{Keep: l.lim.keep, Waiting: Waiting{}}
	l.mu.RUnlock()
	state.Waiting = l.samples.Waiting()
	for name, to := range map[string]*StreamState{SamplesStream: &state.Samples, RegistryStream: &state.Registry, DropsStream: &state.Drops} {
		stream, err := s.js.Stream(ctx, name)
		if err != nil {
			return State{}, fmt.Errorf("look at stream %s: %w", name, err)
		}
		*to = streamState(stream.CachedInfo())
	}
	consumer, err := s.js.Consumer(ctx, SamplesStream, ArchiveName)
	if err != nil {
		return State{}, fmt.Errorf("look at consumer %s: %w", ArchiveName, err)
	}
	info := consumer.CachedInfo()
	state.Floor, state.Pending = info.AckFloor.Stream, info.NumPending
	if behind := max(state.Floor+1, state.Samples.First); behind <= state.Samples.Last {
		state.Lag = state.Samples.Last - behind + 1
	}
	return state, nil
}

func streamState(info *jetstream.StreamInfo) StreamState {
	return StreamState{
		First: max(info.State.FirstSeq, 1), Last: info.State.LastSeq, Messages: info.State.Msgs, Bytes: info.State.Bytes,
		Deleted: info.State.NumDeleted, FirstTime: info.State.FirstTime, LastTime: info.State.LastTime,
		Limit: max(info.Config.MaxBytes, 0),
	}
}
