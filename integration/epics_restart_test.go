package integration

import (
	"testing"
	"time"
)

// inFlight is how long before a kill -9 an update must have reached the
// witness to be in the log for certain: pvlog's own promise at low load is
// that a sample is published at once, the rest is the machine's.
const inFlight = time.Second

// TestEpicsIOCRestartLosesNothing kills the IOC and starts it again.
func TestEpicsIOCRestartLosesNothing(t *testing.T) {
	r := newRig(t)
	r.pvlog.start()
	began := time.Now()
	r.archive()
	r.beginSpan()
	r.waitForSamples(began.Add(8 * time.Second))
	for range 2 {
		r.endSpan(inFlight)
		r.restartIOC()
		r.beginSpan()
		r.waitForSamples(time.Now().Add(5 * time.Second))
	}
	r.endSpan(0)
	drops := r.settle()
	_, stored := r.finish(drops)
	if markers := reconnections(stored[epicsTicker]); markers != 2 {
		t.Errorf("%s: %d samples carry the marker of a lost connection, want 2", epicsTicker, markers)
	}
}

// reconnections counts the samples that say that the connection was lost and
// regained, those of a start of pvlog left out.
func reconnections(samples []sample) int {
	n := 0
	for _, s := range samples {
		if s.fields["cnxregainedepsecs"] != "" && s.fields["startup"] != "true" {
			n++
		}
	}
	return n
}

// TestEpicsKillLosesNothingAcknowledged kills pvlog with SIGKILL, several
// times, while the IOC goes on.
func TestEpicsKillLosesNothingAcknowledged(t *testing.T) {
	r := newRig(t)
	r.pvlog.start()
	began := time.Now()
	r.archive()
	r.beginSpan()
	r.waitForSamples(began.Add(5 * time.Second))
	for range 4 {
		r.endSpan(inFlight)
		r.pvlog.kill()
		r.pvlog.start()
		r.beginSpan()
		r.waitForSamples(time.Now().Add(4 * time.Second))
	}
	r.endSpan(0)
	drops := r.settle()
	r.finish(drops)
}

// TestEpicsRestartIsClean stops pvlog with SIGTERM: what it had received is in
// the files then, without a restart, and it goes on archiving by itself.
func TestEpicsRestartIsClean(t *testing.T) {
	r := newRig(t)
	r.pvlog.start()
	began := time.Now()
	r.archive()
	r.beginSpan()
	r.waitForSamples(began.Add(5 * time.Second))
	for range 2 {
		r.endSpan(inFlight)
		r.pvlog.stop()
		last := r.spans[len(r.spans)-1].to
		if samples := readStore(t, r.pvlog.data+"/stores/STS")[epicsTicker]; len(samples) == 0 || samples[len(samples)-1].at.Go().Before(last.Add(-time.Second)) {
			t.Errorf("after SIGTERM the files of %s end before %v", epicsTicker, last)
		}
		r.pvlog.start()
		r.beginSpan()
		r.waitForSamples(time.Now().Add(4 * time.Second))
	}
	r.endSpan(0)
	drops := r.settle()
	r.finish(drops)
}
