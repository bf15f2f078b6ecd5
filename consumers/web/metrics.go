package web

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.CounterVec
	bytes    prometheus.Counter
	running  prometheus.Gauge
	waiting  prometheus.Gauge
	refused  prometheus.Counter
	aborted  prometheus.Counter

	faults atomic.Uint64 // numbers the errors that only the log explains
}

func newMetrics(reg prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Name: "pvlog_web_" + name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help)))
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts(opts("requests_total", "Requests by path and status.")), []string{"path", "status"}),
		seconds:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("request_seconds_total", "Time spent on requests by path.")), []string{"path"}),
		bytes:    counter("answer_bytes_total", "Bytes of all answers."),
		running:  gauge("retrievals_running", "Answers of getData that are being written."),
		waiting:  gauge("retrievals_waiting", "Requests for getData that wait for their turn."),
		refused:  counter("retrievals_refused_total", "Requests for getData refused because too many waited or for too long."),
		aborted:  counter("retrievals_aborted_total", "Answers of getData cut off because they could not be completed."),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.seconds, m.bytes, m.running, m.waiting, m.refused, m.aborted)
	}
	return m
}
