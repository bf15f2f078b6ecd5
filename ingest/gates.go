package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"pvlog/schema"
)

// gates are the controlling PVs (Appliance: conditional archiving). Each is
// monitored once, however many PVs it controls and whether it is archived
// itself or not; its channel is its own, so that a PV may control itself. When
// its value becomes 0 the channels of its PVs are closed, when it leaves 0 they
// are opened as by a resume. The registry is told nothing of that.
type gates struct {
	// set by newGates, read-only
	engine *Engine
	wake   chan struct{} // holds one: a gate has turned

	// guarded by mu
	mu     sync.Mutex
	byName map[schema.PVName]*gate
	byPV   map[schema.PVName]*gate // of the PVs that are controlled and wanted
	turned []*gate                 // what their PVs must be made to agree with, each once
}

func newGates(e *Engine) *gates {
	return &gates{engine: e, wake: make(chan struct{}, 1),
		byName: make(map[schema.PVName]*gate), byPV: make(map[schema.PVName]*gate)}
}

// hold puts a PV under a controlling PV, "" for none, and tells whether it may
// be archived now.
func (g *gates) hold(pv, by schema.PVName) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old := g.byPV[pv]; old != nil && old.pv != by {
		g.drop(pv, old)
	}
	if by == "" {
		return true
	}
	is := g.byName[by]
	if is == nil {
		is = &gate{gates: g, pv: by, pvs: make(map[schema.PVName]struct{}), Gate: Gate{PV: by, Open: true, Since: time.Now()}}
		g.byName[by] = is
		// The handler takes mu, and is called by goroutines that hold nothing.
		is.link = g.engine.opt.Client.Open(string(by), is)
	}
	is.pvs[pv] = struct{}{}
	g.byPV[pv] = is
	return is.Open
}

// release lets a PV go.
func (g *gates) release(pv schema.PVName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if is := g.byPV[pv]; is != nil {
		g.drop(pv, is)
	}
}

// drop takes a PV from its gate, and closes the gate after the last. mu is held.
func (g *gates) drop(pv schema.PVName, from *gate) {
	delete(g.byPV, pv)
	delete(from.pvs, pv)
	if len(from.pvs) == 0 {
		delete(g.byName, from.pv)
		from.link.Close()
	}
}

// of is what the gate of a PV says.
func (g *gates) of(pv schema.PVName) Gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if is := g.byPV[pv]; is != nil {
		return is.Gate
	}
	return Gate{}
}

// len is the number of controlling PVs.
func (g *gates) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byName)
}

// close ends the channels of all controlling PVs.
func (g *gates) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, is := range g.byName {
		is.link.Close()
	}
}

// run opens and closes the channels of PVs whose gates turn, until ctx ends.
func (g *gates) run(ctx context.Context) {
	for ctx.Err() == nil {
		is, pvs := g.next()
		if is == nil {
			select {
			case <-ctx.Done():
			case <-g.wake:
			}
			continue
		}
		for _, pv := range pvs {
			if ctx.Err() != nil {
				return
			}
			g.engine.turn(pv)
		}
	}
}

// next takes a gate that has turned, with its PVs.
func (g *gates) next() (*gate, []schema.PVName) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.turned) == 0 {
		return nil, nil
	}
	is := g.turned[0]
	g.turned = slices.Delete(g.turned, 0, 1)
	is.listed = false
	pvs := make([]schema.PVName, 0, len(is.pvs))
	for pv := range is.pvs {
		pvs = append(pvs, pv)
	}
	return is, pvs
}

// turn makes the channel of a PV agree with its gate.
func (e *Engine) turn(pv schema.PVName) {
	e.settling.Lock()
	defer e.settling.Unlock()
	info := e.infos[pv]
	if info == nil || e.gates.of(pv).Open == (e.channels[pv] != nil) {
		return
	}
	e.calmly(pv, func() { e.place(pv, info) })
}

// admitted reports whether a PV is to have a channel, and notes why not.
// settling is held.
func (e *Engine) admitted(pv schema.PVName, info *schema.TypeInfo) bool {
	if info == nil || info.State != schema.Archiving {
		e.gates.release(pv)
		e.setGated(pv, nil)
		return false
	}
	open := e.gates.hold(pv, info.ControllingPV)
	if open {
		info = nil
	}
	e.setGated(pv, info)
	return open
}

func (e *Engine) setGated(pv schema.PVName, info *schema.TypeInfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if info == nil {
		delete(e.gated, pv)
	} else {
		e.gated[pv] = info
	}
}

// gatedState is the state of a PV whose channel its gate has closed; h may be
// nil.
func (e *Engine) gatedState(info *schema.TypeInfo, h *history) ChannelState {
	st := ChannelState{PV: info.PV, Connection: Idle, Type: info.DBRType, Method: info.SamplingMethod,
		Period: info.SamplingPeriod, Gate: e.gates.of(info.PV), Counters: Counters{Observed: schema.UnknownType}}
	if h != nil {
		st.Counters = h.counters()
	}
	return st
}
