package streams

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"google.golang.org/protobuf/proto"

	"pvlog/schema"
	"pvlog/schema/logpb"
)

// DropFilter chooses drops. The zero value chooses the newest 1,000.
type DropFilter struct {
	PV     string // glob over PV names: * and ?; "" = all
	Reason string // "" = all
	Limit  int    // newest to give at most; default 1,000
}

// StoredDrop is a drop as it stands in the log.
type StoredDrop struct {
	Drop
	Seq    uint64    // sequence in DROPS
	Stored time.Time // when the log stored it
}

// List gives the newest drops that the filter chooses, oldest first. A message
// of DROPS that cannot be decoded is passed over and logged.
func (d *DropLog) List(ctx context.Context, f DropFilter) ([]StoredDrop, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 1000
	}
	var newest []StoredDrop
	err := d.Read(ctx, f, func(drop StoredDrop) error {
		if len(newest) == 2*limit {
			newest = newest[:copy(newest, newest[limit:])]
		}
		newest = append(newest, drop)
		return nil
	})
	return newest[max(0, len(newest)-limit):], err
}

// Read calls each with every drop that the filter chooses, oldest first and
// without limit, until it fails.
func (d *DropLog) Read(ctx context.Context, f DropFilter, each func(StoredDrop) error) error {
	s, err := d.log.current()
	if err != nil {
		return err
	}
	subject, err := f.subject()
	if err != nil {
		return err
	}
	match := glob(f.PV)
	parts := map[string][]byte{}
	for next := uint64(1); ; {
		n := 0
		batch, err := jetstreamext.GetBatch(ctx, s.js, DropsStream, followBatch, jetstreamext.GetBatchSeq(next),
			jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchMaxBytes(2*maxPayload))
		if err != nil {
			return fmt.Errorf("read drops: %w", err)
		}
		for m, err := range batch {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read drops: %w", err)
			}
			n++
			next = m.Sequence + 1
			drop, ok := d.decode(m, parts)
			if !ok || !match.MatchString(string(drop.PV)) {
				continue
			}
			if err := each(drop); err != nil {
				return err
			}
		}
		if n == 0 {
			return nil
		}
	}
}

// subject is the narrowest one that holds what the filter chooses: the server
// then reads no other drops.
func (f DropFilter) subject() (string, error) {
	reason := "*"
	if f.Reason != "" {
		if _, err := (&Drop{Reason: f.Reason}).subject(); err != nil {
			return "", schema.Errorf(schema.Invalid, "%v", err)
		}
		reason = f.Reason
	}
	if f.PV == "" || strings.ContainsAny(f.PV, "*?") {
		return DropsPrefix + "." + reason + ".>", nil
	}
	return Subject(DropsPrefix+"."+reason, schema.PVName(f.PV)), nil
}

// glob translates * and ? to a regular expression over the whole name.
func glob(pattern string) *regexp.Regexp {
	if pattern == "" {
		pattern = "*"
	}
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, `.*`), `\?`, `.`)
	return regexp.MustCompile(`(?s)^` + quoted + `$`)
}

// decode gives the drop of a message, or of the last of its parts.
func (d *DropLog) decode(m *jetstream.RawStreamMsg, parts map[string][]byte) (StoredDrop, bool) {
	data := m.Data
	if n, count, ok := strings.Cut(m.Header.Get(headerPart), "/"); ok {
		if n == "1" {
			delete(parts, m.Subject)
		}
		data = append(parts[m.Subject], data...)
		parts[m.Subject] = data
		if n != count {
			return StoredDrop{}, false
		}
		delete(parts, m.Subject)
	}
	drop, err := decodeDrop(m.Subject, data)
	if err != nil {
		d.log.log.Error("a message of DROPS cannot be read and is passed over", "seq", m.Sequence, "err", err)
		return StoredDrop{}, false
	}
	return StoredDrop{Drop: drop, Seq: m.Sequence, Stored: m.Time}, true
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
			DriftFuture: time.Duration(s.GetDriftFuture()) * time.Second, Generation: s.GetGeneration(), Event: s.GetEvent(),
		}
	}
	return drop, nil
}
