package registry

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/schema"
)

// metrics are the counters of one Registry.
type metrics struct {
	applied  prometheus.Counter
	refused  prometheus.Counter
	rebuilds prometheus.Counter
	commands *prometheus.CounterVec // per PV of a command
}

func newMetrics(r *Registry, reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pvlog", Subsystem: "registry", Name: name, Help: help})
	}
	m := &metrics{
		applied:  counter("events_applied_total", "Registry events applied to the state."),
		refused:  counter("events_refused_total", "Registry events passed over because they are beyond any bound."),
		rebuilds: counter("rebuilds_total", "Times the state was rebuilt from the log because it was damaged or foreign."),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "pvlog", Subsystem: "registry", Name: "commands_total",
			Help: "Commands, one per PV named in them, by outcome (ok, unchanged or the error's code).",
		}, []string{"command", "outcome"}),
	}
	if reg == nil {
		return m
	}
	reg.MustRegister(m.applied, m.refused, m.rebuilds, m.commands)
	for _, s := range []schema.State{schema.Archiving, schema.Paused, schema.Stopped} {
		reg.MustRegister(gauge("pvs", "Registered PVs by state.", prometheus.Labels{"state": string(s)},
			func() float64 { return float64(r.Counts()[s]) }))
	}
	reg.MustRegister(
		gauge("cursor", "Sequence of the newest applied registry event.", nil, func() float64 { return float64(r.Cursor()) }),
		gauge("paused", "1 while the follower pauses (disk full, log unreachable).", nil, func() float64 {
			if r.Fault() != nil {
				return 1
			}
			return 0
		}))
	return m
}

func gauge(name, help string, labels prometheus.Labels, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "pvlog", Subsystem: "registry", Name: name, Help: help, ConstLabels: labels,
	}, value)
}

// outcome is the label of a result.
func outcome(err error, changed bool) string {
	switch {
	case err == nil && changed:
		return "ok"
	case err == nil || errors.Is(err, ErrAlready):
		return "unchanged"
	}
	return string(schema.CodeOf(err))
}
