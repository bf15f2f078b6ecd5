package simioc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// host is one IOC of a scenario through all its restarts.
type host struct {
	name  string
	opts  Options     // records included, as the next start has them
	first []beginning // of the records

	// guarded by mu
	mu      sync.Mutex
	ioc     *IOC               // the one that runs or ran last
	ctx     context.Context    // of the one that runs
	end     context.CancelFunc // nil while none runs
	stopped bool               // for good
	pause   time.Duration      // before the next start
	until   map[string]time.Time
}

// beginning is what a record has from the start beside its Record.
type beginning struct {
	rights uint32
	alarm  *alarm
}

var errDown = errors.New("the IOC is down")

// listen makes an IOC and binds it. From then on it keeps its port.
func (h *host) listen() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ioc := New(h.opts)
	for i, r := range h.opts.Records {
		name := h.opts.Prefix + r.Name
		if err := ioc.SetAccess(name, h.first[i].rights); err != nil {
			return err
		}
		if a := h.first[i].alarm; a != nil {
			if err := ioc.SetAlarm(name, a.severity, a.status); err != nil {
				return err
			}
		}
	}
	if err := ioc.Listen(); err != nil {
		return err
	}
	h.ioc, h.opts.Listen = ioc, ioc.Addr()
	return nil
}

// begin makes the listening IOC one that runs and can be shut.
func (h *host) begin(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ctx, h.end = context.WithCancel(ctx)
	h.until = make(map[string]time.Time)
}

// run serves until ctx ends or the IOC is stopped for good. It has begun.
func (h *host) run(ctx context.Context) error {
	for {
		if err := h.runOnce(); err != nil || ctx.Err() != nil {
			return err
		}
		h.mu.Lock()
		stopped, pause := h.stopped, h.pause
		h.mu.Unlock()
		if stopped {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err := h.listen(); err != nil {
			return fmt.Errorf("restart IOC %q: %w", h.name, err)
		}
		h.begin(ctx)
	}
}

func (h *host) runOnce() error {
	h.mu.Lock()
	ioc, ctx := h.ioc, h.ctx
	h.mu.Unlock()
	return ioc.Run(ctx)
}

// shut ends the running IOC: for good, or to start again after pause.
func (h *host) shut(pause time.Duration, stop bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = h.stopped || stop
	if h.end == nil {
		return errDown
	}
	h.pause = pause
	h.end()
	h.end = nil
	return nil
}

// now gives the running IOC.
func (h *host) now() (*IOC, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil {
		return nil, errDown
	}
	return h.ioc, nil
}

// lasts notes that what an action did lasts so long from now, unless an
// earlier one lasts longer.
func (h *host) lasts(what string, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if end := time.Now().Add(d); h.until != nil && end.After(h.until[what]) {
		h.until[what] = end
	}
}

// over reports whether nothing keeps up what an action did.
func (h *host) over(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.until[what].After(time.Now())
}

// index finds a record by its name or an alias without prefix, -1 if it is not
// here.
func (h *host) index(name string) int {
	return slices.IndexFunc(h.opts.Records, func(r Record) bool { return r.Name == name || slices.Contains(r.Aliases, name) })
}

// replace changes a record, now and at every later start.
func (h *host) replace(def Record) error {
	h.mu.Lock()
	h.opts.Records = slices.Clone(h.opts.Records) // the IOC that runs holds the old ones
	h.opts.Records[h.index(def.Name)] = def
	h.mu.Unlock()
	ioc, err := h.now()
	if err != nil {
		return nil // the next start has it
	}
	return ioc.Replace(def)
}

// label names the host in messages.
func (h *host) label() string { return strings.TrimSpace(h.name + " " + h.opts.Prefix) }
