package ingest

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

func TestRatesAreRealOnesFromTheFirstSecondOn(t *testing.T) {
	for _, offset := range []time.Duration{0, 7 * time.Second, 59 * time.Second} { // of the first connection in a bucket
		synctest.Test(t, func(t *testing.T) {
			e, log := newTestEngine(t)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { e.keepRates(ctx); close(ended) }()
			time.Sleep(time.Hour + offset)
			c := addChannel(e, scalar(schema.Monitor, 0))
			if s := c.state(); s.EventRate != 0 || s.Measured != 0 {
				t.Errorf("before the connection: %+v", s)
			}
			c.link = e.opt.Client.Open("T:AI", c)
			c.Connected(c.link, caclient.Info{Native: ca.DBRDouble, Count: 1})
			for i := range 600 { // 2 Hz for 5 minutes
				time.Sleep(500 * time.Millisecond)
				c.Update(nil, update(t, schema.TimeOf(time.Now()), float64(i)))
				synctest.Wait()
				s, after := c.state(), time.Duration(i+1)*500*time.Millisecond
				all := log.all()
				first := float64(len(all[0].Event)) // it has markers
				two := float64(len(all[i].Event) + len(all[max(i-1, 0)].Event))
				if math.Abs(s.EventRate-2)*s.Measured.Seconds() > 1.001 { // an update of the moment at which a bucket begins
					t.Fatalf("after %v: %v events/s over %v", after, s.EventRate, s.Measured)
				}
				if s.ByteRate > 2*first || after > 2*time.Minute && math.Abs(s.ByteRate-two) > 1 {
					t.Fatalf("after %v: %v bytes/s, two samples have %v", after, s.ByteRate, two)
				}
				if want := min(after, time.Minute); s.Measured < want || s.Measured > max(after, 2*time.Minute) {
					t.Fatalf("after %v: measured over %v", after, s.Measured)
				}
			}
			c.Disconnected(c.link, fmt.Errorf("lost"))
			time.Sleep(2*time.Minute + time.Second)
			if s := c.state(); s.EventRate != 0 || s.Bytes == 0 {
				t.Errorf("two minutes after the loss: %v events/s, %d bytes", s.EventRate, s.Bytes)
			}
			cancel()
			<-ended
		})
	}
}

func BenchmarkTurnRates(b *testing.B) {
	var r rates
	histories := make([]*history, 100_000)
	for i := range histories {
		histories[i] = newHistory(1)
	}
	for b.Loop() {
		r.turn(histories, time.Since(epoch))
	}
}
