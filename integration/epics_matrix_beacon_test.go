package integration

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// beaconing gives the environment of an IOC that tells one repeater alone.
func beaconing(port int) []string {
	return []string{"EPICS_CAS_BEACON_ADDR_LIST=127.0.0.1", "EPICS_CAS_BEACON_PORT=" + strconv.Itoa(port)}
}

// TestEpicsRow26BeaconsOfARestart bring a name back that was searched in vain
// for long, before its own turn.
func TestEpicsRow26BeaconsOfARestart(t *testing.T) {
	t.Parallel()
	port, yes := freePort(t), true
	ioc := newMatrixIOC(t, beaconing(port))
	client := newMatrixClient(t, caclient.Options{RepeaterPort: port, Repeater: &yes, MaxSearchPeriod: 5 * time.Minute}, ioc.addr())
	// many dead names make the period of each minutes
	for i := range 5000 {
		client.watch(matrixPrefix + "dead" + strconv.Itoa(i))
	}
	w, _ := client.watch(matrixPrefix + "double")
	await(t, w.updates, "update")
	client.waitCounted("beacons_total", 2)
	for range 2 {
		anomalies := client.counted("beacon_anomalies_total")
		ioc.crash()
		await(t, w.lost, "end of the IOC")
		ioc.start()
		began := time.Now()
		await(t, w.updates, "update")
		t.Logf("back %v after the IOC", time.Since(began))
		client.waitCounted("beacon_anomalies_total", anomalies+1)
	}
}

// TestEpicsRow27Repeater: without one, with a port that another program keeps
// for itself, and with EPICS' own, which ends.
func TestEpicsRow27Repeater(t *testing.T) {
	t.Parallel()
	port, yes, no := freePort(t), true, false
	ioc := newMatrixIOC(t, beaconing(port))
	connects := func(t *testing.T, o caclient.Options) *matrixClient {
		client := newMatrixClient(t, o, ioc.addr())
		w, _ := client.watch(matrixPrefix + "double")
		await(t, w.updates, "update")
		return client
	}
	t.Run("none", func(t *testing.T) { connects(t, caclient.Options{RepeaterPort: freePort(t), Repeater: &no}) })
	t.Run("busy", func(t *testing.T) {
		silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = silent.Close() }()
		connects(t, caclient.Options{RepeaterPort: silent.LocalAddr().(*net.UDPAddr).Port, Repeater: &yes})
	})
	t.Run("ended", func(t *testing.T) {
		repeater := startProcess(t, "repeater", ioc.python, []string{filepath.Join("epics", "repeater.py")}, []string{"EPICS_CA_REPEATER_PORT=" + strconv.Itoa(port)})
		repeater.waitFor(t, "repeating", startTimeout)
		waitForRepeater(t, port)
		client := connects(t, caclient.Options{RepeaterPort: port, Repeater: &yes})
		client.waitCounted("beacons_total", 1) // through EPICS' repeater
		if client.counted("repeated_datagrams_total") != 0 {
			t.Error("pvlog is the repeater though there is one")
		}
		_ = repeater.end(syscall.SIGKILL)
		w, _ := client.watch(matrixPrefix + "long")
		await(t, w.updates, "update") // needs no repeater
		// the next client finds the port free; this one registers again within
		// minutes. An IOC at rest sends a beacon every 15 s, a new one sends more.
		heir := connects(t, caclient.Options{RepeaterPort: port, Repeater: &yes})
		newMatrixIOC(t, beaconing(port))
		heir.waitCounted("beacons_total", 1)
		heir.waitCounted("repeated_datagrams_total", 1)
	})
}

// waitForRepeater registers with a repeater until it confirms.
func waitForRepeater(t *testing.T, port int) {
	t.Helper()
	// EPICS' answers from a port of its own for each client
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	waitUntil(t, startTimeout, "a repeater", func() error {
		if _, err := socket.WriteToUDP(ca.AppendRepeaterRegister(nil), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
			return err
		}
		_ = socket.SetReadDeadline(time.Now().Add(time.Second))
		b := make([]byte, 100)
		n, err := socket.Read(b)
		if err != nil {
			return err
		}
		var d ca.Datagram
		if err := d.Parse(b[:n], 0); err != nil || !d.Confirmed {
			return fmt.Errorf("it said %x (%v)", b[:n], err)
		}
		return nil
	})
}
