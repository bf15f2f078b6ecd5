package ca

import "time"

// fullReads is how many reads in a row may find more bytes than they take
// before the server is asked to pause (libca's number).
const fullReads = 10

// flow is a circuit's flow control. It is for a process that must not fall
// behind a server: an archive leaves it off, because what the server merges
// while it is paused is lost without a trace but this one.
type flow struct {
	full   int           // reads in a row that took all that there was room for
	off    time.Time     // the server was asked to pause then; zero: it was not
	paused time.Duration // by the pauses that have ended
}

// Read tells how a read from the connection ended: full, more bytes may wait,
// or all were taken. With [CircuitOptions].FlowControl the tenth full one in a
// row asks the server to send no updates (EVENTS_OFF), and the first one that
// is not full, or no read at all for a moment, to go on (EVENTS_ON). paused is
// how long a pause that has just ended took, else 0.
func (c *Circuit) Read(now time.Time, full bool) (paused time.Duration) {
	if !c.options.FlowControl {
		return 0
	}
	f := &c.flow
	if full {
		if f.full++; f.full == fullReads {
			f.off = now
			c.out = AppendHeader(c.out, Header{Command: CmdEventsOff})
		}
		return 0
	}
	f.full = 0
	if f.off.IsZero() {
		return 0
	}
	c.out = AppendHeader(c.out, Header{Command: CmdEventsOn})
	// Never 0: it happened, however short it was.
	paused = max(now.Sub(f.off), time.Microsecond)
	f.off = time.Time{}
	f.paused += paused
	return paused
}

// since is how long the server was paused since a subscription's update before.
func (f *flow) since(sub *subscription) time.Duration {
	d := f.paused - sub.paused
	sub.paused = f.paused
	return d
}
