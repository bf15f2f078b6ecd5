package streams

import (
	"slices"

	"github.com/nats-io/nats.go"

	"pvlog/schema/logpb"
)

// recentBytes bounds what is remembered of the events that were appended here.
const recentBytes = 4 << 20

// recent are the newest events of the log if they were appended here, so that
// who follows the log need not ask the server for them.
type recent struct {
	first    uint64 // sequence of messages[0]
	bytes    int
	messages []*nats.Msg
}

// remember keeps a stored group. One that does not stand right behind what is
// kept replaces it: another process appended in between.
func (e *EventLog) remember(first uint64, group []*nats.Msg) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := &e.recent
	if first != r.first+uint64(len(r.messages)) {
		*r = recent{first: first}
	}
	r.messages = append(r.messages, group...)
	for _, m := range group {
		r.bytes += len(m.Data)
	}
	dropped := 0
	for r.bytes > recentBytes {
		r.bytes -= len(r.messages[dropped].Data)
		dropped++
	}
	r.messages, r.first = slices.Clone(r.messages[dropped:]), r.first+uint64(dropped)
}

// remembered are the events from a sequence on, as far as they are kept.
func (e *EventLog) remembered(from uint64) []*nats.Msg {
	e.mu.Lock()
	defer e.mu.Unlock()
	end := e.recent.first + uint64(len(e.recent.messages))
	if from < e.recent.first || from >= end {
		return nil
	}
	return e.recent.messages[from-e.recent.first:]
}

func (e *EventLog) handOut(known []*nats.Msg, next *uint64, apply func(uint64, *logpb.RegistryEvent, bool) error) error {
	for i, m := range known {
		if err := apply(*next, e.decode(*next, m.Subject, m.Data), i == len(known)-1); err != nil {
			return applyError{err}
		}
		*next++
	}
	return nil
}
