package ingest

import (
	"math"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
	"pvlog/schema"
)

// typed is an update of any type.
func typed(t testing.TB, d ca.DBR, severity, status int16, at schema.Time, values any) caclient.Update {
	t.Helper()
	payload, err := ca.AppendTime(nil, d.Time(), severity, status, at, values)
	if err != nil {
		t.Fatal(err)
	}
	count := uint32((len(payload) - d.Time().ValueOffset()) / d.ElementSize())
	return caclient.Update{Type: d.Time(), Count: count, Status: ca.StatusNormal, Payload: payload, Received: time.Now()}
}

// banded is a channel with a deadband, and what sends it a value of a time
// that passes by a second each time.
func banded(t *testing.T, method schema.SamplingMethod, width float64) (*Channel, *memoryLog, func(v float64, severity, status int16)) {
	e, log := newTestEngine(t)
	info := scalar(method, 10*time.Second)
	info.Deadband = width
	c := addChannel(e, info)
	regain(c)
	at := schema.TimeOf(time.Now())
	return c, log, func(v float64, severity, status int16) {
		at.Sec++
		c.Update(nil, typed(t, ca.DBRDouble, severity, status, at, []float64{v}))
	}
}

func TestDeadbandKeepsWhatDiffers(t *testing.T) {
	c, log, send := banded(t, schema.Monitor, 0.5)
	send(1, 0, 0)
	send(1.5, 0, 0) // within: the difference must be larger
	send(1.4, 0, 0)
	send(1.51, 0, 0)
	send(1.6, 0, 0)
	send(1.02, 0, 0)
	send(1, 0, 0)
	send(1, 1, 0) // severity
	send(1, 1, 5) // status
	send(math.NaN(), 1, 5)
	send(math.NaN(), 1, 5)
	send(2, 1, 5)
	send(math.Inf(1), 1, 5)
	send(math.Inf(1), 1, 5)
	send(math.Inf(-1), 1, 5)
	send(0, 1, 5)
	send(0.25, 1, 5)
	if got := values(t, log.all()); got != "1 1.51 1 1 1 NaN NaN 2 +Inf +Inf -Inf 0" {
		t.Errorf("kept %s", got)
	}
	if n := c.history.counters(); n.Received != 17 || n.Appended != 12 || n.Suppressed != 5 {
		t.Errorf("counters %+v", n)
	}
}

func TestDeadbandLetsTheFirstOfAConnectionPass_S38(t *testing.T) {
	c, log, send := banded(t, schema.Monitor, 10)
	send(1, 0, 0)
	send(2, 0, 0)
	lose(c)
	regain(c)
	send(1, 0, 0)
	send(2, 0, 0)
	if got := values(t, log.all()); got != "1 1" {
		t.Errorf("kept %s", got)
	}
	lose(c)
	regain(c)
	c.Update(nil, typed(t, ca.DBRDouble, 0, 0, schema.Time{Sec: schema.TimeOf(time.Now()).Sec}, []float64{2})) // with its old time
	if all := log.all(); len(all) != 3 || all[2].marks(t) != "" {
		t.Fatalf("%d samples", len(all))
	}
	send(2, 0, 0) // within, and what the connection's markers ride on
	if all := log.all(); len(all) != 4 || all[3].marks(t) == "" {
		t.Errorf("%d samples: the markers wait for nothing", len(all))
	}
}

func TestDeadbandStandsOnWhatTheArchiveKeeps(t *testing.T) {
	c, log, send := banded(t, schema.Monitor, 1)
	send(1, 0, 0)
	c.Update(nil, typed(t, ca.DBRDouble, 0, 0, schema.TimeOf(time.Now().Add(time.Hour)), []float64{7})) // a drop: too far ahead
	send(7, 0, 0)
	if got := values(t, log.all()); got != "1 7 7" {
		t.Errorf("kept %s: a value that was dropped stands for none", got)
	}
}

func TestDeadbandWithScanJudgesTheHeldValue_S45(t *testing.T) {
	c, log, send := banded(t, schema.Scan, 1)
	send(1, 0, 0)
	send(9, 0, 0)   // held
	send(1.2, 0, 0) // as the recorded one, but not as the held one
	send(1.3, 0, 0)
	c.read(0, time.Now()) // is no turn of a scanned channel
	c.release(0, time.Now().Add(time.Minute))
	if got := values(t, log.all()); got != "1 1.2" {
		t.Errorf("kept %s", got)
	}
}

func TestDeadbandOfEveryType(t *testing.T) {
	for _, tt := range []struct {
		native           ca.DBR
		at, near, beyond any
		number           bool
	}{
		{ca.DBRShort, []int16{-5}, []int16{-3}, []int16{-2}, true},
		{ca.DBRFloat, []float32{1}, []float32{3}, []float32{3.5}, true},
		{ca.DBRChar, []byte{254}, []byte{252}, []byte{251}, true},
		{ca.DBRLong, []int32{math.MaxInt32}, []int32{math.MaxInt32 - 2}, []int32{math.MinInt32}, true},
		{ca.DBRDouble, []float64{0}, []float64{-2}, []float64{2.5}, true},
		{ca.DBREnum, []uint16{0}, []uint16{1}, []uint16{2}, false},
		{ca.DBRString, []string{"1"}, []string{"2"}, []string{"x"}, false},
		{ca.DBRDouble, []float64{0, 0}, []float64{0, 1}, []float64{0, 9}, false},
	} {
		e, log := newTestEngine(t)
		info := scalar(schema.Monitor, 0)
		waveform := tt.native == ca.DBRDouble && !tt.number
		info.Deadband, info.DBRType = 2, ca.SampleType(tt.native, waveform)
		c := addChannel(e, info)
		c.beginSampling(time.Now(), waveform)
		at := schema.TimeOf(time.Now())
		for _, v := range []any{tt.at, tt.near, tt.beyond} {
			at.Sec++
			c.Update(nil, typed(t, tt.native, 0, 0, at, v))
		}
		want := 3
		if tt.number {
			want = 2
		}
		if got := len(log.all()); got != want {
			t.Errorf("%v: %d samples, want %d", info.DBRType, got, want)
		}
	}
}

func TestDeadbandChangesWithoutReconnect(t *testing.T) {
	c, log, send := banded(t, schema.Monitor, 10)
	send(1, 0, 0)
	send(2, 0, 0)
	set := func(width float64) {
		info := scalar(schema.Monitor, 0)
		info.Deadband = width
		c.configure(&info)
	}
	set(0)
	send(3, 0, 0)
	send(3, 0, 0)
	set(10)
	send(4, 0, 0)
	send(5, 0, 0)
	set(0.1)
	send(5, 0, 0)
	if got := values(t, log.all()); got != "1 3 3 4 5" {
		t.Errorf("kept %s", got)
	}
}

func TestDriftWindowsOfAPVOverrideTheEngines_S3(t *testing.T) {
	e, log := newTestEngine(t)
	info := scalar(schema.Monitor, 0)
	info.DriftPast = 5 * time.Hour
	c := addChannel(e, info)
	regain(c)
	c.Update(nil, update(t, schema.TimeOf(time.Now()), 1))
	info.DriftFuture = time.Second
	info.DriftPast = 0
	c.configure(&info)
	c.Update(nil, update(t, schema.TimeOf(time.Now()), 2))
	all := log.all()
	if s := all[0]; s.DriftPast != 5*time.Hour || s.DriftFuture != DefaultDrift {
		t.Errorf("windows %v and %v", s.DriftPast, s.DriftFuture)
	}
	if s := all[1]; s.DriftPast != DefaultDrift || s.DriftFuture != time.Second {
		t.Errorf("windows %v and %v after a change", s.DriftPast, s.DriftFuture)
	}
}
