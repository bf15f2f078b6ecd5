package ca

import (
	"errors"
	"time"
)

// Causes that a channel or a get can end with.
var (
	ErrUnresponsive = errors.New("the server answers no ECHO")
	ErrNoChannel    = errors.New("the server has no such channel")
	ErrChannelEnded = errors.New("the server ended the channel")
	ErrGetTimeout   = errors.New("the server did not answer the get in time")
	ErrClaimTimeout = errors.New("the server lives but did not answer the claim")
	ErrNativeType   = errors.New("the server announced a native type that does not exist")
	ErrStale        = errors.New("a renewed monitor brings nothing though its channel has changed")
	ErrNotReading   = errors.New("the server sends what asks for answers and reads none of them")
	ErrNotConnected = errors.New("the channel is not connected")
)

// CircuitOptions of a [Circuit]. The zero value is the default.
type CircuitOptions struct {
	ConnTimeout time.Duration // silence after which an ECHO is sent (EPICS_CA_CONN_TMO); 0 is 30 s
	EchoTimeout time.Duration // how long its answer may take; 0 is 5 s
	FirstByte   time.Duration // silence after the dial until the first ECHO; 0 is 10 s, at most ConnTimeout
	GiveUp      time.Duration // how long an unresponsive circuit is kept; 0 is 60 s
	GetTimeout  time.Duration // how long a get may take; 0 is 10 s
	Claim       time.Duration // how long the answer to CREATE_CHAN may take while the server lives; 0 is 60 s
	Silence     time.Duration // least silence of a monitor until its value is read to see whether it still works; 0 is 60 s, negative never
	LongSilence time.Duration // the same of one that has no habit yet; 0 is 60 times Silence
	Minor       uint16        // of the server, if the search reply told; 0 is [MinorVersion]
	Old         bool          // Minor is what it is, 0 too: [Reply].Old
	Priority    uint8         // 0 to 99: a hint for the server's threads, and part of what makes a circuit
	FlowControl bool          // ask the server to pause (EVENTS_OFF) while it sends faster than is read; see [Circuit.Read]
	User, Host  string        // identity for access security
}

func (o CircuitOptions) withDefaults() CircuitOptions {
	set := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	set(&o.ConnTimeout, 30*time.Second)
	set(&o.EchoTimeout, 5*time.Second)
	set(&o.FirstByte, 10*time.Second)
	set(&o.GiveUp, 60*time.Second)
	set(&o.GetTimeout, 10*time.Second)
	set(&o.Claim, 60*time.Second)
	if o.Silence == 0 {
		o.Silence = 60 * time.Second
	}
	set(&o.LongSilence, 60*o.Silence)
	o.FirstByte = min(o.FirstByte, o.ConnTimeout)
	o.Priority = min(o.Priority, MaxPriority)
	if o.Minor == 0 && !o.Old {
		o.Minor = MinorVersion
	}
	return o
}

// Circuit is the state of one connection to a server, without the connection:
// requests collect as bytes for [Circuit.TakeOutput], what arrived goes to
// [Circuit.Handle], and time is an argument. It makes no request that rsrv
// answers by closing the circuit (an unknown sid or subscription id), which
// would disconnect every channel of the IOC.
//
// It is not safe for concurrent use: caclient guards it with a mutex.
type Circuit struct {
	options  CircuitOptions
	minor    uint16
	greeted  bool // the server's VERSION came
	out      []byte
	channels map[uint32]*circuitChannel // by cid
	subs     map[uint32]*subscription   // by subscription id; a cancelled one stays until its acknowledgement
	gets     map[uint32]*get            // by ioid
	oldest   []*get                     // in the order of their deadlines
	claims   []*circuitChannel          // unanswered or ended, in the order of their deadlines
	writes   map[uint32]*circuitChannel // by ioid: where a WRITE_NOTIFY is unanswered, timed out or not
	nextID   uint32                     // of subscriptions and gets, one table as in libca
	watch    watch
	flow     flow
	early    []Event // of claims that need no answer: for the next Tick

	began     time.Time
	at        time.Duration // since then, when bytes came last
	look      time.Time     // when monitors are looked at again
	verifying int           // verifying reads on their way
}

// channelState is where a channel of a circuit stands.
type channelState uint8

const (
	channelClaimed channelState = iota // CREATE_CHAN is on its way: CircuitOptions.Claim at most
	channelOpen                        // the server has it: as long as the circuit lives, watched by its monitor's habit
	channelEnded                       // forgotten
)

type circuitChannel struct {
	cid        uint32
	owner      any
	sid        uint32 // valid in channelOpen: 0 is a legal sid
	state      channelState
	native     DBR
	mask       uint16 // wanted subscription, 0 is none
	properties bool   // wanted
	old        bool   // sid came with the search reply: [Reply].Old
	count      uint32
	rights     uint32
	deadline   time.Time // of the claim
	sub        *subscription
	props      *subscription
	writing    uint32    // ioid of the unanswered WRITE_NOTIFY, 0 is none
	held       []heldPut // puts that wait for its answer
}

// open says whether the server has answered the claim.
func (ch *circuitChannel) open() bool { return ch.state == channelOpen }

// NewCircuit begins a circuit: VERSION, CLIENT_NAME and HOST_NAME are its
// first output.
func NewCircuit(o CircuitOptions, now time.Time) *Circuit {
	o = o.withDefaults()
	c := &Circuit{
		options:  o,
		minor:    min(o.Minor, MinorVersion),
		channels: map[uint32]*circuitChannel{},
		subs:     map[uint32]*subscription{},
		gets:     map[uint32]*get{},
		writes:   map[uint32]*circuitChannel{},
		began:    now,
		look:     now.Add(o.FirstByte),
	}
	c.enter(CircuitFresh, now)
	c.out = AppendPriorityVersion(c.out, o.Priority)
	if c.minor >= minorIdentity {
		c.out = AppendClientName(c.out, o.User)
		c.out = AppendHostName(c.out, o.Host)
	}
	return c
}

// Minor is the smaller of both ends' minor versions as far as known.
func (c *Circuit) Minor() uint16 { return c.minor }

// Greeted says whether the server has told its version, which a name server
// must before it is searched.
func (c *Circuit) Greeted() bool { return c.greeted }

// Len is the number of channels, claimed or connected.
func (c *Circuit) Len() int { return len(c.channels) }

// Owners gives what [Circuit.Create] was given, of all channels.
func (c *Circuit) Owners() []any {
	owners := make([]any, 0, len(c.channels))
	for _, ch := range c.channels {
		owners = append(owners, ch.owner)
	}
	return owners
}

// Output is the number of bytes that wait to be sent.
func (c *Circuit) Output() int { return len(c.out) }

// TakeOutput gives the bytes that wait to be sent and takes a slice to collect
// the next ones in.
func (c *Circuit) TakeOutput(next []byte) []byte {
	out := c.out
	c.out = next[:0]
	return out
}

// Send adds finished messages to the output: a name server's searches.
func (c *Circuit) Send(messages []byte) { c.out = append(c.out, messages...) }

// Create claims a name. owner comes back in the channel's events. A mask that
// is not 0 subscribes as soon as the channel is connected.
func (c *Circuit) Create(now time.Time, cid uint32, name string, mask uint16, owner any) {
	c.claim(now, cid, mask, owner)
	c.out = AppendCreateChan(c.out, cid, name)
}

// claim makes a channel whose answer is awaited.
func (c *Circuit) claim(now time.Time, cid uint32, mask uint16, owner any) *circuitChannel {
	ch := &circuitChannel{cid: cid, owner: owner, mask: mask, deadline: now.Add(c.options.Claim)}
	c.channels[cid] = ch
	c.claims = append(c.claims, ch)
	return ch
}

// Clear ends a channel and its monitor. A claim that is still unanswered is
// cleared when its answer comes.
func (c *Circuit) Clear(cid uint32) {
	ch, ok := c.channels[cid]
	if !ok {
		return
	}
	if ch.open() {
		c.out = AppendClearChannel(c.out, ch.sid, cid)
	}
	c.forget(ch)
}

// forget drops a channel. Its subscriptions end on the server with the
// channel, without an acknowledgement of their own.
func (c *Circuit) forget(ch *circuitChannel) {
	for _, sub := range []*subscription{ch.sub, ch.props} {
		if sub != nil {
			delete(c.subs, sub.id)
		}
	}
	delete(c.channels, ch.cid)
	delete(c.writes, ch.writing)
	ch.held = nil
	ch.state = channelEnded
}

// newID is never 0 and never one in use.
func (c *Circuit) newID() uint32 {
	for {
		c.nextID++
		if c.nextID == 0 || c.subs[c.nextID] != nil || c.gets[c.nextID] != nil || c.writes[c.nextID] != nil {
			continue
		}
		return c.nextID
	}
}

// Info is what a connected channel is.
type Info struct {
	Native   DBR    // 0 to 6
	Count    uint32 // maximal number of elements
	Minor    uint16 // of the circuit
	Readable bool
	Writable bool
}

// Info gives a channel's present state; ok is false while it is not connected.
func (c *Circuit) Info(cid uint32) (info Info, ok bool) {
	ch, found := c.channels[cid]
	if !found || !ch.open() {
		return Info{}, false
	}
	return c.info(ch), true
}

func (c *Circuit) info(ch *circuitChannel) Info {
	return Info{
		Native: ch.native, Count: ch.count, Minor: c.minor,
		Readable: ch.rights&AccessRead != 0, Writable: ch.rights&AccessWrite != 0,
	}
}

// answered drops the oldest claims that need no answer any more.
func (c *Circuit) answered() {
	for len(c.claims) > 0 && c.claims[0].state != channelClaimed {
		c.claims[0] = nil
		c.claims = c.claims[1:]
	}
}

// expireClaims ends the channels that a living server does not answer for: it
// may have lost them, another may have them. A late answer is cleared.
func (c *Circuit) expireClaims(now time.Time, events []Event) []Event {
	c.answered()
	for len(c.claims) > 0 && !now.Before(c.claims[0].deadline) {
		ch := c.claims[0]
		c.forget(ch)
		events = append(events, Event{Kind: EventEnded, Owner: ch.owner, Err: ErrClaimTimeout})
		c.answered()
	}
	return events
}
