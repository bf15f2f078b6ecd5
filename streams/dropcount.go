package streams

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"pvlog/schema"
)

// DropCount is how many drops of a PV the log holds for one reason.
type DropCount struct {
	PV     schema.PVName
	Reason string
	Drops  uint64
}

// Count gives how many drops the filter chooses, for each PV and reason that
// has any, in no order; Limit does not count. Without times and After the
// server knows the numbers, and no drop is read; one of more than 8 MiB then
// counts once for each of its messages.
func (d *DropLog) Count(ctx context.Context, f DropFilter) ([]DropCount, error) {
	f.Limit = 0
	if f.Since.IsZero() && f.Until.IsZero() && f.After == 0 {
		return d.countSubjects(ctx, f)
	}
	type key struct {
		pv     schema.PVName
		reason string
	}
	counts := map[key]uint64{}
	err := d.Read(ctx, f, func(drop StoredDrop) error {
		counts[key{drop.PV, drop.Reason}]++
		return nil
	})
	list := make([]DropCount, 0, len(counts))
	for k, n := range counts {
		list = append(list, DropCount{k.pv, k.reason, n})
	}
	return list, err
}

func (d *DropLog) countSubjects(ctx context.Context, f DropFilter) ([]DropCount, error) {
	r, err := d.reader(ctx, f)
	if err != nil {
		return nil, err
	}
	subjects, err := r.s.dropSubjects(ctx, r.subject)
	if err != nil {
		return nil, err
	}
	list := make([]DropCount, 0, len(subjects))
	for subject, n := range subjects {
		prefix, pv, err := ParseSubject(subject)
		if err == nil && r.wanted(subject) && r.match.MatchString(string(pv)) {
			list = append(list, DropCount{pv, strings.TrimPrefix(prefix, DropsPrefix+"."), n})
		}
	}
	return list, nil
}

// dropSubjects are the messages of each subject of DROPS that a filter matches.
func (s *session) dropSubjects(ctx context.Context, filter string) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, DropsStream)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", DropsStream, err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("count the drops on %s: %w", filter, err)
	}
	return info.State.Subjects, nil
}
