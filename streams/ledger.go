package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ledger is what the log knows to be durable, kept beside the server's files:
// the server's own recovery is never trusted in silence (design D14). It is
// written after a sync, never before, so that what stands in it was on disk.
type ledger struct {
	Time    time.Time             `json:"time"`
	Clean   bool                  `json:"clean"`   // the log was closed
	Trimmed uint64                `json:"trimmed"` // SAMPLES may begin here, noted before the purge
	Holes   uint64                `json:"holes"`   // messages that may be missing in the middle of DROPS: they have expired
	Last    map[string]uint64     `json:"last"`    // last sequence of each stream
	Stored  map[string]*time.Time `json:"stored"`  // and when it was stored
}

func (l *Log) ledgerPath() string { return filepath.Join(l.opt.Dir, "ledger.json") }

// readLedger gives nil when there is none yet.
func (l *Log) readLedger() (*ledger, error) {
	b, err := os.ReadFile(l.ledgerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the log's ledger: %w", err)
	}
	var led ledger
	if err := json.Unmarshal(b, &led); err != nil {
		return nil, fmt.Errorf("read the log's ledger %s: %w", l.ledgerPath(), err)
	}
	return &led, nil
}

// note writes the ledger by renaming, so that it is whole or the one before.
func (l *Log) note(change func(*ledger)) error {
	l.ledgerMu.Lock()
	defer l.ledgerMu.Unlock()
	change(&l.ledger)
	l.ledger.Time = time.Now().UTC()
	b, err := json.MarshalIndent(l.ledger, "", "  ")
	if err != nil {
		return fmt.Errorf("write the log's ledger: %w", err)
	}
	temporary := l.ledgerPath() + ".new"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the log's ledger: %w", err)
	}
	if err := fsync(temporary); err != nil {
		return fmt.Errorf("write the log's ledger: %w", err)
	}
	if err := os.Rename(temporary, l.ledgerPath()); err != nil {
		return fmt.Errorf("write the log's ledger: %w", err)
	}
	return nil
}

// noteStreams notes what a sync that is over has made durable. With durability
// async the server may still hold samples back, so SAMPLES is left out.
func (l *Log) noteStreams(s State) error {
	return l.note(func(led *ledger) {
		led.Last, led.Stored = map[string]uint64{}, map[string]*time.Time{}
		for name, stream := range s.streams() {
			if name == SamplesStream && l.opt.Durability == Async {
				continue
			}
			led.Last[name] = stream.Last
			if stream.Messages > 0 {
				led.Stored[name] = &stream.LastTime
			}
		}
	})
}

func (s State) streams() map[string]StreamState {
	return map[string]StreamState{SamplesStream: s.Samples, RegistryStream: s.Registry, DropsStream: s.Drops}
}

// losses compares what the server recovered with what was noted. It is pure.
func losses(led *ledger, s State) []string {
	var found []string
	for _, name := range []string{SamplesStream, RegistryStream, DropsStream} {
		stream := s.streams()[name]
		if last := led.Last[name]; stream.Last < last {
			found = append(found, fmt.Sprintf("%s has lost its newest %d messages: it ends at %d (%s), %d was on disk (%s)",
				name, last-stream.Last, stream.Last, stamped(&stream.LastTime), last, stamped(led.Stored[name])))
		}
		expected := uint64(0)
		if name == DropsStream {
			expected = led.Holes
		}
		if n := stream.holes(); n > expected {
			found = append(found, fmt.Sprintf("%s has lost %d messages in its middle, between %d (%s) and %d (%s)",
				name, n-expected, stream.First, stamped(&stream.FirstTime), stream.Last, stamped(&stream.LastTime)))
		}
	}
	if first := max(led.Trimmed, 1); s.Samples.First > first {
		found = append(found, fmt.Sprintf("%s has lost its oldest %d messages: it begins with %d (%s), it was trimmed to %d",
			SamplesStream, s.Samples.First-first, s.Samples.First, stamped(&s.Samples.FirstTime), first))
	}
	if s.Registry.First > 1 {
		found = append(found, fmt.Sprintf("%s has lost its oldest %d events", RegistryStream, s.Registry.First-1))
	}
	return found
}

func stamped(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "no time"
	}
	return t.UTC().Format(time.RFC3339)
}

// checkLedger tells what the server lost since the ledger was written. Nothing
// is changed because of it.
func (l *Log) checkLedger(s State) error {
	led, err := l.readLedger()
	if err != nil {
		// A damaged ledger says nothing about the streams.
		l.problem(err.Error())
		led = nil
	}
	fresh := led == nil
	if fresh {
		led = &ledger{Trimmed: s.Samples.First}
	}
	for _, loss := range losses(led, s) {
		l.problem(loss)
	}
	l.ledgerMu.Lock()
	l.ledger = *led
	l.ledger.Clean = false
	// What is lost is told once; from here on the log is as it is.
	l.ledger.Trimmed = max(led.Trimmed, s.Samples.First)
	l.ledgerMu.Unlock()
	return l.noteStreams(s)
}

func (l *Log) problem(text string) {
	l.metrics.losses.Inc()
	l.log.Error("the log has lost what it had stored", "what", text)
	l.ledgerMu.Lock()
	l.problems = append(l.problems, text)
	l.ledgerMu.Unlock()
}

// Problems is what Open, and each restart of the server, found missing from the
// log, for health and the console; none if all is there.
func (l *Log) Problems() []string {
	l.ledgerMu.Lock()
	defer l.ledgerMu.Unlock()
	return append([]string(nil), l.problems...)
}
