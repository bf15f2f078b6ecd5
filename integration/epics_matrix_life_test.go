package integration

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// expectServed waits until the IOC has one client of these tests with exactly
// some channels, each with one subscription.
func (m *matrixIOC) expectServed(names ...string) {
	m.t.Helper()
	waitUntil(m.t, startTimeout, "one subscription of each channel", func() error {
		clients, subscriptions := m.served()
		if clients != 1 || len(subscriptions) != len(names) {
			return fmt.Errorf("%d clients, %v", clients, subscriptions)
		}
		for _, name := range names {
			if subscriptions[name] != 1 {
				return fmt.Errorf("%s has %d", name, subscriptions[name])
			}
		}
		return nil
	})
}

// TestEpicsRow11KillAndRestart: told at once, back soon, one subscription of each.
func TestEpicsRow11KillAndRestart(t *testing.T) {
	t.Parallel()
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	names := []string{matrixPrefix + "calc10", matrixPrefix + "long", matrixPrefix + "enum"}
	var watchers []*watcher
	for _, name := range names {
		w, _ := client.watch(name)
		watchers = append(watchers, w)
	}
	for round := range 3 {
		for i, w := range watchers {
			await(t, w.connected, "connection of "+names[i])
			await(t, w.updates, "update of "+names[i])
		}
		ioc.expectServed(names...)
		if round == 2 {
			return
		}
		began := time.Now()
		ioc.crash()
		for i, w := range watchers {
			await(t, w.lost, "end of "+names[i])
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the crash was told after %v", took)
		}
		for _, w := range watchers {
			drain(w.updates)
		}
		ioc.start()
	}
}

func drain[T any](c <-chan T) {
	for len(c) > 0 {
		<-c
	}
}

// TestEpicsRow12FrozenIOC is unresponsive, and recovers with the monitors that
// it has.
func TestEpicsRow12FrozenIOC(t *testing.T) {
	t.Parallel()
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{ConnTimeout: 2 * time.Second}, ioc.addr())
	names := []string{matrixPrefix + "calc10", matrixPrefix + "long"}
	ticking, _ := client.watch(names[0])
	quiet, channel := client.watch(names[1])
	for _, w := range []*watcher{ticking, quiet} {
		await(t, w.connected, "connection")
		await(t, w.updates, "update")
	}
	ioc.signal(syscall.SIGSTOP)
	began := time.Now()
	for _, w := range []*watcher{ticking, quiet} {
		await(t, w.lost, "unresponsive server")
	}
	// 2 s of silence and 5 s for the answer to the probe, looked at once a second
	if took := time.Since(began); took < 5*time.Second || took > 12*time.Second {
		t.Errorf("unresponsive after %v", took)
	}
	drain(ticking.updates)
	ioc.signal(syscall.SIGCONT)
	for _, w := range []*watcher{ticking, quiet} {
		await(t, w.connected, "recovery")
	}
	await(t, ticking.updates, "update of the recovered IOC")
	put(t, channel, []int32{5})
	if v := quiet.value(t, false); v != int32(5) {
		t.Errorf("got %v", v)
	}
	ioc.expectServed(names...)
	if client.counted("circuits_lost_total") != 0 {
		t.Error("a circuit was lost: the server was only frozen")
	}
}

// TestEpicsRow14TypeAfterRestart: the new type is noticed and asked for.
func TestEpicsRow14TypeAfterRestart(t *testing.T) {
	ioc := newMatrixIOC(t, nil, "-m", "FTVL=LONG,NELM=1")
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, _ := client.watch(matrixPrefix + "retyped")
	for _, c := range []struct {
		macros string // of the IOC that follows
		native ca.DBR
		count  uint32
		want   any
	}{
		{"FTVL=DOUBLE,NELM=1", ca.DBRLong, 1, int32(7)},
		{"FTVL=DOUBLE,NELM=5", ca.DBRDouble, 1, 7.0},
		{"FTVL=STRING,NELM=1", ca.DBRDouble, 5, []float64{7}},
		{"", ca.DBRString, 1, ""},
	} {
		info := await(t, w.connected, "connection")
		u := await(t, w.updates, "update")
		if info.Native != c.native || info.Count != c.count || u.Type != c.native.Time() {
			t.Errorf("got %+v and an update of %v, want %v with %d elements", info, u.Type, c.native, c.count)
		}
		if v := decodeUpdate(t, u, info.Count != 1).Value; c.native != ca.DBRString && fmt.Sprint(v) != fmt.Sprint(c.want) {
			t.Errorf("got %v, want %v", v, c.want)
		}
		if c.macros == "" {
			return
		}
		ioc.crash()
		await(t, w.lost, "end of the IOC")
		ioc.args = []string{"-m", c.macros}
		ioc.start()
	}
}

// TestEpicsRow15UnsubscribeWhileUpdatesFlow: nothing comes afterwards, and the
// circuit, which a wrong cancel would cost, lives.
func TestEpicsRow15UnsubscribeWhileUpdatesFlow(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, ch := client.watch(matrixPrefix + "calc10")
	other, otherChannel := client.watch(matrixPrefix + "double")
	await(t, other.updates, "update")
	for range 30 {
		await(t, w.updates, "update")
		ch.Unsubscribe()
		ch.Subscribe(ca.MaskLog)
		ch.Unsubscribe()
		drain(w.updates)
		ch.Subscribe(ca.MaskValue)
	}
	ch.Unsubscribe()
	// a get that is answered later shows that the acknowledgements were taken
	for range 2 {
		if _, err := otherChannel.Get(t.Context(), ca.DBRDouble, 1); err != nil {
			t.Fatal(err)
		}
	}
	waitUntil(t, startTimeout, "no subscription", func() error {
		if _, subscriptions := ioc.served(); subscriptions[matrixPrefix+"calc10"] != 0 || subscriptions[matrixPrefix+"double"] != 1 {
			return fmt.Errorf("%v", subscriptions)
		}
		return nil
	})
	drain(w.updates)
	ticks, _ := client.watch(matrixPrefix + "ai10")
	for range 5 { // half a second of the same source
		await(t, ticks.updates, "update")
	}
	if len(w.updates) != 0 {
		t.Errorf("%d updates of a monitor that has ended", len(w.updates))
	}
	if len(w.lost)+len(other.lost) != 0 || client.counted("rejected_messages_total") != 0 || client.counted("server_failures_total") != 0 {
		t.Error("the server did not like it")
	}
}

// TestEpicsRow16DeleteBeforeTheClaimsAnswer: the server keeps no channel.
func TestEpicsRow16DeleteBeforeTheClaimsAnswer(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, ch := client.watch(matrixPrefix + "double")
	await(t, w.updates, "update")
	for i := range 300 {
		sibling, err := ch.Sibling(matrixPrefix+[]string{"double", "calc10", "wave", "none"}[i%4], newWatcher())
		if err != nil {
			t.Fatal(err)
		}
		sibling.Close()
	}
	// searched names that are given up while their claim is on its way
	for range 100 {
		_, ch := client.watch(matrixPrefix + "long")
		ch.Close()
	}
	ioc.expectServed(matrixPrefix + "double")
	if len(w.lost) != 0 {
		t.Errorf("the circuit was lost: %v", <-w.lost)
	}
	ch.Close()
	waitUntil(t, startTimeout, "no client", func() error {
		if clients, subscriptions := ioc.served(); clients != 0 || len(subscriptions) != 0 {
			return fmt.Errorf("%d clients, %v", clients, subscriptions)
		}
		return nil
	})
}
