package appliance

import (
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/web"
	"pvlog/schema"
	"pvlog/schema/logpb"
)

func orderMessage(o web.ReplayOrder) *logpb.ReplayOrder {
	m := &logpb.ReplayOrder{Pv: o.PV, Reasons: o.Reasons, FromLog: o.FromLog, Rebuild: o.Rebuild, Until: o.Until.UnixNano(),
		DriftPast: uint32(o.DriftPast / time.Second), DriftFuture: uint32(o.DriftFuture / time.Second)}
	if !o.Since.IsZero() {
		m.Since = o.Since.UnixNano()
	}
	return m
}

func orderOf(m *logpb.ReplayOrder) web.ReplayOrder {
	o := web.ReplayOrder{PV: m.GetPv(), Reasons: m.GetReasons(), FromLog: m.GetFromLog(), Rebuild: m.GetRebuild(), Until: time.Unix(0, m.GetUntil()),
		DriftPast: time.Duration(m.GetDriftPast()) * time.Second, DriftFuture: time.Duration(m.GetDriftFuture()) * time.Second}
	if m.GetSince() != 0 {
		o.Since = time.Unix(0, m.GetSince())
	}
	return o
}

func message(done archive.Replayed, o archive.Overrides) *logpb.SamplesReplayed {
	m := &logpb.SamplesReplayed{Added: uint32(done.Added), There: uint32(done.There), Differs: uint32(done.Differs), Overrides: o.String()}
	for reason, n := range done.Refused {
		if m.Refused == nil {
			m.Refused = map[string]uint32{}
		}
		m.Refused[reason] = uint32(n)
	}
	if done.Added > 0 {
		m.First, m.Last = done.First.Go().UnixNano(), done.Last.Go().UnixNano()
	}
	return m
}

// told is what an event says.
func told(pv schema.PVName, m *logpb.SamplesReplayed) web.ReplayedPV {
	out := web.ReplayedPV{PV: pv, Added: int(m.GetAdded()), There: int(m.GetThere()), Differs: int(m.GetDiffers())}
	for reason, n := range m.GetRefused() {
		if out.Refused == nil {
			out.Refused = map[string]int{}
		}
		out.Refused[reason] = int(n)
	}
	if out.Added > 0 {
		out.First, out.Last = schema.TimeOf(time.Unix(0, m.GetFirst())).String(), schema.TimeOf(time.Unix(0, m.GetLast())).String()
	}
	return out
}
