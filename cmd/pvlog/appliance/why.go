package appliance

import (
	"context"
	"fmt"
	"time"

	"pvlog/consumers/archive"
	"pvlog/consumers/registry"
	"pvlog/consumers/web"
	"pvlog/ingest"
	"pvlog/ingest/caclient"
	"pvlog/schema"
	"pvlog/streams"
)

// evidence is what the parts know of a PV at one moment.
type evidence struct {
	now     time.Time
	asked   string
	pv      schema.PVName // that the name stands for
	nameErr error

	found registry.Found
	known bool // found is

	state   ingest.ChannelState
	running bool // state is
	trace   caclient.Trace
	traced  bool // trace is

	newest   uint64 // message of the PV in SAMPLES
	newestAt time.Time
	logged   bool // newest is
	logErr   error

	status   archive.Status
	archived bool // status is
	waiting  int  // samples in the archive's buffer
	health   archive.Health

	spaces []web.Space // of the stores

	drops    []streams.StoredDrop // the newest, oldest first
	dropsErr error
	futures  []archive.Future
}

// probeWait is how long an IOC may take to answer for a PV that is not
// archived.
const probeWait = 3 * time.Second

// why gathers the evidence and walks the way of a PV's samples.
func (a *Appliance) why(ctx context.Context, name string) (web.Diagnosis, error) {
	e := evidence{now: time.Now(), asked: name, health: a.archive.Health(), spaces: a.spaces()}
	if e.pv, e.nameErr = schema.ParsePVName(name); e.nameErr == nil {
		if e.found, e.known = a.registry.Resolve(e.pv); e.known {
			e.pv = e.found.Info.PV
		}
		a.look(ctx, &e)
	}
	if err := ctx.Err(); err != nil {
		return web.Diagnosis{}, fmt.Errorf("find out about %q: %w", name, err)
	}
	return diagnose(&e), nil
}

// look asks the parts.
func (a *Appliance) look(ctx context.Context, e *evidence) {
	e.state, e.running = a.engine.State(e.pv)
	if e.trace, e.traced = a.engine.Trace(e.pv); !e.traced && !e.known {
		within, cancel := context.WithTimeout(ctx, probeWait)
		e.trace, e.traced = a.engine.Probe(within, e.pv), true
		cancel()
	}
	e.newest, e.newestAt, e.logged, e.logErr = a.streams.Samples().Newest(ctx, e.pv)
	if e.status, _ = a.archive.Status(e.pv); !e.status.Last.IsZero() {
		e.archived = true
		e.waiting = len(a.archive.Tail(e.pv))
	}
	e.futures = a.archive.Futures(e.pv)
	e.drops, e.dropsErr = a.streams.Drops().List(ctx, streams.DropFilter{PV: string(e.pv), Limit: 1})
}
