package simioc

import (
	"sync"
	"time"

	"pvlog/ingest/ca"
)

// putWait is how long a second WRITE_NOTIFY on one channel holds up the reading
// of its circuit before the first is given up, as base does.
const putWait = time.Minute

// put is a WRITE_NOTIFY whose answer waits for the end of processing.
type put struct {
	client *client
	answer ca.Header
	value  value
	queue  *putQueue
	done   chan struct{} // closed when it is answered or given up
}

// putQueue is the processing of a record that takes its time: one at a time,
// and the puts that wait for it. A value is in the record at once; its update
// and the answer come at the end.
type putQueue struct {
	mu      sync.Mutex
	timer   *time.Timer // of the present processing
	active  bool
	stopped bool
	again   bool     // a WRITE came meanwhile: process once more
	told    *put     // who hears of the end, nil = nobody
	waiting []*put   // WRITE_NOTIFYs of other channels, oldest first
	before  snapshot // the state at the begin
}

// takesTime reports whether a write of type d is processed slowly.
func (ch *channel) takesTime(d ca.DBR) bool {
	return ch.variable.field == nil && ch.variable.record.def.Process > 0 && d != ca.DBRPutAckT && d != ca.DBRPutAckS
}

// writeSlowly begins the processing that a WRITE or WRITE_NOTIFY starts.
// waiting: the answer comes later.
func (c *client) writeSlowly(ch *channel, h ca.Header, payload []byte, w *wakes) (waiting bool, status uint32) {
	v := ch.variable
	state := v.snapshot()
	f := format{precision: state.meta.Precision, labels: state.meta.EnumStrings}
	val, err := v.wireValue(ca.DBR(h.DataType), int(min(h.Count, uint32(v.max))), payload, f)
	if err != nil {
		return false, ca.StatusPutFail
	}
	if h.Command == ca.CmdWrite {
		v.record.begin(val, nil)
		return false, ca.StatusNormal
	}
	if !c.awaitPut(ch, w) || ch.ended {
		return true, ca.StatusNormal
	}
	answer := ca.Header{Command: ca.CmdWriteNotify, DataType: h.DataType, Count: h.Count, P1: ca.StatusNormal, P2: h.P2}
	ch.put = &put{client: c, answer: answer, value: val, queue: &v.record.puts, done: make(chan struct{})}
	v.record.begin(val, ch.put)
	return true, ca.StatusNormal
}

// awaitPut waits until the channel's last WRITE_NOTIFY is answered or has
// taken too long, and lets others at the circuit's channels meanwhile. False:
// the circuit is over.
func (c *client) awaitPut(ch *channel, w *wakes) bool {
	p := ch.put
	if p == nil {
		return true
	}
	w.flush()
	c.signal()
	c.requests.Unlock()
	defer c.requests.Lock()
	timer := time.NewTimer(c.ioc.putWait)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-c.gone:
		return false
	case <-timer.C:
		if p.abandon() {
			late := p.answer
			late.P1 = ca.StatusPutInProgress
			c.push(ca.AppendHeader(nil, late))
		}
	}
	return true
}

// abandonPut gives up the channel's WRITE_NOTIFY without an answer.
func (ch *channel) abandonPut() {
	if ch.put != nil {
		ch.put.abandon()
		ch.put = nil
	}
}

// abandon takes a put out of the queue; its processing goes on if it has begun.
// False: it was answered before.
func (p *put) abandon() bool {
	q := p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-p.done:
		return false
	default:
	}
	close(p.done)
	if q.told == p {
		q.told = nil
		return true
	}
	for i, other := range q.waiting {
		if other == p {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			break
		}
	}
	return true
}

// begin starts the processing with a new value, or waits for the present one.
// p is who is told of the end, nil for a WRITE, which never waits.
func (r *record) begin(val value, p *put) {
	q := &r.puts
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.stopped:
	case !q.active:
		q.before = r.main.snapshot()
		r.start(val, p)
	case p == nil:
		r.main.hold(val)
		q.again = true
	default:
		q.waiting = append(q.waiting, p)
	}
}

// start begins a processing. The caller holds puts.mu.
func (r *record) start(val value, p *put) {
	r.main.hold(val)
	r.puts.active, r.puts.told = true, p
	r.puts.timer = time.AfterFunc(r.def.Process, r.finish)
}

// hold puts a value into the variable; its update comes when processing ends.
func (v *variable) hold(val value) {
	v.mu.Lock()
	v.cur.value = val
	v.mu.Unlock()
}

// finish is the end of a processing: the update, the answer, and the next one.
func (r *record) finish() {
	q := &r.puts
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return
	}
	var w wakes
	r.post(&posting{keep: true, clock: time.Now().UnixNano(), before: &q.before}, &w)
	if p := q.told; p != nil {
		p.client.push(ca.AppendHeader(nil, p.answer))
		close(p.done)
	}
	w.flush()
	q.active, q.told = false, nil
	q.before = r.main.snapshot()
	switch {
	case len(q.waiting) > 0:
		next := q.waiting[0]
		q.waiting, q.again = q.waiting[1:], false
		r.start(next.value, next)
	case q.again:
		q.again = false
		r.start(q.before.value, nil)
	}
}

// stop ends the processing of a record that goes out of service; nobody is
// told.
func (q *putQueue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	if q.timer != nil {
		q.timer.Stop()
	}
	for _, p := range append(q.waiting, q.told) {
		if p != nil {
			close(p.done)
		}
	}
	q.waiting, q.told = nil, nil
}
