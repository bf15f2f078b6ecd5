package ca

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestEveryStateOfACircuitEnds walks all states by silence alone: each has a
// limit, and within the sum of the limits the circuit is lost.
func TestEveryStateOfACircuitEnds(t *testing.T) {
	for from := CircuitFresh; from <= CircuitUnresponsive; from++ {
		t.Run(from.String(), func(t *testing.T) {
			c := NewCircuit(CircuitOptions{}, start)
			c.enter(from, start)
			now := start
			seen := map[CircuitState]bool{}
			for c.State() != CircuitLost {
				if seen[c.State()] {
					t.Fatalf("%v comes round again without a word of the server", c.State())
				}
				seen[c.State()] = true
				due := c.Deadline()
				if !due.After(now) || due.Sub(now) > time.Minute {
					t.Fatalf("%v has a limit of %v", c.State(), due.Sub(now))
				}
				if before := due.Add(-1); len(c.Tick(before)) > 0 {
					t.Fatalf("%v ends before its limit", c.State())
				}
				now = due
				if len(c.Tick(now)) != 1 {
					t.Fatalf("nobody is told that the limit is over")
				}
			}
		})
	}
}

// TestAWordOfTheServerEndsEverySuspicion: from every state but the last, bytes
// lead to quiet, and only an unresponsive circuit has channels to revive.
func TestAWordOfTheServerEndsEverySuspicion(t *testing.T) {
	for from := CircuitFresh; from < CircuitLost; from++ {
		c := NewCircuit(CircuitOptions{}, start)
		c.enter(from, start)
		if revived := c.Heard(start.Add(time.Second)); revived != (from == CircuitUnresponsive) || c.State() != CircuitQuiet {
			t.Errorf("%v leads to %v, revived %v", from, c.State(), revived)
		}
	}
	c := NewCircuit(CircuitOptions{}, start)
	c.enter(CircuitLost, start)
	if c.Heard(start); c.State() != CircuitLost {
		t.Errorf("a lost circuit became %v", c.State())
	}
}

// TestCircuitsAreReportedConsistently drives random bytes, time and beacons:
// unresponsive is told once, revived only after it, lost only once and last.
func TestCircuitsAreReportedConsistently(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		c := NewCircuit(CircuitOptions{}, start)
		now, unresponsive := start, false
		for range 60 {
			now = now.Add(time.Duration(random.Int64N(int64(20 * time.Second))))
			if random.IntN(4) == 0 {
				if revived := c.Heard(now); revived != unresponsive {
					t.Fatalf("revived %v, unresponsive before %v", revived, unresponsive)
				}
				unresponsive = false
			}
			c.Beacon(now, Verdict(random.IntN(4)))
			for _, e := range c.Tick(now) {
				if e.Kind == EventUnresponsive {
					if unresponsive {
						t.Fatal("told twice")
					}
					unresponsive = true
				}
			}
			if c.State() == CircuitLost {
				break
			}
			if c.Unresponsive() != unresponsive {
				t.Fatalf("%v, but told unresponsive %v", c.State(), unresponsive)
			}
		}
	}
}
