package registry

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pvlog/schema"
)

// clock is a time that only moves when it is told to.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

// A request that has a time limit is given up by an event of pvlog's own when
// it has not connected by then; one that has connected stays.
func TestRequestsAreGivenUpInTime(t *testing.T) {
	log, c := newMemLog(), &clock{}
	c.advance(1e18)
	timed := func(r *Registry) { r.now = c.now }
	dir := t.TempDir()
	r := start(t, dir, log, soon, timed)
	begin := c.now()
	limit := func(pv schema.PVName, d time.Duration) Request {
		return Request{PV: pv, Expires: begin.Add(d)}
	}
	ok(t, r.Archive(ctx, operator, limit("E:1", time.Hour), limit("E:2", 2*time.Hour), limit("E:up", time.Hour), limit("E:gone", time.Hour), Request{PV: "E:ever"}))
	ok(t, r.AddAlias(ctx, operator, Alias{"E:alias", "E:1"}))
	ok(t, r.Started(ctx, operator, Discovery{PV: "E:up", Type: schema.ScalarInt, Count: 1}))
	ok(t, r.Pause(ctx, operator, "E:gone"))
	ok(t, r.Delete(ctx, operator, false, "E:gone"))
	c.advance(time.Hour - 1)
	r.expire(ctx)
	if r.state("E:1") != schema.Archiving {
		t.Error("given up too soon")
	}
	c.advance(1)
	r.until("E:1 is given up", func() bool { return r.state("E:1") == "none" })
	seq, e := r.newest("E:1")
	if e.GetDeleted() == nil || e.GetActor() != "pvlog" || e.GetReason() != "did not connect within 1h0m0s" || e.GetDeleted().GetData() {
		t.Errorf("%v", e)
	}
	if len(r.Aliases()) != 0 {
		t.Errorf("%v", r.Aliases())
	}
	ok(t, []Result{r.Undo(ctx, operator, seq)}) // without a limit: it would end at once again
	r.stop()
	c.advance(time.Hour)
	r = start(t, dir, log, soon, timed)
	r.until("E:2 is given up after a restart", func() bool { return r.state("E:2") == "none" })
	r.expire(ctx)
	for _, pv := range []schema.PVName{"E:1", "E:up", "E:ever"} {
		if r.state(pv) != schema.Archiving {
			t.Errorf("%s is %s", pv, r.state(pv))
		}
	}
	r.verified()
}

// Many whose time is over at once go in batches.
func TestManyRequestsAreGivenUp(t *testing.T) {
	log, c := newMemLog(), &clock{}
	r := start(t, t.TempDir(), log, soon, func(r *Registry) { r.now = c.now })
	const n = 3000
	requests := make([]Request, n)
	for i := range requests {
		requests[i] = Request{PV: schema.PVName(fmt.Sprintf("E:%d", i)), Expires: c.now().Add(time.Duration(1+i) * time.Second)}
	}
	ok(t, r.Archive(ctx, operator, requests...))
	c.advance((n - 1) * time.Second)
	r.until("all but one are given up", func() bool { return len(r.All()) <= 1 })
	if r.state("E:2999") != schema.Archiving {
		t.Error("the last one is gone too")
	}
	r.verified()
}
