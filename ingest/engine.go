package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// Engine keeps the channels of all PVs that are to be archived.
type Engine struct {
	// set by New, read-only
	opt         Options
	log         *slog.Logger
	metrics     *metrics
	discoveries *discoveries
	stragglers  *timetable // held updates that become due
	reads       *timetable // values that are read once a period
	gates       *gates
	rates       rates
	get         func(c *caclient.Channel, t ca.DBR, count uint32, done func(caclient.Update, error))
	fieldwork   *fieldwork
	buffers     sync.Pool // of *[]byte: one for each circuit that is decoding

	// set by Run before anything else
	hard context.Context // ends what waits in Append, when Run has waited long enough

	// settling is held while the channel of one PV is made to agree with what
	// the registry and its controlling PV say. It guards infos, and without it mu
	// is taken for reading alone.
	settling sync.Mutex
	infos    map[schema.PVName]*schema.TypeInfo // every registered PV

	fieldMonitors atomic.Int64 // of archive fields, in all channels

	cursor atomic.Uint64 // newest event of the registry that has taken effect; set by Run's goroutine

	// guarded by mu, changed with settling held
	mu        sync.RWMutex
	channels  map[schema.PVName]*Channel
	histories map[schema.PVName]*history
	gated     map[schema.PVName]*schema.TypeInfo // PVs whose gate is shut
}

// New checks opt and makes an engine. It touches nothing outside.
func New(opt Options) (*Engine, error) {
	if opt.Client == nil || opt.Append == nil || opt.Follow == nil || opt.Initial == nil || opt.Started == nil {
		return nil, errors.New("make ingest engine: Client, Append, Follow, Initial and Started are needed")
	}
	if badWindow(opt.DriftPast) || badWindow(opt.DriftFuture) || opt.Mask > 255 {
		return nil, fmt.Errorf("make ingest engine: drift windows %v and %v must be whole seconds, mask %d at most 255",
			opt.DriftPast, opt.DriftFuture, opt.Mask)
	}
	opt = opt.withDefaults()
	e := &Engine{
		opt:        opt,
		log:        opt.Logger,
		stragglers: newTimetable((*Channel).release),
		reads:      newTimetable((*Channel).read),
		get:        (*caclient.Channel).GetAsync,
		fieldwork:  newFieldwork(),
		buffers:    sync.Pool{New: func() any { return new([]byte) }},
		infos:      make(map[schema.PVName]*schema.TypeInfo),
		channels:   make(map[schema.PVName]*Channel),
		histories:  make(map[schema.PVName]*history),
		gated:      make(map[schema.PVName]*schema.TypeInfo),
	}
	e.discoveries, e.gates = newDiscoveries(e), newGates(e)
	var err error
	if e.metrics, err = newMetrics(opt.Registerer, e); err != nil {
		return nil, fmt.Errorf("make ingest engine: %w", err)
	}
	return e, nil
}

// badWindow reports whether a drift window would not arrive whole: envelopes
// hold it in seconds.
func badWindow(d time.Duration) bool { return d < 0 || d%time.Second != 0 }

// Run opens the channels of all PVs in state archiving and follows the
// registry until ctx ends. It returns nil, and when it returns no sample can be
// appended any more: what had been received was appended, or, if the log found
// no room within Options.Drain, counted as dropped. Counters that could not be
// written are a warning: a full disk must not make an orderly end a failure.
func (e *Engine) Run(ctx context.Context) error {
	hard, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	e.hard = hard
	var timers sync.WaitGroup
	timers.Go(func() { e.discoveries.run(ctx) })
	timers.Go(func() { e.stragglers.run(ctx) })
	timers.Go(func() { e.reads.run(ctx) })
	timers.Go(func() { e.fieldwork.run(ctx) })
	timers.Go(func() { e.watchSilence(ctx) })
	timers.Go(func() { e.keepRates(ctx) })
	e.restore(ctx)
	timers.Go(func() { e.keepCounters(ctx) })
	var gates sync.WaitGroup
	gates.Go(func() { e.gates.run(ctx) })
	e.follow(ctx)
	gates.Wait() // no channel is opened any more
	e.gates.close()
	e.closeAll(giveUp)
	timers.Wait()
	if e.opt.CountersFile == "" {
		return nil
	}
	if err := e.saveCounters(); err != nil {
		e.log.Warn("the PVs' counters could not be kept; the next start begins with older ones", slog.Any("err", err))
	}
	return nil
}

// closeAll lets no channel begin another sample, gives those that are waiting
// for the log some time, and closes.
func (e *Engine) closeAll(giveUp func()) {
	channels := e.running()
	for _, c := range channels {
		c.closed.Store(true)
	}
	timer := time.AfterFunc(e.opt.Drain, giveUp)
	defer timer.Stop()
	for _, c := range channels {
		c.finish()
	}
	e.log.Info("channels closed", slog.Int("pvs", len(channels)))
}

// running are all channels of this moment.
func (e *Engine) running() []*Channel {
	e.mu.RLock()
	defer e.mu.RUnlock()
	all := make([]*Channel, 0, len(e.channels))
	for _, c := range e.channels {
		all = append(all, c)
	}
	return all
}

// Applied is the sequence of the newest registry event that has taken effect:
// a channel that it paused appends nothing any more.
func (e *Engine) Applied() uint64 { return e.cursor.Load() }

// State is what is known of a PV's channel; false if it has none, because the
// PV is not registered, paused or stopped. A PV whose channel its controlling
// PV has closed is Idle, and Gate tells.
func (e *Engine) State(pv schema.PVName) (ChannelState, bool) {
	e.mu.RLock()
	c, info, h := e.channels[pv], e.gated[pv], e.histories[pv]
	e.mu.RUnlock()
	switch {
	case c != nil:
		return c.state(), true
	case info != nil:
		return e.gatedState(info, h), true
	}
	return ChannelState{}, false
}

// States are the states of all channels, by name.
func (e *Engine) States() []ChannelState {
	channels := e.running()
	states := make([]ChannelState, len(channels))
	for i, c := range channels {
		states[i] = c.state()
	}
	slices.SortFunc(states, func(a, b ChannelState) int { return cmp.Compare(a.PV, b.PV) })
	return states
}

// Counters are a registered PV's counts, whether its channel is running or
// not; false for a PV that was never archived by this run.
func (e *Engine) Counters(pv schema.PVName) (Counters, bool) {
	e.mu.RLock()
	h := e.histories[pv]
	e.mu.RUnlock()
	if h == nil {
		return Counters{}, false
	}
	return h.counters(), true
}

// Counts are the numbers of channels by state of their connection.
func (e *Engine) Counts() Counts {
	e.mu.RLock()
	defer e.mu.RUnlock()
	n := Counts{Gated: len(e.gated)}
	for _, c := range e.channels {
		n.add(c.connectionNow())
	}
	return n
}
