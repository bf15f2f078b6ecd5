package caclient

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"pvlog/ingest/ca"
)

// readTick is how often a silent circuit looks at its clock. Deadlines of the
// connection are renewed at half of it, not for every read.
const readTick = time.Second

// longHandling is the time in handlers that counts as back-pressure.
const longHandling = 50 * time.Millisecond

// headRoom is more than the head of any DBR type takes, CTRL_ENUM's being the
// largest.
const headRoom = 424

// payloadLimit is the largest payload that is taken, with room for the head of
// any DBR type.
func (o Options) payloadLimit() uint32 {
	if o.MaxArrayBytes <= 0 || o.MaxArrayBytes >= ca.MaxValue {
		return 0 // the splitter's own
	}
	return uint32(max(o.MaxArrayBytes, minArrayBytes)) + headRoom
}

// read takes messages until the connection ends.
func (c *circuit) read(conn net.Conn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = c.broken(p)
		}
	}()
	stream := ca.Splitter{Limit: c.client.options.payloadLimit()}
	var armed time.Time
	now := time.Now()
	// Dialling is not silence: the watch begins here.
	c.mu.Lock()
	c.paused = 0
	c.core.Began(now)
	c.kick()
	c.mu.Unlock()
	for {
		if now.Sub(armed) > readTick/2 {
			armed = now
			_ = conn.SetReadDeadline(now.Add(readTick))
		}
		buffer := stream.Buffer()
		n, err := conn.Read(buffer)
		now = time.Now()
		c.flow(now, n == len(buffer))
		if n > 0 {
			stream.Filled(n)
			if err := c.take(&stream, now); err != nil {
				return err
			}
			now = c.rest(now)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			armed = time.Time{} // also when a beacon ended the wait
		} else if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if err := c.tick(now); err != nil {
			return err
		}
	}
}

// flow tells the core whether the last read left bytes behind.
func (c *circuit) flow(now time.Time, full bool) {
	if !c.client.options.FlowControl {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if paused := c.core.Read(now, full); paused > 0 {
		c.client.metrics.pauses.Inc()
		c.client.metrics.pausedSeconds.Add(paused.Seconds())
	}
	c.kick()
}

// take handles all whole messages of the stream.
func (c *circuit) take(stream *ca.Splitter, now time.Time) error {
	c.mu.Lock()
	c.handling = true
	revived := c.core.Heard(c.now(now))
	c.mu.Unlock()
	if revived {
		c.revive()
	}
	for {
		again, err := c.handle(stream, now)
		if err != nil || !again {
			return err
		}
	}
}

// handle takes whole messages one by one. A handler that panics ends it early,
// and costs its channel that update and nobody else anything: again says that
// there may be more. A panic of the protocol's core ends the circuit.
func (c *circuit) handle(stream *ca.Splitter, now time.Time) (again bool, err error) {
	var updates int
	var owner any
	locked := false
	defer func() {
		c.client.metrics.updates.Add(float64(updates))
		p := recover()
		switch {
		case p == nil:
		case locked || owner == nil:
			if locked {
				c.mu.Unlock()
			}
			err = c.broken(p)
		default:
			again = true
			c.panicked(owner.(*Channel), p)
		}
	}()
	for {
		h, payload, tooLarge, ok, err := stream.Next()
		if err != nil || !ok {
			return false, err
		}
		owner, locked = nil, true
		c.mu.Lock()
		if owner, ok = c.core.Update(h, payload, tooLarge); ok {
			locked = false
			c.mu.Unlock()
			updates++
			owner.(*Channel).deliver(Update{Type: ca.DBR(h.DataType), Count: h.Count, Status: h.P1, Payload: payload, Received: now})
			continue
		}
		e := c.core.Handle(h, payload, tooLarge)
		locked = false
		c.mu.Unlock()
		if e.Kind == ca.EventUpdate {
			updates++
			owner = e.Owner
			e.Owner.(*Channel).deliver(Update{Type: e.Type, Count: e.Count, Status: e.Status, Payload: e.Payload, Received: now, Paused: e.Paused})
			continue
		}
		owner = nil
		if err := c.dispatch(e, now); err != nil {
			return false, err
		}
	}
}

func (ch *Channel) deliver(u Update) {
	if !ch.closed.Load() {
		ch.handler.Update(ch, u)
	}
}

// rest ends the handling that began at a time: what was asked for meanwhile is
// sent, and time that handlers took is not the server's.
func (c *circuit) rest(began time.Time) time.Time {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if took := now.Sub(began); took > longHandling {
		c.paused += took
		c.client.metrics.handlerSeconds.Add(took.Seconds())
	}
	c.handling = false
	c.kick()
	return now
}

// tick does what is due by time.
func (c *circuit) tick(now time.Time) error {
	for _, e := range c.due(now) {
		if err := c.dispatch(e, now); err != nil {
			return err
		}
	}
	return nil
}

func (c *circuit) due(now time.Time) []ca.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.now(now)
	if at.Before(c.core.Deadline()) {
		return nil
	}
	defer c.kick()
	return c.core.Tick(at)
}

// dispatch does what an event that is no update asks for.
func (c *circuit) dispatch(e ca.Event, now time.Time) error {
	switch e.Kind {
	case ca.EventConnected:
		c.connected(e.Owner.(*Channel), e.Info)
	case ca.EventGet:
		c.answered(e, now)
	case ca.EventEnded:
		ch := e.Owner.(*Channel)
		c.client.log.Debug("channel ended by its server", "pv", ch.name, "addr", c.addr, "err", e.Err)
		c.drop(ch, e.Err, 0)
		c.client.wakeSearch()
	case ca.EventReply:
		c.client.foundByTCP(e.Reply, c)
	case ca.EventRejected:
		c.client.metrics.rejected.Inc()
		c.client.odd.warn("message passed over", "pv", ownerName(e.Owner), "addr", c.addr, "err", e.Err)
	case ca.EventFailure:
		c.client.metrics.failures.Inc()
		c.client.odd.warn("server reports a failure", "pv", ownerName(e.Owner), "addr", c.addr,
			"status", ca.StatusName(e.Status), "text", e.Text)
	case ca.EventProbe:
		c.client.metrics.probes.Inc()
	case ca.EventVerify:
		c.client.metrics.verified.Inc()
	case ca.EventRenewed:
		c.client.metrics.renewed.Inc()
		c.client.odd.warn("monitor renewed: the PV has changed and no update came", "pv", ownerName(e.Owner), "addr", c.addr)
	case ca.EventStale:
		return c.stale(e, now)
	case ca.EventProperties:
		c.properties(e)
	case ca.EventAccess:
		c.access(e.Owner.(*Channel), e.Info)
	case ca.EventUnresponsive:
		c.suspend(e.Err)
	case ca.EventLost:
		return e.Err
	}
	return nil
}

// renewEvery bounds how often one server's circuit is given up for monitors
// that stay behind: it costs all of its channels a moment.
const renewEvery = time.Hour

// stale gives the circuit up, unless that was done for its server lately.
func (c *circuit) stale(e ca.Event, now time.Time) error {
	c.client.odd.warn("monitor does not work", "pv", ownerName(e.Owner), "addr", c.addr, "err", e.Err)
	c.client.mu.Lock()
	defer c.client.mu.Unlock()
	if last, ok := c.client.renewals[c.addr]; ok && now.Sub(last) < renewEvery {
		return nil
	}
	for addr, last := range c.client.renewals {
		if now.Sub(last) >= renewEvery {
			delete(c.client.renewals, addr)
		}
	}
	c.client.renewals[c.addr] = now
	c.client.metrics.staleCircuits.Inc()
	return e.Err
}

// access tells a handler that wants to know what access security grants now.
func (c *circuit) access(ch *Channel, info ca.Info) {
	c.client.metrics.accessChanges.Inc()
	if h, ok := ch.handler.(AccessHandler); ok && ch.reported && !ch.closed.Load() {
		defer c.calm(ch)
		h.AccessChanged(ch, c.info(info))
	}
}

// properties hands units, limits and labels to a handler that wants them.
func (c *circuit) properties(e ca.Event) {
	ch := e.Owner.(*Channel)
	h, ok := ch.handler.(PropertiesHandler)
	if !ok || !ch.reported || ch.closed.Load() {
		return
	}
	m, err := ca.DecodeCtrl(e.Type, e.Count, e.Payload)
	if err != nil {
		c.client.metrics.rejected.Inc()
		c.client.odd.warn("properties passed over", "pv", ch.name, "addr", c.addr, "err", err)
		return
	}
	c.client.metrics.properties.Inc()
	c.mu.Lock()
	c.told = true
	c.mu.Unlock()
	defer c.calm(ch)
	h.Properties(ch, m)
}

func ownerName(owner any) string {
	if ch, ok := owner.(*Channel); ok {
		return ch.name
	}
	return ""
}

func (c *circuit) connected(ch *Channel, info ca.Info) {
	if ch.closed.Load() {
		return
	}
	c.foundAt(ch, info)
	ch.reported = true
	c.client.metrics.connects.Inc()
	defer c.calm(ch)
	ch.handler.Connected(ch, c.info(info))
}

func (c *circuit) answered(e ca.Event, now time.Time) {
	u := Update{Type: e.Type, Count: e.Count, Status: e.Status, Payload: e.Payload, Received: now}
	err := e.Err
	if err == nil && e.Status != ca.StatusNormal {
		err = &StatusError{Status: e.Status, Text: e.Text}
	}
	c.end(e.Owner.(*question), u, err)
}

// suspend reports the channels of an unresponsive server as disconnected. The
// connection and its monitors are kept: a server that was only frozen goes on
// with what it has queued, and nothing of that is lost.
func (c *circuit) suspend(cause error) {
	owners := c.owners()
	c.client.log.Warn("server unresponsive", "addr", c.addr, "channels", len(owners))
	for _, ch := range owners {
		if ch.reported && !ch.closed.Load() {
			ch.reported = false
			ch.suspended()
			c.disconnected(ch, cause)
		}
	}
}

// revive reports them as connected again.
func (c *circuit) revive() {
	owners := c.owners()
	c.client.log.Info("server responds again", "addr", c.addr, "channels", len(owners))
	for _, ch := range owners {
		c.mu.Lock()
		info, ok := c.core.Info(ch.cid)
		c.mu.Unlock()
		if ok && !ch.reported {
			c.connected(ch, info)
		}
	}
}

func (c *circuit) owners() []*Channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	var channels []*Channel
	for _, owner := range c.core.Owners() {
		channels = append(channels, owner.(*Channel))
	}
	return channels
}
