package archive

import (
	"context"
	"fmt"
	"time"

	"pvlog/consumers/filter"
	"pvlog/consumers/partition"
	"pvlog/schema"
)

// Overrides is under what other rules samples are judged than those they carry.
type Overrides struct {
	DriftPast, DriftFuture time.Duration // windows; 0: as the sample carries them
	// Former lets samples in that were received for an earlier registration of
	// the PV, if its type is the same.
	Former bool
}

// String is the overrides in words, "" if there are none.
func (o Overrides) String() string {
	switch {
	case o.DriftPast == o.DriftFuture && o.DriftPast == 0:
		return ""
	case o.DriftPast == o.DriftFuture:
		return fmt.Sprintf("drift %v", o.DriftPast)
	case o.DriftFuture == 0:
		return fmt.Sprintf("drift past %v", o.DriftPast)
	case o.DriftPast == 0:
		return fmt.Sprintf("drift future %v", o.DriftFuture)
	}
	return fmt.Sprintf("drift past %v, drift future %v", o.DriftPast, o.DriftFuture)
}

// Candidate is what may get its place in a partition: a sample, or the message
// of the log that could not be decoded.
type Candidate struct {
	Sample *schema.RawSample // nil: Raw is tried again
	Raw    []byte
}

// Replayed is what became of a PV's candidates.
type Replayed struct {
	Added, There, Differs int
	Refused               map[string]int    // left out, by reason: those of the filters, too_new and file
	Why                   map[string]string // of each of those, the first in words
	First, Last           schema.Time       // of what was added
}

// Reasons of what cannot be placed, beside the filters'.
const (
	reasonTooNew = "too_new" // samples on their way would come too late for their file
	reasonFile   = string(filter.File)
)

// replayBytes bounds the samples of a replay that are in memory at once.
const replayBytes = 32 << 20

// Replay puts the candidates that read gives into a PV's partitions, by the
// verdicts of the filters under other rules: their order does not matter, and
// what is there already stays. With dry nothing is placed, and the result says
// what would become of each. The errors are those of [Archive.Merge] and read's.
func (a *Archive) Replay(ctx context.Context, pv schema.PVName, o Overrides, dry bool, read func(each func(Candidate) error) error) (Replayed, error) {
	info, registered := a.opt.Registered(pv)
	if !registered {
		return Replayed{}, schema.Errorf(schema.NotFound, "PV %s is not registered: archive it first", pv)
	}
	r := replaying{a: a, ctx: ctx, info: info, overrides: o, dry: dry}
	if err := read(r.take); err != nil {
		return r.done, err
	}
	return r.done, r.merge()
}

// replaying is one call of Replay.
type replaying struct {
	a         *Archive
	ctx       context.Context
	info      *schema.TypeInfo
	overrides Overrides
	dry       bool
	done      Replayed

	late  []Late
	bytes int
}

// take judges a candidate.
func (r *replaying) take(c Candidate) error {
	if c.Sample == nil {
		samples, part, err := schema.DecodeSampleMessage(c.Raw, nil)
		if err != nil || part != nil || len(samples) == 0 {
			r.refuse(string(filter.Damaged), fmt.Sprintf("its message cannot be decoded: %v", err))
			return nil
		}
		for i := range samples {
			if err := r.take(Candidate{Sample: &samples[i]}); err != nil {
				return err
			}
		}
		return nil
	}
	late, verdict := judge(*c.Sample, r.info, r.overrides)
	if !verdict.Keep() {
		r.refuse(string(verdict.Reason), verdict.Detail)
		return nil
	}
	r.late = append(r.late, late)
	if r.bytes += len(late.Event) + refSize; r.bytes < replayBytes {
		return nil
	}
	return r.merge()
}

// judge is the verdict on a sample for the PV as it is registered now.
func judge(s schema.RawSample, info *schema.TypeInfo, o Overrides) (Late, filter.Verdict) {
	event, err := schema.ScanEvent(s.Event)
	at := event.Time(s.Year)
	if err == nil && at.Year() != s.Year {
		err = fmt.Errorf("%d seconds are more than the year %d has", event.SecondsIntoYear, s.Year)
	}
	if err != nil {
		return Late{}, filter.Verdict{Reason: filter.Damaged, Detail: err.Error()}
	}
	if s.Generation < info.Generation && !o.Former {
		return Late{}, filter.Verdict{Reason: filter.Unregistered,
			Detail: fmt.Sprintf("the sample is of generation %d, the PV is now of generation %d", s.Generation, info.Generation)}
	}
	s.Registered = info.DBRType
	s.RateEvents, s.RateBytes = 0, 0 // the guard is against a flood, not against who asks for its samples
	if o.DriftPast > 0 {
		s.DriftPast = o.DriftPast
	}
	if o.DriftFuture > 0 {
		s.DriftFuture = o.DriftFuture
	}
	return Late{Type: s.Type, Time: at, Event: s.Event}, filter.Judge(s, at, schema.Time{}, false)
}

// merge places what has gathered.
func (r *replaying) merge() error {
	if len(r.late) == 0 {
		return nil
	}
	merged, err := r.a.merge(r.ctx, r.info.PV, r.late, r.dry)
	for i, p := range merged.Placed {
		r.count(r.late[i].Time, p)
	}
	r.late, r.bytes = nil, 0
	return err
}

func (r *replaying) count(at schema.Time, p Placed) {
	switch {
	case p.Outcome == partition.Added:
		r.done.Added++
		if r.done.First.IsZero() || r.done.First.After(at) {
			r.done.First = at
		}
		if at.After(r.done.Last) {
			r.done.Last = at
		}
	case p.Outcome == partition.There:
		r.done.There++
	case p.Outcome == partition.Differs:
		r.done.Differs++
	case p.Why != nil:
		r.refuse(p.Reason, p.Why.Error())
	}
}

// Holds reports whether a PV's files, or what waits for them, have a sample: one
// that was rejected and stands there was replayed.
func (a *Archive) Holds(pv schema.PVName, s *schema.RawSample) (bool, error) {
	f, valid := a.former(pv)
	event, err := schema.ScanEvent(s.Event)
	if !valid || err != nil {
		return false, nil //nolint:nilerr // it can be in no file
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	found, ok, err := a.lookup(f, event.Time(s.Year))
	return ok && found.Same(event), err
}

func (r *replaying) refuse(reason, why string) {
	if r.done.Refused == nil {
		r.done.Refused, r.done.Why = map[string]int{}, map[string]string{}
	}
	if r.done.Refused[reason]++; r.done.Refused[reason] == 1 {
		r.done.Why[reason] = why
	}
}
