package simioc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pvlog/ingest/ca"
	"pvlog/schema"
)

// Options of an IOC; the zero value serves nothing on 127.0.0.1:5064.
type Options struct {
	// Listen is the IPv4 "host:port" to search and connect at; default
	// 127.0.0.1:5064. Port 0 is any port that is free for UDP and TCP. A TCP
	// port that is taken is replaced by a free one, which search replies name;
	// a UDP port that is taken makes both move.
	Listen string

	// Prefix stands before the names of all records.
	Prefix string

	// Records are served from the start. See [Demo] and [Load].
	Records []Record

	// Beacons are the "host:port" that beacons go to, mostly the port of a CA
	// repeater (5065). Default none.
	Beacons []string

	// Minor makes the IOC an older server: the minor version of its Channel
	// Access, 4 to 13; default 13.
	Minor uint16

	// QueueBytes bounds what waits to be sent to one client, beside its newest
	// update per subscription; default 4 MiB.
	QueueBytes int

	// SendTimeout ends a circuit whose client takes nothing; default 60 s.
	SendTimeout time.Duration

	// Logger hears of addresses and misbehaving clients; nil = discard.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = fmt.Sprintf("127.0.0.1:%d", ca.ServerPort)
	}
	if o.Minor == 0 {
		o.Minor = ca.MinorVersion
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 4 << 20
	}
	if o.SendTimeout <= 0 {
		o.SendTimeout = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// IOC is a Channel Access server with its records. Its methods may be called
// from any goroutine, Listen and Run once each. To restart one, end Run and
// make another on the same address.
type IOC struct {
	// set by New, read-only
	opts Options
	log  *slog.Logger
	err  error // of Options.Records, told by Listen

	// set by Listen, read-only then
	udp      *net.UDPConn
	tcp      *net.TCPListener
	tcpPort  uint16
	beaconTo []netip.AddrPort

	traffic traffic
	beacons chan struct{} // one token: begin the fast sequence again
	putWait time.Duration // how long a second WRITE_NOTIFY on one channel waits for the first

	nextSID                       atomic.Uint32
	updates, overwritten, skipped atomic.Int64

	// guarded by mu
	mu      sync.RWMutex
	names   map[string]*record
	records []*record // in the order they were added
	meta    *metadata // first metadata of the record added last
	running bool      // Run has taken the periodic records
	clients map[*client]struct{}
	closed  bool
}

// New prepares an IOC. It does no I/O; a wrong record is an error of Listen.
func New(o Options) *IOC {
	o = o.withDefaults()
	ioc := &IOC{opts: o, log: o.Logger, names: make(map[string]*record, len(o.Records)), clients: make(map[*client]struct{}), beacons: make(chan struct{}, 1)}
	ioc.putWait = putWait
	if o.Minor < minMinor || o.Minor > ca.MinorVersion {
		ioc.err = fmt.Errorf("minor version %d: %d to %d are possible", o.Minor, minMinor, ca.MinorVersion)
	}
	for i := range o.Records {
		if err := ioc.add(&o.Records[i]); err != nil && ioc.err == nil {
			ioc.err = err
		}
	}
	return ioc
}

// Err is the first wrong record of Options.Records, the error that Listen gives.
func (ioc *IOC) Err() error { return ioc.err }

// AddRecord serves one more record. Periodic records must be added before Run.
func (ioc *IOC) AddRecord(r Record) error { return ioc.add(&r) }

func (ioc *IOC) add(def *Record) error {
	if err := def.check(); err != nil {
		return fmt.Errorf("add record %q: %w", def.Name, err)
	}
	name := ioc.opts.Prefix + def.Name
	names := []string{name}
	for _, alias := range def.Aliases {
		names = append(names, ioc.opts.Prefix+alias)
	}
	ioc.mu.Lock()
	defer ioc.mu.Unlock()
	r, err := newRecord(def, name, ioc.meta)
	if err != nil {
		return fmt.Errorf("add record %q: %w", name, err)
	}
	if ioc.running && def.Rate > 0 {
		return fmt.Errorf("add record %q: periodic records are added before the IOC runs", name)
	}
	for i, n := range names {
		if err := ioc.checkNew(n, names[:i]); err != nil {
			return fmt.Errorf("add record %q: %w", name, err)
		}
	}
	for _, n := range names {
		ioc.names[n] = r
	}
	ioc.meta = r.main.cur.meta
	ioc.records = append(ioc.records, r)
	return nil
}

// checkNew refuses a full name that cannot be served. The caller holds ioc.mu.
func (ioc *IOC) checkNew(name string, others []string) error {
	switch {
	case len(name) > maxNameBytes || strings.Contains(name, "."):
		return fmt.Errorf("%q: prefix and name have no dot and at most %d bytes", name, maxNameBytes)
	case ioc.names[name] != nil || slices.Contains(others, name):
		return fmt.Errorf("there is one of the name %q", name)
	}
	return nil
}

// Names are the names of all records with the prefix, in the order they were
// added; without aliases.
func (ioc *IOC) Names() []string {
	ioc.mu.RLock()
	defer ioc.mu.RUnlock()
	names := make([]string, len(ioc.records))
	for i, r := range ioc.records {
		names[i] = r.name
	}
	return names
}

// find gives what a channel name stands for, nil if it is not served.
func (ioc *IOC) find(name string) *variable {
	base, field, _ := strings.Cut(name, ".")
	ioc.mu.RLock()
	r := ioc.names[base]
	ioc.mu.RUnlock()
	if r == nil {
		return nil
	}
	return r.channel(field)
}

// Run serves until ctx ends and then closes all circuits; it binds the sockets
// if Listen was not called. All periodic records are processed once before the
// first client is answered, so none is found undefined.
func (ioc *IOC) Run(ctx context.Context) error {
	if ioc.tcp == nil {
		if err := ioc.Listen(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rings := ioc.rings()
	var wg sync.WaitGroup
	wg.Go(func() { ioc.scan(ctx, rings) })
	wg.Go(func() { ioc.searchLoop(ioc.udp) })
	wg.Go(func() { ioc.sendBeacons(ctx) })
	wg.Go(func() {
		<-ctx.Done()
		ioc.close()
	})
	err := ioc.acceptLoop(&wg)
	cancel()
	wg.Wait()
	return err
}

// rings sorts the periodic records by rate and processes each once.
func (ioc *IOC) rings() []*ring {
	ioc.mu.Lock()
	ioc.running = true
	records := ioc.records
	ioc.mu.Unlock()
	byRate := make(map[float64]*ring)
	var all []*ring
	var w wakes
	for _, rec := range records {
		if rec.def.Rate == 0 {
			continue
		}
		r := byRate[rec.def.Rate]
		if r == nil {
			r = newRing(rec.def.Rate)
			byRate[rec.def.Rate] = r
			all = append(all, r)
		}
		r.records = append(r.records, rec)
		ioc.process(rec, time.Now().UnixNano(), &w)
	}
	return all
}

// acceptLoop takes circuits until the listener closes.
func (ioc *IOC) acceptLoop(wg *sync.WaitGroup) error {
	for {
		conn, err := ioc.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			// Out of descriptors or a peer that left the queue: the next
			// accept may work, a busy loop would not help it.
			ioc.log.Warn("circuit not accepted", "err", err)
			time.Sleep(acceptPause)
			continue
		}
		c := newClient(ioc, conn)
		if !ioc.admit(c) {
			conn.Close()
			continue
		}
		wg.Go(func() { ioc.serve(c) })
	}
}

const acceptPause = 50 * time.Millisecond

func (ioc *IOC) admit(c *client) bool {
	ioc.mu.Lock()
	defer ioc.mu.Unlock()
	if !ioc.closed {
		ioc.clients[c] = struct{}{}
	}
	return !ioc.closed
}

// serve runs one circuit: the writer beside, the reader here.
func (ioc *IOC) serve(c *client) {
	written := make(chan struct{})
	go func() {
		c.writeLoop()
		close(written)
	}()
	if err := c.readLoop(); err != nil {
		ioc.log.Warn("circuit closed", "client", c.conn.RemoteAddr(), "err", err)
	}
	c.end()
	<-written
	ioc.mu.Lock()
	delete(ioc.clients, c)
	ioc.mu.Unlock()
}

// close shuts the sockets and all circuits.
func (ioc *IOC) close() {
	ioc.mu.Lock()
	ioc.closed = true
	records := ioc.records
	ioc.mu.Unlock()
	for _, r := range records {
		r.puts.stop()
	}
	ioc.tcp.Close()
	ioc.udp.Close()
	ioc.DisconnectAll()
}

// DisconnectAll closes all circuits, as a crash of the IOC does. Clients may
// come back at once.
func (ioc *IOC) DisconnectAll() {
	ioc.mu.RLock()
	defer ioc.mu.RUnlock()
	for c := range ioc.clients {
		c.kill()
	}
}

// Stats are counts since New.
type Stats struct {
	Clients     int   // circuits now
	Updates     int64 // updates queued for clients
	Overwritten int64 // updates that a newer one replaced, because the client was slow or had paused
	Skipped     int64 // processings left out because the scan was more than a second late
}

// Stats tells how the IOC fares.
func (ioc *IOC) Stats() Stats {
	ioc.mu.RLock()
	defer ioc.mu.RUnlock()
	return Stats{Clients: len(ioc.clients), Updates: ioc.updates.Load(), Overwritten: ioc.overwritten.Load(), Skipped: ioc.skipped.Load()}
}

// PutOption states what [IOC.Put] would else choose.
type PutOption func(*posting)

// WithTime states the stamp, legal or not, later than the last or not. It must
// lie between 1990 and 2126.
func WithTime(t schema.Time) PutOption {
	return func(p *posting) { p.time, p.stated = t, true }
}

// WithAlarm states severity and status; without it they follow from the
// record's limits.
func WithAlarm(severity, status int16) PutOption {
	return func(p *posting) { p.severity, p.status, p.alarm = severity, status, true }
}

// WithMask states the bits of the update: only subscriptions that ask for one
// of them get it. Without it they are VALUE and LOG, and ALARM if the alarm
// changed.
func WithMask(mask uint16) PutOption {
	return func(p *posting) { p.mask = mask }
}

// Put sets the value of a record by its full name and posts the update, also
// when the value is the same. x is as for [Record].Value. When Put returns, the
// update is queued for all clients.
func (ioc *IOC) Put(name string, x any, options ...PutOption) error {
	ioc.mu.RLock()
	r := ioc.names[name]
	ioc.mu.RUnlock()
	if r == nil {
		return fmt.Errorf("put %q: there is no such record", name)
	}
	v, err := encodeValue(r.def.Type, r.def.elements(), x)
	if err != nil {
		return fmt.Errorf("put %q: %w", name, err)
	}
	p := posting{value: v, clock: time.Now().UnixNano(), force: true}
	for _, option := range options {
		option(&p)
	}
	if p.stated && !onWire(p.time) {
		return fmt.Errorf("put %q: Channel Access has no stamp %v, only 1990 to 2126", name, p.time)
	}
	var w wakes
	r.post(&p, &w)
	w.flush()
	return nil
}
