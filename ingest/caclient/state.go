package caclient

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// State is where a channel stands. Each state has a way out by time, or a
// reason to last.
type State uint8

// The states of a channel.
const (
	// Searched: no server is known to have the name. It lasts for ever, for
	// only a server can end it; the name is searched at least every
	// [Options].MaxSearchPeriod.
	Searched State = iota
	// Asked: claimed where it was found last. Searched instead after 5 s of a
	// silent server; after 60 s of one that answers others; at once when the
	// circuit ends.
	Asked
	// Claimed: a server has answered for the name and is asked for a channel.
	// Searched again after 60 s, or when the circuit ends, which it does 10 s
	// after a dial that is not answered and 15 s after a server that never
	// speaks.
	Claimed
	// Connected: as long as the server keeps it. A circuit that is silent is
	// probed, a monitor that is silent against its habit is verified.
	Connected
	// Suspended: the server answers no ECHO; the handler was told Disconnected.
	// Connected again with the server's next byte, Searched after 60 s.
	Suspended
	// Closed: by Close, or a sibling that has ended. It is the end.
	Closed

	states
)

// moves are the states that each state can become.
var moves = [states][]State{
	Searched:  {Asked, Claimed, Closed},
	Asked:     {Connected, Searched, Closed},
	Claimed:   {Connected, Searched, Closed},
	Connected: {Suspended, Searched, Closed},
	Suspended: {Connected, Searched, Closed},
	Closed:    {},
}

var stateNames = [states]string{"searched", "asked", "claimed", "connected", "suspended", "closed"}

// String is the state's name.
func (s State) String() string { return stateNames[s] }

// State is where the channel stands at this moment.
func (ch *Channel) State() State {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	return ch.state
}

// enter changes the state. A move that the table does not have is an error of
// this package: it is told and counted, and the channel goes on, since an
// archiver that stops loses more. client.mu is held.
func (ch *Channel) enter(to State) {
	if to == ch.state {
		return
	}
	c := ch.client
	if !slices.Contains(moves[ch.state], to) {
		c.metrics.illegalMoves.Inc()
		c.odd.warn("a channel's state changed as it cannot: please report this", "pv", ch.name, "from", ch.state.String(), "to", to.String())
	}
	c.states[ch.state]--
	c.states[to]++
	ch.state = to
}

// suspended notes that the channel's server has stopped to answer.
func (ch *Channel) suspended() {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	if ch.state == Connected {
		ch.enter(Suspended)
	}
}

var statesDesc = prometheus.NewDesc("pvlog_caclient_channel_states", "Open channels by state.", []string{"state"}, nil)

// stateCollector counts channels when it is asked to.
type stateCollector struct{ c *Client }

// Describe names the gauge.
func (s stateCollector) Describe(out chan<- *prometheus.Desc) { out <- statesDesc }

// Collect reads the client.
func (s stateCollector) Collect(out chan<- prometheus.Metric) {
	s.c.mu.Lock()
	counts := s.c.states
	s.c.mu.Unlock()
	for state, n := range counts[:Closed] {
		out <- prometheus.MustNewConstMetric(statesDesc, prometheus.GaugeValue, float64(n), stateNames[state])
	}
}
