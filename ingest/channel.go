package ingest

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// settings is what the registry says of a PV, as far as its channel needs it.
// A set is never changed, only replaced.
type settings struct {
	registered schema.DBRType
	generation uint64
	method     schema.SamplingMethod
	period     time.Duration
	least      time.Duration // distance of scanned samples, 0: every update
	deadband   float64       // 0: none

	driftPast, driftFuture time.Duration
	rateEvents             uint32 // events/s that it may have; 0: any number
	rateBytes              uint64 // bytes/s
	skipAliasCheck         bool   // what the IOC says of the PV's name does not matter
}

// settingsOf takes from opt what the PV leaves open.
func settingsOf(info *schema.TypeInfo, opt *Options) *settings {
	s := &settings{
		registered:  info.DBRType,
		generation:  info.Generation,
		method:      info.SamplingMethod,
		period:      info.SamplingPeriod,
		deadband:    info.Deadband,
		driftPast:   cmp.Or(info.DriftPast, opt.DriftPast),
		driftFuture: cmp.Or(info.DriftFuture, opt.DriftFuture),
		rateEvents:  cmp.Or(info.RateEvents, opt.RateEvents),
		rateBytes:   cmp.Or(info.RateBytes, opt.RateBytes),

		skipAliasCheck: info.SkipAliasCheck,
	}
	if s.method != schema.Monitor && s.period <= 0 {
		s.period = defaultPeriod
	}
	if s.method == schema.Scan {
		s.least = time.Duration(float64(s.period) * scanJitter)
	}
	return s
}

// known reports whether the PV has a registered type, without which no sample
// may be appended.
func (s *settings) known() bool { return s.registered.Valid() }

// Channel is one PV being archived: the handler of its CA channel. Idle until
// opened, then Connecting, Connected and Disconnected as its IOC comes and
// goes; it subscribes as soon as it is connected and its type is registered.
// Its exported methods are for caclient only.
type Channel struct {
	// set by newChannel, read-only
	pv      schema.PVName
	engine  *Engine
	ctx     context.Context // ends what waits in Append
	cancel  context.CancelFunc
	history *history

	settings atomic.Pointer[settings] // replaced by the engine, under mu
	closed   atomic.Bool              // once true no sample is begun

	// changed by the engine's goroutine, under mu
	link *caclient.Channel

	// guarded by mu, which is held for moments only
	mu         sync.Mutex
	connection Connection
	online     *caclient.Channel // the CA channel while connected
	info       caclient.Info
	subscribed bool
	discovery  *discovery // while connected and the type is not registered
	refresh    *discovery // properties that the registry is to be told of
	hangups    int        // connections that broke while metadata was asked for
	asked      time.Time  // when it subscribed
	patience   time.Duration
	reading    *reading      // nil: its value was never read periodically
	arrival    chan struct{} // not nil: is closed when it connects
	opened     time.Time
	since      time.Time
	restored   time.Time

	checking  atomic.Bool  // a nameCheck is planned or under way
	answered  atomic.Bool  // an update came since it subscribed
	repeats   atomic.Bool  // the first of them may tell a value that was read before
	lastEvent atomic.Int64 // Unix nanoseconds, 0: none since the last loss

	// guarded by sampling, which is held while a sample waits for the log
	sampling   sync.Mutex
	waveform   bool
	first      bool // no sample since the connect
	warned     bool // a transient error since the connect has been logged
	markers    markers
	properties properties
	fields     atomic.Pointer[fieldSet] // set by the engine's goroutine; nil while no archive field has a channel
	scanned    scanned
	band       *band      // nil until a deadband was applied
	allowed    *allowance // of the PV's rate; nil: it may have any
	straggler  *straggler // nil until an update was held
	queued     bool       // stands in the engine's stragglers
}

func newChannel(e *Engine, info *schema.TypeInfo, h *history) *Channel {
	c := &Channel{pv: info.PV, engine: e, history: h, connection: Idle}
	c.ctx, c.cancel = context.WithCancel(e.hard)
	c.markers.startup = true
	c.settings.Store(settingsOf(info, &e.opt))
	c.configureFields(info.ArchiveFields)
	return c
}

// open begins the search for the PV.
func (c *Channel) open() {
	c.mu.Lock()
	c.connection, c.opened = Connecting, time.Now()
	c.mu.Unlock()
	link := c.engine.opt.Client.Open(string(c.pv), c)
	c.mu.Lock()
	c.link = link
	c.mu.Unlock()
}

// configure replaces what the registry says. A channel whose type has just
// been registered subscribes, one whose method has changed asks for what the
// new one needs; the connection stays.
func (c *Channel) configure(info *schema.TypeInfo) {
	c.mu.Lock()
	set := settingsOf(info, &c.engine.opt)
	old := c.settings.Swap(set)
	then := c.resample(old, set)
	subscribe := c.claimSubscription()
	c.configureFields(info.ArchiveFields)
	if subscribe == nil && c.subscribed {
		c.connectFields(c.online)
	}
	c.mu.Unlock()
	then()
	if subscribe != nil {
		c.subscribe(subscribe)
	}
}

// claimSubscription gives the CA channel to whoever must subscribe now: once
// for each connection, when the type is registered. c.mu is held.
func (c *Channel) claimSubscription() *caclient.Channel {
	if c.online == nil || c.subscribed || c.closed.Load() || !c.settings.Load().known() {
		return nil
	}
	c.subscribed, c.discovery = true, nil
	c.asked, c.patience = time.Now(), silenceMin
	return c.online
}

// close ends the channel at once: what waits in Append is given up and counted.
// When it returns no sample of the channel can be appended any more.
func (c *Channel) close() {
	c.closed.Store(true)
	c.cancel()
	c.finish()
}

// finish waits for the sample that is being appended, after closed was set.
func (c *Channel) finish() {
	c.sampling.Lock()
	c.straggler = nil
	c.sampling.Unlock()
	c.cancel()
	c.closeFields()
	if c.link != nil {
		c.link.Close()
	}
}

// Connected begins a connection. A PV whose type is not registered yet is
// looked at first.
func (c *Channel) Connected(ch *caclient.Channel, info caclient.Info) {
	now := time.Now()
	c.beginSampling(now, info.Count != 1)
	subscribe, d, bare := c.arrive(ch, info, now)
	c.engine.fieldwork.sawConnection(now)
	c.engine.log.Debug("channel connected", slog.String("pv", string(c.pv)), slog.String("addr", info.Addr))
	switch {
	case subscribe != nil:
		c.subscribe(subscribe)
		if !bare {
			c.checkName()
		}
	case d != nil:
		c.engine.discoveries.begin(d, ch, info, now, bare)
	}
}

// arrive notes a connection and tells what comes next: to subscribe, or a first
// look at the PV, without questions if bare.
func (c *Channel) arrive(ch *caclient.Channel, info caclient.Info, now time.Time) (subscribe *caclient.Channel, d *discovery, bare bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enter(ch, info, now)
	subscribe = c.claimSubscription()
	if subscribe == nil && !c.closed.Load() {
		d = newDiscovery(c, info)
		c.discovery = d
	}
	return subscribe, d, c.hangups >= hangupsMax
}

// enter notes a connection. c.mu is held.
func (c *Channel) enter(ch *caclient.Channel, info caclient.Info, now time.Time) {
	c.connection, c.online, c.info, c.subscribed = Connected, ch, info, false
	c.answered.Store(false)
	c.repeats.Store(false)
	if c.arrival != nil {
		close(c.arrival)
		c.arrival = nil
	}
	if c.since.IsZero() {
		c.since = now
		c.engine.rates.begin(c.history, time.Since(epoch))
	} else {
		c.restored = now
	}
}

// beginSampling makes the next sample a first one, with markers.
func (c *Channel) beginSampling(now time.Time, waveform bool) {
	c.sampling.Lock()
	defer c.sampling.Unlock()
	c.waveform, c.first, c.warned = waveform, true, false
	if c.straggler != nil {
		c.straggler.earlier = true
	}
	c.markers.begin(c.history.lastDisconnect.Load(), now.Unix())
}

// Disconnected ends a connection.
func (c *Channel) Disconnected(_ *caclient.Channel, cause error) {
	c.mu.Lock()
	was := c.online != nil
	if d := c.discovery; d != nil && (d.open > 0 || d.broken) {
		c.hangups++
	}
	c.online, c.subscribed, c.discovery = nil, false, nil
	if c.reading != nil {
		c.reading.asked = time.Time{}
	}
	c.disconnectFields()
	if was {
		c.connection = Disconnected
	}
	c.mu.Unlock()
	c.lastEvent.Store(0)
	if !was || c.closed.Load() {
		return
	}
	c.history.sawDisconnect(time.Now())
	c.engine.metrics.disconnects.Inc()
	c.engine.log.Debug("channel disconnected", slog.String("pv", string(c.pv)), slog.Any("err", cause))
}

// transient counts an error after which the channel goes on (S39), and tells
// of the first one of each connection. c.sampling is held.
func (c *Channel) transient(err error) {
	c.history.transientErrors.Add(1)
	c.engine.metrics.transientErrors.Inc()
	if c.warned {
		return
	}
	c.warned = true
	c.engine.log.Warn("update cannot be archived; further ones of this connection are only counted",
		slog.String("pv", string(c.pv)), slog.Any("err", err))
}

// state is a snapshot for reports.
func (c *Channel) state() ChannelState {
	s := c.settings.Load()
	st := ChannelState{
		PV:        c.pv,
		LastEvent: timeOrZero(c.lastEvent.Load(), 1),
		Type:      s.registered,
		Method:    s.method,
		Period:    s.period,
		Counters:  c.history.counters(),
		Gate:      c.engine.gates.of(c.pv),
	}
	st.EventRate, st.ByteRate, st.Measured = c.engine.rates.of(c.history, time.Since(epoch))
	c.mu.Lock()
	defer c.mu.Unlock()
	st.Connection, st.Subscribed = c.connection, c.subscribed
	st.Opened, st.Since, st.Restored = c.opened, c.since, c.restored
	st.Host, st.Minor, st.Count = c.info.Addr, c.info.Minor, int(c.info.Count)
	return st
}

// connectionNow is the channel's state alone.
func (c *Channel) connectionNow() Connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connection
}
