package caclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"pvlog/ingest/ca"
)

// dialTimeout is how long a server may take to accept a connection.
const dialTimeout = 10 * time.Second

// maxWaiting is how many bytes of gets and searches may wait for a server that
// does not read. Claims and monitors are bounded by the number of channels.
const maxWaiting = 16 << 20

var errBusy = errors.New("the server does not read: too many requests wait for it")

// circuit is one connection to a server, shared by all of its channels.
type circuit struct {
	// set by newCircuit, read-only
	client *Client
	server
	kicks chan struct{} // there is output
	ended chan struct{} // closed when the connection is not to be used any more

	// guarded by mu
	mu        sync.Mutex
	core      *ca.Circuit
	conn      net.Conn      // nil while dialling
	closed    bool          // takes no more channels and requests
	handling  bool          // the read goroutine is in handlers and will kick when it is done
	paused    time.Duration // spent in handlers: the circuit's clock stands still meanwhile
	claimed   time.Time     // a claim was answered last
	permanent bool          // to a name server
	useful    bool          // a channel was connected
	asked     time.Time     // for properties of a channel that has some; zero: it was not
	told      bool          // they came
	idle      time.Time     // without channels since; zero: it has some
}

func newCircuit(c *Client, to server, r ca.Reply) *circuit {
	return &circuit{
		client: c,
		server: to,
		kicks:  make(chan struct{}, 1),
		ended:  make(chan struct{}),
		core: ca.NewCircuit(ca.CircuitOptions{
			ConnTimeout: c.options.ConnTimeout, GetTimeout: c.options.GetTimeout, Minor: r.Minor, Old: r.Old,
			Silence: c.options.Silence, Priority: to.priority, FlowControl: c.options.FlowControl,
			User: c.options.User, Host: c.options.Host,
		}, time.Now()),
	}
}

// run dials, serves and ends the circuit.
func (c *circuit) run() {
	err := c.serve(c.client.ctx)
	c.close()
	c.lose(err)
}

func (c *circuit) serve(ctx context.Context) error {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp4", c.addr.String())
	if err != nil {
		c.client.metrics.dialFailures.Inc()
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	if !c.use(conn) {
		return ErrClosed
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	written := make(chan error, 1)
	go func() { written <- c.write(conn) }()
	err = c.read(conn)
	c.close()
	if w := <-written; w != nil {
		return w // the reason that the read ended too
	}
	return err
}

// use makes the connection the circuit's, unless it was closed meanwhile.
func (c *circuit) use(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
	return !c.closed
}

// close ends the connection; nothing of the circuit is used afterwards.
func (c *circuit) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.ended)
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
}

// write sends what collects, as one piece each time: claims and monitors of
// thousands of channels leave in few segments.
func (c *circuit) write(conn net.Conn) error {
	var spare []byte
	for {
		select {
		case <-c.ended:
			return nil
		case <-c.kicks:
		}
		c.mu.Lock()
		out := c.core.TakeOutput(spare)
		c.mu.Unlock()
		if len(out) > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(c.client.options.ConnTimeout))
			if _, err := conn.Write(out); err != nil {
				select {
				case <-c.ended:
					return nil
				default:
				}
				_ = conn.Close()
				return fmt.Errorf("send: %w", err)
			}
		}
		if spare = out; cap(spare) > 1<<20 {
			spare = nil
		}
	}
}

// kick wakes the writer. mu is held.
func (c *circuit) kick() {
	if c.handling || c.core.Output() == 0 {
		return
	}
	select {
	case c.kicks <- struct{}{}:
	default:
	}
}

// do changes the circuit's state and sends what comes of it; false if the
// circuit has ended.
func (c *circuit) do(f func(*ca.Circuit)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	f(c.core)
	c.kick()
	return true
}

// create claims a channel, with what is wanted of it; false if the circuit has
// ended. client.mu is held.
func (c *circuit) create(ch *Channel, r ca.Reply) bool {
	return c.do(func(core *ca.Circuit) {
		core.CreateFound(c.now(time.Now()), ch.cid, ch.name, ch.mask, ch, r)
		if ch.properties {
			c.watchProperties(core, ch)
		}
	})
}

// watchProperties asks for properties, unless that is what the server hangs up
// on. client.mu and mu are held.
func (c *circuit) watchProperties(core *ca.Circuit, ch *Channel) {
	if c.client.unasked[c.addr] < hangups {
		core.WatchProperties(ch.cid)
		if info, connected := core.Info(ch.cid); connected {
			c.sentQuestion(info)
		}
	}
}

// sentQuestion notes that properties of a connected channel were asked for. mu
// is held.
func (c *circuit) sentQuestion(info ca.Info) {
	if c.asked.IsZero() && info.Readable && info.Native != ca.DBRString {
		c.asked = time.Now()
	}
}

// hangups is how many circuits in a row a server may end soon after it was asked
// for properties, and told none. Then it is the question that it cannot stand,
// and is not asked again: values matter more.
const (
	hangups    = 2
	hangupSoon = 10 * time.Second
)

// judgeProperties notes how a circuit that ends took that question. client.mu
// and mu are held.
func (c *circuit) judgeProperties() {
	unasked := c.client.unasked
	switch {
	case c.told:
		delete(unasked, c.addr)
	case !c.asked.IsZero() && time.Since(c.asked) < hangupSoon && len(unasked) < maxUnasked:
		if unasked[c.addr]++; unasked[c.addr] == hangups {
			c.client.odd.warn("a server hangs up when asked for units and limits, and is not asked any more", "addr", c.addr)
		}
	}
}

// maxUnasked bounds the servers that are remembered for it.
const maxUnasked = 10_000

// question is a get or put on its way, and who hears of its end.
type question struct {
	channel *Channel
	done    func(Update, error)
}

// end tells whoever asked.
func (c *circuit) end(q *question, u Update, err error) {
	defer c.calm(q.channel)
	q.done(u, err)
}

func (c *circuit) get(ch *Channel, t ca.DBR, count uint32, done func(Update, error)) error {
	return c.request(func(now time.Time) error { return c.core.Get(now, ch.cid, t, count, &question{ch, done}) })
}

// request has the core ask the server for something that is answered, unless
// too much waits to be sent already.
func (c *circuit) request(ask func(now time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return ca.ErrNotConnected
	case c.core.Output() > maxWaiting:
		return errBusy
	}
	defer c.kick()
	return ask(c.now(time.Now()))
}

// now is the circuit's own time. mu is held.
func (c *circuit) now(t time.Time) time.Time { return t.Add(-c.paused) }

// idleSince is how long the circuit has had no channels, 0 if it has some or
// is a name server's.
func (c *circuit) idleSince(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.permanent || c.core.Len() > 0 {
		c.idle = time.Time{}
		return 0
	}
	if c.idle.IsZero() {
		c.idle = now
	}
	return now.Sub(c.idle)
}

func (c *circuit) info(core ca.Info) Info {
	return Info{
		Native: core.Native, Count: core.Count, Minor: core.Minor, Addr: c.addr.String(),
		Readable: core.Readable, Writable: core.Writable,
	}
}

// lose ends all channels of a closed circuit. Their handlers hear of it before
// the names are searched again, or Connected could overtake Disconnected.
func (c *circuit) lose(cause error) {
	client := c.client
	client.mu.Lock()
	if client.circuits[c.server] == c {
		delete(client.circuits, c.server)
	}
	client.judge(c)
	c.mu.Lock()
	owners, gets := c.core.Owners(), c.core.Gets()
	c.judgeProperties()
	c.mu.Unlock()
	client.mu.Unlock()

	stopping := client.ctx.Err() != nil
	if stopping {
		cause = ErrClosed
	} else if len(owners) > 0 {
		client.log.Warn("circuit lost", "addr", c.addr, "channels", len(owners), "err", cause)
		client.metrics.lost.Inc()
	}
	for _, done := range gets {
		c.end(done.(*question), Update{}, cause)
	}
	if stopping {
		return
	}
	for i, owner := range owners {
		c.drop(owner.(*Channel), cause, lateness(i))
	}
	client.wakeSearch()
}

// heralds is how many names of a lost circuit, a datagram full, are searched
// at once. The first that is found brings the others with it: see reclaim and
// claim. These are searched late, in case they have gone elsewhere.
const heralds = 25

// lateness is by how much the i-th name of a lost circuit is searched later.
func lateness(i int) time.Duration {
	if i < heralds {
		return 0
	}
	return 10*time.Second + rand.N(20*time.Second)
}

// drop takes a channel off the circuit, tells its handler, and searches it
// again, later by some time, unless it is a sibling.
func (c *circuit) drop(ch *Channel, cause error, later time.Duration) {
	connected := ch.reported
	ch.reported = false
	if (connected || ch.sibling) && !ch.closed.Load() {
		c.disconnected(ch, cause)
	}
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	if ch.closed.Load() || ch.circuit != c {
		return
	}
	if ch.state == Asked {
		c.client.searchInstead(time.Now(), ch, ch.refused(cause)+later)
		return
	}
	ch.circuit = nil
	if ch.sibling {
		ch.closed.Store(true)
		c.client.forget(ch)
		return
	}
	ch.enter(Searched)
	delay := ch.again(connected) + later
	if connected && c.client.back(c.addr) {
		delay = (delay - later) / 4 // it is up already
	}
	if err := c.client.schedule.Add(time.Now(), ch.cid, ch.name, groupOf(c.addr), delay); err != nil {
		c.client.log.Error("a channel can never connect", "pv", ch.name, "err", err)
	}
}
