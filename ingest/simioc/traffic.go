package simioc

import (
	"sync"
	"sync/atomic"
	"time"
)

// traffic is what a test does to the network side of an IOC while its records
// go on.
type traffic struct {
	mu    sync.Mutex                    // of changes
	wedge atomic.Pointer[chan struct{}] // not nil: circuits wait until it is closed
	quiet atomic.Bool                   // no search is answered, no beacon sent
	rate  atomic.Int64                  // bytes per second of each circuit, 0 = no bound
}

// silent reports whether nothing at all is answered.
func (t *traffic) silent() bool { return t.quiet.Load() }

// hold stops all circuits, or lets them go on.
func (t *traffic) hold(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held := t.wedge.Load()
	switch {
	case on && held == nil:
		c := make(chan struct{})
		t.wedge.Store(&c)
	case !on && held != nil:
		t.wedge.Store(nil)
		close(*held)
	}
}

// chunk cuts n bytes to what a slow circuit sends at once, and says how long
// that takes it.
func (t *traffic) chunk(n int) (int, time.Duration) {
	rate := t.rate.Load()
	if rate <= 0 {
		return n, 0
	}
	n = min(n, int(max(1, rate/10)))
	return n, time.Duration(n) * time.Second / time.Duration(rate)
}

// pass waits for pause and while circuits are held. False: the circuit is over.
func (t *traffic) pass(gone <-chan struct{}, pause time.Duration) bool {
	if pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-gone:
			return false
		}
	}
	for held := t.wedge.Load(); held != nil; held = t.wedge.Load() {
		select {
		case <-*held:
		case <-gone:
			return false
		}
	}
	return true
}

// Wedge stops the reading and writing of all circuits, which stay open, as
// those of an IOC whose network threads hang; false lets them go on. Searches
// are answered and records processed all the while.
func (ioc *IOC) Wedge(on bool) { ioc.traffic.hold(on) }

// Silence stops all that clients hear: circuits as [IOC.Wedge] does, answers
// to searches and beacons. That is an IOC whose host is off the network.
func (ioc *IOC) Silence(on bool) {
	ioc.traffic.quiet.Store(on)
	ioc.traffic.hold(on)
}

// SlowTo bounds what each circuit sends to so many bytes per second; 0 is no
// bound.
func (ioc *IOC) SlowTo(bytesPerSecond int) { ioc.traffic.rate.Store(int64(max(bytesPerSecond, 0))) }
