package simioc

import (
	"net"
	"testing"
	"time"

	"pvlog/ingest/ca"
)

func TestBeaconsBeginFastAndBeginAgain(t *testing.T) {
	hear, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer hear.Close()
	hear.SetReadDeadline(time.Now().Add(patience))
	ioc := start(t, Options{Beacons: []string{hear.LocalAddr().String()}})
	b := make([]byte, 100)
	begin := time.Now()
	listen := func(numbers ...uint32) {
		t.Helper()
		for _, want := range numbers {
			n, from, err := hear.ReadFromUDP(b)
			must(t, err)
			h, _, _, err := ca.ParseMessage(b[:n])
			if err != nil || h.Command != ca.CmdBeacon || h.DataType != 13 || h.Count != uint32(ioc.tcpPort) || h.P1 != want || h.P2 != 0 {
				t.Errorf("beacon %d from %v is %+v", want, from, h)
			}
		}
	}
	listen(0, 0, 1, 2, 3)
	if took := time.Since(begin); took < 280*time.Millisecond {
		t.Errorf("the fifth beacon comes after %v, want 20+40+80+160 ms", took)
	}
	ioc.RestartBeacons()
	listen(0, 0, 1)
	for _, bad := range []string{"nowhere", "127.0.0.1", "127.0.0.1:0"} {
		if err := New(Options{Listen: "127.0.0.1:0", Beacons: []string{bad}}).Listen(); err == nil {
			t.Errorf("beacons to %q are accepted", bad)
		}
	}
}
