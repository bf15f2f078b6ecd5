package integration

import (
	"fmt"
	"testing"
	"time"

	"pvlog/ingest/caclient"
)

// blockedWatcher takes no update until its gate is open.
type blockedWatcher struct {
	*watcher
	gate chan struct{}
}

func (b *blockedWatcher) Update(ch *caclient.Channel, u caclient.Update) {
	<-b.gate
	b.watcher.Update(ch, u)
}

// TestEpicsRow30BlockedConsumer: a consumer that stands still for longer than
// the watchdog of its circuit would wait costs no connection and no update
// that the kernels have room for.
func TestEpicsRow30BlockedConsumer(t *testing.T) {
	t.Parallel()
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{ConnTimeout: time.Second}, ioc.addr())
	b := &blockedWatcher{watcher: newWatcher(), gate: make(chan struct{})}
	client.Open(matrixPrefix+"calc10", b)
	await(t, b.connected, "connection")
	const blocked = 10 * time.Second // 1 s of silence and 5 s for the probe are less
	<-time.After(blocked)
	close(b.gate)
	last := b.value(t, false).(float64)
	for range 10 * (blocked - 2*time.Second) / time.Second {
		v := b.value(t, false).(float64)
		if v != last+1 {
			t.Errorf("%v after %v", v, last)
		}
		last = v
	}
	if len(b.lost) != 0 || client.counted("circuits_lost_total") != 0 {
		t.Error("the circuit was lost")
	}
	ioc.expectServed(matrixPrefix + "calc10")
}

// TestEpicsRow63And64ChannelsLeaveNothingBehind, whether they are closed one
// by one or with their client.
func TestEpicsRow63And64ChannelsLeaveNothingBehind(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	names := []string{"double", "calc10", "wave", "enum", "long.EGU", "none"}
	t.Run("client", func(t *testing.T) { // which ends with it
		client := newMatrixClient(t, caclient.Options{}, ioc.addr())
		stays, _ := client.watch(matrixPrefix + "string")
		await(t, stays.updates, "update")
		for i := range 2000 {
			_, ch := client.watch(matrixPrefix + names[i%len(names)])
			if i%7 == 0 {
				ch.Unsubscribe()
			}
			if i%3 == 0 {
				ch.Close()
			} else {
				defer ch.Close()
			}
		}
		w, ch := client.watch(matrixPrefix + "double")
		await(t, w.updates, "update of the last channel")
		ch.Close()
		if len(stays.lost) != 0 || client.counted("server_failures_total") != 0 {
			t.Error("the server did not like it")
		}
	})
	waitUntil(t, startTimeout, "no client", func() error {
		if clients, subscriptions := ioc.served(); clients != 0 {
			return fmt.Errorf("%d clients, %v", clients, subscriptions)
		}
		return nil
	})
}
