package caclient_test

import (
	"bytes"
	"sync/atomic"
	"testing"

	"pvlog/ingest/caclient"
)

// flooded is a handler that only counts.
type flooded struct {
	*recorder
	updates atomic.Int64
}

func (f *flooded) Update(*caclient.Channel, caclient.Update) { f.updates.Add(1) }

// TestRow60AFloodIsFairToOthers: while one PV sends a million updates as fast
// as they are taken, a PV of another server and one behind it on the same
// circuit get theirs, and nothing piles up here.
func TestRow60AFloodIsFairToOthers(t *testing.T) {
	const million = 1_000_000
	flooding, calm := newServer(t, only("FLOOD", "SAME")), newServer(t, only("OTHER"))
	client := run(t, caclient.Options{}, flooding.addr(), calm.addr())
	flood := &flooded{recorder: newRecorder()}
	client.Open("FLOOD", flood)
	c := take(t, flooding.conns, "circuit")
	c.send(greeting())
	_, add := c.accept(t, 1, flood.recorder)
	same, other := newRecorder(), newRecorder()
	client.Open("SAME", same)
	_, sameAdd := c.accept(t, 2, same)
	client.Open("OTHER", other)
	d := take(t, calm.conns, "circuit")
	d.send(greeting())
	_, otherAdd := d.accept(t, 1, other)

	before := heapInUse()
	wave := bytes.Repeat(updated(add.P2, 1), 1000)
	wanted := make(chan float64, million/100_000)
	flooding.wg.Go(func() {
		defer close(wanted)
		for n := range million / 1000 {
			c.send(wave)
			if n%100 == 99 {
				c.send(updated(sameAdd.P2, float64(n)))
				wanted <- float64(n)
			}
		}
	})
	rounds := 0
	for want := range wanted {
		rounds++
		d.send(updated(otherAdd.P2, want)) // while the next waves are on their way
		if v := other.value(t); v != want {
			t.Errorf("the other server's PV has %v, want %v", v, want)
		}
		if v := same.value(t); v != want {
			t.Errorf("the PV on the same circuit has %v, want %v", v, want)
		}
	}
	waitFor(t, "a million updates", func() bool { return flood.updates.Load() == million })
	if grown := heapInUse() - before; grown > 16<<20 {
		t.Errorf("%d bytes more", grown)
	}
	if rounds != 10 || len(flood.disconnected)+len(same.disconnected)+len(other.disconnected) != 0 {
		t.Errorf("%d rounds, and circuits were lost", rounds)
	}
}
