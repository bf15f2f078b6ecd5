package streams

import "time"

// pace says how long to pause before the next round (design D15): not at all
// while messages come at less than rate, and up to linger when they would come
// faster, so that more samples of a PV share one message. It is pure: time is
// an argument.
type pace struct {
	rate   float64       // messages per second without pauses
	linger time.Duration // longest pause
	credit float64       // messages that may go at once; negative: a debt
	last   time.Time     // of the last count
}

// burst is how much credit can be saved up, in time at rate: a burst of that
// many messages goes out without a pause.
const burst = 50 * time.Millisecond

// sent counts messages of a round that ended now and gives the pause after it.
func (p *pace) sent(messages int, now time.Time) time.Duration {
	if p.last.IsZero() {
		p.credit = p.rate * burst.Seconds()
	} else {
		p.credit += p.rate * now.Sub(p.last).Seconds()
	}
	p.last = now
	p.credit = min(p.credit, p.rate*burst.Seconds()) - float64(messages)
	p.credit = max(p.credit, -p.rate*p.linger.Seconds())
	if p.credit >= 0 {
		return 0
	}
	return min(p.linger, time.Duration(-p.credit/p.rate*float64(time.Second)))
}
