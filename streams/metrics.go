package streams

import "github.com/prometheus/client_golang/prometheus"

// metrics of one Log.
type metrics struct {
	waitingSamples, waitingBytes, waitingAge prometheus.Gauge
	appended, messages, published            prometheus.Counter
	samplesPerMessage                        prometheus.Histogram
	resends, publishErrors, blocked          prometheus.Counter
	storing                                  prometheus.Gauge
	parted                                   prometheus.Counter
	fetched, damaged, incomplete, holes      prometheus.Counter
	resets, restarts                         prometheus.Counter
	drops, dropsSeen, dropsTooLarge          prometheus.Counter
	dropsExpired                             *prometheus.CounterVec
	dropsLeave                               *prometheus.GaugeVec
	dropsBytes, dropsMaxBytes                prometheus.Gauge
	events, conflicts, foreign               prometheus.Counter
	trimmed, losses                          prometheus.Counter
	ackFloor                                 prometheus.Gauge
	lost                                     *prometheus.CounterVec
	outlook                                  outlookMetrics
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "pvlog_streams_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "pvlog_streams_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	m := &metrics{
		waitingSamples: gauge("waiting_samples", "Samples not yet acknowledged by the log."),
		waitingBytes:   gauge("waiting_bytes", "Their encoded bytes."),
		waitingAge:     gauge("waiting_age_seconds", "How long the oldest of them has waited."),
		appended:       counter("samples_total", "Samples appended."),
		messages:       counter("messages_total", "Messages of samples that the log acknowledged."),
		published:      counter("published_samples_total", "Samples in them."),
		resends:        counter("resends_total", "Messages sent again after an error."),
		publishErrors:  counter("publish_errors_total", "Batches that the log did not acknowledge in full."),
		blocked:        counter("blocked_appends_total", "Appends that waited because too many bytes did."),
		storing:        gauge("storing", "1 while the log stores samples, 0 while it cannot."),
		parted:         counter("parted_samples_total", "Samples too large for one message."),
		fetched:        counter("fetched_messages_total", "Messages handed to the archive."),
		damaged:        counter("damaged_messages_total", "Messages of them that could not be decoded."),
		incomplete:     counter("incomplete_parts_total", "Incomplete sets of parts that were discarded."),
		holes:          counter("missing_messages_total", "Messages that the stream lost in its middle."),
		resets:         counter("consumer_resets_total", "Resets of the archive's consumer to its floor."),
		restarts:       counter("server_restarts_total", "Restarts of the embedded server."),
		drops:          counter("drops_total", "Drops published."),
		dropsSeen:      counter("drops_seen_total", "Redelivered drops that had been published before."),
		dropsTooLarge:  counter("drops_too_large_total", "Drops kept without their sample, for which the drop log has no room."),
		dropsBytes:     gauge("drops_bytes", "Bytes of the drop log."),
		dropsMaxBytes:  gauge("drops_max_bytes", "Bytes that it may have before the oldest drops leave."),
		events:         counter("events_total", "Registry events appended."),
		conflicts:      counter("event_conflicts_total", "Registry events refused because another came first."),
		foreign:        counter("event_foreign_total", "Registry events stored behind messages on their PV's subject that are no events of it."),
		trimmed:        counter("trimmed_messages_total", "Messages of SAMPLES removed after their retention."),
		losses:         counter("losses_total", "Differences between what was durable and what the server recovered."),
		ackFloor:       gauge("archive_floor", "Stream sequence up to which the archive has acknowledged."),
	}
	m.samplesPerMessage = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pvlog_streams_samples_per_message", Help: "Samples in a published message.",
		Buckets: []float64{1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000},
	})
	m.lost = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pvlog_streams_lost_messages_total", Help: "Messages that were durable and that the server does not give any more, by stream.",
	}, []string{"stream"})
	r.MustRegister(m.lost)
	m.dropsExpired = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pvlog_streams_drops_expired_total",
		Help: "Drops that have left the drop log, by reason of the drop and cause: age, bytes, share (one PV's drops took too much), unknown."}, []string{"reason", "cause"})
	m.dropsLeave = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pvlog_streams_drops_leave_seconds",
		Help: "In how long the oldest drop of a reason leaves, at the present rate."}, []string{"reason"})
	r.MustRegister(m.samplesPerMessage, m.dropsExpired, m.dropsLeave)
	m.outlook = newOutlookMetrics(gauge)
	m.storing.Set(1)
	return m
}
