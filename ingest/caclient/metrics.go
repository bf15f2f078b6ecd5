package caclient

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one client.
type metrics struct {
	datagrams, replies, strays, malformed, duplicates prometheus.Counter
	dialFailures, lost, connects, disconnects         prometheus.Counter
	updates, rejected, failures, probes               prometheus.Counter
	handlerSeconds                                    prometheus.Counter
	hints, wrongHints                                 prometheus.Counter
	verified, renewed, staleCircuits, accessChanges   prometheus.Counter
	beacons, anomalies, boosts, repeated, forbidden   prometheus.Counter
	pauses, pausedSeconds, properties, illegalMoves   prometheus.Counter
	panics                                            prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, c *Client) *metrics {
	counter := func(name, help string) prometheus.Counter {
		m := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "pvlog", Subsystem: "caclient", Name: name, Help: help})
		if reg != nil {
			reg.MustRegister(m)
		}
		return m
	}
	gauge := func(name, help string, value func() int) {
		if reg != nil {
			reg.MustRegister(prometheus.NewGaugeFunc(
				prometheus.GaugeOpts{Namespace: "pvlog", Subsystem: "caclient", Name: name, Help: help},
				func() float64 {
					c.mu.Lock()
					defer c.mu.Unlock()
					return float64(value())
				}))
		}
	}
	gauge("channels", "Channels that are open, connected or not.", func() int { return len(c.channels) })
	if reg != nil {
		reg.MustRegister(stateCollector{c})
	}
	gauge("searched_channels", "Channels that no server has answered for yet.", func() int { return c.schedule.Len() })
	gauge("circuits", "TCP connections to servers.", func() int { return len(c.circuits) })
	gauge("search_budget_datagrams", "Search datagrams that the rate allows at this moment.", func() int { return int(c.schedule.Budget(time.Now())) })
	gauge("beacon_sources", "Servers whose beacons are known.", func() int { return c.beacons.Len() })
	return &metrics{
		hints:          counter("hints_total", "Channels that were claimed where they had been found last, without a search."),
		wrongHints:     counter("wrong_hints_total", "Those that were not there and are searched."),
		verified:       counter("verifying_reads_total", "Values read because a monitor was silent for far longer than its habit."),
		renewed:        counter("renewed_monitors_total", "Monitors added anew because such a value should have come as an update."),
		staleCircuits:  counter("stale_circuits_total", "Circuits given up because a renewed monitor missed an update again."),
		accessChanges:  counter("access_changes_total", "Changes of the access rights of connected channels."),
		pauses:         counter("pauses_total", "Pauses that flow control asked servers for."),
		pausedSeconds:  counter("paused_seconds_total", "Time that circuits spent paused by flow control: what servers merged then is lost."),
		properties:     counter("properties_total", "Units, limits and labels that servers told."),
		panics:         counter("panics_total", "Panics that were caught: errors of this program."),
		illegalMoves:   counter("illegal_moves_total", "Changes of a channel's state that no state machine allows: errors of this program."),
		beacons:        counter("beacons_total", "Beacons of servers that came through a repeater."),
		anomalies:      counter("beacon_anomalies_total", "Beacons that show that a server is new or back."),
		boosts:         counter("search_boosts_total", "Times that all searched names were tried again after an anomaly."),
		repeated:       counter("repeated_datagrams_total", "Datagrams that the built-in repeater sent on."),
		forbidden:      counter("forbidden_servers_total", "Search replies of servers that are not in the list of allowed ones."),
		datagrams:      counter("search_datagrams_total", "Search datagrams sent, each destination counted."),
		replies:        counter("search_replies_total", "Search replies that found a name."),
		strays:         counter("stray_replies_total", "Search replies for names that are not open."),
		malformed:      counter("malformed_datagrams_total", "Datagrams and replies that cannot be right."),
		duplicates:     counter("duplicate_pvs_total", "PVs that a second server answered for."),
		dialFailures:   counter("dial_failures_total", "Connections to servers that failed."),
		lost:           counter("circuits_lost_total", "Circuits with channels that ended."),
		connects:       counter("connects_total", "Channels that connected."),
		disconnects:    counter("disconnects_total", "Channels that disconnected."),
		updates:        counter("updates_total", "Updates of monitors."),
		rejected:       counter("rejected_messages_total", "Messages of servers that cannot be right."),
		failures:       counter("server_failures_total", "Failures that servers reported."),
		probes:         counter("echo_probes_total", "Probes of silent servers."),
		handlerSeconds: counter("handler_seconds_total", "Time that circuits were not read because handlers were busy."),
	}
}
