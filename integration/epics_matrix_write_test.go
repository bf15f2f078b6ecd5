package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// TestEpicsRow18AccessDeniedThenGranted: no value while reading is denied,
// rights and a value when it is granted, the same monitor throughout.
func TestEpicsRow18AccessDeniedThenGranted(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	gate, gateChannel := client.watch(matrixPrefix + "gate")
	await(t, gate.connected, "connection")
	w, ch := client.watch(matrixPrefix + "guarded")
	if info := await(t, w.connected, "connection"); info.Readable || info.Writable {
		t.Errorf("got %+v", info)
	}
	if u := await(t, w.updates, "refusal"); u.Status != ca.StatusNoReadAccess || len(u.Payload) != 0 {
		t.Errorf("got status %s with %d bytes", ca.StatusName(u.Status), len(u.Payload))
	}
	var refused *caclient.StatusError
	if _, err := ch.Get(t.Context(), ca.DBRTimeDouble, 0); !errors.As(err, &refused) || refused.Status != ca.StatusNoReadAccess {
		t.Errorf("a get gave %v", err)
	}
	for range 2 {
		put(t, gateChannel, []int32{1})
		if info := await(t, w.access, "rights"); !info.Readable || !info.Writable {
			t.Errorf("granted: got %+v", info)
		}
		if v := w.value(t, false); v != 42.0 {
			t.Errorf("granted: got %v", v)
		}
		put(t, gateChannel, []int32{0})
		if info := await(t, w.access, "rights"); info.Readable || info.Writable {
			t.Errorf("denied: got %+v", info)
		}
		if u := await(t, w.updates, "refusal"); u.Status != ca.StatusNoReadAccess {
			t.Errorf("denied: got status %s", ca.StatusName(u.Status))
		}
	}
	if len(w.lost) != 0 {
		t.Error("the channel was lost")
	}
	ioc.expectServed(matrixPrefix+"gate", matrixPrefix+"guarded")
}

// TestEpicsRow19PutToName is refused, with completion and without, and costs
// nothing else; so is a value that the record cannot take. This IOC's rights
// say that .NAME cannot be written, so nothing is sent for it.
func TestEpicsRow19PutToName(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, ch := client.watch(matrixPrefix + "double.NAME")
	enum, enumChannel := client.watch(matrixPrefix + "enum")
	if info := await(t, w.connected, "connection"); info.Writable || !info.Readable {
		t.Errorf("got %+v", info)
	}
	await(t, enum.updates, "update")
	for _, complete := range []bool{false, true} {
		if err := ch.PutValues(t.Context(), []string{"other"}, complete); !errors.Is(err, ca.ErrReadOnly) {
			t.Errorf("complete %v: got %v", complete, err)
		}
		var refused *caclient.StatusError
		if err := enumChannel.PutValues(t.Context(), []string{"no such state"}, complete); !errors.As(err, &refused) || refused.Status != ca.StatusPutFail {
			t.Errorf("complete %v: got %v", complete, err)
		}
	}
	if v := w.value(t, false); v != matrixPrefix+"double" || len(w.lost) != 0 {
		t.Errorf("the name is %v", v)
	}
}

// TestEpicsRow20TwoPutsOnASlowRecord: the second waits in the client, so the
// circuit goes on, and both complete, one after the other.
func TestEpicsRow20TwoPutsOnASlowRecord(t *testing.T) {
	t.Parallel()
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	w, ch := client.watch(matrixPrefix + "slow")
	other, otherChannel := client.watch(matrixPrefix + "double")
	await(t, w.connected, "connection")
	await(t, other.connected, "connection")
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	ends := make(chan error, 2)
	began := time.Now()
	for v := range 2 {
		go func() { ends <- ch.PutValues(ctx, []float64{float64(v)}, true) }()
	}
	// a circuit with two WRITE_NOTIFY of one channel would answer nothing now
	reads := 0
	for len(ends) == 0 {
		if _, err := otherChannel.Get(ctx, ca.DBRDouble, 1); err != nil {
			t.Fatal(err)
		}
		reads++
	}
	for range 2 {
		if err := await(t, ends, "end of a put"); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("two puts of 2 s each took %v", took)
	}
	if reads < 10 || len(w.lost) != 0 {
		t.Errorf("%d reads while the first put was on its way", reads)
	}
	t.Logf("%d reads of another channel while the first put was on its way", reads)
}
