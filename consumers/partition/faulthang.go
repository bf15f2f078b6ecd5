package partition

import "sync"

// hang is a step that does not return until it is released.
type hang struct {
	op       Op
	begun    chan struct{} // closed when a step waits
	released chan struct{}
	once     sync.Once
}

// Hang lets every step of a kind wait, as a disk does that answers no more,
// until release is called. begun is closed when the first of them waits.
func (f *FaultFS) Hang(op Op) (begun <-chan struct{}, release func()) {
	h := &hang{op: op, begun: make(chan struct{}), released: make(chan struct{})}
	f.mu.Lock()
	f.hang = h
	f.mu.Unlock()
	return h.begun, sync.OnceFunc(func() {
		f.mu.Lock()
		f.hang = nil
		f.mu.Unlock()
		close(h.released)
	})
}

// hold waits if the step hangs.
func (f *FaultFS) hold(op Op) {
	f.mu.Lock()
	h := f.hang
	f.mu.Unlock()
	if h == nil || h.op != op && h.op != OpAny {
		return
	}
	h.once.Do(func() { close(h.begun) })
	<-h.released
}
