package ca

import "time"

// CircuitState is where a circuit stands between its server's words. Every
// state but CircuitLost, which is the end, has a limit of time after which it
// is left: see [Circuit.Tick].
type CircuitState uint8

// The states of a circuit.
const (
	CircuitFresh        CircuitState = iota // the connection stands, nothing came yet
	CircuitFreshProbed                      // still nothing: an ECHO is on its way
	CircuitQuiet                            // the server spoke, nothing is wrong
	CircuitProbing                          // it is silent: an ECHO is on its way
	CircuitUnresponsive                     // that was not answered: the channels count as disconnected
	CircuitLost                             // nor was another: to be closed
)

// circuitMove says how a state is left: what any bytes lead to, and what time
// does after limit. Every row of time comes nearer to CircuitLost, so silence
// ends every circuit.
type circuitMove struct {
	name        string
	limit       func(*CircuitOptions) time.Duration
	bytes, time CircuitState
	event       EventKind // of the move by time
	echo        bool      // with it
}

// circuitMoves is the watchdog (libca's, with one difference: any byte counts
// as life, not only the ECHO's answer, because an archive wants the data of a
// server that forgets to echo). A server that never spoke is left without the
// patience of CircuitUnresponsive: nothing would be lost.
var circuitMoves = [...]circuitMove{
	CircuitFresh: {name: "fresh", limit: func(o *CircuitOptions) time.Duration { return o.FirstByte },
		bytes: CircuitQuiet, time: CircuitFreshProbed, event: EventProbe, echo: true},
	CircuitFreshProbed: {name: "fresh, probed", limit: func(o *CircuitOptions) time.Duration { return o.EchoTimeout },
		bytes: CircuitQuiet, time: CircuitLost, event: EventLost},
	CircuitQuiet: {name: "quiet", limit: func(o *CircuitOptions) time.Duration { return o.ConnTimeout },
		bytes: CircuitQuiet, time: CircuitProbing, event: EventProbe, echo: true},
	CircuitProbing: {name: "probing", limit: func(o *CircuitOptions) time.Duration { return o.EchoTimeout },
		bytes: CircuitQuiet, time: CircuitUnresponsive, event: EventUnresponsive, echo: true},
	CircuitUnresponsive: {name: "unresponsive", limit: func(o *CircuitOptions) time.Duration { return o.GiveUp },
		bytes: CircuitQuiet, time: CircuitLost, event: EventLost},
	CircuitLost: {name: "lost", bytes: CircuitLost, time: CircuitLost, event: EventLost},
}

// String is the state's name.
func (s CircuitState) String() string { return circuitMoves[s].name }

// watch is how a circuit's silence is watched.
type watch struct {
	state CircuitState
	due   time.Time // the state's limit
	last  time.Time // bytes came
	// suspicious: the server's beacons were odd, so they prove nothing until
	// it speaks on the circuit.
	suspicious bool
}

// beaconTrust is for how many ConnTimeouts beacons alone are believed: a server
// may have lost its circuits and go on to send beacons.
const beaconTrust = 10

// enter begins a state and its limit.
func (c *Circuit) enter(s CircuitState, now time.Time) {
	c.watch.state = s
	if limit := circuitMoves[s].limit; limit != nil {
		c.watch.due = now.Add(limit(&c.options))
	}
}

// State is where the circuit stands.
func (c *Circuit) State() CircuitState { return c.watch.state }

// LastHeard is when bytes came last; zero: none came yet.
func (c *Circuit) LastHeard() time.Time { return c.watch.last }

// Heard says that bytes arrived. revived is true when the circuit was
// unresponsive until now: its channels are connected again, with their
// subscriptions as they were.
func (c *Circuit) Heard(now time.Time) (revived bool) {
	revived = c.watch.state == CircuitUnresponsive
	c.at = now.Sub(c.began)
	c.watch.suspicious, c.watch.last = false, now
	c.enter(circuitMoves[c.watch.state].bytes, now)
	return revived
}

// Beacon takes what a beacon of the circuit's server says: a normal one stands
// for an ECHO, a late one makes beacons worth nothing, and an anomaly (the
// server may have restarted and know nothing of this circuit) makes the next
// [Circuit.Tick] probe.
func (c *Circuit) Beacon(now time.Time, v Verdict) {
	w := &c.watch
	if w.state != CircuitQuiet {
		return
	}
	switch v {
	case BeaconNormal:
		trusted := now.Sub(w.last) < beaconTrust*c.options.ConnTimeout
		if due := now.Add(c.options.ConnTimeout); !w.suspicious && trusted && due.After(w.due) {
			w.due = due
		}
	case BeaconLate:
		w.suspicious = true
	case BeaconAnomaly:
		// Bytes of this moment are an answer already.
		if w.suspicious = true; now.Sub(w.last) > c.options.EchoTimeout/5 {
			w.due = now
		}
	}
}

// Unresponsive says whether the server has stopped to answer.
func (c *Circuit) Unresponsive() bool { return c.watch.state == CircuitUnresponsive }

// Deadline is when [Circuit.Tick] has something to do.
func (c *Circuit) Deadline() time.Time {
	due := c.watch.due
	if len(c.early) > 0 {
		return c.began // they wait for no time
	}
	if c.options.Silence > 0 && len(c.subs) > 0 && c.look.Before(due) {
		due = c.look
	}
	for _, g := range c.oldest {
		if g.done {
			continue
		}
		if g.deadline.Before(due) {
			due = g.deadline
		}
		break
	}
	c.answered()
	if len(c.claims) > 0 && c.claims[0].deadline.Before(due) {
		due = c.claims[0].deadline
	}
	return due
}

// Tick does what time alone demands: ECHO, unresponsive, gets and claims that
// expire, monitors that are silent against their habit. The last event may be
// [EventLost]: the circuit is to be closed.
func (c *Circuit) Tick(now time.Time) []Event {
	c.at = now.Sub(c.began)
	events := c.verify(now, c.expireClaims(now, c.expireGets(now, c.early)))
	c.early = nil
	if now.Before(c.watch.due) {
		return events
	}
	move := &circuitMoves[c.watch.state]
	if move.echo {
		c.out = AppendEcho(c.out, c.minor)
	}
	c.enter(move.time, now)
	e := Event{Kind: move.event}
	if e.Kind != EventProbe {
		e.Err = ErrUnresponsive
	}
	return append(events, e)
}

// Began says that the connection stands: the watch over silence begins now.
func (c *Circuit) Began(now time.Time) { c.enter(CircuitFresh, now) }
