package streams

import (
	"context"
	"regexp"
	"strings"
	"time"

	"pvlog/schema"
)

// DropFilter chooses drops. The zero value chooses all.
type DropFilter struct {
	PV      string   // glob over PV names: * and ?; "" = all
	Reasons []string // any of them; none = all

	// When the log stored the sample's message, which is within seconds of when
	// pvlog received it: from Since to just before Until; zero is no bound.
	Since, Until time.Time

	After uint64 // only drops behind this sequence of DROPS: the Seq of the last one of a page
	Limit int    // how many at most: [DropLog.Read] all and [DropLog.List] 1,000 by default
}

// StoredDrop is a drop as it stands in the log.
type StoredDrop struct {
	Drop
	Seq    uint64    // sequence in DROPS, of its last message if it has several
	Stored time.Time // when the log stored it
}

// listDefault is how many drops a list holds if the filter does not say.
const listDefault = 1000

// List gives the newest drops that the filter chooses, oldest first. A message
// of DROPS that cannot be decoded is passed over and logged.
func (d *DropLog) List(ctx context.Context, f DropFilter) ([]StoredDrop, error) {
	var err error
	if f.Limit <= 0 {
		f.Limit = listDefault
	}
	if f.After, err = d.Newest(ctx, f); err != nil {
		return nil, err
	}
	var list []StoredDrop
	err = d.Read(ctx, f, func(drop StoredDrop) error {
		list = append(list, drop)
		return nil
	})
	return list, err
}

// Newest is the After of the filter's newest Limit drops (0: 1,000). It reads
// from the end until it has enough, and keeps sequences only: drops may be large.
func (d *DropLog) Newest(ctx context.Context, f DropFilter) (after uint64, err error) {
	r, err := d.reader(ctx, f)
	if err != nil {
		return 0, err
	}
	limit := f.Limit
	if limit <= 0 {
		limit = listDefault
	}
	found := 0
	for end, span := r.end, uint64(2*max(limit, followBatch)); end > r.begin; span *= 4 {
		from := r.begin
		if end-from > span {
			from = end - span
		}
		var seqs []uint64
		if err := r.read(ctx, from, end, func(drop StoredDrop) error {
			seqs = append(seqs, drop.Seq)
			return nil
		}); err != nil {
			return 0, err
		}
		if missing := limit - found; len(seqs) >= missing {
			return seqs[len(seqs)-missing] - 1, nil
		}
		found += len(seqs)
		end = from
	}
	return f.After, nil
}

// Read calls each with the drops that the filter chooses, oldest first, until
// it fails: those that are stored now, the first Limit of them if that is set. A
// drop that cannot be decoded is passed over and logged.
func (d *DropLog) Read(ctx context.Context, f DropFilter, each func(StoredDrop) error) error {
	r, err := d.reader(ctx, f)
	if err != nil {
		return err
	}
	n := 0
	err = r.read(ctx, r.begin, r.end, func(drop StoredDrop) error {
		if n++; f.Limit > 0 && n > f.Limit {
			return errEnough
		}
		return each(drop)
	})
	if err == errEnough {
		return nil
	}
	return err
}

// subject is the narrowest one that holds what the filter chooses: the server
// then reads no other drops. A glob's tokens before its first wildcard narrow
// it, as one reason does.
func (f DropFilter) subject() (string, error) {
	prefix := DropsPrefix + ".*"
	for _, reason := range f.Reasons {
		if _, err := (&Drop{Reason: reason}).subject(); err != nil {
			return "", schema.Errorf(schema.Invalid, "%v", err)
		}
	}
	if len(f.Reasons) == 1 {
		prefix = DropsPrefix + "." + f.Reasons[0]
	}
	wild := strings.IndexAny(f.PV, "*?")
	if f.PV != "" && wild < 0 {
		return Subject(prefix, schema.PVName(f.PV)), nil
	}
	if end := strings.LastIndexByte(f.PV[:max(wild, 0)], ':'); end >= 0 {
		prefix = Subject(prefix, schema.PVName(f.PV[:end]))
	}
	return prefix + ".>", nil
}

// chooses reports whether the filter chooses a drop that lies in its subject.
func (f DropFilter) chooses(drop *StoredDrop) bool {
	at := drop.Position.Time
	return !(f.Since.After(at) || !f.Until.IsZero() && !at.Before(f.Until))
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
