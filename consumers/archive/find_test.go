package archive

import (
	"testing"
	"time"

	"pvlog/schema"
	"pvlog/streams"
)

// buffered makes a PV's buffer of n samples, one a millisecond.
func buffered(n int) *pvFiles {
	f := &pvFiles{pv: "P", key: "P:"}
	for i := range n {
		at := after(10*time.Second + time.Duration(i)*time.Millisecond)
		s := double(at, float64(i))
		f.keep(hour, &s, at, &streams.Message{PV: "P", First: uint64(i + 1), Seq: uint64(i + 1)}, 0, nil)
	}
	return f
}

func TestEverySampleThatWaitsIsFoundAtItsInstantAndNoOther(t *testing.T) {
	for _, n := range []int{1, 2, 3, 100} {
		p := buffered(n).parts[0]
		for i := range n {
			at := after(10*time.Second + time.Duration(i)*time.Millisecond)
			event, ok := p.find(at)
			e, err := schema.ScanEvent(event)
			if !ok || err != nil || e.Time(p.year) != at {
				t.Errorf("of %d samples number %d is not found: %v, %v", n, i, ok, err)
			}
			for _, d := range []time.Duration{-1, 1} {
				if _, ok := p.find(schema.TimeOf(at.Go().Add(d))); ok {
					t.Errorf("of %d samples number %d is found %d ns beside its time", n, i, d)
				}
			}
		}
	}
}

// BenchmarkFindInABuffer is a redelivery over a full buffer: each sample is
// looked up in it.
func BenchmarkFindInABuffer(b *testing.B) {
	const n = 100_000
	p := buffered(n).parts[0]
	for i := 0; b.Loop(); i++ {
		if _, ok := p.find(after(10*time.Second + time.Duration(i%n)*time.Millisecond)); !ok {
			b.Fatal("a sample is not found")
		}
	}
}

// TestABurstIsNotKeptInMemory lets one PV send much once; its buffer must not
// wait for reuse as long as the process lives, that of an ordinary PV shall.
func TestABurstIsNotKeptInMemory(t *testing.T) {
	dir, log := t.TempDir(), newMemLog(t, 2000)
	for i := range 1000 {
		log.add("BURST", double(after(time.Duration(i)*time.Millisecond), 1))
	}
	log.add("CALM", double(after(0), 1))
	a := open(t, dir, log)
	work(t, a, log, 1, func() bool { return true })
	if f := a.known("BURST"); f.spare != nil {
		t.Errorf("%d bytes and %d notes are kept", cap(f.spare.lines), cap(f.spare.refs))
	}
	if f := a.known("CALM"); f.spare == nil {
		t.Error("the buffer of an ordinary PV is not reused")
	}
	run(t, a)
}
