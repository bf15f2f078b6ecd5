package caclient

import (
	"math/rand/v2"
	"time"
)

// useless is what is known of a server whose last circuit connected no channel:
// it refuses connections, hangs up, or says nothing.
type useless struct {
	wait  time.Duration // between circuits
	until time.Time     // the next
}

// Bounds of the time between two circuits to such a server. It is the server's,
// not a name's: a hundred names of it would else dial it a hundred times as
// often (row 41).
const (
	uselessFirst = 250 * time.Millisecond
	uselessLast  = 15 * time.Second
	maxUseless   = 10_000
)

// judge notes, at a circuit's end, whether it was of any use. mu is held.
func (c *Client) judge(circ *circuit) {
	circ.mu.Lock()
	useful := circ.useful || circ.permanent || circ.core.Len() == 0
	circ.mu.Unlock()
	if useful {
		delete(c.useless, circ.server)
		return
	}
	u, known := c.useless[circ.server]
	if !known && len(c.useless) >= maxUseless {
		c.forgetUseless()
	}
	u.wait = min(max(2*u.wait, uselessFirst), uselessLast)
	// A quarter of it at random, so that servers that failed together are not
	// dialled together.
	u.until = time.Now().Add(u.wait*3/4 + rand.N(u.wait/2))
	c.useless[circ.server] = u
}

// forgetUseless makes room: whose time is over, else anyone. mu is held.
func (c *Client) forgetUseless() {
	now := time.Now()
	for to, u := range c.useless {
		if now.After(u.until) {
			delete(c.useless, to)
		}
	}
	for to := range c.useless {
		if len(c.useless) < maxUseless {
			return
		}
		delete(c.useless, to)
	}
}

// notBefore is how long a server is not to be dialled; 0 if it may be, or is
// connected. mu is held.
func (c *Client) notBefore(to server) time.Duration {
	u, ok := c.useless[to]
	if !ok || c.circuits[to] != nil {
		return 0
	}
	return max(0, time.Until(u.until))
}

// proved says that a circuit connects channels: its server is back, or new. All
// names that were with it are asked for, and others may be there too. mu is
// held.
func (c *Client) proved(circ *circuit) {
	delete(c.useless, circ.server)
	c.reclaim(circ)
	c.boost(circ.addr)
}
