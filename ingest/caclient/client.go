package caclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"pvlog/ingest/ca"
)

// ErrClosed says that the channel was closed or the client has ended.
var ErrClosed = errors.New("the channel is closed")

// Options of a [Client]. The zero value searches as a CA client without any
// EPICS_CA_ variable does.
type Options struct {
	AddrList        []string      // search destinations, host[:port] (EPICS_CA_ADDR_LIST)
	AutoAddrList    *bool         // also search the broadcast address of every interface; nil is yes
	NameServers     []string      // host[:port] of TCP name servers (EPICS_CA_NAME_SERVERS)
	ServerPort      int           // where no port is given; 0 is 5064
	RepeaterPort    int           // of beacons; 0 is 5065
	Repeater        *bool         // be the host's beacon repeater while it has no other; nil is yes
	AllowServers    []string      // IPv4 addresses and networks (10.1.0.0/16) of servers to connect to; none is all
	ConnTimeout     time.Duration // silence of a circuit after which its server is probed; 0 is 30 s
	MaxSearchPeriod time.Duration // longest time between two searches of a name; 0 is 300 s, reached only by many dead names
	SearchRate      float64       // search datagrams/s to each destination; 0 is 50
	GetTimeout      time.Duration // 0 is 10 s
	MaxArrayBytes   int           // largest value taken from a server, header of the DBR type not counted (EPICS_CA_MAX_ARRAY_BYTES); 0 is as large as needed, up to 64 MiB
	MulticastTTL    int           // of searches to multicast addresses (EPICS_CA_MCAST_TTL), 1 to 255; 0 is 1
	Priority        uint8         // of circuits, 0 to 99: a hint for the servers' threads
	FlowControl     bool          // ask servers that send faster than is read to pause (EVENTS_OFF): what they merge meanwhile is lost; an archive leaves it off
	Silence         time.Duration // least silence of a monitor until its value is read to see whether it still works; 0 is 60 s, negative never
	AddressFile     string        // remembers where names were found, to ask there first; "" remembers nothing
	User, Host      string        // identity for access security; "" asks the operating system

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil keeps the metrics to itself
}

// Client is a Channel Access client.
type Client struct {
	// set by New, read-only
	options Options
	log     *slog.Logger
	metrics *metrics
	odd     *limiter      // for warnings that a broken server can cause at will
	wake    chan struct{} // tells the search loop that names were added

	confirmed chan struct{} // a repeater has confirmed a registration

	// set by Run before its goroutines begin
	ctx    context.Context
	socket *net.UDPConn
	allow  []netip.Prefix // of servers, empty is all
	wg     sync.WaitGroup // circuits

	// owned by the goroutine that resolves addresses
	known map[string]netip.AddrPort // last good answer for each element of the lists

	// guarded by mu, which may be held while a circuit's mu is taken, never the
	// other way round
	mu       sync.Mutex
	running  bool
	stopped  bool // no circuit is begun any more
	channels map[uint32]*Channel
	states   [states]int // channels in each state
	circuits map[server]*circuit
	ranks    []uint8 // priorities that circuits were asked for
	schedule *ca.SearchSchedule
	nextCID  uint32
	boosted  time.Time      // when all unknown names were last tried for a new server
	spread   time.Time      // when all names were last tried for a beacon
	host     netip.Addr     // whose names were last tried for a server at a new port
	hosted   time.Time      // when
	mover    netip.AddrPort // server whose names were last followed elsewhere
	movedAt  time.Time      // when
	beacons  *ca.BeaconTable
	places   destinations
	useless  map[server]useless           // servers whose last circuit connected no channel
	renewals map[netip.AddrPort]time.Time // of circuits whose monitors stayed behind
	unasked  map[netip.AddrPort]int       // circuits in a row that ended over a question for properties
	redial   map[netip.AddrPort]time.Time // of name servers: not before
	hints    map[string]netip.AddrPort    // where names that are not open were found last
	asked    []asked                      // in the order of their times
	learnt   bool                         // the address file is out of date
}

// New makes a client. It does no I/O.
func New(o Options) *Client {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ServerPort == 0 {
		o.ServerPort = ca.ServerPort
	}
	if o.RepeaterPort == 0 {
		o.RepeaterPort = ca.RepeaterPort
	}
	if o.ConnTimeout <= 0 {
		o.ConnTimeout = 30 * time.Second
	}
	c := &Client{
		options: o,
		log:     o.Logger,
		odd:     &limiter{log: o.Logger, every: 10 * time.Second},
		wake:    make(chan struct{}, 1),

		confirmed: make(chan struct{}, 1),

		channels: map[uint32]*Channel{},
		circuits: map[server]*circuit{},
		schedule: ca.NewSearchSchedule(ca.SearchOptions{Rate: o.SearchRate, LastPeriod: o.MaxSearchPeriod}),
		// Anyone can answer a search; a random start makes ids hard to guess.
		nextCID:  rand.Uint32(),
		beacons:  ca.NewBeaconTable(time.Now()),
		redial:   map[netip.AddrPort]time.Time{},
		useless:  map[server]useless{},
		unasked:  map[netip.AddrPort]int{},
		renewals: map[netip.AddrPort]time.Time{},
		hints:    map[string]netip.AddrPort{},
		known:    map[string]netip.AddrPort{},
	}
	c.metrics = newMetrics(o.Registerer, c)
	return c
}

// Run searches and serves until ctx ends; it returns nil then, after all of
// its goroutines. Gets on their way end with [ErrClosed]; no Disconnected is
// called for channels that are connected at that moment. Handlers that block
// must end by themselves. It can be called once.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	again := c.running
	c.running = true
	c.mu.Unlock()
	if again {
		return errors.New("run the Channel Access client: it was run before")
	}
	allow, err := prefixes(c.options.AllowServers)
	if err != nil {
		return fmt.Errorf("read the allowed servers: %w", err)
	}
	socket, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return fmt.Errorf("open the search socket: %w", err)
	}
	if err := setMulticastTTL(socket, c.options.MulticastTTL); err != nil {
		c.log.Warn("search socket: multicasts stay in the own network", "err", err)
	}
	// Replies of thousands of names come at once; the kernel may grant less.
	_ = socket.SetReadBuffer(4 << 20)
	c.identify()
	group, ctx := errgroup.WithContext(ctx)
	c.mu.Lock()
	c.ctx, c.socket, c.allow = ctx, socket, allow
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	defer stop()
	c.recall()
	group.Go(func() error { return c.receive(ctx) })
	group.Go(func() error { return c.resolve(ctx) })
	group.Go(func() error { return c.search(ctx) })
	group.Go(func() error { return c.maintain(ctx) })
	group.Go(func() error { return c.follow(ctx) })
	group.Go(func() error { return c.remember(ctx) })
	err = group.Wait()
	_ = socket.Close()
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.wg.Wait()
	c.saveAddresses()
	return err
}

// maintain closes circuits that nobody uses and dials name servers.
func (c *Client) maintain(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			c.giveUpHints(now)
			c.closeIdle(now)
			c.dialNameServers(now)
		}
	}
}

// idleCircuit is how long a circuit without channels is kept: long enough for
// its last CLEAR_CHANNEL to leave, and for a sibling to come.
const idleCircuit = 5 * time.Second

func (c *Client) closeIdle(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, circ := range c.circuits {
		if circ.idleSince(now) > idleCircuit {
			delete(c.circuits, at)
			circ.close()
		}
	}
}

// server is what a circuit leads to: channels of one priority share one.
type server struct {
	addr     netip.AddrPort
	priority uint8
}

// circuit gives the circuit to a server that a reply has named, dialling it if
// there is none. mu is held.
func (c *Client) circuit(to server, r ca.Reply) *circuit {
	if circ, ok := c.circuits[to]; ok {
		return circ
	}
	return c.dial(to, r)
}

// dial begins a circuit. mu is held.
func (c *Client) dial(to server, r ca.Reply) *circuit {
	circ := newCircuit(c, to, r)
	c.circuits[to] = circ
	if !slices.Contains(c.ranks, to.priority) {
		c.ranks = append(c.ranks, to.priority)
	}
	c.wg.Go(circ.run)
	return circ
}

// boostEvery bounds how often a new server makes all unknown names be tried:
// after a power cut hundreds of IOCs start together.
const boostEvery = 5 * time.Second

// boost searches the names that may be back with a server, or new with it. mu
// is held.
func (c *Client) boost(addr netip.AddrPort) {
	now := time.Now()
	c.boostServer(now, addr)
	if now.Sub(c.boosted) > boostEvery {
		c.boosted = now
		c.schedule.Boost(now, 0)
	}
	c.wakeSearch()
}

// wakeSearch makes the search loop look at the schedule again.
func (c *Client) wakeSearch() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// groupOf is the number under which a server's names are searched again.
func groupOf(addr netip.AddrPort) uint64 {
	ip := addr.Addr().As4()
	group := uint64(addr.Port())
	for _, octet := range ip {
		group = group<<8 | uint64(octet)
	}
	return group
}
