package appliance

import (
	"context"

	"pvlog/consumers/web"
	"pvlog/streams"
)

// dropLog gives web the drop log.
type dropLog struct{ log *streams.DropLog }

// Read gives the drops of a query, oldest first.
func (d dropLog) Read(ctx context.Context, q web.DropQuery, each func(web.Drop) error) error {
	f := dropFilter(q)
	if !q.Paged {
		after, err := d.log.Newest(ctx, f)
		if err != nil {
			return err
		}
		f.After = after
	}
	return d.log.Read(ctx, f, func(drop streams.StoredDrop) error {
		return each(web.Drop{PV: drop.PV, Reason: drop.Reason, Detail: drop.Detail, Cursor: drop.Seq,
			Seq: drop.Position.Seq, Index: drop.Position.Index, Logged: drop.Position.Time, Sample: drop.Sample})
	})
}

// Count counts what a query chooses.
func (d dropLog) Count(ctx context.Context, q web.DropQuery) ([]web.DropCount, error) {
	counts, err := d.log.Count(ctx, dropFilter(q))
	list := make([]web.DropCount, len(counts))
	for i, c := range counts {
		list[i] = web.DropCount(c)
	}
	return list, err
}

// Keeping tells when drops leave.
func (d dropLog) Keeping() web.DropKeeping {
	k := d.log.Keeping()
	out := web.DropKeeping{At: k.At, Bytes: k.Bytes, MaxBytes: k.MaxBytes, Keep: k.Keep, Rate: k.Rate, Expired: k.Expired}
	for _, r := range k.Reasons {
		out.Reasons = append(out.Reasons, web.DropReason{Reason: r.Reason, Drops: r.Drops, Expired: r.Expired, Oldest: r.Oldest, Leaves: r.Leaves})
	}
	return out
}

func dropFilter(q web.DropQuery) streams.DropFilter {
	return streams.DropFilter{PV: q.PV, Reasons: q.Reasons, Since: q.Since, Until: q.Until, After: q.After, Limit: q.Limit}
}
