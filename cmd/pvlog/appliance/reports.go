package appliance

import (
	"time"

	dto "github.com/prometheus/client_model/go"

	"pvlog/consumers/web"
	"pvlog/schema"
)

// parts gives web what its reports show of the other parts.
func (a *Appliance) parts() web.Parts {
	return web.Parts{
		Archived: a.archived, Fields: a.engine.Fields, Engine: a.engineWork, Spaces: a.spaces, Properties: a.config.properties(),
		Policies: web.Policies{
			Request: a.policies.request, List: a.policies.list, File: a.policies.file,
			Preview: a.policies.preview, Apply: a.policies.apply, Reload: a.policies.source.Reload,
		},
	}
}

// archived gives web what the archive has done for a PV.
func (a *Appliance) archived(pv schema.PVName) (web.Archived, bool) {
	status, ok := a.archive.Status(pv)
	if !ok {
		return web.Archived{}, false
	}
	out := web.Archived{Stored: status.Stored, Duplicate: status.Duplicate, Drops: status.Drops, Path: status.Path}
	if status.Last != (schema.Time{}) {
		out.Last = time.Unix(status.Last.Sec, int64(status.Last.Nsec))
	}
	return out, true
}

// shortestRound is the archive's default time from round to round, of which it
// spends a fifth at most.
const shortestRound = time.Second

// engineWork gives web the numbers of the whole appliance.
func (a *Appliance) engineWork() web.Engine {
	counts, health, waiting := a.engine.Counts(), a.archive.Health(), a.streams.Samples().Waiting()
	numbers := a.numbers()
	return web.Engine{
		Total: counts.Total, Connected: counts.Connected, Connecting: counts.Connecting, Disconnected: counts.Disconnected, Gated: counts.Gated,
		CAChannels: int(numbers["pvlog_caclient_channels"]), Searching: int(numbers["pvlog_caclient_searched_channels"]),
		WaitingSamples: int(waiting.Samples),
		Took:           health.Took, Every: max(shortestRound, 4*health.Took),
		Rounds: uint64(numbers["pvlog_archive_round_seconds_count"]), RoundSeconds: numbers["pvlog_archive_round_seconds"],
		Files: uint64(numbers["pvlog_archive_file_appends_total"]), Stored: uint64(numbers["pvlog_archive_samples_stored_total"]),
	}
}

// numbers are the values of all metrics without labels; of a histogram its sum,
// and its count under its name with _count. What cannot be gathered is missing.
func (a *Appliance) numbers() map[string]float64 {
	families, err := a.metrics.Gather()
	if err != nil {
		a.log.Debug("some metrics could not be gathered", "err", err)
	}
	numbers := make(map[string]float64, len(families))
	for _, f := range families {
		if len(f.GetMetric()) != 1 || len(f.GetMetric()[0].GetLabel()) > 0 {
			continue
		}
		switch m := f.GetMetric()[0]; f.GetType() {
		case dto.MetricType_COUNTER:
			numbers[f.GetName()] = m.GetCounter().GetValue()
		case dto.MetricType_GAUGE:
			numbers[f.GetName()] = m.GetGauge().GetValue()
		case dto.MetricType_HISTOGRAM:
			numbers[f.GetName()] = m.GetHistogram().GetSampleSum()
			numbers[f.GetName()+"_count"] = float64(m.GetHistogram().GetSampleCount())
		}
	}
	return numbers
}

// spaces gives web the room of each store; one that cannot be asked is missing.
func (a *Appliance) spaces() []web.Space {
	var list []web.Space
	for _, store := range a.retrieval.Stores() {
		free, total, err := space(store.Root)
		if err != nil {
			a.log.Warn("the room of a store is not known", "store", store.Name, "err", err)
			continue
		}
		list = append(list, web.Space{Store: store.Name, Free: free, Total: total})
	}
	return list
}

// properties are what getApplianceProperties shows: the Appliance's own name,
// and what a client may want to know of this archiver.
func (c Config) properties() map[string]string {
	return map[string]string{
		"minimum_sampling_period": "0.1",
		"server_ioc_drift_past":   c.Drift.Past.String(), "server_ioc_drift_future": c.Drift.Future.String(),
		"log_durability": string(c.Log.Durability),
	}
}
