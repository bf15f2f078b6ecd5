package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"pvlog/ingest/caclient"
)

// island is a network of its own with one host, which loses packets on demand.
type island struct {
	t    testing.TB
	name string
	net  int // third octet of its addresses
}

// newIsland makes a network namespace and a cable to it: 10.213.N.1 here,
// 10.213.N.2 there. It takes the privilege to do so.
func newIsland(t testing.TB) *island {
	t.Helper()
	if os.Getenv("PVLOG_TEST_NETNS") != "1" {
		t.Skip("changes the network configuration of this host: set PVLOG_TEST_NETNS=1, as root, with iproute2 and iptables")
	}
	for _, tool := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	n := &island{t: t, name: "pvlog" + strconv.Itoa(os.Getpid()), net: os.Getpid() % 250}
	if out, err := exec.Command("ip", "netns", "add", n.name).CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made here: %v: %s", err, out)
	}
	here, there := "pva"+strconv.Itoa(os.Getpid()), "pvb"+strconv.Itoa(os.Getpid())
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", here).Run()
		_ = exec.Command("ip", "netns", "del", n.name).Run()
	})
	n.run("ip", "link", "add", here, "type", "veth", "peer", "name", there)
	n.run("ip", "link", "set", there, "netns", n.name)
	n.run("ip", "addr", "add", n.addr(1)+"/24", "dev", here)
	n.run("ip", "link", "set", here, "up")
	n.there("ip", "link", "set", "lo", "up")
	n.there("ip", "link", "set", there, "name", "eth0")
	n.there("ip", "addr", "add", n.addr(2)+"/24", "dev", "eth0")
	n.there("ip", "link", "set", "eth0", "up")
	return n
}

func (n *island) addr(host int) string { return fmt.Sprintf("10.213.%d.%d", n.net, host) }

func (n *island) run(name string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// inside runs a command in the namespace.
func (n *island) inside() []string { return []string{"ip", "netns", "exec", n.name} }

func (n *island) there(args ...string) {
	n.t.Helper()
	command := append(n.inside(), args...)
	n.run(command[0], command[1:]...)
}

// silence drops all packets to the island and from it, and tells nobody.
func (n *island) silence() {
	n.t.Helper()
	n.there("iptables", "-I", "INPUT", "-i", "eth0", "-j", "DROP")
	n.there("iptables", "-I", "OUTPUT", "-o", "eth0", "-j", "DROP")
}

func (n *island) sound() {
	n.t.Helper()
	n.there("iptables", "-F")
}

// TestEpicsRow13DroppedPackets: a network that fails without a word is
// noticed; the circuit goes on if it comes back, and another one is made if
// the IOC is at another address then.
func TestEpicsRow13DroppedPackets(t *testing.T) {
	needEPICS(t)
	n := newIsland(t)
	ioc := &matrixIOC{t: t, python: needEPICS(t), port: freePort(t), inside: n.inside(), env: []string{"EPICS_CAS_INTF_ADDR_LIST="}}
	ioc.start()
	port := ":" + strconv.Itoa(ioc.port)
	client := newMatrixClient(t, caclient.Options{ConnTimeout: 2 * time.Second}, n.addr(2)+port, n.addr(3)+port)
	w, _ := client.watch(matrixPrefix + "calc10")
	await(t, w.connected, "connection")
	await(t, w.updates, "update")

	lose := func() {
		t.Helper()
		n.silence()
		began := time.Now()
		await(t, w.lost, "loss")
		t.Logf("the loss was noticed after %v", time.Since(began))
		drain(w.updates)
	}
	lose()
	n.sound()
	began := time.Now()
	await(t, w.connected, "recovery")
	await(t, w.updates, "update")
	t.Logf("recovered %v after the network", time.Since(began))
	ioc.expectServed(matrixPrefix + "calc10")

	lose()
	n.there("ip", "addr", "flush", "dev", "eth0")
	n.there("ip", "addr", "add", n.addr(3)+"/24", "dev", "eth0")
	n.sound()
	began = time.Now()
	waitUntil(t, 3*time.Minute, "a circuit to the new address", func() error {
		select {
		case info := <-w.connected:
			if info.Addr == n.addr(3)+port {
				return nil
			}
			return fmt.Errorf("connected to %s", info.Addr)
		default:
			return fmt.Errorf("no connection")
		}
	})
	await(t, w.updates, "update")
	t.Logf("found at the new address after %v", time.Since(began))
}
