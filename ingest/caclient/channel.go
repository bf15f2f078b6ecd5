package caclient

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"pvlog/ingest/ca"
)

// Handler hears of one channel. Its methods are called one at a time, on the
// read goroutine of the channel's circuit, without locks held. Update may
// block: the circuit is then read more slowly.
type Handler interface {
	// Connected says that the channel is usable, with the type and count that
	// hold until Disconnected.
	Connected(ch *Channel, info Info)
	// Disconnected says that the channel is lost and why. It is searched
	// again, except for a sibling, which has ended.
	Disconnected(ch *Channel, cause error)
	// Update delivers a monitor's value.
	Update(ch *Channel, u Update)
}

// AccessHandler is a [Handler] that also wants to hear when access security
// changes what it grants while the channel is connected. A monitor stays: the
// server sends one failure when reading is denied, and a value when it is
// granted again.
type AccessHandler interface {
	Handler
	// AccessChanged is called as the others are.
	AccessChanged(ch *Channel, info Info)
}

// PropertiesHandler is a [Handler] that also wants the units, limits and labels
// that [Channel.WatchProperties] asks for.
type PropertiesHandler interface {
	Handler
	// Properties is called as the others are: after each Connected, and when
	// the server says that something has changed.
	Properties(ch *Channel, m ca.Metadata)
}

// Info is what a connected channel is.
type Info struct {
	Native             ca.DBR // 0 to 6
	Count              uint32 // maximal number of elements: 1 is a scalar, anything else a waveform
	Minor              uint16 // minor protocol version of the circuit
	Addr               string // of the server, "ip:port"
	Readable, Writable bool   // what access security grants at this moment
}

// Update is a value that a server sent.
type Update struct {
	Type     ca.DBR
	Count    uint32
	Status   uint32    // ECA; anything but [ca.StatusNormal] comes without payload
	Payload  []byte    // checked to hold Count elements of Type; valid during the call
	Received time.Time // when its bytes were read

	// Paused is how long flow control ([Options].FlowControl) had the server
	// paused since the channel's update before; what it merged then is lost.
	Paused time.Duration
}

// StatusError is the failure that a server answered a get with.
type StatusError struct {
	Status uint32 // ECA
	Text   string // of the server, may be empty
}

// Error names the status and gives the server's text.
func (e *StatusError) Error() string {
	if e.Text == "" {
		return "the server answered " + ca.StatusName(e.Status)
	}
	return "the server answered " + ca.StatusName(e.Status) + ": " + e.Text
}

// Channel is a name that is searched or connected. Its methods may be called
// from any goroutine, handlers included.
type Channel struct {
	// set by Open and Sibling, read-only
	client   *Client
	cid      uint32
	name     string
	handler  Handler
	priority uint8
	sibling  bool

	closed atomic.Bool // set under client.mu

	// guarded by client.mu
	state      State
	circuit    *circuit // nil while searched
	mask       uint16   // of the wanted monitor, 0 is none
	properties bool     // wanted
	warned     bool     // of a second server
	failures   int8     // claims that failed in a row
	found      netip.AddrPort

	// owned by the read goroutine of circuit, which hands it over under client.mu
	reported bool // Connected was called, Disconnected not yet
}

// Open begins to search a name. The handler is called from then on until
// Close. Nothing is sent before [Client.Run].
func (c *Client) Open(name string, h Handler) *Channel {
	return c.OpenPriority(name, c.options.Priority, h)
}

// OpenPriority is Open with a priority of its own, 0 to 99: a server may serve
// the circuits of higher ones first, and there is one for each priority.
func (c *Client) OpenPriority(name string, priority uint8, h Handler) *Channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.add(name, h)
	ch.priority = min(priority, ca.MaxPriority)
	if c.ask(ch) {
		return ch
	}
	if err := c.schedule.Add(time.Now(), ch.cid, name, 0, 0); err != nil {
		c.log.Error("a channel can never connect", "pv", name, "err", err)
	}
	c.wakeSearch()
	return ch
}

// add registers a channel under a free id. mu is held.
func (c *Client) add(name string, h Handler) *Channel {
	for c.channels[c.nextCID] != nil {
		c.nextCID++
	}
	ch := &Channel{client: c, cid: c.nextCID, name: name, handler: h}
	c.channels[ch.cid] = ch
	c.states[Searched]++
	c.nextCID++
	return ch
}

// forget takes a channel that has ended off the client's books. mu is held.
func (c *Client) forget(ch *Channel) {
	ch.enter(Closed)
	c.states[Closed]--
	delete(c.channels, ch.cid)
}

// Name is the name that was opened.
func (ch *Channel) Name() string { return ch.name }

// Info gives the channel's present state; ok is false while it is not connected.
func (ch *Channel) Info() (info Info, ok bool) {
	circ := ch.on()
	if circ == nil {
		return Info{}, false
	}
	circ.mu.Lock()
	defer circ.mu.Unlock()
	core, ok := circ.core.Info(ch.cid)
	if !ok || circ.core.Unresponsive() || circ.closed {
		return Info{}, false
	}
	return circ.info(core), true
}

// on is the channel's circuit, nil while it is searched.
func (ch *Channel) on() *circuit {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	return ch.circuit
}

// Subscribe wants a monitor: DBR_TIME of the native type, current length, with
// an event mask (ca.MaskLog|ca.MaskAlarm for an archive). It begins at once or
// on connection and is renewed on every reconnection. Asking twice for the
// same changes nothing, so it may be called in Connected.
func (ch *Channel) Subscribe(mask uint16) {
	// A server closes the circuit for a mask of 0 or above 255.
	if mask &= 0xFF; mask == 0 {
		ch.Unsubscribe()
		return
	}
	ch.want(mask, func(core *ca.Circuit) { core.Subscribe(ch.cid, mask) })
}

// Unsubscribe ends the monitor. An Update that is on its way may still come.
func (ch *Channel) Unsubscribe() {
	ch.want(0, func(core *ca.Circuit) { core.Unsubscribe(ch.cid) })
}

// WatchProperties wants the units, limits and labels, if the handler is a
// [PropertiesHandler]: after each connection and when they change. It is a
// subscription of its own (DBE_PROPERTY); servers that do not know it tell the
// properties of the connection alone. Strings have none.
func (ch *Channel) WatchProperties() {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	if _, ok := ch.handler.(PropertiesHandler); !ok || ch.properties {
		return
	}
	ch.properties = true
	if ch.circuit != nil {
		ch.circuit.do(func(core *ca.Circuit) { ch.circuit.watchProperties(core, ch) })
	}
}

func (ch *Channel) want(mask uint16, do func(*ca.Circuit)) {
	ch.client.mu.Lock()
	defer ch.client.mu.Unlock()
	ch.mask = mask
	if ch.circuit != nil {
		ch.circuit.do(do)
	}
}

// Close ends the channel. It never waits: a handler that runs at this moment
// may end later, but none begins once that is done. Closing twice is harmless.
func (ch *Channel) Close() {
	c := ch.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.closed.Swap(true) {
		return
	}
	c.forget(ch)
	c.spare(ch)
	c.schedule.Remove(ch.cid)
	if ch.circuit != nil {
		ch.circuit.do(func(core *ca.Circuit) { core.Clear(ch.cid) })
	}
}

// Sibling claims another name on this channel's circuit without a search:
// another field of the same record, mostly. It lives as long as the circuit:
// its Disconnected is called once, with [ca.ErrNoChannel] if the server does
// not have the name, and ends it. Without a connection the error is
// [ca.ErrNotConnected].
func (ch *Channel) Sibling(name string, h Handler) (*Channel, error) {
	if name == "" || len(name) > ca.MaxSearchName {
		return nil, fmt.Errorf("claim %.40q: a name has 1 to %d bytes", name, ca.MaxSearchName)
	}
	c := ch.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.closed.Load() {
		return nil, ErrClosed
	}
	if ch.circuit == nil {
		return nil, ca.ErrNotConnected
	}
	sibling := c.add(name, h)
	sibling.sibling = true
	sibling.circuit, sibling.priority = ch.circuit, ch.priority
	if !ch.circuit.create(sibling, ca.Reply{}) {
		c.forget(sibling)
		return nil, ca.ErrNotConnected
	}
	sibling.enter(Claimed)
	return sibling, nil
}

// GetAsync asks for a value once and calls done once: on the circuit's read
// goroutine with the answer, a [StatusError] or the failure of the circuit, or
// at once with [ca.ErrNotConnected]. Count 0 is the current length. The
// payload is valid during the call.
func (ch *Channel) GetAsync(t ca.DBR, count uint32, done func(Update, error)) {
	circ := ch.on()
	if circ == nil {
		done(Update{}, ca.ErrNotConnected)
		return
	}
	if err := circ.get(ch, t, count, done); err != nil {
		done(Update{}, err)
	}
}

// Get asks for a value once and waits for it. It must not be called by a
// handler of the same circuit, which would wait for itself.
func (ch *Channel) Get(ctx context.Context, t ca.DBR, count uint32) (Update, error) {
	type answer struct {
		update Update
		err    error
	}
	answers := make(chan answer, 1)
	ch.GetAsync(t, count, func(u Update, err error) {
		u.Payload = bytes.Clone(u.Payload)
		answers <- answer{u, err}
	})
	select {
	case a := <-answers:
		if a.err != nil {
			return a.update, fmt.Errorf("get %s as %v: %w", ch.name, t, a.err)
		}
		return a.update, nil
	case <-ctx.Done():
		return Update{}, fmt.Errorf("get %s as %v: %w", ch.name, t, ctx.Err())
	}
}

// again is the delay before a lost channel is searched again. After a
// connection it is short and random, so that a restarted IOC is found fast and
// not all at once; claims that fail in a row back off. client.mu is held.
func (ch *Channel) again(connected bool) time.Duration {
	if connected {
		ch.failures = 0
	} else {
		ch.failures = min(ch.failures+1, 8)
	}
	longest := 2 * time.Second
	if ch.failures > 1 {
		longest = min(longest<<(ch.failures-1), 30*time.Second)
	}
	shortest := longest / 20
	return shortest + rand.N(longest-shortest)
}
