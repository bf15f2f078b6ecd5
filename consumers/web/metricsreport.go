package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pvlog/schema"
)

// totals are the numbers of the whole appliance that its metrics show.
type totals struct {
	Engine
	paused, pending    int     // PVs: paused; archived and never connected
	events, bytes      float64 // per second, of all channels
	requests, users    int     // retrieval
	lastRequest        time.Time
	written, perSecond float64 // partitions a round; samples a second of a round's time
}

func (s *Server) totals() totals {
	t := totals{Engine: s.options.Engine(), paused: s.options.Registry.Counts()[schema.Paused]}
	t.paused += t.Gated // as in the Appliance
	for _, info := range s.options.Registry.All() {
		if info.State == schema.Archiving && info.DBRType == schema.UnknownType {
			t.pending++
		}
		if c, ok := s.options.Channels(info.PV); ok {
			t.events += c.EventRate
			t.bytes += c.ByteRate
		}
	}
	t.requests, t.users, t.lastRequest = s.visits.of("")
	if t.Rounds > 0 {
		t.written = float64(t.Files) / float64(t.Rounds)
	}
	if t.RoundSeconds > 0 {
		t.perSecond = float64(t.Stored) / t.RoundSeconds
	}
	return t
}

// load is how much of the time the archive spends on its rounds, in percent.
func (t totals) load() float64 {
	if t.Every <= 0 {
		return 0
	}
	return 100 * t.Took.Seconds() / t.Every.Seconds()
}

const gigabyte = 1 << 30

// instanceMetrics answers the summary of each appliance, here one.
func (s *Server) instanceMetrics(w http.ResponseWriter, _ url.Values) error {
	body := s.summary()
	body["MGMT_uptime"] = uptime(time.Since(s.started))
	writeJSON(w, http.StatusOK, []map[string]string{body})
	return nil
}

func (s *Server) applianceMetrics(w http.ResponseWriter, _ url.Values) error {
	body := s.summary()
	body["capacityUtilized"] = "N/A"
	writeJSON(w, http.StatusOK, []map[string]string{body})
	return nil
}

// summary is what getInstanceMetrics, getApplianceMetrics and
// getStorageMetrics have in common. Rounds never overlap, so none is skipped.
func (s *Server) summary() map[string]string {
	t := s.totals()
	body := map[string]string{
		"instance": s.options.Identity, "status": s.state(),
		"pvCount": strconv.Itoa(t.Total + t.paused), "connectedPVCount": strconv.Itoa(t.Connected),
		"disconnectedPVCount": strconv.Itoa(t.Total - t.Connected),
		"eventRate":           round(t.events), "dataRate": round(t.bytes),
		"dataRateGBPerDay": round(t.bytes * 86400 / gigabyte), "dataRateGBPerYear": round(t.bytes * 86400 * 365 / gigabyte),
		"secondsConsumedByWriter": plain(t.Took.Seconds()), "formattedWriteThreadSeconds": round(t.Took.Seconds()),
		"totalChannelIOSeconds": plain(t.Took.Seconds()), "avgChannelsWrittenPerCycle": round(t.written), "skippedWriteCycles": "0",
		"Number of Retrieval Requests": strconv.Itoa(t.requests), "Number of unique users": strconv.Itoa(t.users),
		"Time of last Retrieval Request": reportTime(t.lastRequest),
	}
	return body
}

// state is the Appliance's word while all is well, else what is wrong.
func (s *Server) state() string {
	faults := s.options.Health().Faults
	if len(faults) == 0 {
		return "Working"
	}
	return "Faulty: " + faults[0].Part
}

// instanceDetails answers the lines of this appliance.
func (s *Server) instanceDetails(w http.ResponseWriter, values url.Values) error {
	if err := s.mine(values); err != nil {
		return err
	}
	return writeList(w, s.instanceLines(s.totals()))
}

func (s *Server) applianceDetails(w http.ResponseWriter, values url.Values) error {
	if err := s.mine(values); err != nil {
		return err
	}
	t := s.totals()
	lines := s.instanceLines(t)
	d := details{source: "mgmt"}
	d.add("PVs in archive workflow", strconv.Itoa(t.pending))
	d.add("Aggregated appliance storage rate (in GB/year)", round(t.bytes*86400*365/gigabyte))
	d.add("Aggregated appliance event rate (in events/sec)", round(t.events))
	d.add("Aggregated appliance PV count", strconv.Itoa(t.Total+t.paused))
	return writeList(w, append(lines, d.lines...))
}

// engineMetrics answers the engine's lines alone.
func (s *Server) engineMetrics(w http.ResponseWriter, _ url.Values) error {
	return writeList(w, engineTotals(s.totals()))
}

// instanceLines are the lines of all parts of this appliance.
func (s *Server) instanceLines(t totals) []detail {
	lines := []detail{{"Appliance Identity", s.options.Identity, "mgmt"}, {"Uptime", uptime(time.Since(s.started)), "mgmt"}}
	return slices.Concat(lines, engineTotals(t), s.retrievalDetails(""))
}

// engineTotals are the lines of engine and archive.
func engineTotals(t totals) []detail {
	d := details{source: "ENGINE"}
	d.add("Total PV count", strconv.Itoa(t.Total+t.paused))
	d.add("Disconnected PV count", strconv.Itoa(t.Total-t.Connected))
	d.add("Connected PV count", strconv.Itoa(t.Connected))
	d.add("Paused PV count", strconv.Itoa(t.paused))
	d.add("Total channels", strconv.Itoa(t.CAChannels))
	d.add("Approx pending jobs in engine queue", strconv.Itoa(t.WaitingSamples))
	d.add("Event Rate (in events/sec)", round(t.events))
	d.add("Data Rate (in bytes/sec)", round(t.bytes))
	d.add("Data Rate in (GB/day)", round(t.bytes*86400/gigabyte))
	d.add("Data Rate in (GB/year)", round(t.bytes*86400*365/gigabyte))
	d.add("Write cycle elapsed time (secs)", round(t.Took.Seconds()))
	d.add("Avg channels written per cycle", round(t.written))
	d.add("Skipped write cycles (backpressure)", "0") // rounds never overlap
	d.add("Write cycle scheduling load (%)", round(t.load()))
	d.add("Benchmark - writing at (events/sec)", round(t.perSecond))
	d.add("PVs pending computation of meta info", strconv.Itoa(t.pending))
	d.add("Total number of CAJ channels", strconv.Itoa(t.CAChannels))
	return append(d.lines, detail{"Channels with pending search requests", fmt.Sprintf("%d of %d", t.Searching, t.CAChannels), "engine"})
}

// mine refuses the name of another appliance: there is only this one.
func (s *Server) mine(values url.Values) error {
	if name := values.Get("appliance"); name != "" && name != s.options.Identity {
		return refuse(schema.NotFound, "use appliance="+s.options.Identity, "there is no appliance %q here", name)
	}
	return nil
}

// round writes a number with two decimals at most, as the Appliance's reports
// for people do, but without separators of thousands: clients parse them.
func round(v float64) string {
	text := strconv.FormatFloat(v, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// uptime writes "2m 43.698s" as the Appliance does.
func uptime(d time.Duration) string {
	text := ""
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if n := d / unit.of; n > 0 || text != "" {
			text += strconv.FormatInt(int64(n), 10) + unit.name + " "
			d -= n * unit.of
		}
	}
	return text + strconv.FormatFloat(d.Seconds(), 'f', 3, 64) + "s"
}
