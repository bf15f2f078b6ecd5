package caclient_test

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/ingest/simioc"
)

// churner opens siblings, asks for values and closes things within callbacks.
type churner struct {
	open atomic.Bool // between Connected and Disconnected
	bad  *atomic.Int64
	gets *sync.WaitGroup
}

func (c *churner) Connected(ch *caclient.Channel, info caclient.Info) {
	if c.open.Swap(true) {
		c.bad.Add(1)
	}
	ch.Subscribe(ca.MaskLog | ca.MaskAlarm)
	c.gets.Add(1)
	ch.GetAsync(info.Native.Ctrl(), 1, func(caclient.Update, error) { c.gets.Done() })
	if sibling, err := ch.Sibling(ch.Name()+".NOSUCH", silent{}); err == nil {
		if rand.IntN(2) == 0 {
			sibling.Close()
		}
	}
}

func (c *churner) Disconnected(*caclient.Channel, error) {
	if !c.open.Swap(false) {
		c.bad.Add(1)
	}
}

func (c *churner) Update(ch *caclient.Channel, _ caclient.Update) {
	if !c.open.Load() {
		c.bad.Add(1)
	}
	if rand.IntN(50) == 0 {
		ch.Unsubscribe()
		ch.Subscribe(ca.MaskValue)
	}
}

// silent is a handler that does nothing.
type silent struct{}

func (silent) Connected(*caclient.Channel, caclient.Info) {}
func (silent) Disconnected(*caclient.Channel, error)      {}
func (silent) Update(*caclient.Channel, caclient.Update)  {}

// TestChannelsThatComeAndGoLeaveNothingBehind while the IOC drops all of its
// circuits again and again.
func TestChannelsThatComeAndGoLeaveNothingBehind(t *testing.T) {
	ioc, _ := startIOC(t, simioc.Options{Records: simioc.Load(50, 20)})
	reg := prometheus.NewRegistry()
	client := run(t, caclient.Options{Registerer: reg}, ioc.Addr())
	names := ioc.Names()
	var bad atomic.Int64
	var gets, workers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		workers.Go(func() {
			var open []*caclient.Channel
			for i := range 400 {
				open = append(open, client.Open(names[i%len(names)], &churner{bad: &bad, gets: &gets}))
				if len(open) > 20 {
					at := rand.IntN(len(open))
					open[at].Close()
					open = append(open[:at], open[at+1:]...)
				}
				if i%20 == 0 {
					r := newRecorder()
					ch := client.Open(names[0], r)
					take(t, r.connected, "connection")
					take(t, r.updates, "update")
					ch.Close()
				}
			}
			for _, ch := range open {
				ch.Close()
			}
		})
	}
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(300 * time.Millisecond):
				ioc.DisconnectAll()
			}
		}
	}()
	workers.Wait()
	close(stop)
	<-dropped
	gets.Wait() // each get was answered once
	if n := bad.Load(); n != 0 {
		t.Errorf("%d callbacks came out of order", n)
	}
	if n := counted(t, reg, "searched_channels"); n != 0 {
		t.Errorf("%v closed channels are searched", n)
	}
	if n := counted(t, reg, "server_failures_total"); n != 0 {
		t.Errorf("the server reported %v failures", n)
	}
}
