package ca

import "time"

// watch is a circuit's receive watchdog (libca's, with one difference: any
// byte counts as life, not only the ECHO's answer, because an archive wants
// the data of a server that forgets to echo).
type watch struct {
	state watchState
	heard bool // anything since the dial
	due   time.Time
	last  time.Time // bytes came
	// suspicious: the server's beacons were odd, so they prove nothing until
	// it speaks on the circuit.
	suspicious bool
}

// beaconTrust is for how many ConnTimeouts beacons alone are believed: a server
// may have lost its circuits and go on to send beacons.
const beaconTrust = 10

type watchState uint8

const (
	watchQuiet        watchState = iota // nothing is wrong
	watchProbing                        // an ECHO is on its way
	watchUnresponsive                   // it was not answered
)

func (w *watch) begin(now time.Time, patience time.Duration) {
	w.state, w.due = watchQuiet, now.Add(patience)
}

// Heard says that bytes arrived. revived is true when the circuit was
// unresponsive until now: its channels are connected again, with their
// subscriptions as they were.
func (c *Circuit) Heard(now time.Time) (revived bool) {
	revived = c.watch.state == watchUnresponsive
	c.at = now.Sub(c.began)
	c.watch.heard, c.watch.suspicious, c.watch.last = true, false, now
	c.watch.begin(now, c.options.ConnTimeout)
	return revived
}

// Beacon takes what a beacon of the circuit's server says: a normal one stands
// for an ECHO, a late one makes beacons worth nothing, and an anomaly (the
// server may have restarted and know nothing of this circuit) makes the next
// [Circuit.Tick] probe.
func (c *Circuit) Beacon(now time.Time, v Verdict) {
	w := &c.watch
	if w.state != watchQuiet || !w.heard {
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
func (c *Circuit) Unresponsive() bool { return c.watch.state == watchUnresponsive }

// Deadline is when [Circuit.Tick] has something to do.
func (c *Circuit) Deadline() time.Time {
	due := c.watch.due
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
// expire, monitors that are silent against their habit. The last event may be [EventLost]: the circuit is to be closed.
func (c *Circuit) Tick(now time.Time) []Event {
	c.at = now.Sub(c.began)
	events := c.verify(now, c.expireClaims(now, c.expireGets(now, nil)))
	if now.Before(c.watch.due) {
		return events
	}
	switch c.watch.state {
	case watchQuiet:
		c.out = AppendEcho(c.out, c.minor)
		c.watch.state, c.watch.due = watchProbing, now.Add(c.options.EchoTimeout)
		return append(events, Event{Kind: EventProbe})
	case watchProbing:
		if !c.watch.heard {
			// It accepted the connection and never spoke: nothing would be lost.
			return append(events, Event{Kind: EventLost, Err: ErrUnresponsive})
		}
		c.out = AppendEcho(c.out, c.minor)
		c.watch.state, c.watch.due = watchUnresponsive, now.Add(c.options.GiveUp)
		return append(events, Event{Kind: EventUnresponsive, Err: ErrUnresponsive})
	}
	return append(events, Event{Kind: EventLost, Err: ErrUnresponsive})
}

// Began says that the connection stands: the watch over silence begins now.
func (c *Circuit) Began(now time.Time) { c.watch.begin(now, c.options.FirstByte) }
