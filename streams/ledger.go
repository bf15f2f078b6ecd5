package streams

import (
	"context"
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
	Floor   *uint64               `json:"floor"`   // what the archive has acknowledged of SAMPLES; nil: never noted
	Holes   uint64                `json:"holes"`   // messages that may be missing in the middle of DROPS: they have expired
	Last    map[string]uint64     `json:"last"`    // last sequence of each stream
	Stored  map[string]*time.Time `json:"stored"`  // and when it was stored
	Gaps    map[string][]gap      `json:"gaps,omitempty"`
	// DropsFrom is where DROPS must begin, as long as nothing of it may expire.
	DropsFrom *dropsFrom `json:"drops_from,omitempty"`
}

// dropsFrom is a message of DROPS that stays until a time at least.
type dropsFrom struct {
	Seq   uint64    `json:"seq"`
	Until time.Time `json:"until"`
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
	if err := writeNote(l.ledgerPath(), l.ledger); err != nil {
		return fmt.Errorf("write the log's ledger: %w", err)
	}
	return nil
}

// writeNote writes a small file as JSON by renaming, so that it is whole or the
// one before.
func writeNote(path string, note any) error {
	b, err := json.MarshalIndent(note, "", "  ")
	if err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(b, '\n'), 0o644); err != nil {
		return err
	}
	if err := fsync(temporary); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// noteStreams notes what a sync that is over has made durable. With durability
// async the server may still hold samples back, so SAMPLES is left out.
func (l *Log) noteStreams(s State) error {
	return l.note(func(led *ledger) {
		floor := s.Floor
		led.Floor = &floor
		led.DropsFrom = l.dropsFrom(s.Drops)
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

// dropsFrom notes the first message of DROPS while neither its age nor its
// bytes are near the bounds that let it go.
func (l *Log) dropsFrom(s StreamState) *dropsFrom {
	if s.Messages == 0 || s.Limit > 0 && int64(s.Bytes) > s.Limit/2 {
		return nil
	}
	return &dropsFrom{Seq: s.First, Until: s.FirstTime.Add(l.opt.DropsKeep)}
}

func stamped(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "no time"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// openLedger reads the ledger before the server starts. One that is damaged
// says nothing about the streams. From here on the end is not clean until it is.
func (l *Log) openLedger() *ledger {
	led, err := l.readLedger()
	if err != nil {
		l.problem(err.Error())
	}
	if led == nil {
		led = &ledger{Clean: err == nil}
	}
	begun := *led
	begun.Clean = false
	l.ledgerMu.Lock()
	l.ledger = begun
	l.ledgerMu.Unlock()
	if err := l.note(func(*ledger) {}); err != nil {
		l.log.Warn("the ledger is behind", "err", err)
	}
	return led
}

// checkLedger tells what the server lost since the ledger was written.
func (l *Log) checkLedger(ctx context.Context, led *ledger, x examination, s State) error {
	if led.Trimmed == 0 {
		led.Trimmed = s.Samples.First // a ledger that was never written
		if held := x[SamplesStream].held; len(held) > 0 {
			led.Trimmed = held[0].From
		}
	}
	if err := l.compare(ctx, led, x, s); err != nil {
		return err
	}
	l.ledgerMu.Lock()
	l.ledger.Trimmed, l.ledger.Gaps = led.Trimmed, led.Gaps
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
