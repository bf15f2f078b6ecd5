package retrieval

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
)

// skipKind says why something on disk was not served.
type skipKind string

const (
	skippedLine  skipKind = "line"  // does not parse
	skippedOrder skipKind = "order" // not later than the line before it
	skippedFile  skipKind = "file"  // its header does not parse
	skippedOther skipKind = "other" // the file states another PV
)

// fault is where something was skipped, and why.
type fault struct {
	path string
	err  error // may be nil
}

// Skipped counts what a stream could not serve. What was skipped stays where
// it is, for `pvlog inspect` and repair.
type Skipped struct {
	Lines int // lines that do not parse
	Order int // lines not later than the one before
	Files int // files whose header does not parse or states another PV

	first map[skipKind]fault
}

// Total is the number of all that was skipped.
func (s Skipped) Total() int { return s.Lines + s.Order + s.Files }

// add counts one thing and keeps the first of each kind for the log.
func (s *Skipped) add(kind skipKind, f fault) {
	switch kind {
	case skippedLine:
		s.Lines++
	case skippedOrder:
		s.Order++
	default:
		s.Files++
	}
	if s.first == nil {
		s.first = make(map[skipKind]fault)
	}
	if _, known := s.first[kind]; !known {
		s.first[kind] = f
	}
}

// log writes one line per kind, not one per line skipped.
func (s Skipped) log(logger *slog.Logger, q Query) {
	for kind, f := range s.first {
		logger.Warn("retrieval skipped what it could not read; check the file with pvlog inspect",
			"pv", q.PV, "kind", kind, "partition", f.path, "err", f.err,
			"lines", s.Lines, "order", s.Order, "files", s.Files)
	}
}

type metrics struct {
	streams prometheus.Counter
	samples prometheus.Counter
	moves   prometheus.Counter
	skipped *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "pvlog_retrieval_" + name, Help: help})
	}
	m := &metrics{
		streams: counter("streams_total", "Queries that were begun."),
		samples: counter("samples_total", "Samples given, counted when a query ends."),
		moves:   counter("moved_total", "Times a query began anew because a partition was moved under it."),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pvlog_retrieval_skipped_total",
			Help: "Lines and files that could not be served."}, []string{"what"}),
	}
	for _, what := range []string{"lines", "order", "files"} {
		m.skipped.WithLabelValues(what)
	}
	if reg != nil {
		reg.MustRegister(m.streams, m.samples, m.moves, m.skipped)
	}
	return m
}

// done counts what a stream gave and what it could not.
func (m *metrics) done(s *Stream) {
	m.samples.Add(float64(s.given))
	m.skipped.WithLabelValues("lines").Add(float64(s.skipped.Lines))
	m.skipped.WithLabelValues("order").Add(float64(s.skipped.Order))
	m.skipped.WithLabelValues("files").Add(float64(s.skipped.Files))
}
