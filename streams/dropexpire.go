package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/synadia-io/orbit.go/jetstreamext"

	"pvlog/schema"
)

// How DROPS is kept within its bounds.
const (
	dropsPeriod  = 5 * time.Second  // how often it is looked at
	dropsAgeing  = 30 * time.Second // how often old drops are looked for, and the future of all is told
	purgeTimeout = time.Minute
	purgeTurns   = 16 // estimates of how many messages are enough, at most
)

// The causes for which a drop leaves.
const (
	causeAge     = "age"     // older than drops.keep
	causeBytes   = "bytes"   // the oldest, when all take more than drops.max_bytes
	causeShare   = "share"   // the oldest of a PV and reason that take more than their share
	causeUnknown = "unknown" // gone without us: an older version's retention, or a crash amid ours
)

// unknownReason is where drops are counted whose reason is not known any more.
const unknownReason = "unknown"

// expiry counts what has left DROPS, over restarts. It stands in a file beside
// the ledger and is written before and after each purge: all that was ever
// stored is there or counted here, and what is neither shows that a purge was
// not noted to its end.
type expiry struct {
	Expired map[string]uint64 `json:"expired"`           // by reason
	Purging map[string]uint64 `json:"purging,omitempty"` // what the purge under way takes
}

func (e expiry) total() (n uint64) {
	for _, count := range e.Expired {
		n += count
	}
	return n
}

// add counts drops that have left.
func (e *expiry) add(counts map[string]uint64) {
	if e.Expired == nil {
		e.Expired = map[string]uint64{}
	}
	for reason, n := range counts {
		if n > 0 {
			e.Expired[reason] += n
		}
	}
}

// settle makes the counts agree with what the stream has lost in all: what the
// unfinished purge was to take goes to its reasons if it is all that is missing,
// anything else has no reason that is known. It is pure.
func (e *expiry) settle(gone uint64) (unknown uint64) {
	planned := uint64(0)
	for _, n := range e.Purging {
		planned += n
	}
	if missing := gone - min(gone, e.total()); missing > 0 && missing == planned {
		e.add(e.Purging)
	} else if missing > 0 {
		unknown = missing
		e.add(map[string]uint64{unknownReason: missing})
	}
	e.Purging = nil
	return unknown
}

func (d *DropLog) expiryPath() string { return filepath.Join(d.log.opt.Dir, "drops.json") }

// loadExpiry takes over what earlier runs have counted, once.
func (d *DropLog) loadExpiry(state StreamState) error {
	if d.expiry != nil {
		return nil
	}
	e := &expiry{}
	b, err := os.ReadFile(d.expiryPath())
	if err == nil {
		err = json.Unmarshal(b, e)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// A damaged file costs the reasons, not the sum.
		d.log.log.Warn("for which reasons drops have expired is not known any more", "file", d.expiryPath(), "err", err)
		e = &expiry{}
	}
	d.expiry = e
	d.settle(state)
	return d.noteExpiry(*e)
}

// settle counts what has left without us.
func (d *DropLog) settle(state StreamState) {
	if n := d.expiry.settle(gone(state)); n > 0 {
		d.log.metrics.dropsExpired.WithLabelValues(unknownReason, causeUnknown).Add(float64(n))
		d.log.log.Warn("drops have left the drop log uncounted; their reasons are not known", "drops", n)
	}
}

// gone is how many messages the stream has held and holds no more.
func gone(s StreamState) uint64 { return s.Last - min(s.Last, s.Messages) }

// noteExpiry writes the counts.
func (d *DropLog) noteExpiry(e expiry) error {
	if err := writeNote(d.expiryPath(), e); err != nil {
		return fmt.Errorf("note expired drops: %w", err)
	}
	return nil
}

// expire purges what leaves for one cause, and counts it: counts is what leaves
// by reason. d.mu is held, so that nothing is stored meanwhile.
func (d *DropLog) expire(ctx context.Context, s *session, cause string, counts map[string]uint64, requests ...purgeRequest) error {
	before := *d.expiry
	before.Purging = counts
	if err := d.noteExpiry(before); err != nil {
		return err
	}
	if err := d.log.noteHoles(requests, counts); err != nil {
		return err
	}
	for _, r := range requests {
		if err := s.purgeDrops(ctx, r); err != nil {
			d.expiry = nil // what has left shows when the counts are settled again
			return err
		}
	}
	d.expiry.add(counts)
	for reason, n := range counts {
		d.log.metrics.dropsExpired.WithLabelValues(reason, cause).Add(float64(n))
		d.log.log.Debug("drops have expired", "reason", reason, "drops", n, "cause", cause)
	}
	return d.noteExpiry(*d.expiry)
}

// noteHoles lets the ledger expect the gaps that purges of single subjects
// leave in DROPS, and that DROPS begins later.
func (l *Log) noteHoles(requests []purgeRequest, counts map[string]uint64) error {
	if len(requests) == 0 {
		return nil
	}
	return l.note(func(led *ledger) {
		led.DropsFrom = nil // until the next sync: the first may be among them
		if requests[0].Filter == "" {
			return
		}
		for _, n := range counts {
			led.Holes += n
		}
	})
}

// closeHoles lets the ledger expect no more gaps than there are: those at the
// front of DROPS end when it begins behind them. d.mu is held.
func (d *DropLog) closeHoles(ctx context.Context, s *session) error {
	state, err := s.dropState(ctx)
	if err != nil {
		return err
	}
	d.log.ledgerMu.Lock()
	noted := d.log.ledger.Holes
	d.log.ledgerMu.Unlock()
	if there := state.holes(); there < noted {
		return d.log.note(func(led *ledger) { led.Holes = there })
	}
	return nil
}

// purgeRequest is the server's.
type purgeRequest struct {
	Sequence uint64 `json:"seq,omitempty"`    // what is below it leaves
	Filter   string `json:"filter,omitempty"` // only of this subject
	Keep     uint64 `json:"keep,omitempty"`   // all but so many
}

func (s *session) purgeDrops(ctx context.Context, r purgeRequest) error {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("purge %s: %w", DropsStream, err)
	}
	m, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.PURGE."+DropsStream, b)
	if err != nil {
		return fmt.Errorf("purge %s: %w", DropsStream, err)
	}
	var a struct {
		Success bool `json:"success"`
		Error   *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return fmt.Errorf("purge %s: %w", DropsStream, err)
	}
	if a.Error != nil || !a.Success {
		return schema.Errorf(schema.Unavailable, "purge %s: the server answered %.200s", DropsStream, m.Data)
	}
	return nil
}

// dropsFrom is how many messages of a reason stand at a sequence or behind it,
// and the first of them.
func (s *session) dropsFrom(ctx context.Context, reason string, seq uint64) (n, first uint64, at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	batch, err := jetstreamext.GetBatch(ctx, s.js, DropsStream, 1, jetstreamext.GetBatchSeq(max(seq, 1)),
		jetstreamext.GetBatchSubject(DropsPrefix+"."+reason+".>"))
	if err != nil {
		return 0, 0, at, fmt.Errorf("count drops: %w", err)
	}
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return 0, 0, at, nil
		}
		if err != nil {
			return 0, 0, at, fmt.Errorf("count drops: %w", err)
		}
		behind, err := strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64)
		if err != nil {
			return 0, 0, at, fmt.Errorf("count drops: %w", err)
		}
		n, first, at = behind+1, m.Sequence, m.Time
	}
	if n == 0 {
		return 0, 0, at, fmt.Errorf("count drops: no answer: %w", context.Cause(ctx))
	}
	return n, first, at, nil
}

// reasonOf is the reason in a subject of DROPS.
func reasonOf(subject string) string {
	reason, _, _ := strings.Cut(strings.TrimPrefix(subject, DropsPrefix+"."), ".")
	return reason
}
