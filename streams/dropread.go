package streams

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// errEnough ends a reading that has all it was asked for.
var errEnough = errors.New("enough")

// dropReader reads what a filter chooses of the drops stored when it was made.
type dropReader struct {
	d          *DropLog
	s          *session
	f          DropFilter
	subject    string
	match      *regexp.Regexp
	begin, end uint64 // sequences of DROPS that can hold them, end excluded
}

// reader finds where in DROPS the filter's choice begins. A drop is stored after
// its sample, so that reading begins with what was stored at Since.
func (d *DropLog) reader(ctx context.Context, f DropFilter) (*dropReader, error) {
	subject, err := f.subject()
	if err != nil {
		return nil, err
	}
	s, err := d.log.current()
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(within, DropsStream)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", DropsStream, err)
	}
	state := streamState(stream.CachedInfo())
	r := &dropReader{d: d, s: s, f: f, subject: subject, match: glob(f.PV), begin: state.First, end: state.Last + 1}
	if !f.Since.IsZero() {
		if r.begin, err = d.log.firstAt(within, DropsStream, f.Since.Add(-clockSlack), state); err != nil {
			return nil, fmt.Errorf("find the drops since %v: %w", f.Since, err)
		}
	}
	r.begin = max(r.begin, f.After+1)
	return r, nil
}

// read calls each with the chosen drops whose sequence is in [from, end).
func (r *dropReader) read(ctx context.Context, from, end uint64, each func(StoredDrop) error) error {
	for from < end {
		batch, err := r.fetch(ctx, from)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, m := range batch {
			if m.Sequence >= end {
				return nil
			}
			from = m.Sequence + 1
			drop, ok, err := r.decode(ctx, m)
			if err != nil {
				return err
			}
			if !ok || !r.match.MatchString(string(drop.PV)) || !r.f.chooses(&drop) {
				continue
			}
			if err := each(drop); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch gives the next messages on the filter's subject, none at the end. They
// are in memory before anyone sees them: who is slow to take drops does not keep
// the server waiting.
func (r *dropReader) fetch(ctx context.Context, from uint64) ([]*jetstream.RawStreamMsg, error) {
	within, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	batch, err := jetstreamext.GetBatch(within, r.s.js, DropsStream, followBatch, jetstreamext.GetBatchSeq(from),
		jetstreamext.GetBatchSubject(r.subject), jetstreamext.GetBatchMaxBytes(followBytes))
	if err != nil {
		return nil, fmt.Errorf("read drops: %w", err)
	}
	var messages []*jetstream.RawStreamMsg
	for m, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read drops: %w", err)
		}
		messages = append(messages, m)
	}
	if len(messages) == 0 {
		return nil, fmt.Errorf("read drops: no answer: %w", context.Cause(within))
	}
	return messages, nil
}

// decode gives the drop of a message, or of the last of its parts.
func (r *dropReader) decode(ctx context.Context, m *jetstream.RawStreamMsg) (drop StoredDrop, ok bool, err error) {
	if !r.wanted(m.Subject) {
		return StoredDrop{}, false, nil
	}
	data := m.Data
	if n, count, parted := strings.Cut(m.Header.Get(headerPart), "/"); parted {
		if n != count {
			return StoredDrop{}, false, nil
		}
		if data, err = r.join(ctx, m, count); err != nil {
			return StoredDrop{}, false, err
		}
	}
	decoded, err := decodeDrop(m.Subject, data)
	if err != nil {
		r.d.log.log.Error("a message of DROPS cannot be read and is passed over", "seq", m.Sequence, "err", err)
		return StoredDrop{}, false, nil
	}
	return StoredDrop{Drop: decoded, Seq: m.Sequence, Stored: m.Time}, true, nil
}

// wanted reports whether the reason of a subject is among those asked for.
func (r *dropReader) wanted(subject string) bool {
	reason, _, _ := strings.Cut(strings.TrimPrefix(subject, DropsPrefix+"."), ".")
	return len(r.f.Reasons) == 0 || slices.Contains(r.f.Reasons, reason)
}

// join reads the parts before the last one, which stand right before it. What
// is missing makes a drop that cannot be decoded.
func (r *dropReader) join(ctx context.Context, last *jetstream.RawStreamMsg, count string) ([]byte, error) {
	n, err := strconv.ParseUint(count, 10, 16)
	if err != nil || n*partBytes > maxJoined || n > last.Sequence {
		return last.Data, nil
	}
	whole := &dropReader{d: r.d, s: r.s, subject: last.Subject}
	var data []byte
	for next := last.Sequence + 1 - n; next < last.Sequence; {
		batch, err := whole.fetch(ctx, next)
		if err != nil {
			return nil, err
		}
		if len(batch) == 0 {
			break
		}
		for _, m := range batch {
			if next = m.Sequence + 1; m.Sequence < last.Sequence {
				data = append(data, m.Data...)
			}
		}
	}
	return append(data, last.Data...), nil
}

func decodeDrop(subject string, data []byte) (Drop, error) {
	prefix, pv, err := ParseSubject(subject)
	if err != nil {
		return Drop{}, err
	}
	body, err := schema.CheckSum(data)
	if err != nil {
		return Drop{}, err
	}
	p := &logpb.Drop{}
	if err := proto.Unmarshal(body, p); err != nil {
		return Drop{}, fmt.Errorf("%w: %w", schema.ErrDamaged, err)
	}
	drop := Drop{
		Reason: strings.TrimPrefix(prefix, DropsPrefix+"."), Detail: p.GetDetail(), PV: pv, Raw: p.GetRaw(),
		Position: Position{Seq: p.GetLogSequence(), Index: int(p.GetLogIndex()), Time: time.Unix(0, p.GetLogTime())},
	}
	if s := p.GetSample(); s != nil {
		drop.Sample = &schema.RawSample{
			Type: schema.DBRType(s.GetType()), Year: int(s.GetYear()), Received: time.Unix(0, s.GetReceived()), First: s.GetFirst(),
			Registered: schema.DBRType(s.GetRegisteredType()), DriftPast: time.Duration(s.GetDriftPast()) * time.Second,
			DriftFuture: time.Duration(s.GetDriftFuture()) * time.Second, Generation: s.GetGeneration(),
			RateEvents: s.GetRateEvents(), RateBytes: s.GetRateBytes(), Event: s.GetEvent(),
		}
	}
	return drop, nil
}
