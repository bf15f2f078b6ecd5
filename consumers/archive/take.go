package archive

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"pvlog/consumers/filter"
	"pvlog/schema"
	"pvlog/streams"
)

// pendingMax bounds the field records that wait for a PV's next kept sample.
const pendingMax = 64 << 10

// takeAll takes messages in order; it reports false if ctx ended first. The rest
// must then come again before anything newer.
func (a *Archive) takeAll(ctx context.Context, messages []streams.Message) bool {
	defer a.observe()
	for i := range messages {
		if !a.take(ctx, &messages[i]) {
			a.astray = true
			return false
		}
		a.unacked++
	}
	return true
}

// tookAll notes how far the log has been taken: to its end, as it was when it was
// asked, if it gave nothing.
func (a *Archive) tookAll(messages []streams.Message, asking time.Time) {
	if n := len(messages); n > 0 {
		a.taking = messages[n-1].Time
		a.recovering = a.recovering && messages[n-1].Redelivered
		return
	}
	a.taking, a.recovering = asking, false
}

// observe shows what waits.
func (a *Archive) observe() {
	a.metrics.buffered.Set(float64(a.buffered))
	a.metrics.dirty.Set(float64(len(a.dirty)))
	a.metrics.unacked.Set(float64(a.unacked))
	a.metrics.dropsWaiting.Set(float64(len(a.drops)))
}

// take files every sample of a message: kept, duplicate or drop. Its sequence
// counts as taken only when all of them are.
func (a *Archive) take(ctx context.Context, m *streams.Message) bool {
	if m.Err != nil {
		a.reject(m, 0, nil, filter.Damaged, m.Err.Error())
		a.took(m.Seq)
		return true
	}
	a.metrics.received.Add(float64(len(m.Samples)))
	a.progress()
	taken := 0
	rest := func(context.Context) (err error) {
		taken, err = a.takeFrom(m, taken)
		return err
	}
	if rest(ctx) != nil {
		a.retry(ctx, "read partitions", rest)
		if ctx.Err() != nil {
			return false
		}
	}
	a.took(m.Seq)
	return true
}

func (a *Archive) took(seq uint64) {
	a.taken, a.tallies.upTo = seq, max(a.tallies.upTo, seq)
}

// takeFrom files the samples of a message from the i-th on, all under one look
// at the registry, and gives the first that it could not.
func (a *Archive) takeFrom(m *streams.Message, i int) (int, error) {
	info, registered := a.opt.Registered(m.PV)
	var f *pvFiles
	if registered {
		f = a.files(info.PV, info.ChunkKey)
		f.mu.Lock()
		defer f.mu.Unlock()
		a.tallyOf(f, info)
	}
	for ; i < len(m.Samples); i++ {
		if err := a.takeSample(f, info, m, i); err != nil {
			return i, err
		}
	}
	return i, nil
}

// takeSample files one sample. f is the PV's, locked, nil if it is not
// registered. It fails, having changed nothing, only for a fault of the store:
// what the files hold must be known to judge.
func (a *Archive) takeSample(f *pvFiles, info *schema.TypeInfo, m *streams.Message, i int) error {
	s := &m.Samples[i]
	event, err := schema.ScanEvent(s.Event)
	at := event.Time(s.Year)
	if err == nil && at.Year() != s.Year { // a partition's header tells the year of all its lines
		err = fmt.Errorf("%d seconds are more than the year %d has", event.SecondsIntoYear, s.Year)
	}
	if err != nil {
		a.tallyDrop(f, m, filter.Damaged)
		a.reject(m, i, s, filter.Damaged, err.Error())
		return nil
	}
	if f == nil || s.Generation < info.Generation {
		return a.takeForeign(f, m, i, event, info)
	}
	if err := a.load(f, *s, at, m.Redelivered); err != nil {
		return a.faultOrDrop(f, m, i, err)
	}
	verdict := filter.Judge(*s, at, f.last, f.hasLast)
	switch verdict.Reason {
	case "":
		a.keep(f, m, i, at, a.fullSet(f, info, event, at))
	case filter.Order:
		return a.takeLate(f, m, i, event, verdict)
	default:
		a.tallyDrop(f, m, verdict.Reason)
		a.reject(m, i, s, verdict.Reason, verdict.Detail)
	}
	return nil
}

// faultOrDrop gives back a fault of the store and makes a drop of a fault that
// is this PV's alone (D5).
func (a *Archive) faultOrDrop(f *pvFiles, m *streams.Message, i int, err error) error {
	if a.storeFault(string(m.PV), err) {
		return err
	}
	a.tallyDrop(f, m, filter.File)
	a.reject(m, i, &m.Samples[i], filter.File, err.Error())
	return nil
}

// keep buffers a sample, with some more records at its end.
func (a *Archive) keep(f *pvFiles, m *streams.Message, i int, at schema.Time, more []byte) {
	n, fresh := f.keep(a.opt.Store.Granularity, &m.Samples[i], at, m, i, more)
	if fresh {
		a.wait(f)
	}
	a.buffered += int64(n)
}

// takeLate decides of a sample that is not later than its PV's last: one that
// stands there with the same value, severity and status was seen before or is
// a duplicate; anything else is a drop (D2).
func (a *Archive) takeLate(f *pvFiles, m *streams.Message, i int, event schema.Event, v filter.Verdict) error {
	s := &m.Samples[i]
	found, ok, err := a.lookup(f, event.Time(s.Year))
	switch {
	case err != nil:
		return a.faultOrDrop(f, m, i, err)
	case ok && found.Same(event):
		a.metrics.duplicates.Inc()
		a.tallySame(f, m, event.Time(s.Year))
		a.metrics.fieldsLost.Add(float64(f.carry(event.Fields, found.Fields)))
	default:
		a.tallyDrop(f, m, filter.Order)
		a.reject(m, i, s, filter.Order, v.Detail)
	}
	return nil
}

// carry keeps the field values of a discarded duplicate for the PV's next kept
// sample, unless the sample on disk already has them; a replayed sample that
// has the pending ones shows that they were written before (D12). It gives the
// bytes that were too many to keep.
func (f *pvFiles) carry(fields, stored []byte) (lost int) {
	if len(f.pending) > 0 && bytes.Contains(stored, f.pending) {
		f.pending = nil
	}
	if len(fields) == 0 || bytes.Contains(stored, fields) || bytes.Contains(f.pending, fields) {
		return 0
	}
	if len(f.pending)+len(fields) > pendingMax {
		return len(fields)
	}
	f.pending = append(f.pending, fields...)
	return 0
}

// takeForeign drops a sample of a PV that is not registered, or that was
// received for an earlier registration of it: it may not appear in the files of
// the present one (D1). One that is on disk already, because it was written
// before the PV was deleted, is no drop. f is the PV's, locked, nil if it is not
// registered.
func (a *Archive) takeForeign(f *pvFiles, m *streams.Message, i int, event schema.Event, info *schema.TypeInfo) error {
	s := &m.Samples[i]
	detail := "the PV is not registered"
	if info != nil {
		detail = fmt.Sprintf("the sample is of generation %d, the PV is now of generation %d", s.Generation, info.Generation)
	}
	if f == nil && m.Redelivered {
		if former, ok := a.former(m.PV); ok {
			f = former
			f.mu.Lock()
			defer f.mu.Unlock()
		}
	}
	if f != nil && m.Redelivered {
		found, ok, err := a.lookup(f, event.Time(s.Year))
		if err != nil {
			return a.faultOrDrop(f, m, i, err)
		}
		if ok && found.Same(event) {
			a.metrics.duplicates.Inc()
			return nil
		}
	}
	a.tallyDrop(f, m, filter.Unregistered)
	a.reject(m, i, s, filter.Unregistered, detail)
	return nil
}

// reject queues a drop. It is acknowledged only after publishDrops and a sync
// of the log.
func (a *Archive) reject(m *streams.Message, i int, s *schema.RawSample, reason filter.Reason, detail string) {
	a.metrics.drops.WithLabelValues(string(reason)).Inc()
	d := streams.Drop{
		Reason: string(reason), Detail: detail, PV: m.PV,
		Position:    streams.Position{Seq: m.Seq, Index: i, Time: m.Time},
		Redelivered: m.Redelivered,
	}
	if s == nil {
		d.Raw = m.Raw
	} else {
		copied := *s // the message is reused
		d.Sample = &copied
	}
	a.drops = append(a.drops, d)
}

func (a *Archive) publishDrops(ctx context.Context) error {
	if len(a.drops) == 0 {
		return nil
	}
	a.rest()
	defer a.progress()
	if err := a.opt.Drops.Append(ctx, a.drops); err != nil {
		return fmt.Errorf("publish %d drops: %w", len(a.drops), err)
	}
	clear(a.drops)
	a.drops = a.drops[:0]
	a.dropped = true
	return nil
}

// known gives the state of a PV that had samples before, nil if it had none.
func (a *Archive) known(pv schema.PVName) *pvFiles {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.pvs[pv]
}

// former gives the state of a PV that is not registered now, for a lookup; it
// is not remembered. False is for a name that can never have been registered,
// and could lead out of the store: anyone with a credential may publish.
func (a *Archive) former(pv schema.PVName) (*pvFiles, bool) {
	if parsed, err := schema.ParsePVName(string(pv)); err != nil || parsed != pv {
		return nil, false
	}
	if f := a.known(pv); f != nil {
		return f, true
	}
	return &pvFiles{pv: pv, key: schema.ChunkKey(pv)}, true
}

// files gives the PV's state, made at its first sample.
func (a *Archive) files(pv schema.PVName, key string) *pvFiles {
	if f := a.known(pv); f != nil {
		return f
	}
	f := &pvFiles{pv: pv, key: key}
	a.mu.Lock()
	a.pvs[pv] = f
	a.mu.Unlock()
	return f
}
