package simioc

import (
	"net"
	"sync"
	"time"

	"pvlog/ingest/ca"
)

// Bounds of one circuit. A client at its bounds is refused more, never served
// at the cost of others.
const (
	maxChannels      = 1 << 20
	maxSubscriptions = 1 << 20
	writeChunk       = 64 << 10
	keptBuffer       = 1 << 20         // a larger buffer is given back after a burst
	farewell         = 5 * time.Second // to send what is left on a circuit that ends
)

// Lock order: client.requests, putQueue.mu, variable.mu, client.mu.
//
// client is one circuit. Its reader answers requests, its writer sends what
// the reader and the records put into out.
//
// out is bounded by Options.QueueBytes. When it is full, or the client said
// EVENTS_OFF, each subscription holds its newest update only: the oldest
// updates and the newest arrive, the middle is lost and counted. The reader
// waits for room before it takes the next request.
type client struct {
	// set by newClient, read-only
	ioc  *IOC
	conn net.Conn
	wake chan struct{} // one token: the writer has something to do
	gone chan struct{} // closed when the circuit is dead

	// guarded by requests, which the reader holds while it answers one
	requests sync.Mutex
	minor    uint16
	named    bool // a channel was created: too late for CLIENT_NAME
	channels map[uint32]*channel
	nsubs    int
	scratch  []byte // the answer being encoded

	// guarded by mu
	mu     sync.Mutex
	room   *sync.Cond
	out    []byte
	held   []*subscription // those that hold an update, oldest first
	paused bool            // EVENTS_OFF
	dirty  bool            // a waker knows that wake is due
	ending bool            // send what is left, then close
	dead   bool            // nothing is sent any more
}

// channel is a client's claim on a variable.
type channel struct {
	sid, cid uint32
	variable *variable
	subs     []*subscription
	rights   uint32 // as the client was told
	ended    bool   // by SERVER_DISCONN: late requests of the client are ignored
	put      *put   // the last WRITE_NOTIFY that took time
}

// subscription is an EVENT_ADD. index belongs to variable.mu; held,
// denied and muted to client.mu; the rest is read-only.
type subscription struct {
	client  *client
	channel *channel
	id      uint32
	dbr     ca.DBR
	count   uint32
	mask    uint16
	index   int
	held    *snapshot
	denied  bool // without read access
	muted   bool // forgotten by the server, as the client does not know
}

// wakes collects the clients to wake after a batch of updates, so that a
// thousand updates are one write.
type wakes struct{ clients []*client }

func (w *wakes) flush() {
	for i, c := range w.clients {
		c.signal()
		w.clients[i] = nil
	}
	w.clients = w.clients[:0]
}

func newClient(ioc *IOC, conn net.Conn) *client {
	c := &client{ioc: ioc, conn: conn, wake: make(chan struct{}, 1), gone: make(chan struct{}), minor: ioc.opts.Minor, channels: make(map[uint32]*channel)}
	c.room = sync.NewCond(&c.mu)
	if ioc.opts.Minor >= minGreeting {
		c.out = ca.AppendHeader(nil, ca.Header{Command: ca.CmdVersion, Count: uint32(ioc.opts.Minor)})
	}
	return c
}

func (c *client) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// offer gives a subscription an update. It never blocks on the network. The
// caller holds the variable's lock.
func (c *client) offer(s *subscription, state *snapshot, w *wakes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.dead || c.ending || s.denied || s.muted:
		return
	case s.held != nil:
		*s.held = *state
		c.ioc.overwritten.Add(1)
		return
	case c.paused || len(c.out) >= c.ioc.opts.QueueBytes:
		copied := *state
		s.held = &copied
		c.held = append(c.held, s)
	default:
		c.out = appendUpdate(c.out, s, state)
	}
	c.ioc.updates.Add(1)
	if !c.dirty {
		c.dirty = true
		w.clients = append(w.clients, c)
	}
}

// appendUpdate appends the EVENT_ADD message of an update. What cannot be
// converted is status GETFAIL and zeros.
func appendUpdate(b []byte, s *subscription, state *snapshot) []byte {
	h := ca.Header{Command: ca.CmdEventAdd, P1: ca.StatusNormal, P2: s.id}
	b, err := state.appendFor(b, h, s.dbr, s.count, s.client.ioc.opts.Minor)
	if err != nil {
		h.P1 = ca.StatusGetFail
		b = appendZeroed(b, h, s.dbr, s.count)
	}
	return b
}

// reply appends to out; the reader calls it. It encodes before it locks, so
// that an answer of megabytes does not hold up the records.
func (c *client) reply(appendTo func(b []byte) []byte) {
	c.scratch = appendTo(c.scratch[:0])
	c.mu.Lock()
	if !c.dead {
		c.out = append(c.out, c.scratch...)
	}
	c.mu.Unlock()
	if cap(c.scratch) > keptBuffer {
		c.scratch = nil
	}
}

// push appends a message to out from any goroutine.
func (c *client) push(message []byte) {
	c.mu.Lock()
	if !c.dead {
		c.out = append(c.out, message...)
	}
	c.mu.Unlock()
	c.signal()
}

// waitRoom blocks the reader while out is full. False: the circuit is over.
func (c *client) waitRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) >= c.ioc.opts.QueueBytes && !c.dead {
		c.signal()
		c.room.Wait()
	}
	return !c.dead
}

// pause is EVENTS_OFF and EVENTS_ON.
func (c *client) pause(on bool) {
	c.mu.Lock()
	c.paused = on
	c.mu.Unlock()
}

// drop forgets the update that a cancelled subscription still holds.
func (c *client) drop(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.held == nil {
		return
	}
	s.held = nil
	for i, h := range c.held {
		if h == s {
			c.held = append(c.held[:i], c.held[i+1:]...)
			return
		}
	}
}

// take gives the writer what is to send, held updates last and as far as there
// is room, and puts empty in its place. last: the circuit ends with it.
func (c *client) take(empty []byte) (b []byte, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := 0
	for ; sent < len(c.held) && !c.paused && len(c.out) < c.ioc.opts.QueueBytes; sent++ {
		s := c.held[sent]
		if s.denied {
			c.out = appendDenied(c.out, s)
		} else {
			c.out = appendUpdate(c.out, s, s.held)
		}
		s.held = nil
	}
	kept := copy(c.held, c.held[sent:])
	clear(c.held[kept:])
	c.held = c.held[:kept]
	b, c.out = c.out, empty[:0]
	c.dirty = false
	c.room.Broadcast()
	return b, c.ending
}

// end lets the writer send what is left and close.
func (c *client) end() {
	c.mu.Lock()
	if !c.ending {
		c.ending = true
		c.held, c.paused = nil, false
		c.conn.SetWriteDeadline(time.Now().Add(farewell))
	}
	c.mu.Unlock()
	c.signal()
}

// kill closes the socket at once; both goroutines then end.
func (c *client) kill() {
	c.mu.Lock()
	if !c.dead {
		c.dead = true
		close(c.gone)
	}
	c.room.Broadcast()
	c.mu.Unlock()
	c.conn.Close()
	c.signal()
}

// writeLoop sends until the circuit is over. A write that moves nothing for
// Options.SendTimeout ends it.
func (c *client) writeLoop() {
	defer c.kill()
	var spare []byte
	for {
		b, last := c.take(spare)
		if err := c.send(b); err != nil || last || c.isDead() {
			return
		}
		if len(b) == 0 {
			<-c.wake
		}
		if cap(b) > keptBuffer {
			b = nil
		}
		spare = b
	}
}

func (c *client) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// send writes b in chunks, each with its own deadline: a client that still
// takes something is slow, not dead.
func (c *client) send(b []byte) error {
	for len(b) > 0 {
		n, pause := c.ioc.traffic.chunk(min(len(b), writeChunk))
		if !c.ioc.traffic.pass(c.gone, pause) {
			return net.ErrClosed
		}
		c.deadline()
		if _, err := c.conn.Write(b[:n]); err != nil {
			c.ioc.log.Debug("circuit ended while sending", "client", c.conn.RemoteAddr(), "err", err)
			return err
		}
		b = b[n:]
	}
	return nil
}

// deadline starts the clock of the next write, unless the circuit is ending
// and its clock already runs.
func (c *client) deadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending {
		c.conn.SetWriteDeadline(time.Now().Add(c.ioc.opts.SendTimeout))
	}
}
