package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// startCaproto runs epics/caproto_ioc.py at a port.
func startCaproto(t *testing.T, port int, args ...string) *process {
	t.Helper()
	p := startProcess(t, "caproto IOC", needEPICS(t), append([]string{filepath.Join("epics", "caproto_ioc.py")}, args...), []string{
		"EPICS_CAS_INTF_ADDR_LIST=127.0.0.1", "EPICS_CAS_SERVER_PORT=" + strconv.Itoa(port), "EPICS_CA_SERVER_PORT=" + strconv.Itoa(port),
		"EPICS_CAS_AUTO_BEACON_ADDR_LIST=NO", "EPICS_CAS_BEACON_ADDR_LIST=127.0.0.1",
	})
	p.waitFor(t, "IOC Running", startTimeout)
	return p
}

// TestEpicsCaprotoServesEveryType: the client is not made for EPICS base alone.
func TestEpicsCaprotoServesEveryType(t *testing.T) {
	port := freePort(t)
	ioc := startCaproto(t, port)
	client := newMatrixClient(t, caclient.Options{}, "127.0.0.1:"+strconv.Itoa(port))
	text := "a text of more than forty characters, which is long"
	for _, c := range []struct {
		name   string
		native ca.DBR
		count  uint32
		want   string
	}{
		{"double", ca.DBRDouble, 1, "2.5"},
		{"float", ca.DBRFloat, 1, "1.25"},
		{"long", ca.DBRLong, 1, "-70000"},
		{"short", ca.DBRShort, 1, "-7"},
		{"enum", ca.DBREnum, 1, "1"},
		{"string", ca.DBRString, 1, "a text"},
		{"char", ca.DBRChar, 200, fmt.Sprint([]byte(text))},
		{"doubles", ca.DBRDouble, 10, "[1.5 2.5 3.5]"},
		{"longs", ca.DBRLong, 30_000, ""},
		{"strings", ca.DBRString, 5, "[one two three]"},
	} {
		w, ch := client.watch("CP:" + c.name)
		info := await(t, w.connected, "connection of "+c.name)
		if info.Native != c.native || info.Count != c.count || !info.Readable || !info.Writable {
			t.Errorf("%s: got %+v", c.name, info)
		}
		u := await(t, w.updates, "update of "+c.name)
		got := decodeUpdate(t, u, info.Count != 1).Value
		if c.want != "" && fmt.Sprint(got) != c.want {
			t.Errorf("%s: got %v, want %s", c.name, got, c.want)
		} else if longs, ok := got.([]int32); c.want == "" && (!ok || len(longs) != 30_000 || longs[29_999] != 29_999) {
			t.Errorf("%s: got %d elements", c.name, len(longs))
		}
		for _, dbr := range []ca.DBR{c.native, c.native.Time(), c.native.Ctrl(), ca.DBRCtrlString, ca.DBRCtrlDouble} {
			var refused *caclient.StatusError
			u, err := ch.Get(t.Context(), dbr, 1)
			if c.native == ca.DBRString && dbr == ca.DBRCtrlDouble && errors.As(err, &refused) {
				continue // the text is no number
			}
			if err != nil || u.Count != 1 {
				t.Errorf("%s as %v: %v", c.name, dbr, err)
			}
		}
	}
	compareCaprotoMetadata(t, client)
	w, _ := client.watch("CP:ticks")
	last := w.value(t, false).(float64)
	for range 10 {
		v := w.value(t, false).(float64)
		if v != last+1 {
			t.Errorf("%v after %v", v, last)
		}
		last = v
	}
	if client.counted("rejected_messages_total") != 0 || client.counted("circuits") != 1 {
		t.Errorf("%v messages were rejected", client.counted("rejected_messages_total"))
	}
	_ = ioc.end(syscall.SIGKILL)
	await(t, w.lost, "end of the IOC")
	drain(w.updates)
	startCaproto(t, port, "--types", "wide")
	await(t, w.updates, "update of the IOC that is back")
	wide, _ := client.watch("CP:long")
	if info := await(t, wide.connected, "connection"); info.Native != ca.DBRDouble || info.Count != 4 {
		t.Errorf("the retyped channel is %+v", info)
	}
}

// compareCaprotoMetadata reads the properties that the server was given.
func compareCaprotoMetadata(t *testing.T, client *matrixClient) {
	t.Helper()
	read := func(name string, dbr ca.DBR) ca.Metadata {
		t.Helper()
		w, ch := client.watch(name)
		await(t, w.connected, "connection of "+name)
		u, err := ch.Get(t.Context(), dbr, 1)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ca.DecodeCtrl(u.Type, u.Count, u.Payload)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := read("CP:double", ca.DBRCtrlDouble)
	want := map[string]float64{"HOPR": 10, "LOPR": -10, "HIHI": 9, "LOLO": -9, "HIGH": 8, "LOW": -8, "DRVH": 7, "DRVL": -7}
	if m.Units != "mm" || m.Precision != 3 || fmt.Sprint(m.Limits) != fmt.Sprint(want) {
		t.Errorf("got %+v", m)
	}
	if m := read("CP:enum", ca.DBRCtrlEnum); fmt.Sprint(m.EnumStrings) != "[Off On Broken]" {
		t.Errorf("got %+v", m)
	}
}

// TestEpicsCaprotoPuts: with completion and without.
func TestEpicsCaprotoPuts(t *testing.T) {
	port := freePort(t)
	startCaproto(t, port)
	client := newMatrixClient(t, caclient.Options{}, "127.0.0.1:"+strconv.Itoa(port))
	w, ch := client.watch("CP:double")
	w.value(t, false)
	for i, complete := range []bool{false, true, false, true} {
		want := float64(i) + 0.5
		if err := ch.PutValues(t.Context(), []float64{want}, complete); err != nil {
			t.Fatalf("complete %v: %v", complete, err)
		}
		if v := w.value(t, false); v != want {
			t.Errorf("complete %v: got %v, want %v", complete, v, want)
		}
	}
}
