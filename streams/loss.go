package streams

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema"
)

// Loss is a row of messages that a stream should hold and does not, as found at
// a start.
type Loss struct {
	Stream   string
	From, To uint64
	Held     bool            // the server's files held them when it started
	After    time.Time       // when the message before them was stored; zero: not known
	Before   time.Time       // and the one behind
	PVs      []schema.PVName // named in the damaged bytes; there may be others
	Archived uint64          // of samples: messages that the archive had written before
	Aside    string          // folder of the blocks as they were found
	// Unsynced: a power cut may have cost them by what log.durability promises.
	// All are newer than what the ledger knows to be durable, and were stored in
	// the last sync interval of what the files hold.
	Unsynced bool
	where    string        // oldest, newest, middle
	ended    time.Duration // from the message before them to the newest in the files
}

// Messages is how many are lost.
func (x Loss) Messages() uint64 { return x.To - x.From + 1 }

// namedMost bounds the PVs that a text names.
const namedMost = 20

// String tells the loss in a sentence for people: the stream, which messages,
// between which times (UTC), what is known of its PVs (at most 20 by name), and
// where what the files held is kept.
func (x Loss) String() string {
	var b strings.Builder
	if x.where == "middle" {
		fmt.Fprintf(&b, "%s has lost %d messages in its middle", x.Stream, x.Messages())
	} else {
		fmt.Fprintf(&b, "%s has lost its %s %d messages", x.Stream, x.where, x.Messages())
	}
	fmt.Fprintf(&b, ", %d to %d", x.From, x.To)
	if !x.After.IsZero() {
		fmt.Fprintf(&b, ", stored after %s", stamped(&x.After))
	}
	if !x.Before.IsZero() {
		fmt.Fprintf(&b, ", stored before %s", stamped(&x.Before))
	}
	if x.Held {
		b.WriteString(", although its files held them")
	}
	if x.Unsynced {
		fmt.Fprintf(&b, ", in the last %v of what its files hold: a power cut may cost what was not yet synced (log.sync_interval)", x.ended.Round(time.Millisecond))
	}
	b.WriteString("; ")
	switch names := x.PVs[:min(len(x.PVs), namedMost)]; {
	case len(names) == 0:
		b.WriteString("of which PVs is not known")
	default:
		fmt.Fprintf(&b, "the damaged bytes name %s", joinPVs(names))
		if more := len(x.PVs) - len(names); more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
	}
	if x.Stream == SamplesStream {
		fmt.Fprintf(&b, "; %d of them were in partitions already", x.Archived)
	}
	if x.Aside != "" {
		fmt.Fprintf(&b, "; what the files held is kept in %s", x.Aside)
	}
	return b.String()
}

func joinPVs(names []schema.PVName) string {
	text := make([]string, len(names))
	for i, n := range names {
		text[i] = string(n)
	}
	return strings.Join(text, ", ")
}

// gap is a row of sequences.
type gap struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// without gives what is left of want when rows that are sorted are taken out.
func (want gap) without(rows []gap) []gap {
	var left []gap
	for _, r := range rows {
		if r.To < want.From || r.From > want.To {
			continue
		}
		if r.From > want.From {
			left = append(left, gap{want.From, r.From - 1})
		}
		if r.To >= want.To {
			return left
		}
		want.From = r.To + 1
	}
	if want.From <= want.To {
		left = append(left, want)
	}
	return left
}

// sortGaps puts rows in order.
func sortGaps(rows []gap) []gap {
	slices.SortFunc(rows, func(a, b gap) int {
		if a.From < b.From {
			return -1
		}
		return 1
	})
	return rows
}

// expected is the row of sequences that a stream must hold: from where pvlog
// let it begin, to the newest that is known to have been on disk. It is empty
// (To below From) if nothing is known.
func (led *ledger) expected(e *examined, s StreamState) gap {
	want := gap{From: s.First, To: max(led.Last[e.stream], e.last().To)}
	if len(e.held) > 0 && s.Messages == 0 {
		want.From = e.held[0].From
	}
	switch e.stream {
	case SamplesStream:
		want.From = max(led.Trimmed, 1)
	case RegistryStream:
		want.From = 1
	default: // DROPS lets its oldest go by itself
		if f := led.DropsFrom; f != nil && f.Until.After(time.Now()) {
			want.From = f.Seq
		}
	}
	return want
}

// losses compares what the server gives with what must be there: it is pure.
// served are the rows that it gives; what was lost before is not told again.
// unsynced is how much of the log's end a power cut may cost.
func (led *ledger) losses(e *examined, s StreamState, served []gap, unsynced time.Duration) []Loss {
	var found []Loss
	want := led.expected(e, s)
	rows := sortGaps(slices.Concat(served, led.Gaps[e.stream]))
	missing := want.without(rows)
	for _, g := range missing {
		if led.expired(e.stream, want, missing, g) {
			continue
		}
		x := Loss{Stream: e.stream, From: g.From, To: g.To, where: "middle"}
		switch {
		case g.To == want.To:
			x.where = "newest"
		case g.From == want.From:
			x.where = "oldest"
		}
		if led.Floor != nil && *led.Floor >= g.From && e.stream == SamplesStream {
			x.Archived = min(*led.Floor, g.To) - g.From + 1
		}
		x = e.explain(x)
		x.Unsynced = x.From > led.Last[e.stream] && !x.Held && !x.After.IsZero() && x.ended <= unsynced
		found = append(found, x)
	}
	return found
}

// expired reports whether a row that is missing has left by itself: drops of one
// PV that took too much leave from the middle of DROPS, which the ledger was told
// before. As they are only counted, none of the missing ones is taken for lost
// while they are no more than that.
func (led *ledger) expired(stream string, want gap, missing []gap, g gap) bool {
	if stream != DropsStream || g.To == want.To {
		return false
	}
	var n uint64
	for _, m := range missing {
		if m.To != want.To {
			n += m.To - m.From + 1
		}
	}
	return n <= led.Holes
}

// explain tells of a loss what the files say. Part of it may be in the files.
func (e *examined) explain(x Loss) Loss {
	for i := range e.blocks {
		for _, t := range e.blocks[i].torn {
			after, before := t.after, t.before
			if after == 0 {
				after = e.lastBefore(i)
			}
			if after < x.To && (before == 0 || before > x.From) {
				x.Aside = e.made
				for _, pv := range t.names {
					if !slices.Contains(x.PVs, pv) {
						x.PVs = append(x.PVs, pv)
					}
				}
			}
		}
	}
	for _, s := range e.held {
		if s.From <= x.From && x.To <= s.To {
			x.Held, x.Aside = true, e.made
		}
		if s.To < x.From {
			x.After = time.Unix(0, s.last)
		}
		if s.From > x.To && x.Before.IsZero() {
			x.Before = time.Unix(0, s.first)
		}
	}
	if !x.After.IsZero() {
		x.ended = time.Unix(0, e.last().last).Sub(x.After)
	}
	return x
}

// lastBefore is the newest message of the blocks before the i-th.
func (e *examined) lastBefore(i int) uint64 {
	for i--; i >= 0; i-- {
		if last := e.blocks[i].last(); last > 0 {
			return last
		}
	}
	return 0
}

// served are the rows of messages that the server gives of a stream.
func served(ctx context.Context, s *session, name string) ([]gap, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", name, err)
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", name, err)
	}
	if info.State.Msgs == 0 {
		return nil, nil
	}
	var missing []gap
	for _, seq := range info.State.Deleted {
		if n := len(missing); n > 0 && missing[n-1].To+1 == seq {
			missing[n-1].To = seq
		} else {
			missing = append(missing, gap{seq, seq})
		}
	}
	return gap{info.State.FirstSeq, info.State.LastSeq}.without(sortGaps(missing)), nil
}

// compare tells what the server lost since the ledger was written, by what its
// files held before. Nothing is deleted because of it.
func (l *Log) compare(ctx context.Context, led *ledger, x examination, state State) error {
	s, err := l.current()
	if err != nil {
		return err
	}
	for name, stream := range state.streams() {
		e := x[name]
		rows, err := served(ctx, s, name)
		if err != nil {
			return err
		}
		for _, loss := range led.losses(e, stream, rows, l.unsynced()) {
			e.keep = e.keep || loss.Aside != ""
			if loss.Before.IsZero() && led.Stored[name] != nil && loss.where == "newest" && loss.To == led.Last[name] {
				loss.Before = led.Stored[name].Add(time.Nanosecond)
			}
			l.lost(loss)
			if led.Gaps == nil {
				led.Gaps = map[string][]gap{}
			}
			led.Gaps[name] = append(led.Gaps[name], gap{loss.From, loss.To})
		}
	}
	return x.dropAside()
}

// unsynced is how much of the log's end a power cut may cost.
func (l *Log) unsynced() time.Duration {
	if l.opt.Durability == Always {
		return 0
	}
	return l.opt.SyncInterval
}

func (l *Log) lost(x Loss) {
	l.metrics.lost.WithLabelValues(x.Stream).Add(float64(x.Messages()))
	l.ledgerMu.Lock()
	l.losses = append(l.losses, x)
	l.ledgerMu.Unlock()
	l.problem(x.String())
}

// Losses is what Open, and each restart of the server, found missing.
func (l *Log) Losses() []Loss {
	l.ledgerMu.Lock()
	defer l.ledgerMu.Unlock()
	return slices.Clone(l.losses)
}
