package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"pvlog/ingest/ca"
	"pvlog/ingest/caclient"
)

// TestEpicsRow01OneName: host, type, count and rights as the IOC has them.
func TestEpicsRow01OneName(t *testing.T) {
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	began := time.Now()
	w, ch := client.watch(matrixPrefix + "enum")
	info := await(t, w.connected, "connection")
	t.Logf("connected after %v", time.Since(began))
	want := caclient.Info{Native: ca.DBREnum, Count: 1, Minor: 13, Addr: ioc.addr(), Readable: true, Writable: true}
	if now, ok := ch.Info(); info != want || !ok || now != want {
		t.Errorf("got %+v, want %+v", info, want)
	}
	if n := client.counted("search_datagrams_total"); n > 4 {
		t.Errorf("%v datagrams for a name that is there", n)
	}
}

// TestEpicsRow02FiveThousandNames connect through a bounded number of datagrams.
func TestEpicsRow02FiveThousandNames(t *testing.T) {
	t.Parallel()
	const n = 5000
	var db strings.Builder
	for i := range n {
		fmt.Fprintf(&db, "record(longout, \"%smany%d\") { field(VAL, \"%d\") field(PINI, \"YES\") }\n", matrixPrefix, i, i)
	}
	file := filepath.Join(t.TempDir(), "many.db")
	if err := os.WriteFile(file, []byte(db.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ioc := newMatrixIOC(t, nil, "-d", file)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	began := time.Now()
	watchers := make([]*watcher, n)
	for i := range watchers {
		watchers[i], _ = client.watch(matrixPrefix + "many" + strconv.Itoa(i))
	}
	for i, w := range watchers {
		await(t, w.connected, "connection")
		if v := w.value(t, false); v != int32(i) {
			t.Errorf("name %d has the value %v", i, v)
		}
	}
	t.Logf("%d names connected after %v, %v datagrams", n, time.Since(began), client.counted("search_datagrams_total"))
	if clients, subscriptions := ioc.served(); clients != 1 || len(subscriptions) != n {
		t.Errorf("%d clients with %d channels", clients, len(subscriptions))
	}
	// some 25 names fit in a datagram of 1024 bytes; the rest is repetition
	if got := client.counted("search_datagrams_total"); got > 3*n/25 {
		t.Errorf("%v datagrams", got)
	}
}

// TestEpicsRow03AndRow28DeadNames: one backs off, ten thousand keep the rate,
// and a living name is found among them.
func TestEpicsRow03AndRow28DeadNames(t *testing.T) {
	t.Parallel()
	ioc := newMatrixIOC(t, nil)
	opened, before := time.Now(), processorTime(t)
	one := newMatrixClient(t, caclient.Options{}, ioc.addr())
	one.watch(matrixPrefix + "dead")
	many := newMatrixClient(t, caclient.Options{}, ioc.addr())
	for i := range 10_000 {
		many.watch(matrixPrefix + "dead" + strconv.Itoa(i))
	}
	passed := time.After(16 * time.Second)
	w, _ := many.watch(matrixPrefix + "double")
	began := time.Now()
	await(t, w.connected, "living name")
	t.Logf("a living name was found after %v", time.Since(began))
	<-passed
	used := processorTime(t) - before
	span := time.Since(opened)
	n := many.counted("search_datagrams_total")
	// 60 ms, doubled up to 5 s, and 5 s then, a quarter sooner at the most
	if got := one.counted("search_datagrams_total"); got > 8+span.Seconds()/(0.75*5) {
		t.Errorf("one dead name took %v datagrams in %v", got, span)
	}
	t.Logf("10 000 dead names took %v datagrams in %v, and with others %v of processor time", n, span, used)
	if limit := 50*span.Seconds() + 64; n > limit {
		t.Errorf("more than the %v that the rate allows", limit)
	}
}

// TestEpicsRow22TheSameNameOnTwoIOCs: one connection, one warning, and the
// other one is there when the first has gone.
func TestEpicsRow22TheSameNameOnTwoIOCs(t *testing.T) {
	first, second := newMatrixIOC(t, nil), newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, first.addr(), second.addr())
	w, _ := client.watch(matrixPrefix + "double")
	await(t, w.updates, "update")
	client.waitCounted("duplicate_pvs_total", 1)
	a, _ := first.served()
	b, _ := second.served()
	if a+b != 1 || len(w.connected) != 1 || client.counted("duplicate_pvs_total") != 1 {
		t.Errorf("%d and %d clients, %d connections, %v warnings", a, b, len(w.connected), client.counted("duplicate_pvs_total"))
	}
	at := await(t, w.connected, "connection").Addr
	if at == second.addr() {
		first, second = second, first
	}
	first.crash()
	await(t, w.lost, "end of the first IOC")
	if info := await(t, w.connected, "connection"); info.Addr != second.addr() {
		t.Errorf("connected to %s, then to %s", at, info.Addr)
	}
}

// TestEpicsRow23TwoIOCsOnOneHost share the port of the searches: the second
// has a port of its own for circuits, which its replies tell. A broadcast
// reaches both.
func TestEpicsRow23TwoIOCsOnOneHost(t *testing.T) {
	everywhere := []string{"EPICS_CAS_INTF_ADDR_LIST="} // or no broadcast arrives
	first := newMatrixIOC(t, everywhere)
	second := &matrixIOC{t: t, python: first.python, port: first.port, env: everywhere, args: []string{"-m", "P=MY:"}}
	second.start()
	client := newMatrixClient(t, caclient.Options{}, "127.255.255.255:"+strconv.Itoa(first.port))
	a, _ := client.watch("MX:double")
	b, _ := client.watch("MY:double")
	one, two := await(t, a.connected, "connection"), await(t, b.connected, "connection")
	await(t, a.updates, "update")
	await(t, b.updates, "update")
	if one.Addr == two.Addr {
		t.Errorf("both are at %s", one.Addr)
	}
	second.crash()
	await(t, b.lost, "end of the second IOC")
	second.start()
	again := await(t, b.connected, "connection")
	t.Logf("at %s, %s and then %s", one.Addr, two.Addr, again.Addr)
	if len(a.lost) != 0 {
		t.Error("the first one was lost as well")
	}
}

// TestEpicsRow24And25NameServer: an IOC answers searches over TCP; restarted,
// it is dialled and asked again. There is nowhere to send a datagram to.
func TestEpicsRow24And25NameServer(t *testing.T) {
	t.Parallel()
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{NameServers: []string{ioc.addr()}})
	w, _ := client.watch(matrixPrefix + "double")
	missing, _ := client.watch(matrixPrefix + "double.NOSUCHFIELD")
	await(t, w.updates, "update")
	for range 2 {
		ioc.expectServed(matrixPrefix + "double") // on the circuit that was searched
		ioc.crash()
		await(t, w.lost, "end of the name server")
		drain(w.updates)
		ioc.start()
		began := time.Now()
		await(t, w.updates, "update")
		t.Logf("back %v after the name server", time.Since(began))
	}
	if len(missing.connected) != 0 {
		t.Error("a field that does not exist is connected")
	}
}

// TestEpicsRow28DeadNamesForLong: the rate, the processor time and the memory
// of a client that only searches, once it has settled. Nothing runs beside it.
func TestEpicsRow28DeadNamesForLong(t *testing.T) {
	if os.Getenv("PVLOG_TEST_LONG") != "1" {
		t.Skip("takes two minutes of an idle machine: set PVLOG_TEST_LONG=1")
	}
	ioc := newMatrixIOC(t, nil)
	client := newMatrixClient(t, caclient.Options{}, ioc.addr())
	for i := range 10_000 {
		client.Open(matrixPrefix+"dead"+strconv.Itoa(i), (*watcher)(nil)) // is never called
	}
	<-time.After(90 * time.Second)
	const span = 30 * time.Second
	heap, used, sent := heapInUse(), processorTime(t), client.counted("search_datagrams_total")
	<-time.After(span)
	used, sent = processorTime(t)-used, client.counted("search_datagrams_total")-sent
	t.Logf("%v datagrams and %v of processor time in %v, %d bytes more", sent, used, span, heapInUse()-heap)
	if sent > 25*span.Seconds() {
		t.Errorf("%v datagrams in %v", sent, span)
	}
	limit := span * 2 / 100
	if raceEnabled {
		limit *= 10
	}
	if used > limit {
		t.Errorf("%v of processor time in %v", used, span)
	}
	if grown := heapInUse() - heap; grown > 4<<20 {
		t.Errorf("%d bytes more", grown)
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
