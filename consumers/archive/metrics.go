package archive

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	received, stored, duplicates prometheus.Counter
	drops                        *prometheus.CounterVec
	faults, futureFiles          prometheus.Counter
	faulty, buffered, lowWater   prometheus.Gauge
	dirty, unacked, dropsWaiting prometheus.Gauge
	fieldsLost                   prometheus.Counter
	events                       prometheus.Counter // stored, by the name that S9 gives it
	rounds                       prometheus.Histogram
	files                        prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pvlog", Subsystem: "archive", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "pvlog", Subsystem: "archive", Name: name, Help: help})
	}
	m := &metrics{
		received: counter("samples_received_total", "Samples taken from the log, replays included."),
		stored:   counter("samples_stored_total", "Samples made durable in partitions."),
		events: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pvlog", Name: "events_stored_total",
			Help: "Events of PVs made durable in partitions."}),
		duplicates: counter("samples_duplicate_total", "Samples that were on disk already with the same content."),
		drops: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "pvlog", Subsystem: "archive", Name: "samples_dropped_total",
			Help: "Samples that went to the drop log, by reason."}, []string{"reason"}),
		faults:       counter("faults_total", "Failed attempts to write or to read the log."),
		futureFiles:  counter("future_files_total", "Partitions found to end in the future."),
		faulty:       gauge("faulty", "1 while the archive cannot write."),
		buffered:     gauge("buffered_bytes", "Bytes of samples that are only in memory and in the log."),
		lowWater:     gauge("acknowledged_sequence", "Last sequence of SAMPLES that is durable in files."),
		dirty:        gauge("waiting_pvs", "PVs with samples that are only in memory and in the log."),
		unacked:      gauge("unacknowledged_messages", "Messages taken from the log since everything was last acknowledged."),
		dropsWaiting: gauge("waiting_drops", "Rejected samples that are not yet in the drop log."),
		fieldsLost:   counter("fields_lost_bytes_total", "Bytes of field records of duplicates that were not kept because too many waited for the PV's next sample."),
		rounds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "pvlog", Subsystem: "archive", Name: "round_seconds",
			Help: "Duration of flush rounds.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}),
		files: counter("file_appends_total", "Appends to partition files."),
	}
	if reg != nil {
		reg.MustRegister(m.received, m.stored, m.events, m.duplicates, m.drops, m.faults, m.futureFiles, m.faulty, m.buffered, m.dirty, m.unacked, m.dropsWaiting, m.fieldsLost, m.lowWater, m.rounds, m.files)
	}
	return m
}
