package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the engine's own, one set for each instance.
type metrics struct {
	received, appended           prometheus.Counter
	overflowWaits, overflowDrops prometheus.Counter
	overRate                     prometheus.Counter
	transientErrors, disconnects prometheus.Counter
	discovered, followErrors     prometheus.Counter
	propertyChanges, suppressed  prometheus.Counter
	panics, aliasesFound         prometheus.Counter
}

// newMetrics registers the counters and the gauges that are read from e.
func newMetrics(reg prometheus.Registerer, e *Engine) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "pvlog_ingest_" + name, Help: help})
		all = append(all, c)
		return c
	}
	m := &metrics{
		received:        counter("samples_received_total", "Updates of IOCs that held a value."),
		appended:        counter("samples_appended_total", "Samples that the log took."),
		overflowWaits:   counter("overflow_waits_total", "Samples that had to wait for room in the log."),
		overRate:        counter("over_rate_total", "Samples that were more than their PV may have per second: they go to the drop log."),
		overflowDrops:   counter("overflow_drops_total", "Samples lost because the log had no room until their channel ended."),
		transientErrors: counter("transient_errors_total", "Updates without a value, failed gets and registrations."),
		disconnects:     counter("disconnects_total", "Channels that lost their connection."),
		discovered:      counter("discoveries_total", "First connections handed to the registry."),
		propertyChanges: counter("property_changes_total", "Times that an IOC told units, limits or labels that were new."),
		suppressed:      counter("deadband_total", "Updates that lay within their PV's deadband."),
		panics:          counter("panics_total", "Panics that were caught: errors of this program."),
		aliasesFound:    counter("aliases_found_total", "Archived PVs whose IOC was found to know them by another name."),
		followErrors:    counter("follow_errors_total", "Times that following the registry failed and began again."),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range append(all, channelCollector{e}) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

var (
	channelsDesc = prometheus.NewDesc("pvlog_ingest_channels", "Channels of archived PVs by state of their connection.", []string{"state"}, nil)
	activeDesc   = prometheus.NewDesc("pvlog_pvs_active", "PVs that are being archived.", nil, nil)
	queuedDesc   = prometheus.NewDesc("pvlog_ingest_discoveries_queued", "PVs whose first connection is to be handed to the registry.", nil, nil)
	readsDesc    = prometheus.NewDesc("pvlog_ingest_reads_waiting", "PVs whose value is read once a period.", nil, nil)
	gatedDesc    = prometheus.NewDesc("pvlog_ingest_gated_pvs", "PVs that are not archived because the value of their controlling PV is 0.", nil, nil)
	gatesDesc    = prometheus.NewDesc("pvlog_ingest_controlling_pvs", "Controlling PVs that are monitored.", nil, nil)
	fieldsDesc   = prometheus.NewDesc("pvlog_field_monitors", "Archive fields of PVs that are monitored by a channel of their own, connected or not.", nil, nil)
	errandsDesc  = prometheus.NewDesc("pvlog_ingest_fieldwork_waiting", "Archive fields and names that wait for their turn to be asked of an IOC.", nil, nil)
	heldDesc     = prometheus.NewDesc("pvlog_ingest_stragglers_waiting", "Scanned PVs with an update that waits for its period to end.", nil, nil)
)

// channelCollector counts channels when it is asked to.
type channelCollector struct{ e *Engine }

// Describe names the gauges.
func (c channelCollector) Describe(out chan<- *prometheus.Desc) {
	out <- channelsDesc
	out <- activeDesc
	out <- queuedDesc
	out <- heldDesc
	out <- readsDesc
	out <- gatedDesc
	out <- gatesDesc
	out <- fieldsDesc
	out <- errandsDesc
}

// Collect reads the engine.
func (c channelCollector) Collect(out chan<- prometheus.Metric) {
	n := c.e.Counts()
	for _, state := range connections {
		out <- prometheus.MustNewConstMetric(channelsDesc, prometheus.GaugeValue, float64(n.of(state)), string(state))
	}
	out <- prometheus.MustNewConstMetric(activeDesc, prometheus.GaugeValue, float64(n.Total))
	out <- prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(c.e.discoveries.queued()))
	out <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(c.e.stragglers.waiting()))
	out <- prometheus.MustNewConstMetric(readsDesc, prometheus.GaugeValue, float64(c.e.reads.waiting()))
	out <- prometheus.MustNewConstMetric(gatedDesc, prometheus.GaugeValue, float64(n.Gated))
	out <- prometheus.MustNewConstMetric(gatesDesc, prometheus.GaugeValue, float64(c.e.gates.len()))
	out <- prometheus.MustNewConstMetric(fieldsDesc, prometheus.GaugeValue, float64(c.e.fieldMonitors.Load()))
	out <- prometheus.MustNewConstMetric(errandsDesc, prometheus.GaugeValue, float64(c.e.fieldwork.waiting()))
}
